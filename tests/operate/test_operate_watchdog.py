"""The watchdog: dead orchestrations are found, lost starts are made good, late data is scored alone, overdue windows are told of."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from app_host import Host, wait_until
from notice_receiver import Receiver
from toy_workload import Toy, write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import TakenOverError
from fleetscore.operations.attention.overview import read_attention
from fleetscore.operations.attention.states import Mark
from fleetscore.operations.due.late_data import find_late, submit_late
from fleetscore.operations.watchdog import (
    close_run,
    find_last_step,
    find_trouble,
    judge_orchestration,
)
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import Only, RunRecord, RunRequest, RunState, to_json
from fleetscore.registry import get_workload
from fleetscore.runs.index import index_run, list_runs_since, newest_rounds
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.run_records import (
    check_instance,
    read_run,
    record_state,
    record_takeover,
    request_run,
    take_over,
)
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, window_at
from fleetscore.workload import Partitions, RunContext

NOW = datetime.now(UTC)
WINDOW = "2026-01-01T00"
OLD = timedelta(minutes=10)


def record(state: RunState, age: timedelta = OLD) -> RunRecord:
    """A record in that state, last changed `age` ago."""
    request = RunRequest(f"toy-{WINDOW}", "toy", WINDOW, 1, NOW - age, "http")
    return RunRecord(request, state, NOW - age)


@pytest.mark.parametrize(
    ("state", "status", "age", "expected"),
    [
        (RunState.SCORING, "Running", OLD, None),
        (RunState.SCORING, "Pending", OLD, None),
        (RunState.SCORING, "Failed", timedelta(0), "take_over"),
        (RunState.REQUESTED, "Terminated", timedelta(0), "fail"),
        (RunState.SCORING, "", OLD, "take_over"),
        (RunState.SCORING, "", timedelta(minutes=1), None),
        (RunState.REQUESTED, "", OLD, "start"),
        (RunState.REQUESTED, "", timedelta(seconds=10), None),
        (RunState.COLLECTING, "Completed", OLD, "take_over"),
        (RunState.COLLECTING, "Completed", timedelta(0), "take_over"),
    ],
)
def test_what_the_state_of_an_orchestration_means(
    state: RunState, status: str, age: timedelta, expected: str | None
) -> None:
    """Alive is left alone, dead is closed, never started is started; with patience where two writes are on their way."""
    rescue = judge_orchestration(record(state, age), status, "why", NOW)
    assert (rescue.do if rescue else None) == expected


def test_a_run_is_taken_over_twice_and_then_closed() -> None:
    """A third lost orchestration is a fault that a further one would not cure."""
    old = record(RunState.SCORING)
    told = [judge_orchestration(replace(old, takeovers=n), "Failed", "why", NOW) for n in range(3)]
    assert [rescue.do for rescue in told if rescue] == ["take_over", "take_over", "fail"]
    assert replace(old, takeovers=2).instance == f"{old.request.run}-takeover-2"


def test_an_orchestration_without_a_step_loses_its_run() -> None:
    """Running for more than twice the longest step without one is as good as lost; a commit or an event is a step."""
    old = record(RunState.SCORING, timedelta(hours=5))
    stuck = judge_orchestration(old, "Running", "", NOW, NOW - timedelta(hours=2))
    assert stuck is not None
    assert stuck.do == "take_over"
    assert judge_orchestration(old, "Running", "", NOW, NOW - timedelta(minutes=50)) is None


def test_a_record_closed_by_force_is_final_and_its_orchestration_is_refused(
    store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Cancel --force needs no host and no orchestration; the window can be retried at once, and a run that ended stays."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run = submit_run(store, "toy", WINDOW, NOW, "http").request.run
    code, said = command("cancel", run, "--force")
    closed = read_run(store, run)
    assert (code, closed.state, "closed with force by cli" in closed.error) == (
        0,
        RunState.CANCELLED,
        True,
    ), said
    with pytest.raises(TakenOverError):
        check_instance(store, run, run)
    again = submit_run(store, "toy", WINDOW, NOW, "direct")
    assert (again.fresh, again.request.run) == (True, f"{run}-r2")
    assert execute(store, again.request).state is RunState.PUBLISHED
    command("cancel", f"{run}-r2", "--force")
    assert read_run(store, f"{run}-r2").state is RunState.PUBLISHED


def test_the_app_closes_a_run_by_force_while_its_orchestration_goes_on(host: Host, host_store: Store) -> None:
    """The answer says cancelled at once, and what the orchestration does to the record afterwards changes nothing."""
    window = "2026-02-03T04"
    write_lines(host_store, window, [(f"p{n}", 1, "slow") for n in range(40)])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    wait_until(lambda: read_run(host_store, run).state is RunState.SCORING)
    answer = host.post(f"runs/{run}/cancel", {"force": True})
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    closed = read_run(host_store, run)
    wait_until(lambda: host.manage(run).json()["runtimeStatus"] in ("Completed", "Failed"))
    assert read_run(host_store, run) == closed


def test_an_orchestration_that_wakes_after_a_takeover_is_refused(store: Store) -> None:
    """What it does to the run's record is answered with taken_over, and the run ends as the new one says."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    asked = submit(store)
    record_takeover(store, asked.request.run, NOW)
    with pytest.raises(TakenOverError, match="takeover-1"):
        check_instance(store, asked.request.run, asked.request.run)
    check_instance(store, asked.request.run, f"{asked.request.run}-takeover-1")
    assert execute(store, asked.request).state is RunState.PUBLISHED


