"""The flows: what they ask for in which order, how they stop, and what replaying ten thousand shards costs."""

import time
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.durable_functions.orchestrator import Orchestrator
from hypothesis import given
from hypothesis import strategies as st

from orchestrators.backfill import backfill, backfill_lane
from orchestrators.grouping import WIDTH, numbers_of, ranges_of, split_evenly
from orchestrators.groups import score_group
from orchestrators.run import run

REQUEST = {"run": "toy-w", "purpose": "score", "window": "w"}


class Context:
    """Records what a flow asks for; the test answers."""

    instance_id = "me"
    version = "2"
    current_utc_datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self, asked: Any) -> None:
        self._asked = asked
        self.statuses: list[Any] = []

    def get_input(self) -> Any:
        return self._asked

    def call_activity_with_retry(self, name: str, options: Any, asked: Any) -> tuple[str, Any]:
        assert options.max_number_of_attempts > 1
        return name, asked

    def create_timer(self, due: datetime) -> tuple[str, Any]:
        return "timer", due

    def call_sub_orchestrator(self, name: str, asked: Any, instance_id: str | None = None) -> tuple[str, Any]:
        return name, asked

    def task_all(self, tasks: list[Any]) -> list[Any]:
        return tasks

    def set_custom_status(self, status: Any) -> None:
        self.statuses.append(status)


def play(flow: Any, asked: Any, answers: dict[str, Any]) -> tuple[list[Any], Any]:
    """Drive the flow, answering by name; gives what it yielded and what it returned."""
    generator: Generator[Any, Any, Any] = flow(Context(asked))
    yielded: list[Any] = []
    answer = None
    while True:
        try:
            lost = isinstance(answer, Exception)
            question = generator.throw(answer) if lost else generator.send(answer)
        except StopIteration as stop:
            return yielded, stop.value
        yielded.append(question)
        several = isinstance(question, list)
        answer = [reply(q, answers) for q in question] if several else reply(question, answers)
        if several:
            answer = next((each for each in answer if isinstance(each, Exception)), answer)


def reply(question: tuple[str, Any], answers: dict[str, Any]) -> Any:
    """The answer to one call."""
    name, asked = question
    told = answers[name]
    return told(asked) if callable(told) else told


def ok(value: Any) -> dict[str, Any]:
    """An activity's good answer."""
    return {"ok": True, "value": value}


def bad(message: str) -> dict[str, Any]:
    """An activity's answer of failure."""
    return {"ok": False, "error": {"code": "x", "message": message, "fix": "Fix it."}}


PLANNED = ok({"items": 0, "partitions": 9, "shards": 3, "inline": [[0, 3]], "batch": [], "predicted_s": 1})
GOOD = {
    "plan_run": PLANNED,
    "score_group": {"reasons": {}, "cancelled": False},
    "collect_run": ok({"counts": {"scored": 9}, "rows": 9}),
    "publish_run": ok({"state": "published"}),
}


def names_of(yielded: list[Any]) -> list[str]:
    """The names called, fan-outs flattened."""
    return [q[0] for step in yielded for q in (step if isinstance(step, list) else [step])]


def test_a_run_goes_through_its_steps_in_order() -> None:
    """Plan, score, collect, publish; the ending is the orchestration's output."""
    yielded, ending = play(run, REQUEST, GOOD)
    assert names_of(yielded) == ["plan_run", "score_group", "collect_run", "publish_run"]
    assert ending == {"state": "published"}


def test_preparation_repeats_until_nothing_is_missing() -> None:
    """Two rounds of pieces, then the plan."""
    rounds = iter([ok({"items": 250}), ok({"items": 1}), PLANNED])
    answers = GOOD | {"plan_run": lambda _: next(rounds), "prepare_group": {"errors": []}}
    yielded, ending = play(run, REQUEST, answers)
    assert names_of(yielded).count("prepare_group") == 4
    assert ending["state"] == "published"


@pytest.mark.parametrize("step", ["plan_run", "collect_run", "publish_run"])
def test_an_error_answer_closes_the_run_as_failed(step: str) -> None:
    """Whatever step fails, the run's record is closed with the reason, and the orchestration itself completes."""
    closed: list[Any] = []

    def fail_run(asked: Any) -> Any:
        closed.append(asked)
        return ok({"state": "failed"})

    _, ending = play(run, REQUEST, GOOD | {step: bad("The disk is full."), "fail_run": fail_run})
    assert ending == {"state": "failed", "reason": "The disk is full."}
    assert closed[0]["run"] == "toy-w"
    assert closed[0]["error"]["message"] == "The disk is full."


