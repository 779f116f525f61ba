"""One run of one window, end to end: prepare, plan, score, collect, publish."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.calls import call, describe_loss
from orchestrators.grouping import bound_texts, numbers_of, ranges_of, split_evenly

Flow = Generator[Any, Any, dict[str, Any]]


TAKEN_OVER = "taken_over"
"""The code with which activities answer an instance whose run another one has taken over."""


class StoppedError(Exception):
    """An activity answered with an error that stops the run."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def run(context: DurableOrchestrationContext) -> Flow:
    """Take the requested run (a RunRequest as JSON values) through its steps; give its ending.

    Children answer errors instead of raising, so a fan-out always runs to its end before the run is closed
    as failed.
    """
    request, offloaded = context.get_input(), False
    try:
        plan = yield from _plan(context, request)
        offloaded = bool(plan["batch"])
        reasons = yield from _score(context, request, plan)
        yield from _call(context, "collect_run", {"run": request["run"], "reasons": reasons})
        ending = yield from _call(context, "publish_run", {"request": request})
    except StoppedError as stop:
        # another instance goes on with the run; nothing of it is touched
        if stop.error["code"] == TAKEN_OVER:
            return {"state": TAKEN_OVER, "reason": stop.error["message"]}
        ending = yield from _fail(context, request, stop.error)
    context.set_custom_status({"phase": ending["state"], "run": request["run"]})
    if offloaded:  # after the ending, since nothing waits for logs
        yield call(context, "keep_logs", {"run": request["run"]})
    return ending


def _plan(context: DurableOrchestrationContext, request: dict[str, Any]) -> Flow:
    round_number = 0
    while True:
        context.set_custom_status({"phase": "planning", "run": request["run"]})
        plan = yield from _call(context, "plan_run", {"request": request, "round": round_number})
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
                "offload",
                {"run": request["run"], "instance": context.instance_id},
                offload_instance(context.instance_id),
            )
        )
    if not children:
        return {}
    answers = yield context.task_all(children)
    errors = [answer["error"] for answer in answers if answer.get("error")]
    if errors:
        raise StoppedError(errors[0])
    return bound_texts({shard: why for answer in answers for shard, why in answer["reasons"].items()})


def offload_instance(instance: str) -> str:
    """The instance that looks after the shards on Batch for a run's instance; completion events go to it."""
    return f"{instance}-offload"


def _call(context: DurableOrchestrationContext, activity: str, payload: dict[str, Any]) -> Flow:
    try:
        answer = yield call(context, activity, {**payload, "instance": context.instance_id})
    except Exception as error:  # what the SDK raises for a failed task has no type of its own
        raise StoppedError(describe_loss(error)) from error
    if not answer["ok"]:
        raise StoppedError(answer["error"])
    value: dict[str, Any] = answer["value"]
    return value


def _fail(context: DurableOrchestrationContext, request: dict[str, Any], error: dict[str, Any]) -> Flow:
    payload = {"run": request["run"], "error": error, "instance": context.instance_id}
    answer = yield call(context, "fail_run", payload)
    if not answer["ok"] and answer["error"]["code"] == TAKEN_OVER:
        return {"state": TAKEN_OVER, "reason": answer["error"]["message"]}
    return {"state": "failed", "reason": error["message"]}
