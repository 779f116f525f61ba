"""A run through all steps in one process: outcomes, isolation, retries, training, two workers at once, death at every write."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from crashing_store import CrashingStore, Killed
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.plan import commit_plan, make_plan
from fleetscore.pipeline.score import read_shard_record, score_shard
from fleetscore.pipeline.submit import (
    cancel_run,
    decide_backfilled,
    newest_round,
    submit_backfilled,
    submit_retry,
    submit_run,
)
from fleetscore.records import Only, RunState
from fleetscore.runs.index import list_runs
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.plans import read_shard_partitions
from fleetscore.runs.published import read_frame
from fleetscore.runs.run_records import read_run
from fleetscore.runs.status import describe_run
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
APP = AppSettings(inline_shard_s=3.0, parallelism=2)  # a toy partition counts as a second: shards of three
NOW = datetime(2026, 1, 1, 2, tzinfo=UTC)


def lines_of(count: int, **behaviour: str) -> list[tuple[str, int, str]]:
    """Partitions p0.. with their number as value, all ok but those named."""
    return [(f"p{i}", i, behaviour.get(f"p{i}", "ok")) for i in range(count)]


def published_rows(store: Store, window: str = WINDOW) -> list[tuple[str, int]]:
    """The published rows, sorted."""
    table = read_results(store, read_manifest(store, "toy", window))
    return sorted(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def snapshot(store: Store) -> dict[str, bytes]:
    """All content of the store."""
    return {entry.path: store.read(entry.path) for entry in store.list("")}


def test_every_partition_ends_with_its_outcome_and_the_rest_is_published(store: Store) -> None:
    """One that fails, one that raises and one that is late cost nobody else a row."""
    write_lines(store, WINDOW, lines_of(30, p3="fail", p7="raise", p9="late"))
    record = run_window(store, "toy", WINDOW, APP)
    assert record.state is RunState.PUBLISHED
    assert record.counts == {"scored": 27, "failed": 2, "late": 1}
    assert published_rows(store) == sorted((f"p{i}", 2 * i) for i in range(30) if i not in (3, 7, 9))
    causes = {cause.cause: cause for cause in record.causes}
    assert causes["unexpected_error"].detail == "ValueError: p7 cannot be scored"
    assert (causes["bad_value"].example, causes["no_rows"].outcome) == ("p3", "late")


def test_the_manifest_lists_files_with_their_rows_and_hashes(store: Store) -> None:
    """Each file has the rows, the partitions and the SHA-256 that the manifest says."""
    import hashlib

    write_lines(store, WINDOW, lines_of(20))
    run_window(store, "toy", WINDOW, APP)
    manifest = read_manifest(store, "toy", WINDOW)
    assert len(manifest.files) > 1
    assert sum(file.rows for file in manifest.files) == sum(file.partitions for file in manifest.files) == 20
    for file in manifest.files:
        assert hashlib.sha256(store.read(file.path)).hexdigest() == file.sha256


def test_results_read_as_a_table_for_people(store: Store) -> None:
    """read_frame gives the published rows of a window, all files together, as pandas."""
    write_lines(store, WINDOW, lines_of(12))
    run_window(store, "toy", WINDOW, APP)
    frame = read_frame(store, "toy", WINDOW)
    assert frame.sort_values("doubled")["doubled"].tolist() == [2 * i for i in range(12)]


def test_beyond_the_error_threshold_nothing_is_published(store: Store) -> None:
    """Three of ten failing is more than a tenth: no manifest, and the run says why."""
    write_lines(store, WINDOW, lines_of(10, p1="fail", p2="fail", p3="fail"))
    record = run_window(store, "toy", WINDOW, APP)
    assert record.state is RunState.UNPUBLISHED
    assert "at most 10 % may" in record.error
    assert store.stat(f"results/toy/{WINDOW}/manifest.json") is None


def test_a_window_without_data_is_not_published(store: Store) -> None:
    """Nothing expected, nothing scored: the run ends and says so."""
    assert run_window(store, "toy", WINDOW, APP).error.startswith(
        "Nothing is expected: the window has no data"
    )


def test_planning_shows_everything_and_writes_nothing(store: Store) -> None:
    """make_plan leaves the store as it was; commit_plan then plans the same shards."""
    write_lines(store, WINDOW, lines_of(10, p9="late"))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    before = snapshot(store)
    plan = make_plan(store, request, APP, NOW)
    assert snapshot(store) == before
    assert (plan.head.pending, plan.head.settled, len(plan.shards)) == (9, {"late": 1}, 3)
    head = commit_plan(store, request, APP, NOW)
    shards = [set(read_shard_partitions(store, head, s)["partition"].to_pylist()) for s in range(head.shards)]
    assert set.union(*shards) == {f"p{i}" for i in range(9)}
    assert sum(map(len, shards)) == 9


def test_a_plan_is_made_once(store: Store) -> None:
    """Planning again after the data changed gives the first plan: the run's shards stand."""
    write_lines(store, WINDOW, lines_of(4))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    first = commit_plan(store, request, APP, NOW)
    write_lines(store, WINDOW, lines_of(8))
    assert commit_plan(store, request, APP, NOW) == first


