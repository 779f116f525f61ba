"""What an episode's outcome means for the store: values in, a `Commit` out.

No I/O and no clock but for the update time; the only chance in it is in the ids of new executions.
"""

import json
import uuid
from dataclasses import replace
from typing import Any

from devhost.clock import from_micros, parse_stamp, stamp, to_micros, utc_now
from devhost.decisions import COMPLETED, CONTINUED, RUNNING, TERMINATED, Decision
from devhost.episode import Episode
from devhost.history import STATUS_NUMBERS, event, parse, played
from devhost.json_text import without_lone_escapes
from devhost.records import Commit, Instance, Message, Start, Work
from devhost.settings import HostSettings

_TIMESPANS = (
    '"upperSchemaVersion":1,"upperSchemaVersionNew":3,"longRunningTimerIntervalDuration":"3.00:00:00",'
    '"maximumShortTimerDuration":"6.00:00:00","defaultHttpAsyncRequestSleepTimeMillseconds":30000}'
)


def new_instance(
    name: str, instance_id: str, input_text: str | None, now_us: int, version: str | None
) -> Start:
    """Return a new instance and the event that starts it; `input_text` is JSON text."""
    instance = Instance(
        id=instance_id,
        execution=uuid.uuid4().hex,
        name=name,
        version=version,
        status="Pending",
        input=input_text,
        output=None,
        details=None,
        custom_status=None,
        created=now_us,
        updated=now_us,
    )
    return Start(instance, _started_event(instance, now_us))


def _started_event(instance: Instance, now_us: int) -> str:
    parent = None
    if instance.parent is not None:
        parent = {
            "Name": instance.parent_name,
            "OrchestrationInstance": {
                "InstanceId": instance.parent,
                "ExecutionId": instance.parent_execution,
            },
            "TaskScheduleId": instance.parent_task,
            "Version": "",
        }
    return event(
        0,
        now_us,
        OrchestrationInstance={"InstanceId": instance.id, "ExecutionId": instance.execution},
        ParentInstance=parent,
        Name=instance.name,
        Version=instance.version,
        Input=instance.input,
        Tags=None,
    )


def request_body(instance: Instance, history: list[str], texts: list[str]) -> bytes:
    """Write the orchestrator call's body around the stored events, without parsing them."""
    events = ",".join([*history, *texts])
    is_replaying = "true" if history else "false"
    given = without_lone_escapes(instance.input or "null")
    head = (
        f'{{"history":[{events}],"input":{given},"instanceId":{json.dumps(instance.id)},'
        f'"isReplaying":{is_replaying},"parentInstanceId":{json.dumps(instance.parent)},'
        '"sourceInstanceId":null,'
    )
    return (head + _TIMESPANS).encode()


def make_commit(work: Work, texts: list[str], episode: Episode, at_us: int, settings: HostSettings) -> Commit:
    """Turn an episode into what to store. Pure, but for the ids of new instances."""
    instance = work.instance
    consumed = [each.n for each in work.messages]
    changed = replace(
        instance,
        status="Suspended" if work.is_suspended and episode.status == RUNNING else episode.status,
        output=work.suspend_reason if work.is_suspended else None,
        custom_status=_custom_status(work, episode),
        updated=max(at_us, to_micros(utc_now())),
        clock=at_us,
    )
    number = len(work.history)
    if episode.status == CONTINUED:
        return _make_restart(work, episode, changed, consumed, number)
    later = [_decided(each, at_us, settings) for each in episode.decisions]
    messages: list[Message] = []
    tasks, children = [], []
    if episode.status == RUNNING:
        tasks = [(each.id, each.name, each.input) for each in episode.decisions if each.kind == "activity"]
        children = [
            _child(each, instance, at_us, settings) for each in episode.decisions if each.kind == "sub"
        ]
        messages = [_timer_message(each, instance) for each in episode.decisions if each.kind == "timer"]
    else:
        output = episode.output
        changed = replace(changed, output=output, details=episode.details)
        status = STATUS_NUMBERS[episode.status]
        later.append(event(1, at_us, episode.next_id, OrchestrationStatus=status, Result=output))
        messages = _notify_parent(changed, at_us)
    started, *delivered = texts
    chunk = ",".join([started, *(played(each) for each in delivered), *later, event(13, at_us)])
    return Commit(
        instance.id, instance.execution, number, consumed, chunk, changed, tasks, messages, children
    )


