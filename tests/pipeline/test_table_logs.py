"""The logs of result tables: checkpoints, retention, and what is damaged or deleted."""

from datetime import UTC, datetime, timedelta

import deltalake
import pytest
from published_tables import (
    NOW,
    ONE_SHARD,
    WINDOWS,
    by_deltalake,
    by_polars,
    lines,
    root_of,
    truth,
)

from fleetscore.errors import FleetscoreError, StoreError
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.table_sync import (
    published_windows,
    repair_tables,
    sync_tables,
)
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only, RunState
from fleetscore.runs import delta_log
from fleetscore.runs.delta_log import read_snapshot, version_path
from fleetscore.runs.manifests import read_manifest
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, table_root


def test_checkpoints_let_the_log_be_read_without_its_commits(published: Store) -> None:
    """Housekeeping writes one after ten commits; with all older commits gone, readers and we read the same
    rows.
    """
    for hour in range(5, 12):
        lines(published, f"2026-01-01T{hour:02d}")
        run_window(published, "toy", f"2026-01-01T{hour:02d}", ONE_SHARD)
    sweep(published, NOW)
    last = read_snapshot(published, "toy").version
    assert published.stat(delta_log.checkpoint_path("toy", last)) is not None
    for version in range(last):
        published.delete(version_path("toy", version))
    delta_log._known.clear()
    assert len(read_snapshot(published, "toy").rounds) == 11
    assert by_polars(root_of(published)) == truth(published)
    lines(published, "2026-01-01T12")
    run_window(published, "toy", "2026-01-01T12", ONE_SHARD)
    assert by_deltalake(root_of(published)) == truth(published)


def test_a_checkpoint_that_a_reader_wrote_is_read_and_gone_on_from(published: Store) -> None:
    """deltalake's checkpoint, with its own columns, gives the same files and rounds as the commits; a retry, a new
    window and our next checkpoint follow it.
    """
    before = read_snapshot(published, "toy")
    deltalake.DeltaTable(root_of(published)).create_checkpoint()
    for version in range(before.version):
        published.delete(version_path("toy", version))
    delta_log._known.clear()
    after = read_snapshot(published, "toy")
    assert (after.version, after.rounds) == (before.version, before.rounds)
    assert {path: add["size"] for path, add in after.files.items()} == {
        path: add["size"] for path, add in before.files.items()
    }
    execute(published, submit_retry(published, f"toy-{WINDOWS[0]}", NOW, "test", only=Only.ALL).request)
    for hour in range(5, 15):
        lines(published, f"2026-01-01T{hour:02d}")
        run_window(published, "toy", f"2026-01-01T{hour:02d}", ONE_SHARD)
    sweep(published, NOW)
    ours = delta_log.checkpoint_path("toy", read_snapshot(published, "toy").version)
    assert published.stat(ours) is not None
    delta_log._known.clear()
    assert by_deltalake(root_of(published)) == by_polars(root_of(published)) == truth(published)
    named = {
        f.path for w in published_windows(published, "toy") for f in read_manifest(published, "toy", w).files
    }
    assert {table_root("toy") + path for path in read_snapshot(published, "toy").files} == named


def test_a_snapshot_stays_as_it_was_when_a_later_one_is_made(published: Store) -> None:
    """Files of windows are shared between snapshots: removing and adding changes the later one only."""
    before = read_snapshot(published, "toy")
    files = before.files
    path = next(iter(before.files_of(WINDOWS[0])))
    added = {"add": {"path": f"window={WINDOWS[1]}/x.parquet", "size": 1}}
    after = delta_log.apply_actions(before, 9, [{"remove": {"path": path}}, added])
    assert before.files == files
    assert set(after.files) == set(files) - {path} | {added["add"]["path"]}
    assert path in before.files_of(WINDOWS[0]) and path not in after.files_of(WINDOWS[0])
    assert len(after.files_of(WINDOWS[1])) == len(before.files_of(WINDOWS[1])) + 1


def test_old_commits_go_only_behind_an_old_checkpoint(published: Store) -> None:
    """After 40 days without a checkpoint nothing of the log goes; with one, the commits before it do."""
    later = datetime.now(UTC) + timedelta(days=40)
    swept = sweep(published, later, dry_run=True)
    assert "table log" not in swept.files
    for hour in range(5, 12):
        lines(published, f"2026-01-01T{hour:02d}")
        run_window(published, "toy", f"2026-01-01T{hour:02d}", ONE_SHARD)
    sweep(published, datetime.now(UTC))
    assert sweep(published, later).files["table log"] == read_snapshot(published, "toy").version
    delta_log._known.clear()
    assert by_deltalake(root_of(published)) == truth(published)


def test_a_damaged_manifest_or_log_costs_no_other_window_or_workload(published: Store) -> None:
    """Tick and repair commit what they can, name what they cannot, and end."""
    for version in (2, 3):
        published.delete(version_path("toy", version))
    intact = published.read(manifest_path("toy", WINDOWS[2]))
    published.write(manifest_path("toy", WINDOWS[2]), b"{")
    delta_log._known.clear()
    assert [one.window for one in sync_tables(published, datetime.now(UTC))] == [WINDOWS[3]]
    repaired = [(one.workload, one.window, one.state) for one in repair_tables(published, NOW)]
    assert repaired == [("toy", WINDOWS[2], "failed")]
    published.write(manifest_path("toy", WINDOWS[2]), intact)
    published.write(version_path("sensor_anomaly", 1), b"{}")
    delta_log._known.clear()
    repaired = [(one.workload, one.window, one.state) for one in repair_tables(published, NOW)]
    assert sorted(repaired) == [("sensor_anomaly", "", "failed"), ("toy", WINDOWS[2], "committed")]
    assert by_deltalake(root_of(published)) == truth(published)


def test_a_log_with_a_gap_is_named_and_costs_no_run(published: Store) -> None:
    """Somebody deleted a commit: the error names version and cure, the next window is published all the same."""
    published.delete(version_path("toy", 1))
    delta_log._known.clear()
    with pytest.raises(StoreError, match="lacks version 1") as raised:
        read_snapshot(published, "toy")
    assert raised.value.code == "table_log"
    lines(published, "2026-01-01T05")
    assert run_window(published, "toy", "2026-01-01T05").state is RunState.PUBLISHED
    assert isinstance(raised.value, FleetscoreError)


def test_a_log_deleted_under_a_process_that_remembers_it_is_named_and_made_anew(published: Store) -> None:
    """A commit to a log that somebody deleted leaves a gap: the process that made it sees that too, and the repair
    makes the whole table anew.
    """
    log = f"{table_root('toy')}_delta_log/"
    for entry in published.list(log):
        published.delete(entry.path)
    lines(published, "2026-01-01T05")
    assert run_window(published, "toy", "2026-01-01T05", ONE_SHARD).state is RunState.PUBLISHED
    with pytest.raises(StoreError, match="repair --tables"):
        read_snapshot(published, "toy")
    for entry in published.list(log):
        published.delete(entry.path)
    assert {repair.state for repair in repair_tables(published, NOW)} == {"committed"}
    assert by_deltalake(root_of(published)) == truth(published)
