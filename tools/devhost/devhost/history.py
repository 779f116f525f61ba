"""History events: how they are written, and how the status answer shows them."""

import json
from collections.abc import Mapping
from typing import Any

from devhost.clock import from_micros, stamp
from devhost.json_text import as_json, without_surrogates

_NAMES = {
    0: "ExecutionStarted",
    1: "ExecutionCompleted",
    3: "ExecutionTerminated",
    4: "TaskScheduled",
    5: "TaskCompleted",
    6: "TaskFailed",
    7: "SubOrchestrationInstanceCreated",
    8: "SubOrchestrationInstanceCompleted",
    9: "SubOrchestrationInstanceFailed",
    10: "TimerCreated",
    11: "TimerFired",
    14: "EventSent",
    15: "EventRaised",
    16: "ContinueAsNew",
    17: "GenericEvent",
    18: "HistoryState",
    19: "ExecutionSuspended",
    20: "ExecutionResumed",
}
STATUS_NUMBERS = {
    "Running": 0,
    "Completed": 1,
    "ContinuedAsNew": 2,
    "Failed": 3,
    "Canceled": 4,
    "Terminated": 5,
}
_STATUS_NAMES = {number: name for name, number in STATUS_NUMBERS.items()} | {6: "Pending", 7: "Suspended"}
_HIDDEN = [
    "EventId",
    "IsPlayed",
    "TaskScheduledId",
    "TimerId",
    "Version",
    "OrchestrationInstance",
    "ParentInstance",
    "Tags",
    "ClientSpanId",
]  # fields of the protocol, of no use to a reader
_TRACE = {"ParentTraceContext": None}
_EMPTY: dict[int, dict[str, Any]] = {
    0: dict.fromkeys(("ParentInstance", "Name", "Version", "Input", "Tags", "Correlation"))
    | _TRACE
    | {"ScheduledStartTime": None, "Generation": 0, "GenerateNewTrace": False},
    1: {"OrchestrationStatus": None, "Result": None, "FailureDetails": None},
    4: dict.fromkeys(("Name", "Version", "Input")) | _TRACE | {"Tags": None},
    6: dict.fromkeys(("TaskScheduledId", "Reason", "Details", "FailureDetails")),
    7: dict.fromkeys(("Name", "Version", "InstanceId", "Input", "ClientSpanId", "Tags")),
    9: dict.fromkeys(("TaskScheduledId", "Reason", "Details", "FailureDetails")),
    15: dict.fromkeys(("Name", "Input")) | _TRACE,
}
_NEW, _OLD = '"IsPlayed":false', '"IsPlayed":true'


def event(number: int, at_us: int, event_id: int = -1, **fields: Any) -> str:
    """Write an event as JSON text, its keys in the extension's order.

    `at_us` is its timestamp in microseconds since 1970. Fields that the type has and that are not given are
    null.
    """
    first: dict[str, Any] = {"EventType": number}
    if number == 0:  # here alone the instance comes before the type
        first = {"OrchestrationInstance": fields.pop("OrchestrationInstance")} | first
    head = json.dumps(first | _EMPTY.get(number, {}) | fields, ensure_ascii=False, separators=(",", ":"))
    tail = f'"EventId":{event_id},{_NEW},"Timestamp":"{stamp(from_micros(at_us))}"'
    return f"{without_surrogates(head)[:-1]},{tail}}}"


def played(text: str) -> str:
    """Return an event that was delivered as later episodes see it."""
    return text.replace(_NEW, _OLD, 1)


def parse(chunks: list[str]) -> list[dict[str, Any]]:
    """Parse stored chunks, each the events of one episode joined by commas."""
    return list(json.loads(f"[{','.join(chunks)}]"))


def compact(events: list[dict[str, Any]], shows_input: bool, shows_output: bool) -> list[dict[str, Any]]:
    """Return the history as the status answer shows it: completions merged with what they complete."""
    scheduled = {each["EventId"]: each for each in events if each["EventType"] in (4, 7)}
    ended = {each["TaskScheduledId"] for each in events if each["EventType"] in (5, 6, 8, 9)}
    shown = []
    for each in events:
        number = each["EventType"]
        if number in (12, 13) or (number in (4, 7) and each["EventId"] in ended):
            continue
        merged = dict(each)
        if number in (5, 6, 8, 9):
            merged |= _merge(scheduled.get(each["TaskScheduledId"]), shows_input)
        shown.append(_present(merged, shows_input, shows_output))
    return shown


def _merge(start: Mapping[str, Any] | None, shows_input: bool) -> dict[str, Any]:
    if start is None:
        return {}
    merged = {"ScheduledTime": start["Timestamp"], "FunctionName": start["Name"]}
    if "InstanceId" in start:
        merged["InstanceId"] = start["InstanceId"]
    return merged | {"Input": start.get("Input")} if shows_input else merged


def _present(merged: dict[str, Any], shows_input: bool, shows_output: bool) -> dict[str, Any]:
    number = merged["EventType"]
    shown = {key: value for key, value in merged.items() if key not in _HIDDEN}
    shown["EventType"] = _NAMES.get(number, str(number))
    if number == 0:
        shown["FunctionName"] = shown.pop("Name", None)
    if "OrchestrationStatus" in shown:
        shown["OrchestrationStatus"] = _STATUS_NAMES[shown["OrchestrationStatus"]]
    if not shows_input:
        shown.pop("Input", None)
    if "Result" in shown:
        result = shown.pop("Result")
        if shows_output:
            shown["Result"] = as_json(result)
    return shown
