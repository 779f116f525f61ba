"""Backfill: many windows of a workload, a few at a time, each as a run of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from fleetscore.windows import Cadence, WindowSpan
from orchestrators.calls import call
from orchestrators.grouping import WIDTH, bound_lines, bound_texts

FINAL = frozenset({"published", "unpublished", "failed", "cancelled"})
"""The states of a run that has ended."""

_FOLLOW_S, _LONGEST_FOLLOW_S = 5.0, 300.0

Flow = Generator[Any, Any, dict[str, Any]]


def backfill(context: DurableOrchestrationContext) -> Flow:
    """Run {"workload", "span", "only", "partitions", "names_at", "models", "max_parallel"}: the span's
    windows in their order, `max_parallel` at once.

    Gives {"total", "states": {state: windows}, "windows": [each with its run and state]}; of more windows
    than an output may hold, those that were not published come first. Instances of earlier versions have
    the list "windows" in place of the span, and no partitions and models.
    """
    payload = context.get_input()
    windows, shared = windows_of(payload), {k: v for k, v in payload.items() if k != "span"}
    lanes = max(1, min(payload["max_parallel"], WIDTH))
    ended: list[dict[str, Any]] = []
    for start in range(0, len(windows), lanes * WIDTH):
        stretch = windows[start : start + lanes * WIDTH]
        answers = yield context.task_all(
            [
                context.call_sub_orchestrator("backfill_lane", {**shared, "windows": stretch[lane::lanes]})
                for lane in range(min(lanes, len(stretch)))
            ]
        )
        ended += _in_order(answers, stretch)
        context.set_custom_status({"phase": "running", "done": len(ended), "total": len(windows)})
    states = Counter(line["state"] for line in ended)
    lines = bound_lines(ended, lambda line: line["state"] == "published")
    return {"total": len(windows), "states": dict(states), "windows": lines}


def windows_of(payload: Mapping[str, Any]) -> Sequence[str]:
    """The keys of the windows of a backfill's input."""
    if "windows" in payload:
        windows: list[str] = payload["windows"]
        return windows
    span = payload["span"]
    return WindowSpan(Cadence(span["cadence"]), span["first"], span["length"], span["step"])


def _in_order(answers: Sequence[dict[str, Any]], stretch: Sequence[str]) -> list[dict[str, Any]]:
    place = {window: number for number, window in enumerate(stretch)}
    lines = [line for answer in answers for line in answer["windows"]]
    return sorted(lines, key=lambda line: place[line["window"]])


def backfill_lane(context: DurableOrchestrationContext) -> Flow:
    """Run the windows of one lane one after the other; give each with its run and state."""
    payload = context.get_input()
    ended = []
    for window in payload["windows"]:
        question = {
            "workload": payload["workload"],
            "window": window,
            "only": payload["only"],
            "who": context.instance_id,
        }
        question |= {
            name: payload[name] for name in ("partitions", "names_at", "models") if payload.get(name)
        }
        answer = yield from _submit_in_turn(context, question)
        ended.append((yield from _run_window(context, question, answer)))
    reasons = bound_texts({line["window"]: line["reason"] for line in ended if "reason" in line})
    return {"windows": [line | _reason(line, reasons) for line in ended]}


def _reason(line: dict[str, Any], reasons: dict[str, str]) -> dict[str, str]:
    """The line's reason, as short as there is room for."""
    return {"reason": reasons.get(line["window"], "")} if "reason" in line else {}


def _submit_in_turn(context: DurableOrchestrationContext, question: dict[str, Any]) -> Flow:
    """The window's run, once no live window is under way."""
    while True:
        answer = yield call(context, "ask_window", question)
        wait_s = answer["value"].get("wait_s") if answer["ok"] else None
        if not wait_s:
            return answer  # type: ignore[no-any-return]  # an activity's answer
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=wait_s))


def _run_window(
    context: DurableOrchestrationContext, question: dict[str, Any], answer: dict[str, Any]
) -> Flow:
    """Run the window, or follow the run that has it already, to the run's end."""
    window, wait_s, started = question["window"], _FOLLOW_S, ""
    while answer["ok"]:
        request, state = answer["value"]["request"], answer["value"]["state"]
        if answer["value"]["start"] and request["run"] != started:
            started = request["run"]
            state = yield from _start(context, request)
        if state in FINAL or not _follows(context):
            return {"window": window, "run": request["run"], "state": state}
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=wait_s))
        wait_s = min(2 * wait_s, _LONGEST_FOLLOW_S)
        answer = yield call(context, "ask_window", {**question, "run": request["run"]})
    return {"window": window, "run": "", "state": "failed", "reason": answer["error"]["message"]}


def _start(context: DurableOrchestrationContext, request: dict[str, Any]) -> Generator[Any, Any, str]:
    """The state in which the run's orchestration ended; where it was lost, the watchdog goes on with the
    run.
    """
    try:
        ending = yield context.call_sub_orchestrator("run", request, request["run"])
    except Exception:
        return "lost"
    return str(ending["state"])


def _follows(context: DurableOrchestrationContext) -> bool:
    """Whether this instance was started by an app that follows other runs: older ones replay as they were."""
    return context.version not in (None, "", "1")
