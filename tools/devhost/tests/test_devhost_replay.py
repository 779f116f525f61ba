"""The replay's rules, each on the real SDK with a history that is built up episode by episode."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import pytest

from devhost.clock import from_micros, parse_stamp, stamp, to_micros
from devhost.commits import make_commit, new_instance, request_body
from devhost.decisions import NonDeterministicError
from devhost.episode import Episode, run_episode
from devhost.functions import FunctionIndex, FunctionInfo
from devhost.history import event, parse
from devhost.records import Commit, Message, Work
from devhost.replay import replay
from devhost.settings import HostSettings

_START_US = to_micros(parse_stamp("2026-01-01T00:00:00Z"))
_INDEX = FunctionIndex(
    [
        FunctionInfo(name, {"type": "activityTrigger", "name": "x", "direction": "in"}, [])
        for name in ("a", "b", "c")
    ]
    + [FunctionInfo("o", {"type": "orchestrationTrigger", "name": "context", "direction": "in"}, [])]
)


class Instance:
    """One instance whose messages a test hands over by itself."""

    def __init__(self, code: Callable[..., Any], given: Any = None) -> None:
        started = new_instance(
            "o", "i", None if given is None else json.dumps(json.dumps(given)), _START_US, ""
        )
        self.row = started.instance
        self.chunks: list[str] = []
        self.handle = df.Orchestrator.create(code)
        self.now_us = _START_US
        self.episode = Episode("Pending")
        self.commit: Commit | None = None
        self.deliver(
            event(0, _START_US, **{k: v for k, v in json.loads(started.event).items() if k not in _HEAD})
        )

    def deliver(self, *texts: str) -> "Instance":
        """Run an episode with these messages, a second later."""
        self.now_us += 1_000_000
        messages = [Message("i", None, 0, text, n=number) for number, text in enumerate(texts)]
        work = Work(self.row, self.chunks, messages, [], False)
        batch = [event(12, self.now_us), *texts]
        self.episode = run_episode("o", self.handle, request_body(self.row, self.chunks, batch), _INDEX)
        self.commit = make_commit(work, batch, self.episode, self.now_us, HostSettings())
        self.row = self.commit.changed
        self.chunks = [*self.chunks, self.commit.chunk]
        return self

    def complete(self, *numbers: int, result: Any = 1) -> "Instance":
        """Complete activities or sub-orchestrations, all in one episode."""
        texts = [event(5, self.now_us, TaskScheduledId=each, Result=json.dumps(result)) for each in numbers]
        return self.deliver(*texts)

    def fail(self, number: int, reason: str = "no") -> "Instance":
        """Fail an activity."""
        return self.deliver(event(6, self.now_us, TaskScheduledId=number, Reason=reason, Details="d"))

    def fire(self, number: int) -> "Instance":
        """Fire a timer."""
        fire_at = next(
            each["FireAt"] for each in self.events if each["EventType"] == 10 and each["EventId"] == number
        )
        self.now_us = max(self.now_us, to_micros(parse_stamp(fire_at)))
        return self.deliver(event(11, self.now_us, TimerId=number, FireAt=fire_at))

    @property
    def events(self) -> list[dict[str, Any]]:
        return parse(self.chunks)

    @property
    def new(self) -> list[tuple[str, int, str]]:
        """What the last episode scheduled: kind, id and name."""
        return [(each.kind, each.id, each.name) for each in self.episode.decisions]


_HEAD = ("EventType", "EventId", "IsPlayed", "Timestamp")


def test_history_has_the_shape_of_the_framework() -> None:
    """Episodes are 12, messages, decisions in the order of their ids, 13; the end is an event of its own."""

    def code(context: Any) -> Any:
        yield context.task_all([context.call_activity("a", 0), context.call_activity("b", 1)])
        return "done"

    instance = Instance(code).complete(1).complete(0)
    kinds = [(each["EventType"], each["EventId"]) for each in instance.events]
    assert kinds == [
        *[(12, -1), (0, -1), (4, 0), (4, 1), (13, -1)],
        *[(12, -1), (5, -1), (13, -1)],
        *[(12, -1), (5, -1), (1, 2), (13, -1)],
    ]
    assert instance.row.status == "Completed" and instance.row.output == '"done"'
    marks = (
        4,
        12,
        13,
        1,
    )  # decisions and marks stay as they were written; what was delivered is played later
    assert all(each["IsPlayed"] != (each["EventType"] in marks) for each in instance.events)


def test_retries_take_ids_as_the_framework_does() -> None:
    """Each failure takes a timer's id and then the next attempt's; the last one waits on a timer that fires
    at once.
    """

    def code(context: Any) -> Any:
        yield context.call_activity_with_retry("a", df.RetryOptions(5000, 2), 1)

    instance = Instance(code)
    assert instance.new == [("activity", 0, "a")]
    instance.fail(0, "first")
    assert instance.new == [("timer", 1, "")]
    assert instance.episode.decisions[0].fire_at == stamp(from_micros(instance.now_us + 5_000_000))
    instance.fire(1)
    assert instance.new == [("activity", 2, "a")]
    instance.fail(2, "second")
    assert instance.new == [("timer", 3, "")]
    assert instance.episode.decisions[0].fire_at == stamp(from_micros(instance.now_us))
    instance.fire(3)
    assert instance.row.status == "Failed" and str(instance.row.output).endswith("failed: second \n d")


def test_end_waits_for_what_is_open() -> None:
    """A winner's return ends the instance only when the loser has finished; a cancelled timer does not count."""

    def code(context: Any) -> Any:
        timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
        tasks = [context.call_activity("a", 0), context.call_activity("b", 0), timer]
        yield context.task_any(tasks)
        timer.cancel()
        return "won"

    instance = Instance(code).complete(1)
    assert instance.row.status == "Running"
    assert instance.complete(0).row.status == "Completed"


