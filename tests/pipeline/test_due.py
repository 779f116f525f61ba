"""A tick starts every window that is due and was never run; a missed tick heals itself; nothing is started twice."""

from datetime import UTC, datetime, timedelta

from toy_workload import write_lines

from fleetscore.operations.due import windows as due
from fleetscore.pipeline.local import execute
from fleetscore.pipeline.submit import Submission, submit_backfilled, submit_run
from fleetscore.records import Only
from fleetscore.registry import find_workload
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 1, 6, 30, tzinfo=UTC)


def submit_due_windows(store: Store, workload: str, now: datetime) -> list[Submission]:
    """What a tick at that time submits for the workload."""
    return due.submit_due_windows(store, find_workload(store, workload), now, now)


def write_hours(store: Store, hours: range) -> None:
    """Data for some hours of the day."""
    for hour in hours:
        write_lines(store, f"2026-01-01T{hour:02d}", [("a", 1, "ok")])


def tick(store: Store, now: datetime) -> list[str]:
    """Let the timer tick and run what it starts; gives the windows."""
    asked = [a for a in submit_due_windows(store, "toy", now) if a.fresh]
    for a in asked:
        execute(store, a.request)
    return [a.request.window for a in asked]


def test_a_store_without_data_starts_nothing(store: Store) -> None:
    """Workloads that nobody uses never make runs."""
    assert tick(store, NOW) == []


def test_missed_ticks_heal_themselves(store: Store) -> None:
    """After four hours without a tick, the next one starts all four windows, oldest first, and the one after nothing."""
    write_hours(store, range(12))
    assert tick(store, NOW) == ["2026-01-01T05"]
    later = NOW + timedelta(hours=4)
    assert tick(store, later) == [f"2026-01-01T{h:02d}" for h in (6, 7, 8, 9)]
    assert tick(store, later) == []


def test_a_run_of_a_missed_tick_was_requested_when_it_was_started(store: Store) -> None:
    """Its duration counts from there: a host that comes back hours after the tick is no slow run."""
    write_hours(store, range(12))
    late = NOW + timedelta(hours=13)
    [submission] = due.submit_due_windows(store, find_workload(store, "toy"), NOW, late)
    assert (submission.request.window, submission.request.requested) == ("2026-01-01T05", late)


def test_two_ticks_at_once_start_a_window_once(store: Store) -> None:
    """The second of two hosts finds the first one's run and leaves it."""
    write_hours(store, range(12))
    first, second = submit_due_windows(store, "toy", NOW), submit_due_windows(store, "toy", NOW)
    assert [a.fresh for a in first] == [True]
    assert [a.fresh for a in second] == [False]


def test_a_window_whose_starter_died_is_given_again(store: Store) -> None:
    """The record was written, the orchestration never started: the next tick hands it out to be started."""
    write_hours(store, range(12))
    submit_run(store, "toy", "2026-01-01T05", NOW, "timer")
    again = submit_due_windows(store, "toy", NOW)
    assert [(a.request.window, a.state) for a in again] == [("2026-01-01T05", "requested")]


def test_a_window_of_which_one_partition_was_run_by_hand_is_completed(store: Store) -> None:
    """Somebody scored one partition before the tick: the tick starts a run for the others, and the next one nothing."""
    write_hours(store, range(4, 5))
    assert tick(store, NOW - timedelta(hours=1)) == ["2026-01-01T04"]
    write_lines(store, "2026-01-01T05", [("a", 1, "ok"), ("b", 2, "ok")])
    by_hand = submit_run(store, "toy", "2026-01-01T05", NOW, "test", partitions=("a",))
    assert execute(store, by_hand.request).counts == {"scored": 1, "skipped": 1}
    assert tick(store, NOW) == ["2026-01-01T05"]
    assert execute(store, submit_run(store, "toy", "2026-01-01T05", NOW, "test").request).counts == {
        "scored": 2
    }
    assert tick(store, NOW) == []


def test_a_backfill_that_asks_again_after_a_crash_is_told_to_start(store: Store) -> None:
    """The same backfill gets its own run, still to be started; another one leaves it alone."""
    write_hours(store, range(12))
    first = submit_backfilled(store, "toy", "2026-01-01T01", NOW, "lane-1", Only.MISSING)
    again = submit_backfilled(store, "toy", "2026-01-01T01", NOW, "lane-1", Only.MISSING)
    other = submit_backfilled(store, "toy", "2026-01-01T01", NOW, "lane-2", Only.MISSING)
    assert (first.fresh, again.fresh, other.fresh) == (True, True, False)
    assert first.request == again.request == other.request


def test_a_backfill_repeats_only_what_it_is_asked_to(store: Store) -> None:
    """missing leaves a published window, failed takes one with failures, all takes any."""
    write_lines(store, "2026-01-01T01", [(f"p{i}", 1, "ok") for i in range(10)])
    write_lines(store, "2026-01-01T02", [(f"p{i}", 1, "fail" if i == 0 else "ok") for i in range(10)])
    for hour in (1, 2):
        execute(store, submit_run(store, "toy", f"2026-01-01T0{hour}", NOW, "x").request)
    wanted = {
        only: [
            submit_backfilled(store, "toy", f"2026-01-01T0{h}", NOW, f"lane-{only}", only).fresh
            for h in (1, 2)
        ]
        for only in (Only.MISSING, Only.FAILED)
    }
    assert wanted == {Only.MISSING: [False, False], Only.FAILED: [False, True]}
    assert submit_backfilled(store, "toy", "2026-01-01T01", NOW, "lane-all", Only.ALL).fresh


def test_a_forecast_is_due_when_its_week_begins(store: Store) -> None:
    """The weekly timer of Monday morning starts the week that has just begun: its sales are what is forecast."""
    store.write("data/store_sales/history.csv", b"store,sku,week,sales\n")
    monday = datetime(2026, 11, 16, 4, tzinfo=UTC)
    assert [a.request.window for a in submit_due_windows(store, "store_sales", monday)] == ["2026-W47"]