def _custom_status(work: Work, episode: Episode) -> str | None:
    """Return the status to show: every episode sets it anew, but a generation's first one inherits the last
    one's.
    """
    is_first = not work.history
    if episode.status == TERMINATED or (is_first and episode.custom_status is None):
        return work.instance.custom_status
    return episode.custom_status


def _make_restart(
    work: Work, episode: Episode, changed: Instance, consumed: list[int], number: int
) -> Commit:
    """Start the next generation: a new execution with an empty history.

    Carried events that came with this episode stay in the inbox; older ones, which are history already, come
    again.
    """
    past = parse(work.history)
    first = len(past) + 1  # the position of the first new message: the start of the episode comes before it
    kept = {work.messages[position - first].n for position in episode.carried if position >= first}
    again = [past[position] for position in episode.carried if position < len(past)]
    now_us = changed.updated
    restarted = replace(
        changed,
        execution=uuid.uuid4().hex,
        status=RUNNING,
        input=None if episode.output is None else json.dumps(episode.output),
        created=now_us,
    )
    return Commit(
        work.instance.id,
        work.instance.execution,
        number,
        [each for each in consumed if each not in kept],
        "",
        restarted,
        messages=[_raised_again(each, work.instance.id) for each in again],
        restart=_started_event(restarted, now_us),
    )


def _raised_again(past: dict[str, Any], instance_id: str) -> Message:
    raised_us = to_micros(parse_stamp(past["Timestamp"]))
    return Message(instance_id, None, 15, event(15, raised_us, Name=past["Name"], Input=past["Input"]))


def _decided(decision: Decision, at_us: int, settings: HostSettings) -> str:
    """Write the event that records a decision."""
    kept = decision.input if settings.stores_inputs else None
    if decision.kind == "activity":
        return event(4, at_us, decision.id, Name=decision.name, Version="", Input=kept)
    if decision.kind == "sub":
        return event(
            7,
            at_us,
            decision.id,
            Name=decision.name,
            Version=_child_version(decision, settings),
            InstanceId=decision.instance_id,
            Input=kept,
        )
    return event(10, at_us, decision.id, FireAt=stamp(parse_stamp(decision.fire_at)))


def _child_version(decision: Decision, settings: HostSettings) -> str | None:
    """Return a sub-orchestration's version: its own, which may be empty, else the app's."""
    return settings.default_version if decision.version is None else decision.version


def _child(decision: Decision, parent: Instance, now_us: int, settings: HostSettings) -> Start:
    input_text = None if decision.input is None else json.dumps(decision.input)
    alone = new_instance(
        decision.name, decision.instance_id, input_text, now_us, _child_version(decision, settings)
    )
    child = replace(
        alone.instance,
        parent=parent.id,
        parent_execution=parent.execution,
        parent_task=decision.id,
        parent_name=parent.name,
    )
    return Start(child, _started_event(child, now_us))


def _timer_message(decision: Decision, instance: Instance) -> Message:
    due = to_micros(parse_stamp(decision.fire_at))
    text = event(11, due, TimerId=decision.id, FireAt=stamp(from_micros(due)))
    return Message(instance.id, instance.execution, 11, text, max(due, 1))


def _notify_parent(ended: Instance, at_us: int) -> list[Message]:
    if ended.parent is None:
        return []
    if ended.status == COMPLETED:
        text = event(8, at_us, TaskScheduledId=ended.parent_task, Result=ended.output)
        return [Message(ended.parent, ended.parent_execution, 8, text)]
    text = event(9, at_us, TaskScheduledId=ended.parent_task, Reason=ended.output, Details=ended.details)
    return [Message(ended.parent, ended.parent_execution, 9, text)]
