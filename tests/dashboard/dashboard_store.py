"""A store whose toy windows ended in every way: good, with failures, unpublished, stopped, cancelled, under way, missing."""

from datetime import UTC, datetime

from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.attempt_marker import make_marker
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import cancel_run, submit_retry, submit_run
from fleetscore.records import Ending, Only, RunState, to_json
from fleetscore.runs.run_records import record_ending, record_planned, record_state
from fleetscore.store.base import Store

APP = AppSettings(inline_shard_s=3.0, parallelism=2)  # a toy partition counts as a second: shards of three
EVIL = "<script>alert(1)</script>\"'&pump"
GOOD, FAILURES, UNPUBLISHED, STOPPED, CANCELLED, UNDERWAY = (
    f"2026-01-01T{hour:02d}" for hour in (0, 1, 2, 3, 5, 6)
)
MISSING = "2026-01-01T04"
LOG = "Traceback: it said <b>no</b> & died\n"


def run_of(window: str) -> str:
    """The first round's run."""
    return f"toy-{window}"


def fill_store(store: Store) -> None:
    """Write the store, whatever the order of windows says in the order of time."""
    good = [(f"p{i}", i, "ok") for i in range(30)]
    write_lines(store, GOOD, good)
    run_window(store, "toy", GOOD, APP)
    write_lines(store, FAILURES, [*good, (EVIL, 7, "fail"), ("p30", 1, "raise"), ("p31", 1, "late")])
    run_window(store, "toy", FAILURES, APP)
    retried = submit_retry(store, run_of(FAILURES), datetime.now(UTC), "test", only=Only.FAILED)
    execute(store, retried.request, APP)
    write_lines(store, UNPUBLISHED, [(f"p{i}", i, "fail" if i < 5 else "ok") for i in range(20)])
    run_window(store, "toy", UNPUBLISHED, APP)
    _stop(store, STOPPED, Ending(RunState.FAILED, "ValueError: the plan <i>broke</i>"))
    write_lines(store, CANCELLED, good)
    asked = submit_run(store, "toy", CANCELLED, datetime.now(UTC), "test").request
    cancel_run(store, asked.run, "test")
    record_planned(store, commit_plan(store, asked, APP, datetime.now(UTC)), datetime.now(UTC))
    collect_run(store, asked.run)
    finish_run(store, asked, datetime.now(UTC))
    _leave_under_way(store)
    write_lines(store, "2026-01-02T00", [("p0", 1, "ok")])
    run_training(store, "toy", "2026-01-02T00", "2026-01-02T01", APP)


def _stop(store: Store, window: str, ending: Ending) -> None:
    asked = submit_run(store, "toy", window, datetime.now(UTC), "test").request
    record_ending(store, asked.run, ending, None, datetime.now(UTC), {})
    store.write(f"runs/{asked.run}/logs/shard-00000.stderr.txt", LOG.encode())


def _leave_under_way(store: Store) -> None:
    """Four of ten shards are committed, one is being scored."""
    lines = [(f"p{i}", i, "fail" if i == 0 else "ok") for i in range(30)]
    write_lines(store, UNDERWAY, lines)
    store.delete("rates/toy.json")  # what earlier runs measured would make fewer shards
    asked = submit_run(store, "toy", UNDERWAY, datetime.now(UTC), "test").request
    record_state(store, asked.run, RunState.PREPARING, datetime.now(UTC))
    record_planned(store, commit_plan(store, asked, APP, datetime.now(UTC)), datetime.now(UTC))
    for shard in range(4):
        score_shard(store, asked.run, shard)
    store.write(f"runs/{asked.run}/shards/00004/attempts/abc/crumb.json", to_json(make_marker(["p9"])))
