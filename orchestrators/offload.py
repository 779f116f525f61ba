"""A run's shards on Batch: submit, then wait for completion events with a timer behind them, until none is open."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.calls import call

Flow = Generator[Any, Any, dict[str, Any]]


def event_name(wait: int) -> str:
    """The event of the n-th wait. Each name is waited for once: this SDK gives an early event to every wait of its name."""
    return f"shards-{wait}"


def offload(context: DurableOrchestrationContext) -> Flow:
    """Have the shards of {"run", "instance"} on Batch scored; give {"reasons": {shard: why it was not committed}}.

    The custom status says which wait is next before each look at the store: a message that arrives during the look raises the event of
    the coming wait, so no completion is lost between looking and waiting. A lost message costs one timer; so does a look that failed.
    """
    asked = context.get_input()
    run, wait, check_s, woken = asked["run"], 0, 15.0, False
    context.set_custom_status({"wait": wait})
    answer = yield call(context, "submit_shards", {"run": run, "instance": asked.get("instance", run)})
    if not answer["ok"]:
        return {"reasons": {}, "error": answer["error"]}
    while True:
        answer = yield call(context, "check_shards", {"run": run, "woken": woken})
        if answer["ok"]:
            check_s = answer["value"]["check_s"]
        if answer["ok"] and not answer["value"]["open"]:
            return {"reasons": answer["value"]["reasons"]}
        woken = yield from _wait(context, event_name(wait), check_s)
        wait += 1
        context.set_custom_status({"wait": wait})


def _wait(context: DurableOrchestrationContext, event: str, timeout_s: float) -> Generator[Any, Any, bool]:
    """Whether the event came before the time was up."""
    completed = context.wait_for_external_event(event)
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=timeout_s))
    winner = yield context.task_any([completed, timer])
    if winner is completed:
        timer.cancel()
    return winner is completed