def submit(store: Store) -> Any:
    """A run that was requested."""
    return submit_run(store, "toy", WINDOW, NOW, "http")


def test_a_failed_orchestration_is_replaced_and_keeps_what_is_committed(
    host: Host, host_store: Store
) -> None:
    """A run whose orchestration is lost goes on under a new instance; its committed shards are not scored again."""
    write_lines(host_store, "2026-01-01T19", [("a", 1, "ok")])
    lost = submit_run(host_store, "toy", "2026-01-01T19", NOW - OLD, "http").request.run
    record_state(host_store, lost, RunState.SCORING, NOW - OLD)
    host.fire("watchdog_timer")
    assert host.ended(lost)["state"] == "published"
    assert read_run(host_store, lost).takeovers == 1


@pytest.mark.parametrize("meets", ["run", "backfill"])
def test_whoever_meets_a_run_whose_ending_was_lost_has_it_finished(
    host: Host, host_store: Store, meets: str
) -> None:
    """A record that says requested though its orchestration is over is taken over once its window is asked for again."""
    window = "2026-01-01T17" if meets == "run" else "2026-01-01T18"
    write_lines(host_store, window, [("a", 1, "ok")])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    assert host.ended(run)["state"] == "published"
    wait_until(lambda: host.manage(run).json()["runtimeStatus"] == "Completed")
    lost = read_run(host_store, run)
    lost = replace(lost, state=RunState.REQUESTED, ended=None, updated=datetime.now(UTC))
    host_store.write(f"runs/{run}/run.json", to_json(lost))
    index_run(host_store, lost)
    if meets == "run":
        host.post("runs", {"workload": "toy", "window": window})
    else:
        host.post(
            "backfills", {"workload": "toy", "from": window, "to": f"{window[:-2]}{int(window[-2:]) + 1}"}
        )
    assert host.ended(run)["state"] == "published"
    assert (
        read_run(host_store, run).takeovers == 1
    )  # also where the minute's timer meets it at the same moment


@pytest.mark.parametrize(("state", "takeovers"), [(RunState.REQUESTED, 0), (RunState.SCORING, 1)])
def test_of_many_who_find_a_lost_run_at_once_one_starts_it(
    host: Host, host_store: Store, state: RunState, takeovers: int
) -> None:
    """Twelve requests for the window of a lost run are all answered; one starts it, and the loss counts once."""
    window = f"2026-01-02T{10 + takeovers}"
    write_lines(host_store, window, [("a", 1, "ok")])
    run = submit_run(host_store, "toy", window, NOW - OLD, "http").request.run
    if state is not RunState.REQUESTED:
        record_state(host_store, run, state, NOW - OLD)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: host.post("runs", {"workload": "toy", "window": window}), range(12))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert host.ended(run)["state"] == "published"
    assert read_run(host_store, run).takeovers == takeovers


