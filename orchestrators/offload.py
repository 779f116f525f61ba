"""A run's shards on Batch: submit, then wait for completion events with a timer behind them, until none is
open.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.calls import call
from orchestrators.grouping import bound_texts

Flow = Generator[Any, Any, dict[str, Any]]
_JOB_LIMIT_S = 43_200.0  # of submissions by an earlier version, whose answer does not say
_GRACE_S = 3_600.0


def event_name(wait: int) -> str:
    """The event of the n-th wait. Each name is waited for once: this SDK gives an early event to every wait
    of its name.
    """
    return f"shards-{wait}"


def offload(context: DurableOrchestrationContext) -> Flow:
    """Have the shards of {"run", "instance"} on Batch scored; give {"reasons": {shard: why it was not
    committed}}.

    The custom status says which wait is next before each look at the store: a message that arrives during
    the look raises the event of the coming wait, so no completion is lost between looking and waiting. A
    lost message costs one timer; so does a look that failed, until looks have failed for an hour longer
    than the job may take.
    """
    payload = context.get_input()
    submission = {"run": payload["run"], "instance": payload.get("instance", payload["run"])}
    context.set_custom_status({"wait": 0})
    wait, answer = yield from _submit(context, submission)
    if not answer["ok"]:
        return {"reasons": {}, "error": answer["error"]}
    limit_s = answer["value"].get("limit_s", _JOB_LIMIT_S) + _GRACE_S
    check_s, woken, answered = 15.0, False, context.current_utc_datetime
    while True:
        answer = yield call(context, "check_shards", {"run": payload["run"], "woken": woken})
        if answer["ok"]:
            check_s, answered = answer["value"]["check_s"], context.current_utc_datetime
            if not answer["value"]["open"]:
                return {"reasons": bound_texts(answer["value"]["reasons"])}
        elif _seconds_since(context, answered) > limit_s:
            return {"reasons": {}, "error": answer["error"]}
        woken = yield from _wait(context, event_name(wait), check_s)
        wait += 1
        context.set_custom_status({"wait": wait})


def _submit(
    context: DurableOrchestrationContext, submission: dict[str, Any]
) -> Generator[Any, Any, tuple[int, dict[str, Any]]]:
    """The number of waits so far and the answer to the submission, once no quota refuses it or its limit is
    over.
    """
    wait, began = 0, context.current_utc_datetime
    while True:
        answer = yield call(context, "submit_shards", submission)
        refused = answer["value"].get("refused") if answer["ok"] else None
        if refused is None:
            return wait, answer
        if _seconds_since(context, began) >= answer["value"]["limit_s"]:
            return wait, {"ok": False, "error": refused}
        yield from _wait(context, event_name(wait), answer["value"]["check_s"])
        wait += 1
        context.set_custom_status({"wait": wait, "refused": refused["message"]})


def _seconds_since(context: DurableOrchestrationContext, moment: datetime) -> float:
    return float((context.current_utc_datetime - moment).total_seconds())


def _wait(context: DurableOrchestrationContext, event: str, timeout_s: float) -> Generator[Any, Any, bool]:
    """Whether the event came before the time was up."""
    completed = context.wait_for_external_event(event)
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=timeout_s))
    winner = yield context.task_any([completed, timer])
    if winner is completed:
        timer.cancel()
    return winner is completed
