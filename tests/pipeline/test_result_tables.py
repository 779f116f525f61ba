"""Results as Delta tables: other engines read every window whole, and exactly what the manifests name."""

import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deltalake
import polars
import pyarrow as pa
import pytest
from crashing_store import CrashingStore, Killed
from published_tables import (
    NOW,
    ONE_SHARD,
    READERS,
    WINDOWS,
    by_deltalake,
    by_polars,
    lines,
    root_of,
    truth,
)
from toy_workload import Toy

from fleetscore.app_settings import AppSettings
from fleetscore.cli.__main__ import run_command
from fleetscore.errors import PublishError
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.table_sync import (
    lost_windows,
    missing_windows,
    repair_tables,
    sync_tables,
)
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import Only, RunState
from fleetscore.runs import delta_log
from fleetscore.runs.delta_log import read_snapshot, version_path
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.result_tables import TableFile, commit_files, commit_manifest
from fleetscore.runs.run_records import record_planned
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import table_root

OLD = Path(__file__).with_name("stores") / "first_version.zip"


@pytest.mark.parametrize("reader", READERS)
def test_every_engine_reads_what_the_manifests_name(published: Store, reader: str) -> None:
    """The same rows, from the very files of the manifests, after runs, a retry of one partition and a whole
    one.
    """
    root = root_of(published)
    assert READERS[reader](root) == truth(published)
    lines(published, WINDOWS[0], 10)
    execute(published, submit_retry(published, f"toy-{WINDOWS[0]}", NOW, "test", partitions=("p3",)).request)
    assert (WINDOWS[0], "p3", 60) in truth(published)
    assert READERS[reader](root) == truth(published)
    execute(published, submit_retry(published, f"toy-{WINDOWS[0]}", NOW, "test", only=Only.ALL).request)
    assert READERS[reader](root) == truth(published)
    named = {f.path for window in WINDOWS for f in read_manifest(published, "toy", window).files}
    live = read_snapshot(published, "toy").files
    assert {table_root("toy") + path for path in live} == named


def test_each_version_has_every_window_whole_old_or_new(published: Store) -> None:
    """In no version of the table is a window there twice, in part, or mixed of two rounds."""
    lines(published, WINDOWS[1], 10)
    execute(published, submit_retry(published, f"toy-{WINDOWS[1]}", NOW, "test", only=Only.ALL).request)
    old, new = [2 * n for n in range(6)], [20 * n for n in range(6)]
    for version in range(read_snapshot(published, "toy").version + 1):
        values: dict[str, list[int]] = {}
        for window, _, value in by_deltalake(root_of(published), version):
            values.setdefault(window, []).append(value)
        assert all(found in (old, new) for found in values.values())
        assert len(values) == min(version + 1, len(WINDOWS))


def test_a_round_is_committed_once(published: Store) -> None:
    """Committing the same manifest again, or an older round, adds no version."""
    before = read_snapshot(published, "toy").version
    manifest = read_manifest(published, "toy", WINDOWS[0])
    assert commit_manifest(published, manifest, Toy.result_schema, NOW) == before
    assert read_snapshot(published, "toy").version == before


def test_concurrent_windows_are_all_committed(store: Store) -> None:
    """Twelve windows at once from many threads, each through a store of its own: one version each, nothing
    lost.
    """
    windows = [f"2026-01-01T{hour:02d}" for hour in range(12)]
    for window in windows:
        store.write(f"tables/toy/window={window}/{window}.parquet", b"x")

    def commit(window: str) -> int:
        own = open_store(store.url)
        file = TableFile(f"window={window}/{window}.parquet", 1, 1)
        return commit_files(own, "toy", window, 1, [file], Toy.result_schema, NOW)

    with ThreadPoolExecutor(12) as pool:
        versions = list(pool.map(commit, windows))
    delta_log._known.clear()
    snapshot = read_snapshot(store, "toy")
    assert snapshot.version == 11
    assert max(versions) == 11
    assert sorted(snapshot.rounds) == windows
    assert len(snapshot.files) == 12


