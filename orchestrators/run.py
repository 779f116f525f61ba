"""One run of one window, end to end: prepare, plan, score, collect, publish."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.grouping import numbers_of, ranges_of, split_evenly

Flow = Generator[Any, Any, dict[str, Any]]


class StoppedError(Exception):
    """An activity answered with an error that stops the run."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def run(context: DurableOrchestrationContext) -> Flow:
    """Take the requested run (a RunRequest as JSON values) through its steps; give its ending.

    Children answer errors instead of raising, so a fan-out always runs to its end before the run is closed as failed.
    """
    request, offloaded = context.get_input(), False
    try:
        plan = yield from _plan(context, request)
        offloaded = bool(plan["batch"])
        reasons = yield from _score(context, request, plan)
        yield from _ask(context, "collect_run", {"run": request["run"], "reasons": reasons})
        ending = yield from _ask(context, "publish_run", {"request": request})
    except StoppedError as stop:
        ending = yield from _fail(context, request, stop.error)
    context.set_custom_status({"phase": ending["state"], "run": request["run"]})
    if offloaded:  # after the ending, since nobody has to wait for logs
        yield context.call_activity("keep_logs", {"run": request["run"]})
    return ending


def _plan(context: DurableOrchestrationContext, request: dict[str, Any]) -> Flow:
    round_number = 0
    while True:
        context.set_custom_status({"phase": "planning", "run": request["run"]})
        plan = yield from _ask(context, "plan_run", {"request": request, "round": round_number})
        if plan["items"] == 0:
            return plan
        context.set_custom_status({"phase": "preparing", "items": plan["items"], "round": round_number})
        yield from _prepare(context, request, round_number, plan["items"])
        round_number += 1


def _prepare(
    context: DurableOrchestrationContext, request: dict[str, Any], round_number: int, items: int
) -> Generator[Any, Any, None]:
    groups = split_evenly(range(items))
    answers = yield context.task_all(
        [
            context.call_sub_orchestrator(
                "prepare_group", {"request": request, "round": round_number, "numbers": ranges_of(group)}
            )
            for group in groups
        ]
    )
    errors = [error for answer in answers for error in answer["errors"]]
    if errors:
        raise StoppedError({"code": "not_prepared", "message": f"Preparation failed: {errors[0]}", "fix": ""})


def _score(context: DurableOrchestrationContext, request: dict[str, Any], plan: dict[str, Any]) -> Flow:
    context.set_custom_status(
        {
            "phase": "scoring",
            "run": request["run"],
            "shards": plan["shards"],
            "partitions": plan["partitions"],
        }
    )
    children = [
        context.call_sub_orchestrator(
            "score_group", {"run": request["run"], "purpose": request["purpose"], "shards": ranges_of(group)}
        )
        for group in split_evenly(numbers_of(plan["inline"]))
    ]
    if plan["batch"]:  # inline shards run while the pool warms up
        children.append(
            context.call_sub_orchestrator(
                "offload", {"run": request["run"]}, offload_instance(request["run"])
            )
        )
    if not children:
        return {}
    answers = yield context.task_all(children)
    errors = [answer["error"] for answer in answers if answer.get("error")]
    if errors:
        raise StoppedError(errors[0])
    return {shard: why for answer in answers for shard, why in answer["reasons"].items()}


def offload_instance(run: str) -> str:
    """The instance that looks after a run's shards on Batch; completion events go to it."""
    return f"{run}-offload"


def _ask(context: DurableOrchestrationContext, activity: str, asked: dict[str, Any]) -> Flow:
    answer = yield context.call_activity(activity, asked)
    if not answer["ok"]:
        raise StoppedError(answer["error"])
    value: dict[str, Any] = answer["value"]
    return value


def _fail(context: DurableOrchestrationContext, request: dict[str, Any], error: dict[str, Any]) -> Flow:
    yield context.call_activity("fail_run", {"run": request["run"], "error": error})
    return {"state": "failed", "reason": error["message"]}
