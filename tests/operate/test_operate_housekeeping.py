"""Housekeeping removes what is old and spare, and never what a manifest or a ledger speaks of."""

import json
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from app_host import Host, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import ConflictError
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.operations.housekeeping import find_doomed, sweep
from fleetscore.operations.watchdog import close_run
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import cancel_run, newest_round, submit_retry, submit_run
from fleetscore.records import FINAL, Manifest, Only, RunState, to_json
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.run_records import read_run, record_planned
from fleetscore.settings import KeepPolicy
from fleetscore.sources.landing import Landed
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import attempt_path
from fleetscore.store.state_files import read_truth
from triggers.housekeeping import purge_windows

NOW = datetime.now(UTC)
WINDOWS = ("2026-01-01T00", "2026-01-01T01")
SMALL = AppSettings(inline_shard_s=2.0)
LATER = NOW + timedelta(days=400)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(WINDOWS),
        st.lists(st.sampled_from(["ok", "ok", "ok", "fail", "late"]), min_size=6, max_size=6),
        st.sampled_from(["whole", "whole", "whole", "dies", "cancelled", "left"]),
        st.sampled_from(Only),
        st.sampled_from([0, 0, 20, 45, 120]),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def run_somehow(store: Store, window: str, how: str, only: Only) -> None:
    """One more round of the window, which ends as `how` says."""
    newest = newest_round(store, "toy", window)
    if newest is None:
        asked = submit_run(store, "toy", window, NOW, "direct")
    else:
        asked = submit_retry(store, newest.request.run, NOW, "direct", only=only)
    if read_run(store, asked.request.run).state in FINAL:
        return
    head = commit_plan(store, asked.request, SMALL, NOW)
    record_planned(store, head, NOW)
    run = head.request.run
    for shard in range(head.shards if how == "whole" else head.shards // 2):
        score_shard(store, run, shard)
    if head.shards:
        store.write(attempt_path(run, 0, "lost", "results.parquet"), b"of an attempt that lost")
    if how == "dies":
        close_run(store, run, "It died.", NOW)
    elif how != "left":
        if how == "cancelled":
            cancel_run(store, run, "me")
        collect_run(store, run)
        finish_run(store, head.request, NOW)


def published(store: Store) -> dict[str, list[tuple[str, int]]]:
    """All published rows, by window."""
    rows = {}
    for window in WINDOWS:
        if store.stat(f"results/toy/{window}/manifest.json") is not None:
            table = (
                read_results(store, read_manifest(store, "toy", window))
                if read_manifest(store, "toy", window).files
                else None
            )
            rows[window] = sorted((r["partition"], r["doubled"]) for r in table.to_pylist()) if table else []
    return rows


def referenced_files(store: Store) -> set[str]:
    """Every file that a manifest or a ledger of any run refers to: what may never go."""
    found: set[str] = set()
    for entry in store.list("results/"):
        if entry.path.endswith("/manifest.json"):
            manifest = read_truth(store, entry.path, Manifest)
            found |= {file.path for file in (*manifest.files, *manifest.events)} | {manifest.ledger}
    for entry in store.list("runs/"):
        if entry.path.endswith("/ledger.parquet"):
            ledger = read_ledger(store, entry.path.split("/")[1])
            found |= set(ledger["file"].to_pylist()) - {""}
    return found


@settings(max_examples=12)
@given(STEPS, st.lists(st.sampled_from([0, 35, 95, 200]), min_size=1, max_size=3), st.integers(0, 2**32))
def test_whatever_happened_nothing_goes_that_a_manifest_or_a_ledger_speaks_of(
    steps: list[tuple[str, list[str], str, Only, int]], ages: list[int], seed: int
) -> None:
    """Random rounds that end, die, are cancelled or left; swept in between and stopped at any file; all that is referred to is there."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        store.write("settings/toy.toml", b"[run]\nerror_threshold = 0.4\n")
        for number, (window, behaviours, how, only, age) in enumerate(steps):
            write_lines(store, window, [(f"p{i}", 100 * number + i, b) for i, b in enumerate(behaviours)])
            run_somehow(store, window, how, only)
            if age:
                sweep(store, NOW + timedelta(days=age))
        before = published(store)
        chance = random.Random(seed)
        for age in ages:
            for doomed in find_doomed(store, "toy", KeepPolicy(), NOW + timedelta(days=age)):
                assert not doomed.path.startswith(("results/", "models/", "index/", "data/"))
                if chance.random() < 0.05:
                    break  # the process died here
                store.delete(doomed.path)
            assert {path for path in referenced_files(store) if store.stat(path) is None} == set()
            assert published(store) == before
        sweep(store, LATER)
        assert {path for path in referenced_files(store) if store.stat(path) is None} == set()
        assert published(store) == before


def test_a_kept_ledger_and_its_run_stay_readable(store: Store) -> None:
    """A retry kept what an unpublished run got right: that run's files are needed, and stay however old."""
    store.write("settings/toy.toml", b"[run]\nerror_threshold = 0.2\n")
    write_lines(store, WINDOWS[0], [(f"p{i}", i, "ok" if i < 4 else "fail") for i in range(6)])
    first = run_window(store, "toy", WINDOWS[0], SMALL)
    assert first.state is RunState.UNPUBLISHED
    write_lines(store, WINDOWS[0], [(f"p{i}", i, "ok") for i in range(6)])
    second = execute(store, submit_retry(store, first.request.run, NOW, "direct").request, SMALL)
    sweep(store, LATER)
    assert second.state is RunState.PUBLISHED
    assert published(store)[WINDOWS[0]] == [(f"p{i}", 2 * i) for i in range(6)]
    assert set(read_ledger(store, second.request.run)["run"].to_pylist()) == {
        first.request.run,
        second.request.run,
    }


def test_what_is_old_and_spare_goes_and_records_stay(
    store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Lost attempts, markers and a cancelled run's files go after their days; a dry run removes nothing; a second sweep finds nothing."""
    write_lines(store, WINDOWS[0], [(f"p{i}", i, "ok") for i in range(6)])
    write_lines(store, WINDOWS[1], [(f"p{i}", i, "ok") for i in range(6)])
    run_somehow(store, WINDOWS[0], "whole", Only.ALL)
    run_somehow(store, WINDOWS[1], "cancelled", Only.ALL)
    assert sweep(store, NOW + timedelta(days=10)).files == {}
    before = {entry.path for entry in store.list("")}
    dry = sweep(store, NOW + timedelta(days=100), dry_run=True)
    assert {entry.path for entry in store.list("")} == before
    swept = sweep(store, NOW + timedelta(days=100))
    assert (dict(swept.files), swept.bytes) == (dict(dry.files), dry.bytes)
    assert set(swept.files) == {"attempt", "unpublished"}
    left = {entry.path for entry in store.list("runs/")}
    assert not [path for path in left if "lost" in path or "crumb" in path]
    cancelled = f"runs/toy-{WINDOWS[1]}/"
    assert {path for path in left if path.startswith(cancelled)} == {
        f"{cancelled}run.json",
        f"{cancelled}cancel.json",
    }
    assert sweep(store, NOW + timedelta(days=100)).files == {}
    assert newest_round(store, "toy", WINDOWS[1]) is not None
    code, said = command("housekeep", "--dry-run", "--json")
    assert (code, json.loads(said)["files"], json.loads(said)["dry_run"]) == (0, {}, True)


def test_runs_whose_records_are_lost_keep_no_other_files_back(store: Store) -> None:
    """Runs that the index names and whose folder is gone are passed over; what is old elsewhere goes all the same."""
    for window in WINDOWS:
        write_lines(store, window, [(f"p{i}", i, "ok") for i in range(6)])
        run_somehow(store, window, "dies", Only.ALL)
    for entry in list(store.list(f"runs/toy-{WINDOWS[0]}/")):
        store.delete(entry.path)
    swept = sweep(store, NOW + timedelta(days=100))
    assert swept.files["unpublished"] > 0
    assert store.stat(f"runs/toy-{WINDOWS[1]}/ledger.parquet") is None


def test_a_trained_set_outlives_the_run_that_made_it(store: Store) -> None:
    """The shards' files of a training run go, the model set that they were joined into stays whole."""
    write_lines(store, WINDOWS[0], [("a", 1, "ok"), ("b", 2, "ok")])
    trained = run_training(store, "toy", WINDOWS[0], WINDOWS[1])
    swept = sweep(store, LATER)
    assert swept.files["attempt"] > 0
    model_set = read_model_set(store, "toy", trained.model_set)
    assert all(read_model_file(store, model_set, name) for name in model_set.files)


def test_an_old_unpublished_window_can_still_be_run_again(store: Store) -> None:
    """After its files are gone a retry scores everything anew."""
    write_lines(store, WINDOWS[0], [("a", 1, "fail")])
    run = run_window(store, "toy", WINDOWS[0]).request.run
    sweep(store, LATER)
    write_lines(store, WINDOWS[0], [("a", 1, "ok")])
    try:
        record = execute(store, submit_retry(store, run, NOW, "direct").request)
    except ConflictError:  # pragma: no cover - said here so that the reason is seen
        raise AssertionError("the retry built on what is gone") from None
    assert record.counts == {"scored": 1}


def test_history_is_purged_in_windows_without_a_gap() -> None:
    """Six hours at a time, from four weeks to two weeks ago."""
    spans = list(purge_windows(NOW))
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert (spans[0][0], spans[-1][1]) == (NOW - timedelta(days=28), NOW - timedelta(days=14))
    assert max(stop - first for first, stop in spans) == timedelta(hours=6)


def test_the_timer_sweeps_and_purges_on_the_real_host(host: Host, host_store: Store) -> None:
    """Fired by hand it leaves its mark; the endpoint says what would go; what is young stays, history too."""
    write_lines(host_store, WINDOWS[0], [("a", 1, "ok")])
    run = host.post("runs", {"workload": "toy", "window": WINDOWS[0]}).json()
    host.ended(run["id"])
    assert host.get("housekeeping") == {
        "files": {}, "bytes": {}, "examples": [], "dry_run": True, "remarks": [],
    }  # fmt: skip
    host.fire("housekeeping_timer")
    wait_until(lambda: host_store.stat("swept/toy.json") is not None)
    assert host.manage(run["id"]).status_code == 200


def test_landings_go_once_a_later_one_has_replaced_them(store: Store) -> None:
    """The newest landing stays for good, older ones for `partials_days`; a folder with a damaged record loses nothing."""
    later = datetime.now(UTC) + timedelta(days=100)
    for window in ("2026-01-01T00", "2026-01-01T01"):
        folder = f"landed/toy/{window}/"
        for name in ("a", "b"):
            store.write(f"{folder}{name}.parquet", b"rows")
        landed = Landed(f"{folder}b.parquet", "e", 4, 1, NOW, NOW, NOW, "FLEETSCORE_DATABASE_X", "0")
        store.write(f"{folder}landing.json", to_json(landed))
    store.write("landed/toy/2026-01-01T01/landing.json", b"{")
    assert sweep(store, datetime.now(UTC), dry_run=True).files.get("landing", 0) == 0
    assert sweep(store, later).files["landing"] == 1
    left = {entry.path for entry in store.list("landed/") if entry.path.endswith(".parquet")}
    assert left == {
        "landed/toy/2026-01-01T00/b.parquet", "landed/toy/2026-01-01T01/a.parquet", "landed/toy/2026-01-01T01/b.parquet",
    }  # fmt: skip