def test_asking_twice_starts_once(store: Store) -> None:
    """The second asker gets the first one's run; after publishing too."""
    write_lines(store, WINDOW, lines_of(3))
    first, second = (submit_run(store, "toy", WINDOW, NOW, who) for who in ("ann", "bob"))
    assert (first.fresh, second.fresh) == (True, False)
    assert first.request == second.request
    execute(store, first.request, APP)
    assert submit_run(store, "toy", WINDOW, NOW, "bob").state is RunState.PUBLISHED


def test_of_many_askers_at_once_one_starts_the_run(store: Store) -> None:
    """Sixteen threads ask for one window: exactly one of them is to start it."""
    with ThreadPoolExecutor(16) as pool:
        asked = list(pool.map(lambda n: submit_run(store, "toy", WINDOW, NOW, f"t{n}"), range(16)))
    assert sum(a.fresh for a in asked) == 1
    assert len({a.request.who for a in asked}) == 1


def test_a_retry_scores_only_what_failed_and_keeps_the_files(store: Store) -> None:
    """Round 2 has rows for the fixed partition alone; the other files stay where they are, byte for byte."""
    write_lines(store, WINDOW, lines_of(30, p3="fail", p7="raise"))
    run_window(store, "toy", WINDOW, APP)
    before = read_manifest(store, "toy", WINDOW)
    write_lines(store, WINDOW, lines_of(30, p7="raise"))
    asked = submit_retry(store, RUN, NOW, "test")
    record = execute(store, asked.request, APP)
    after = read_manifest(store, "toy", WINDOW)
    assert record.counts == {"scored": 29, "failed": 1}
    assert after.files[: len(before.files)] == before.files
    assert sum(file.rows for file in after.files[len(before.files) :]) == 1
    assert published_rows(store) == sorted((f"p{i}", 2 * i) for i in range(30) if i != 7)
    assert [line.run for line in after.history] == [RUN]


def test_missing_takes_late_and_new_partitions_but_leaves_failed_ones(store: Store) -> None:
    """A late sensor whose data came, and one that is new, are scored; a failed one keeps its outcome."""
    write_lines(store, WINDOW, lines_of(20, p3="fail", p9="late"))
    run_window(store, "toy", WINDOW, APP)
    write_lines(store, WINDOW, [*lines_of(20), ("new", 7, "ok")])
    record = execute(store, submit_retry(store, RUN, NOW, "test", only=Only.MISSING).request, APP)
    assert record.counts == {"scored": 20, "failed": 1}
    assert ("new", 14) in published_rows(store)
    ledger = read_ledger(store, f"{RUN}-r2")
    line = {row["partition"]: row for row in ledger.to_pylist()}["p3"]
    assert (line["outcome"], line["run"]) == ("failed", RUN)


def test_all_scores_everything_again(store: Store) -> None:
    """No file of the earlier round stays in the manifest."""
    write_lines(store, WINDOW, lines_of(6))
    run_window(store, "toy", WINDOW, APP)
    before = {file.path for file in read_manifest(store, "toy", WINDOW).files}
    write_lines(store, WINDOW, [(key, value + 1, how) for key, value, how in lines_of(6)])
    execute(store, submit_retry(store, RUN, NOW, "test", only=Only.ALL).request, APP)
    assert not before & {file.path for file in read_manifest(store, "toy", WINDOW).files}
    assert published_rows(store) == [(f"p{i}", 2 * i + 2) for i in range(6)]