@pytest.mark.parametrize("applied", [False, True])
def test_killed_at_any_write_of_publishing_the_table_is_whole_and_catches_up(
    tmp_path: Path, applied: bool
) -> None:
    """After each kill, readers see the old round or the new one; what is lost is made up for by the next
    call.
    """
    at = 0
    while True:
        at += 1
        delta_log._known.clear()
        store = open_store(str(tmp_path / f"store-{at}-{applied}"))
        lines(store, WINDOWS[0])
        run_window(store, "toy", WINDOWS[0], ONE_SHARD)
        old = truth(store)
        lines(store, WINDOWS[0], 10)
        asked = submit_retry(store, f"toy-{WINDOWS[0]}", NOW, "test", only=Only.ALL)
        head = commit_plan(store, asked.request, ONE_SHARD, NOW)
        record_planned(store, head, NOW)
        score_shard(store, head.request.run, 0)
        collect_run(store, head.request.run)
        crashing = CrashingStore(store, at, applied)
        try:
            finish_run(crashing, asked.request, NOW)  # type: ignore[arg-type]  # it has all that a store has
            finished = True
        except Killed:
            finished = False
        delta_log._known.clear()
        assert by_deltalake(root_of(store)) in (old, truth(store))
        finish_run(store, asked.request, NOW)
        assert by_deltalake(root_of(store)) == truth(store) != old
        if finished:
            break
    assert at > 5


def test_what_was_published_and_not_committed_is_committed_by_the_watchdog(published: Store) -> None:
    """The last commit is lost: a tick finds the window by its run, and commits it once."""
    last = read_snapshot(published, "toy").version
    published.delete(version_path("toy", last))
    delta_log._known.clear()
    assert len(by_deltalake(root_of(published))) == 18
    done = sync_tables(published, datetime.now(UTC))
    assert [(repair.window, repair.state) for repair in done] == [(WINDOWS[3], "committed")]
    assert by_deltalake(root_of(published)) == truth(published)
    assert sync_tables(published, datetime.now(UTC)) == []


def test_a_full_vacuum_leaves_everything_published_readable(published: Store) -> None:
    """Vacuumed to the last second, with files that nobody names: both the table and the manifests read as
    before.
    """
    lines(published, WINDOWS[0], 10)
    execute(published, submit_retry(published, f"toy-{WINDOWS[0]}", NOW, "test", partitions=("p3",)).request)
    published.write("tables/toy/window=2026-01-01T00/orphan.parquet", b"of nobody")
    before = truth(published)
    vacuum(published)
    assert published.stat("tables/toy/window=2026-01-01T00/orphan.parquet") is None
    assert truth(published) == before == by_polars(root_of(published))
    lines(published, "2026-01-01T05")
    assert run_window(published, "toy", "2026-01-01T05").state is RunState.PUBLISHED
    assert by_polars(root_of(published)) == truth(published)


def test_files_that_are_gone_are_found_by_the_doctor_and_scored_again(published: Store) -> None:
    """A published file was taken: the finding names the window and the command, which makes the table whole."""
    published.delete(read_manifest(published, "toy", WINDOWS[2]).files[0].path)
    found = examine(published, AppSettings(store=published.url), lambda: NOW).findings
    told = [finding for finding in found if finding.check == "tables"]
    assert [(one.state, f"1 file of {WINDOWS[2]}" in one.detail, one.fix) for one in told] == [
        ("wrong", True, f"fleetscore retry toy-{WINDOWS[2]} --only all")
    ]
    execute(published, submit_retry(published, f"toy-{WINDOWS[2]}", NOW, "test", only=Only.ALL).request)
    assert lost_windows(published, "toy") == {}
    assert by_deltalake(root_of(published)) == truth(published)