def test_a_run_is_taken_over_from_the_orchestration_that_was_lost_only(store: Store) -> None:
    """Who comes second to a lost run, or to one that has ended meanwhile, leaves it as it is."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    asked = submit(store)
    run = asked.request.run
    taken = take_over(store, run, run, NOW)
    assert taken is not None
    assert (taken.instance, taken.takeovers) == (f"{run}-takeover-1", 1)
    assert take_over(store, run, run, NOW) is None
    assert read_run(store, run) == taken
    execute(store, asked.request)
    assert take_over(store, run, taken.instance, NOW) is None


def test_closing_never_touches_a_run_that_has_ended(store: Store) -> None:
    """A run that was published between the look and the closing stays published."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run = run_window(store, "toy", WINDOW).request.run
    assert close_run(store, run, "It vanished.", NOW).state is RunState.PUBLISHED
    asked = submit_run(store, "toy", "2026-01-01T01", NOW, "http")
    closed = close_run(store, asked.request.run, "It vanished.", NOW)
    assert (closed.state, closed.facts["error_code"]) == (RunState.FAILED, "orchestration_lost")
    assert "fleetscore retry" in closed.error


@pytest.mark.slow
def test_the_timer_closes_a_terminated_run_and_starts_a_lost_one(
    host: Host, host_store: Store, receiver: Receiver
) -> None:
    """A run whose orchestration was terminated becomes failed, and somebody is told; one whose starter died is started and published."""
    host_store.write("settings/toy.toml", b"slow_s = 0.3\n")
    write_lines(host_store, "2026-01-01T20", [(f"p{i}", i, "slow") for i in range(400)])
    write_lines(host_store, "2026-01-01T21", [("a", 1, "ok")])
    answer = host.post("runs", {"workload": "toy", "window": "2026-01-01T20"}).json()
    wait_until(lambda: host.get(f"runs/{answer['id']}")["state"] == "scoring")
    assert host.manage(answer["id"], "terminate?reason=by+hand").status_code in (200, 202)
    lost = submit_run(host_store, "toy", "2026-01-01T21", NOW - OLD, "http").request.run
    wait_until(lambda: host.manage(answer["id"]).json()["runtimeStatus"] == "Terminated")
    host_store.write("settings/toy.toml", b"")
    host_store.create(f"runs/{answer['id']}/cancel.json", b"{}")  # what still scores stops
    host.fire("watchdog_timer")
    wait_until(lambda: host.get(f"runs/{answer['id']}")["state"] == "failed", 30)
    assert "Terminated" in host.get(f"runs/{answer['id']}")["record"]["error"]
    assert host.ended(lost)["state"] == "published"
    wait_until(lambda: receiver.of_run(answer["id"]) == ["run_failed"])


@pytest.fixture
def published(store: Store) -> Store:
    """A published window of six partitions, two of them late, in shards of two."""
    write_lines(store, WINDOW, [(f"p{i}", i, "late" if i > 3 else "ok") for i in range(6)])
    run_window(store, "toy", WINDOW, AppSettings(inline_shard_s=2.0))
    return store