def test_a_named_partition_takes_its_file_mates_along(store: Store) -> None:
    """Scoring one partition again drops its file, so all in that file are scored again and no row is there twice."""
    write_lines(store, WINDOW, lines_of(9))
    run_window(store, "toy", WINDOW, APP)
    write_lines(store, WINDOW, [(key, value + 1, how) for key, value, how in lines_of(9)])
    record = execute(store, submit_retry(store, RUN, NOW, "test", partitions=("p4",)).request, APP)
    rows = dict(published_rows(store))
    assert record.counts == {"scored": 9}
    assert len(published_rows(store)) == 9
    assert rows["p4"] == 10


def test_naming_partitions_skips_the_others_and_fails_unknown_ones(store: Store) -> None:
    """A run of two named partitions says of all others that they were not asked for."""
    write_lines(store, WINDOW, lines_of(20))
    request = submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p1", "ghost")).request
    record = execute(store, request, APP)
    assert record.counts == {"scored": 1, "failed": 1, "skipped": 19}
    assert {c.cause for c in record.causes} == {"not_requested", "unknown_partition"}


def test_a_plain_run_scores_what_was_left_out_on_request(store: Store) -> None:
    """After a run of one partition, the window's next run scores the others once, and the one after it is that run."""
    write_lines(store, WINDOW, lines_of(20))
    first = submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p1",))
    execute(store, first.request, APP)
    assert len(published_rows(store)) == 1
    second = submit_run(store, "toy", WINDOW, NOW, "test")
    assert second.fresh and second.request.only is Only.MISSING
    assert execute(store, second.request, APP).counts == {"scored": 20}
    assert len(published_rows(store)) == 20
    assert not submit_run(store, "toy", WINDOW, NOW, "test").fresh


def test_a_backfill_scores_what_was_left_out_on_request(store: Store) -> None:
    """A published window of named partitions alone is not done: the preview says how many lack."""
    write_lines(store, WINDOW, lines_of(20))
    record = execute(store, submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p1",)).request, APP)
    decision = decide_backfilled(record, Only.MISSING)
    assert decision.runs and decision.why == "19 of its partitions were left out on request."
    filled = submit_backfilled(store, "toy", WINDOW, NOW, "a backfill", Only.MISSING)
    assert execute(store, filled.request, APP).counts == {"scored": 20}
    assert not decide_backfilled(newest_round(store, "toy", WINDOW), Only.MISSING).runs


def test_each_step_may_run_twice(store: Store) -> None:
    """Scoring, collecting and finishing again change neither rows nor record."""
    write_lines(store, WINDOW, lines_of(7, p2="fail"))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    execute(store, request, APP)
    before = {k: v for k, v in snapshot(store).items() if not k.endswith((".parquet", "rates/toy.json"))}
    head = commit_plan(store, request, APP, NOW)
    for shard in range(head.shards):
        assert score_shard(store, RUN, shard) == read_shard_record(store, RUN, shard)
    collect_run(store, RUN)
    finish_run(store, request, NOW)
    after = {k: v for k, v in snapshot(store).items() if not k.endswith((".parquet", "rates/toy.json"))}
    assert after == before


@pytest.mark.parametrize("name", ["ledger.parquet", "files.json"])
def test_what_a_failing_storage_service_lost_is_collected_anew(store: Store, name: str) -> None:
    """A file that was written beside the collected counts and is gone when the run is published is made anew from its shards."""
    write_lines(store, WINDOW, lines_of(12, p2="fail"))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    head = commit_plan(store, request, APP, NOW)
    for shard in range(head.shards):
        score_shard(store, RUN, shard)
    collect_run(store, RUN)
    before = store.read(run_path(RUN, name))
    store.delete(run_path(RUN, name))
    assert finish_run(store, request, NOW).state is RunState.PUBLISHED
    assert store.read(run_path(RUN, name)) == before


def test_two_workers_on_one_shard_commit_once(store: Store) -> None:
    """Both score; one record stands, both are given it, and the manifest has its rows only."""
    write_lines(store, WINDOW, lines_of(3, p0="slow", p1="slow"))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    commit_plan(store, request, APP, NOW)
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda _: score_shard(store, RUN, 0), range(4)))
    assert len({record.attempt for record in records if record}) == 1
    attempts = {e.path.split("/")[5] for e in store.list(f"runs/{RUN}/shards/00000/attempts/")}
    assert len(attempts) == 4
    execute(store, request, APP)
    assert len(published_rows(store)) == 3