def test_host_waits_for_all_siblings_of_a_failed_task_all() -> None:
    """The code goes on at the first failure, but what it then asks for is scheduled after the last sibling."""

    def code(context: Any) -> Any:
        try:
            yield context.task_all([context.call_activity("a", 0), context.call_activity("b", 0)])
        except Exception:
            yield context.call_activity("c", 0)
        return "cleaned"

    instance = Instance(code).fail(0)
    assert instance.new == [] and instance.row.status == "Running"
    assert instance.complete(1).new == [("activity", 2, "c")]
    assert instance.complete(2).row.status == "Completed"


def test_mixed_task_any_waits_for_the_new_task_only() -> None:
    """A race of an old task with a new one goes on, for the host, only with the new one."""

    def code(context: Any) -> Any:
        first, second = context.call_activity("a", 0), context.call_activity("b", 0)
        yield context.task_any([first, second])
        third = context.call_activity("c", 0)
        yield context.task_any([first, third])
        yield context.call_activity("a", 1)
        return "done"

    instance = Instance(code).complete(1)
    assert instance.new == [("activity", 2, "c")]
    assert instance.complete(0).new == []  # the code has gone on, the host has not
    assert instance.complete(2).new == [("activity", 3, "a")]


def test_long_timers_hop() -> None:
    """A timer of ten days is three timers, as the SDK splits it."""

    def code(context: Any) -> Any:
        yield context.create_timer(context.current_utc_datetime + timedelta(days=10))
        return "late"

    instance, days = Instance(code), []
    for number in range(3):
        assert instance.new == [("timer", number, "")]
        due = parse_stamp(instance.episode.decisions[0].fire_at)
        days.append(round((due - from_micros(_START_US)).total_seconds() / 86400))
        instance.fire(number)
    assert days == [3, 6, 10] and instance.row.output == '"late"'


def test_sub_orchestrations_are_named_after_their_parent() -> None:
    """Without an id of its own a child is called execution:task; its input is a JSON text inside of JSON."""

    def code(context: Any) -> Any:
        yield context.call_sub_orchestrator("o", {"x": 1})
        return "done"

    instance = Instance(code)
    assert instance.commit is not None
    (child,) = instance.commit.children
    assert child.instance.id == f"{instance.row.execution}:0"
    assert json.loads(json.loads(str(child.instance.input))) == {"x": 1}
    assert (child.instance.parent, child.instance.parent_task) == ("i", 0)


@pytest.mark.parametrize("child", ["i", "@x"])
def test_bad_child_ids_are_refused(child: str) -> None:
    """A child with its parent's id, or with an entity's, fails the parent."""

    def code(context: Any) -> Any:
        yield context.call_sub_orchestrator("o", None, instance_id=child)

    assert Instance(code).row.status == "Failed"


def test_events_after_continue_as_new_are_carried() -> None:
    """Events of the batch that come after the decision to start over go to the next generation; earlier ones
    do not.
    """

    def code(context: Any) -> Any:
        yield context.wait_for_external_event("go")
        context.continue_as_new(None)

    def raised(name: str) -> str:
        return event(15, _START_US, Name=name, Input="1")

    instance = Instance(code).deliver(raised("other"), raised("go"), raised("next"), raised("GO"))
    assert instance.episode.status == "ContinuedAsNew" and instance.commit is not None
    assert instance.commit.consumed == [0, 1]  # by number: "next" and "GO" stay in the inbox


