"""Backfill: many windows of a workload, a few at a time, each as a run of its own."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.grouping import WIDTH

Flow = Generator[Any, Any, dict[str, Any]]


def backfill(context: DurableOrchestrationContext) -> Flow:
    """Run {"workload", "windows", "only", "max_parallel"}: windows in the order given, `max_parallel` at once; give counts by state."""
    asked = context.get_input()
    lanes = max(1, min(asked["max_parallel"], WIDTH))
    windows, ended = asked["windows"], []
    for start in range(0, len(windows), lanes * WIDTH):
        stretch = windows[start : start + lanes * WIDTH]
        answers = yield context.task_all(
            [
                context.call_sub_orchestrator("backfill_lane", {**asked, "windows": stretch[lane::lanes]})
                for lane in range(min(lanes, len(stretch)))
            ]
        )
        ended += [window for answer in answers for window in answer["windows"]]
        context.set_custom_status({"phase": "running", "done": len(ended), "total": len(windows)})
    place = {window: number for number, window in enumerate(windows)}
    return {"windows": sorted(ended, key=lambda window: place[window["window"]])}


def backfill_lane(context: DurableOrchestrationContext) -> Flow:
    """Run the windows of one lane one after the other; give each with its run and state."""
    asked = context.get_input()
    ended = []
    for window in asked["windows"]:
        question = {
            "workload": asked["workload"],
            "window": window,
            "only": asked["only"],
            "who": context.instance_id,
        }
        answer = yield from _ask_in_turn(context, question)
        ended.append((yield from _run_window(context, window, answer)))
    return {"windows": ended}


def _ask_in_turn(context: DurableOrchestrationContext, question: dict[str, Any]) -> Flow:
    """The window's run, once no live window is under way."""
    while True:
        answer = yield context.call_activity("ask_window", question)
        wait_s = answer["value"].get("wait_s") if answer["ok"] else None
        if not wait_s:
            return answer  # type: ignore[no-any-return]  # an activity's answer
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=wait_s))


def _run_window(context: DurableOrchestrationContext, window: str, answer: dict[str, Any]) -> Flow:
    if not answer["ok"]:
        return {"window": window, "run": "", "state": "failed", "reason": answer["error"]["message"]}
    request, state = answer["value"]["request"], answer["value"]["state"]
    if answer["value"]["start"]:
        ending = yield context.call_sub_orchestrator("run", request, request["run"])
        state = ending["state"]
    return {"window": window, "run": request["run"], "state": state}