@pytest.mark.parametrize("when", ["scored", "collected"])
def test_a_shard_whose_file_a_vacuum_took_is_scored_again(published: Store, when: str) -> None:
    """The file is gone after the shard's commit, or after the run was collected: it is published whole all
    the same.
    """
    lines(published, "2026-01-01T05")
    asked = submit_run(published, "toy", "2026-01-01T05", NOW, "test")
    head = commit_plan(published, asked.request, ONE_SHARD, NOW)
    record_planned(published, head, NOW)
    score_shard(published, head.request.run, 0)
    if when == "collected":
        collect_run(published, head.request.run)
    vacuum(published)
    if when == "scored":
        collect_run(published, head.request.run)
    assert finish_run(published, asked.request, NOW).state is RunState.PUBLISHED
    assert len(by_deltalake(root_of(published))) == 30
    assert by_deltalake(root_of(published)) == truth(published)


def vacuum(store: Store) -> None:
    """What a reader's full vacuum does, without waiting."""
    table = deltalake.DeltaTable(root_of(store))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


def test_windows_of_an_earlier_version_are_copied_in(tmp_path: Path) -> None:
    """A store whose results lie below runs/: the doctor counts them, the repair copies them in, a retry goes
    on from there.
    """
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(tmp_path)
    old = open_store(str(tmp_path))
    assert sync_tables(old, datetime.now(UTC)) == []
    missing = missing_windows(old, "sensor_anomaly")
    assert len(missing) == 3
    told = [f for f in examine(old, AppSettings(store=old.url), lambda: NOW).findings if f.check == "tables"]
    assert [(f.state, "lacks 3 published windows" in f.detail) for f in told] == [("warning", True)]
    assert {repair.state for repair in repair_tables(old, NOW, dry_run=True)} == {"missing"}
    assert [repair.window for repair in repair_tables(old, NOW)] == missing
    assert repair_tables(old, NOW) == [] == missing_windows(old, "sensor_anomaly")
    rows = sum(read_manifest(old, "sensor_anomaly", window).rows for window in missing)
    assert polars.read_delta(root_of(old, "sensor_anomaly")).height == rows
    run = read_manifest(old, "sensor_anomaly", missing[0]).run
    key = "/".join(
        str(read_results(old, read_manifest(old, "sensor_anomaly", missing[0])).to_pylist()[0][name])
        for name in ("device", "sensor")
    )
    execute(old, submit_retry(old, run, NOW, "test", partitions=(key,)).request)
    manifest = read_manifest(old, "sensor_anomaly", missing[0])
    assert all(file.path.startswith(table_root("sensor_anomaly")) for file in manifest.files)
    assert polars.read_delta(root_of(old, "sensor_anomaly")).height == rows


def test_new_columns_are_a_metadata_action_and_another_type_is_refused(published: Store) -> None:
    """A column more reads as null in older windows; a column of another type names column and both types."""
    wider = Toy.result_schema.append(pa.field("note", pa.string()))
    published.write("tables/toy/window=2026-01-01T07/x.parquet", parquet(wider))
    file = TableFile(
        "window=2026-01-01T07/x.parquet",
        len(published.read("tables/toy/window=2026-01-01T07/x.parquet")),
        1,
    )
    version = commit_files(published, "toy", "2026-01-01T07", 1, [file], wider, NOW)
    actions = [json.loads(line) for line in published.read(version_path("toy", version)).splitlines()]
    assert any("metaData" in action for action in actions)
    frame = polars.read_delta(root_of(published))
    assert (frame.height, frame["note"].null_count()) == (25, 24)
    other = pa.schema([("partition", pa.string()), ("doubled", pa.string())])
    with pytest.raises(PublishError, match="doubled of toy is long in the table and string"):
        commit_files(published, "toy", "2026-01-01T08", 1, [], other, NOW)