def test_events_carried_from_earlier_episodes_come_again() -> None:
    """While an open timer delays the new start, events already in the history are not lost."""

    def code(context: Any) -> Any:
        timer = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
        yield context.task_any([timer, context.wait_for_external_event("go")])
        context.continue_as_new(None)

    instance = Instance(code).deliver(event(15, _START_US, Name="go", Input="1"))
    assert instance.row.status == "Running"
    instance.deliver(event(15, _START_US, Name="later", Input="2"))
    instance.fire(0)
    assert instance.episode.status == "ContinuedAsNew" and instance.commit is not None
    assert [json.loads(each.event)["Name"] for each in instance.commit.messages] == ["later"]


def test_custom_status_is_set_anew_by_every_episode() -> None:
    """A status that the code clears is gone."""

    def code(context: Any) -> Any:
        context.set_custom_status("first")
        yield context.call_activity("a", 0)
        context.set_custom_status(None)
        yield context.call_activity("b", 0)

    instance = Instance(code)
    assert instance.row.custom_status == '"first"'
    assert instance.complete(0).row.custom_status is None


def test_duplicates_and_late_timers_change_nothing() -> None:
    """A second completion of one call, and a cancelled timer that fires all the same, are ignored."""

    def code(context: Any) -> Any:
        timer = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
        yield context.task_any([timer, context.call_activity("a", 0)])
        timer.cancel()
        result = yield context.call_activity("b", 0)
        return result

    instance = Instance(code).complete(1, 1)
    assert instance.new == [("activity", 2, "b")]
    instance.fire(0)
    assert instance.new == [] and instance.complete(2, result=5).row.output == "5"


def _changed(history_event: dict[str, Any], actions: list[dict[str, Any]]) -> str:
    history = [
        {"EventType": 12, "EventId": -1, "Timestamp": "2026-01-01T00:00:00Z"},
        {"EventType": 0, "EventId": -1, "Name": "o"},
        {"EventId": 0, "Version": "", **history_event},
    ]
    with pytest.raises(NonDeterministicError) as caught:
        replay(history, {"isDone": False, "schemaVersion": 2, "actions": [actions]})
    return str(caught.value)


def test_changed_code_is_told_in_the_frameworks_words() -> None:
    """A missing task, another kind and another name each have their text."""
    call = {"actionType": 0, "functionName": "Y", "input": "1"}
    timer = {"actionType": 5, "fireAt": "2026-01-01T00:00:00Z", "isCanceled": False}
    tail = "Was a change made to the orchestrator code after this instance had already started running?"
    assert _changed({"EventType": 4, "Name": "X"}, []) == (
        "A previous execution of this orchestration scheduled an activity task with sequence ID 0 and name 'X' "
        f"(version ''), but the current replay execution hasn't (yet?) scheduled this task. {tail}"
    )
    assert _changed({"EventType": 4, "Name": "X"}, [timer]) == (
        "A previous execution of this orchestration scheduled an activity task with sequence number 0 named 'X', but "
        "the current orchestration replay instead produced a CreateTimerOrchestratorAction action with this sequence "
        f"number. {tail}"
    )
    assert _changed({"EventType": 4, "Name": "X"}, [call]) == (
        "A previous execution of this orchestration scheduled an activity task with sequence number 0 named 'X', but "
        "the current orchestration replay instead scheduled an activity task named 'Y' with this sequence number.  "
        f"{tail}"
    )
    assert "sub-orchestration task" in _changed({"EventType": 7, "Name": "X", "InstanceId": "c"}, [])
    assert "a timer task with sequence number 0" in _changed({"EventType": 10}, [])


def test_changed_code_fails_the_instance() -> None:
    """The text becomes the output, without the usual prefix."""
    names = ["a"]

    def code(context: Any) -> Any:
        yield context.call_activity(names[0], 0)
        yield context.call_activity("b", 0)

    instance = Instance(code)
    names[0] = "c"
    instance.complete(0)
    assert instance.row.status == "Failed"
    assert str(instance.row.output).startswith("Non-Deterministic workflow detected: A previous execution")


def test_names_are_compared_without_case() -> None:
    """An activity whose name changed only in case is the same one."""
    names = ["a"]

    def code(context: Any) -> Any:
        yield context.call_activity(names[0], 0)

    instance = Instance(code)
    names[0] = "A"
    assert instance.complete(0).row.status == "Completed"