LOST = RuntimeError("Activity function 'score_shard' failed: the worker process ended.")


@pytest.mark.parametrize("step", ["plan_run", "collect_run", "publish_run"])
def test_a_step_whose_worker_is_lost_at_every_attempt_closes_the_run(step: str) -> None:
    """What the platform cannot run for good is an error of the run, told with its reason; nothing raises."""
    answers = GOOD | {step: LOST, "fail_run": ok({"state": "failed"})}
    _, ending = play(run, REQUEST, answers)
    assert ending["state"] == "failed"
    assert "the worker process ended" in ending["reason"]


def test_a_shard_whose_worker_is_lost_at_every_attempt_costs_no_other_group() -> None:
    """The group answers the error, so that the run closes in order instead of dying with its child."""
    _, answer = play(score_group, {"run": "r", "purpose": "score", "shards": [[0, 3]]}, {"score_shard": LOST})
    assert answer["error"]["code"] == "worker_lost"
    answers = GOOD | {"score_group": answer, "fail_run": ok({"state": "failed"})}
    assert play(run, REQUEST, answers)[1]["state"] == "failed"


def test_an_instance_that_lost_its_run_touches_nothing_of_it() -> None:
    """An activity that answers taken_over ends the orchestration without closing the run."""
    taken = {"ok": False, "error": {"code": "taken_over", "message": "toy-w-takeover-1 has it.", "fix": ""}}
    yielded, ending = play(run, REQUEST, GOOD | {"collect_run": taken})
    assert ending["state"] == "taken_over"
    assert "fail_run" not in names_of(yielded)


def test_a_lane_follows_a_run_that_another_one_started_and_one_that_was_lost() -> None:
    """A window under way is waited for with growing pauses, and its line tells how it ended."""
    states = iter(["scoring", "scoring", "collecting", "published"])
    answers = {
        "ask_window": lambda _: ok({"request": {"run": "r"}, "start": False, "state": next(states)}),
        "timer": None,
    }
    yielded, ended = play(backfill_lane, {"workload": "toy", "windows": ["w"], "only": "missing"}, answers)
    assert [w["state"] for w in ended["windows"]] == ["published"]
    assert names_of(yielded).count("timer") == 3
    states = iter(["requested", "scoring", "published"])
    answers["ask_window"] = lambda a: ok(
        {"request": {"run": "r"}, "start": "run" not in a, "state": next(states)}
    )
    answers["run"] = LOST
    _, ended = play(backfill_lane, {"workload": "toy", "windows": ["w"], "only": "missing"}, answers)
    assert [w["state"] for w in ended["windows"]] == ["published"]


def test_a_failed_shard_reaches_the_ledger_with_its_reason() -> None:
    """The group tells which shard was not committed and why; collect is given it."""
    asked: list[Any] = []
    group = {"score_shard": lambda a: bad("No memory.") if a["shard"] == 1 else ok({"cancelled": False})}

    def collect(question: Any) -> Any:
        asked.append(question)
        return GOOD["collect_run"]

    answers = GOOD | {"score_group": lambda a: play(score_group, a, group)[1], "collect_run": collect}
    play(run, REQUEST, answers)
    assert asked[0]["reasons"] == {"1": "No memory."}


def test_a_backfill_runs_every_window_in_lanes_and_never_starts_a_known_one() -> None:
    """Seven windows in three lanes; a window that is published is asked for and not run."""

    def ask(asked: Any) -> Any:
        request = {"run": f"toy-{asked['window']}"}
        return ok({"request": request, "start": asked["window"] != "w3", "state": "published"})

    runs: list[str] = []

    def start(request: Any) -> Any:
        runs.append(request["run"])
        return {"state": "published"}

    lane = {"ask_window": ask, "run": start}
    asked = {"workload": "toy", "windows": [f"w{i}" for i in range(7)], "only": "missing", "max_parallel": 3}
    _, ended = play(backfill, asked, {"backfill_lane": lambda a: play(backfill_lane, a, lane)[1]})
    assert [w["window"] for w in ended["windows"]] == asked["windows"]
    assert sorted(runs) == sorted(f"toy-w{i}" for i in range(7) if i != 3)