def test_columns_that_differ_only_in_case_are_refused(published: Store) -> None:
    """Engines read no table with both: a new column is refused beside the old one, and two in a new table."""
    respelled = pa.schema([("partition", pa.string()), ("Doubled", pa.int64())])
    with pytest.raises(PublishError, match="Doubled of toy differs from doubled only in case"):
        commit_files(published, "toy", "2026-01-01T08", 1, [], respelled, NOW)
    assert by_polars(root_of(published)) == truth(published)
    both = pa.schema([("kwh", pa.float64()), ("KWH", pa.float64())])
    with pytest.raises(PublishError, match="only in case"):
        commit_files(published, "new", "2026-01-01T08", 1, [], both, NOW)
    assert list(published.list("tables/new/")) == []


def parquet(schema: pa.Schema) -> bytes:
    """One row as a Parquet file."""
    import pyarrow.parquet as pq

    values: Mapping[str, object] = {"partition": "x", "doubled": 1, "note": "new"}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([{n: values[n] for n in schema.names}], schema=schema), sink)
    return bytes(sink.getvalue())


def test_types_of_all_kinds_are_read_back(store: Store) -> None:
    """Numbers, times with and without zone, lists, a column called window: each as it was written."""
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "small": pa.array([1], pa.int16()), "share": pa.array([0.5], pa.float32()), "flag": [True],
            "at": pa.array([NOW], pa.timestamp("us", "UTC")),
            "local": pa.array([NOW.replace(tzinfo=None)], pa.timestamp("us")),
            "name": pa.array(["é"]).dictionary_encode(), "many": pa.array([[1, 2]], pa.list_(pa.int64())),
            "day": pa.array([NOW.date()]), "window": ["mine"],
        }
    )  # fmt: skip
    with store.sink("tables/t/window=W1/f.parquet") as sink:
        pq.write_table(table, sink)
    entry = store.stat("tables/t/window=W1/f.parquet")
    assert entry is not None
    file = TableFile("window=W1/f.parquet", entry.size_bytes, 1)
    commit_files(store, "t", "W1", 1, [file], table.schema, NOW)
    row = deltalake.DeltaTable(root_of(store, "t")).to_pyarrow_dataset().to_table().to_pylist()[0]
    assert (row["small"], row["share"], row["flag"], row["name"]) == (1, 0.5, True, "é")
    assert (row["at"], row["local"], row["many"]) == (NOW, NOW.replace(tzinfo=None), [1, 2])
    assert (row["window"], row["window_"]) == ("mine", "W1")


def test_what_an_attempt_left_in_the_table_is_swept(published: Store) -> None:
    """A file of an attempt that lost lies below the table's root until housekeeping; what a ledger names
    stays.
    """
    lost = f"tables/toy/window={WINDOWS[0]}/toy-{WINDOWS[0]}.00000.lost.parquet"
    published.write(lost, b"x")
    sweep(published, datetime.now(UTC) + timedelta(days=400))
    assert published.stat(lost) is None
    assert by_deltalake(root_of(published)) == truth(published)


def test_a_manifest_is_read_as_before(published: Store) -> None:
    """Paths are relative to the store's root, so that code of the time before tables reads the files that it
    lists.
    """
    import pyarrow.parquet as pq

    data = json.loads(published.read(f"results/toy/{WINDOWS[0]}/manifest.json"))
    folder = published.url.removeprefix("file://")
    tables = [pq.read_table(f"{folder}/{file['path']}", partitioning=None) for file in data["files"]]
    assert sum(table.num_rows for table in tables) == data["rows"] == 6
    assert set(data["files"][0]) == {"path", "rows", "sha256", "partitions"}


def test_the_repair_command_says_what_tables_lack_and_commits_it(
    published: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run names the window and exits 1, the repair exits 0; --yes, which could not act, is refused."""
    published.delete(version_path("toy", read_snapshot(published, "toy").version))
    delta_log._known.clear()
    place = ("--store", published.url)
    assert run_command(["repair", "--tables", "--dry-run", *place]) == 1
    assert WINDOWS[3] in capsys.readouterr().out
    assert run_command(["repair", "--tables", "--yes", *place]) == 2
    assert run_command(["repair", "--tables", "--json", *place]) == 0
    assert by_deltalake(root_of(published)) == truth(published)