def rows(store: Store) -> dict[str, int]:
    """The published rows."""
    table = read_results(store, read_manifest(store, "toy", WINDOW))
    assert table["partition"].to_pylist() == list(dict.fromkeys(table["partition"].to_pylist()))
    return dict(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def test_late_partitions_are_scored_alone_and_the_window_is_published_again(published: Store) -> None:
    """Only the partition that arrived is scored; the others keep their files; the manifest keeps its history."""
    before = read_manifest(published, "toy", WINDOW)
    write_lines(published, WINDOW, [(f"p{i}", i, "late" if i > 4 else "ok") for i in range(6)])
    asked = submit_late(published, "toy", NOW)
    assert asked is not None
    assert (asked.fresh, asked.request.only, asked.request.round) == (True, Only.MISSING, 2)
    ended = execute(published, asked.request)
    after = read_manifest(published, "toy", WINDOW)
    assert {f.path for f in before.files} < {f.path for f in after.files}
    assert [line.run for line in after.history] == [before.run]
    assert (ended.counts, rows(published)) == ({"scored": 5, "late": 1}, {f"p{i}": 2 * i for i in range(5)})


def test_nothing_new_nothing_done(published: Store) -> None:
    """Without new input, with input of other windows, and with input that brings nothing to score, no round is asked for."""
    assert submit_late(published, "toy", NOW) is None
    write_lines(published, "2026-01-01T01", [("a", 1, "ok")])
    assert submit_late(published, "toy", NOW) is None
    write_lines(published, WINDOW, [(f"p{i}", i + 7, "late" if i > 3 else "ok") for i in range(6)])
    assert submit_late(published, "toy", NOW) is None
    assert published.stat(f"runs/toy-{WINDOW}-r2/run.json") is None


def test_a_count_that_never_agrees_with_the_ledger_causes_no_round(
    published: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workload that discovers more rows than its scoring reports is not scored for ever: the files must have changed."""
    discover = Toy.discover

    def more(self: Toy, run: RunContext) -> Partitions:
        found = discover(self, run)
        rows = pa.array([9] * found.expected.num_rows, pa.int64())
        return replace(found, expected=found.expected.set_column(1, "rows", rows))

    monkeypatch.setattr(Toy, "discover", more)
    write_lines(published, "2026-01-01T01", [("a", 1, "ok")])
    assert submit_late(published, "toy", NOW) is None


def test_a_look_without_change_reads_no_input(published: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once looked at, a window is not discovered again until the workload's input has changed."""
    assert submit_late(published, "toy", NOW) is None

    def refuse(*_: Any) -> None:
        raise AssertionError("discovered again")

    monkeypatch.setattr(type(get_workload(published, "toy")), "discover", refuse)
    assert submit_late(published, "toy", NOW) is None


def test_late_data_waits_for_live_windows_and_for_its_own_rounds_and_ends_at_the_watermark(
    published: Store,
) -> None:
    """No round while a live window is under way, none beside another one, none after late_until_s."""
    write_lines(published, WINDOW, [(f"p{i}", i, "ok") for i in range(6)])
    assert submit_late(published, "toy", NOW + timedelta(days=2)) is None
    write_lines(published, "2026-01-01T01", [("a", 1, "ok")])
    live = submit_run(published, "toy", "2026-01-01T01", NOW, "timer")
    assert submit_late(published, "toy", NOW) is None
    execute(published, live.request)
    assert submit_late(published, "toy", NOW) is not None
    assert submit_late(published, "toy", NOW) is None  # that round is under way now


def test_late_data_of_two_windows_is_brought_in_one_after_the_other(published: Store) -> None:
    """While the round of one is under way the other waits; then it has its turn; then nothing is left."""
    other = "2026-01-01T01"
    write_lines(published, other, [("a", 1, "ok"), ("b", 2, "late")])
    run_window(published, "toy", other)
    write_lines(published, WINDOW, [(f"p{i}", i, "ok") for i in range(6)])
    write_lines(published, other, [("a", 1, "ok"), ("b", 2, "ok")])
    first = submit_late(published, "toy", NOW)
    assert first is not None
    assert submit_late(published, "toy", NOW) is None
    execute(published, first.request)
    second = submit_late(published, "toy", NOW)
    assert second is not None
    assert {first.request.window, second.request.window} == {WINDOW, other}
    execute(published, second.request)
    assert submit_late(published, "toy", NOW) is None


def test_partitions_that_were_left_out_on_request_are_not_late(store: Store) -> None:
    """A run of one partition by name does not make the others late."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 2, "ok")])
    asked = submit_run(store, "toy", WINDOW, NOW, "http", partitions=("a",))
    execute(store, asked.request)
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 3, "ok")])
    assert find_late(store, get_workload(store, "toy"), WINDOW, asked.request.run) is None


def test_overdue_windows_stalled_runs_and_budgets_are_told_of(store: Store) -> None:
    """Each trouble is found once it is beyond its limit, and not before; its notice has a stable id and says what to do."""
    hour = window_at(NOW, Cadence.HOUR).next(-3).key
    write_lines(store, hour, [("a", 1, "ok")])
    store.write("settings/toy.toml", b"[run]\nbudget_usd = 1.0\nstalled_s = 60.0\noverdue_s = 600.0\n")
    run_window(store, "toy", hour)
    assert {n.id for n in find_trouble(store, NOW)} == {
        f"window_overdue-toy-{window_at(NOW, Cadence.HOUR).next(-2).key}"
    } | ({f"window_overdue-toy-{window_at(NOW, Cadence.HOUR).next(-1).key}"} if NOW.minute >= 15 else set())
    stalled = RunRequest("toy-x", "toy", hour, 9, NOW - OLD, "http")
    request_run(store, stalled)
    dear = RunRecord(
        RunRequest("toy-y", "toy", hour, 10, NOW, "http"), RunState.PUBLISHED, NOW, facts={"cost_usd": 2.5}
    )
    store.write("runs/toy-y/run.json", to_json(dear))
    index_run(store, dear)
    found = {n.kind: n for n in find_trouble(store, NOW)}
    assert found["run_stalled"].run == "toy-x"
    assert "2.50 USD" in found["budget"].message
    assert all(notice.links["command"].startswith("fleetscore ") for notice in found.values())


def test_windows_of_a_schedule_are_overdue_after_its_tick_and_not_before(store: Store) -> None:
    """A window that ended at 2:00 and is started at 2:30 is no notice, line or mark until then, and a notice ten minutes later."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    text = b'schedule = "0 30 * * * *"\n[run]\noverdue_s = 600.0\n'
    store.write("settings/toy.toml", text)
    run_window(store, "toy", WINDOW)

    def told_at(hour: int, minute: int) -> tuple[list[str], list[str]]:
        now = datetime(2026, 1, 1, hour, minute, tzinfo=UTC)
        notices = [n.window for n in find_trouble(store, now) if n.kind == "window_overdue"]
        looks = [look for one in read_attention(store, "toy", now) for look in one.looks]
        return notices, [look.newest.window for look in looks if look.newest.mark is Mark.OVERDUE]

    assert told_at(2, 29) == ([], [])
    assert told_at(2, 35) == ([], ["2026-01-01T01"])
    assert told_at(2, 41) == (["2026-01-01T01"], ["2026-01-01T01"])
    store.write("settings/toy.toml", text.replace(b"0 30 *", b"0 6 *"))
    assert told_at(2, 15) == ([], ["2026-01-01T01"])
    assert told_at(2, 17) == (["2026-01-01T01"], ["2026-01-01T01"])


class ReadsNoted:
    """A store that notes which paths are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.paths: list[str] = []

    def read(self, path: str) -> bytes:
        """Read and note."""
        self.paths.append(path)
        return self._store.read(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_looking_for_trouble_reads_only_runs_that_may_be_in_it(store: Store) -> None:
    """A day of windows is judged by the index; a run that the index still takes for open is read, and not told of when it has ended."""
    hours = [window_at(NOW, Cadence.HOUR).next(-n).key for n in range(2, 24)]
    write_lines(store, hours[-1], [("a", 1, "ok")])
    run_window(store, "toy", hours[-1])
    for hour in hours[:-1]:
        request = RunRequest(f"toy-{hour}", "toy", hour, 1, NOW - timedelta(hours=5), "timer")
        published = RunRecord(request, RunState.PUBLISHED, NOW)
        store.write(f"runs/toy-{hour}/run.json", to_json(published))
        index_run(store, replace(published, state=RunState.SCORING) if hour == hours[3] else published)
    noted: Any = ReadsNoted(store)
    assert not [n for n in find_trouble(noted, NOW) if n.window in hours]
    runs = {path for path in noted.paths if path.startswith("runs/")}
    assert {path.split("/")[1] for path in runs} <= {
        f"toy-{hour}{tail}"
        for hour in (hours[3], window_at(NOW, Cadence.HOUR).next(-1).key)
        for tail in ("", "-r2")
    }


def test_a_run_of_a_process_of_its_own_is_left_alone_while_it_makes_steps() -> None:
    """It has no orchestration to look for: an hour after its last step it counts as lost, whatever it was at."""
    of_process = replace(record(RunState.SCORING, timedelta(hours=5)), request=direct())
    assert judge_orchestration(of_process, "", "", NOW, NOW - timedelta(minutes=50)) is None
    requested = replace(of_process, state=RunState.REQUESTED)
    for lost in (of_process, requested):
        stuck = judge_orchestration(lost, "", "", NOW, NOW - timedelta(hours=2))
        assert stuck is not None
        assert stuck.do == "take_over"


def direct() -> RunRequest:
    """The request of a run in a process of its own."""
    return replace(record(RunState.SCORING).request, who="direct")


def test_the_app_finishes_a_run_whose_own_process_was_killed(host: Host, host_store: Store) -> None:
    """An hour later the watchdog takes it over, so that whoever follows it sees its end."""
    write_lines(host_store, "2026-01-02T12", [("a", 1, "ok")])
    hours_ago = NOW - timedelta(hours=3)
    run = submit_run(host_store, "toy", "2026-01-02T12", hours_ago, "direct").request.run
    record_state(host_store, run, RunState.SCORING, hours_ago)
    host.fire("watchdog_timer")
    assert host.ended(run)["state"] == "published"
    assert read_run(host_store, run).takeovers == 1


@pytest.mark.parametrize(
    "requested", [NOW + timedelta(days=400), NOW - timedelta(days=9)], ids=["ahead", "old"]
)
@pytest.mark.parametrize("state", [RunState.REQUESTED, RunState.SCORING])
def test_a_backfill_finishes_lost_runs_of_its_windows_whatever_the_clock_said(
    host: Host, host_store: Store, requested: datetime, state: RunState
) -> None:
    """Of runs requested before the clock was set back, or too long ago for the timers, none holds a backfill for ever."""
    hour = 2 * (requested > NOW) + (state is RunState.SCORING)
    window, end = (f"2026-01-03T0{h}" for h in (hour, hour + 1))
    write_lines(host_store, window, [("a", 1, "ok")])
    run = submit_run(host_store, "toy", window, requested, "http").request.run
    if state is not RunState.REQUESTED:
        record_state(host_store, run, state, requested)
    host.post("backfills", {"workload": "toy", "from": window, "to": end})
    assert host.ended(run)["state"] == "published"


def test_steps_ahead_of_the_clock_lose_a_run_once(store: Store) -> None:
    """What was written before the clock was set back is old; after the takeover it does not count any more."""
    asked = submit_run(store, "toy", WINDOW, NOW + timedelta(days=1), "http").request.run
    ahead = read_run(store, asked)
    step = find_last_step(store, ahead, NOW + timedelta(days=1), NOW)
    stuck = judge_orchestration(ahead, "Running", "", NOW, step)
    assert stuck is not None
    assert stuck.do == "take_over"
    taken = take_over(store, asked, ahead.instance, NOW)
    assert taken is not None
    assert find_last_step(store, taken, NOW + timedelta(days=1), NOW) == NOW


def test_the_newest_round_is_the_one_with_the_highest_number(store: Store) -> None:
    """A round that was requested while the clock was ahead does not hide the rounds after it."""
    first = submit_run(store, "toy", WINDOW, NOW + timedelta(days=400), "http").request.run
    close_run(store, first, "It vanished.", NOW)
    second = submit_run(store, "toy", WINDOW, NOW, "http").request.run
    assert newest_rounds(list_runs_since(store, "toy", ""))[WINDOW].run == second