def test_a_window_that_cannot_be_asked_for_costs_the_others_nothing() -> None:
    """Its line says failed and why; the lane goes on."""
    known = ok({"request": {"run": "r"}, "start": True, "state": "requested"})
    answers = {
        "ask_window": lambda a: bad("No such window.") if a["window"] == "w0" else known,
        "run": {"state": "published"},
    }
    _, ended = play(backfill_lane, {"workload": "toy", "windows": ["w0", "w1"], "only": "all"}, answers)
    assert [w["state"] for w in ended["windows"]] == ["failed", "published"]


@given(st.sets(st.integers(0, 500)))
def test_ranges_hold_the_same_numbers(numbers: set[int]) -> None:
    """numbers_of inverts ranges_of."""
    assert numbers_of(ranges_of(sorted(numbers))) == sorted(numbers)


@given(st.integers(0, WIDTH * WIDTH))
def test_no_orchestrator_has_more_than_a_hundred_children(count: int) -> None:
    """Up to ten thousand items make at most 100 groups of at most 100, in order, none lost."""
    groups = split_evenly(range(count))
    assert len(groups) <= WIDTH
    assert all(0 < len(group) <= WIDTH for group in groups)
    assert [item for group in groups for item in group] == list(range(count))


def history_of(name: str, calls: int, kind: int, asked: Any) -> dict[str, Any]:
    """The host's request in the middle of a fan-out of `calls`, half of them completed."""
    import json

    stamp = "2026-01-01T00:00:00.0000000Z"
    base = {"EventId": -1, "IsPlayed": True, "Timestamp": stamp}
    history: list[dict[str, Any]] = [
        base | {"EventType": 12},
        base | {"EventType": 0, "Name": name, "Version": "", "Input": json.dumps(asked)},
    ]
    scheduled, completed = (4, 5) if kind == 0 else (7, 8)
    history += [
        base | {"EventType": scheduled, "EventId": i, "Name": "x", "Version": "", "InstanceId": str(i)}
        for i in range(calls)
    ]
    history += [base | {"EventType": 13}, base | {"EventType": 12}]
    result = json.dumps(ok({"cancelled": False}))
    history += [
        base | {"EventType": completed, "TaskScheduledId": i, "Result": result, "IsPlayed": False}
        for i in range(calls // 2)
    ]
    return {
        "history": history, "input": asked, "instanceId": "i", "isReplaying": False, "parentInstanceId": None,
        "upperSchemaVersion": 1, "upperSchemaVersionNew": 2, "longRunningTimerIntervalDuration": "3.00:00:00",
        "maximumShortTimerDuration": "6.00:00:00", "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
    }  # fmt: skip


def replay_s(flow: Any, body: dict[str, Any]) -> float:
    """CPU seconds of one replay by the SDK."""
    import json

    from azure.durable_functions.models.DurableOrchestrationContext import DurableOrchestrationContext

    start = time.process_time()
    context = DurableOrchestrationContext.from_json(json.dumps(body))
    Orchestrator(flow).handle(context)
    return time.process_time() - start


def test_ten_thousand_shards_replay_within_ten_cpu_seconds() -> None:
    """100 groups of 100, completions in the engine's groups of 32: every episode of every orchestrator, summed from measured replays."""
    asked = {"run": "r", "purpose": "score", "shards": [[0, WIDTH]]}
    body = history_of("score_group", WIDTH, 0, asked)
    replay_s(score_group, body)
    one = min(replay_s(score_group, body) for _ in range(40))
    episodes_per_group = 2 + WIDTH // 32 + 1
    total_s = (
        one * episodes_per_group * (WIDTH + 1)
    )  # the run itself has a history of the same size as a group
    assert total_s < 10, f"{total_s:.1f} s"


def test_history_carries_references_only() -> None:
    """The largest input of a child stays below a kilobyte, however many shards there are."""
    import json

    groups = split_evenly(range(WIDTH * WIDTH))
    largest = max(
        len(json.dumps({"run": "r" * 64, "purpose": "score", "shards": ranges_of(group)})) for group in groups
    )
    assert largest < 1024