def test_a_cancelled_run_publishes_nothing(store: Store) -> None:
    """Shards that have not begun are not scored; the run ends cancelled and its ledger still adds up."""
    write_lines(store, WINDOW, lines_of(9))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    head = commit_plan(store, request, APP, NOW)
    score_shard(store, RUN, 0)
    cancel_run(store, RUN, "test")
    record = execute(store, request, APP)
    assert record.state is RunState.CANCELLED
    assert record.counts == {"scored": 3, "failed": 6}
    assert head.shards == 3
    assert store.stat(f"results/toy/{WINDOW}/manifest.json") is None


def test_training_is_a_run_and_gives_a_pinned_model_set(store: Store) -> None:
    """The shards' files are joined in order, stored as one set, and pinned with the run's name as the reason."""
    write_lines(store, WINDOW, lines_of(7))
    record = run_training(store, "toy", WINDOW, "2026-01-01T01", APP)
    model_set = read_model_set(store, "toy", record.model_set)
    assert record.state is RunState.PUBLISHED
    assert model_set.card["run"] == f"toy-train-{WINDOW}-2026-01-01T01"
    assert read_pins(store, "toy").current == model_set.version


def test_preparation_runs_once_per_content(store: Store) -> None:
    """The second window of the same file finds the partial there."""
    store.write("settings/toy.toml", b"prepare = true\n")
    write_lines(store, WINDOW, lines_of(3))
    run_window(store, "toy", WINDOW, APP)
    partials = list(store.list("partials/toy/"))
    assert len(partials) == 1
    execute(store, submit_retry(store, RUN, NOW, "test", only=Only.ALL).request, APP)
    assert list(store.list("partials/toy/")) == partials


def test_status_and_index_say_how_a_run_stands(store: Store) -> None:
    """While it runs: shards done of all; afterwards: the verdict, and one line in the index."""
    write_lines(store, WINDOW, lines_of(9, p1="fail"))
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    record = execute(store, request, APP)
    status = describe_run(store, RUN, NOW)
    assert (status.verdict, status.shards_done, status.eta_s) == ("unpublished", 3, None)
    assert "11" not in status.first_cause
    assert list_runs(store, "toy")[0].counts == read_run(store, RUN).counts == record.counts


def outcome_of_full_run(store: Store, at: int, applied: bool) -> int:
    """Run a window through a store that dies at write `at`, then again until it ends; gives the writes of the first try."""
    crashing = CrashingStore(store, at, applied)
    try:
        execute(crashing, submit_run(crashing, "toy", WINDOW, NOW, "test").request, APP)
    except Killed:
        request = submit_run(store, "toy", WINDOW, NOW, "test").request
        execute(store, request, APP)
    return crashing.writes


@pytest.mark.parametrize("applied", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize(
    "step", [3, pytest.param(1, marks=pytest.mark.slow)], ids=["every third", "every one"]
)
def test_death_at_any_write_changes_no_result(
    tmp_path_factory: pytest.TempPathFactory, applied: bool, step: int
) -> None:
    """Killed at a write of a run and started again, the run publishes the same rows, each once; other writes each time."""
    from fleetscore.store import open_store

    def fresh() -> Store:
        store = open_store(str(tmp_path_factory.mktemp("crash")))
        write_lines(store, WINDOW, lines_of(10, p3="fail"))
        return store

    reference = fresh()
    writes = outcome_of_full_run(reference, 0, applied)
    expected = published_rows(reference)
    assert writes > 20
    for at in range(min(step, 1 + applied), writes + 1, step):
        store = fresh()
        outcome_of_full_run(store, at, applied)
        assert published_rows(store) == expected, f"write {at}"
        assert read_run(store, RUN).counts == {"scored": 9, "failed": 1}, f"write {at}"
        assert list_runs(store, "toy")[0].state is RunState.PUBLISHED, f"write {at}"
