"""The second level of the fan-out: a group of at most 100 shards or pieces of preparation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.calls import call, describe_loss
from orchestrators.grouping import bound_texts, numbers_of

Flow = Generator[Any, Any, dict[str, Any]]


def score_group(context: DurableOrchestrationContext) -> Flow:
    """Score the shards of {"run", "purpose", "shards": ranges}; give {"reasons", "cancelled", "error"}.

    "reasons" says of each shard that was not committed why.
    """
    payload = context.get_input()
    shards = numbers_of(payload["shards"])
    try:
        answers = yield context.task_all(
            [
                call(
                    context,
                    "score_shard",
                    {"run": payload["run"], "shard": shard, "purpose": payload["purpose"]},
                )
                for shard in shards
            ]
        )
    except Exception as error:  # what the SDK raises for a failed task has no type of its own
        return {"reasons": {}, "cancelled": False, "error": describe_loss(error)}
    failed = {
        str(shard): answer["error"]["message"]
        for shard, answer in zip(shards, answers, strict=True)
        if not answer["ok"]
    }
    return {
        "reasons": bound_texts(failed),
        "cancelled": any(a["ok"] and a["value"]["cancelled"] for a in answers),
    }


def prepare_group(context: DurableOrchestrationContext) -> Flow:
    """Compute the pieces of {"request", "round", "numbers": ranges}; give {"errors": [...]}, the first
    few.
    """
    payload = context.get_input()
    try:
        answers = yield context.task_all(
            [
                call(
                    context,
                    "prepare_item",
                    {"request": payload["request"], "round": payload["round"], "number": number},
                )
                for number in numbers_of(payload["numbers"])
            ]
        )
    except Exception as error:  # what the SDK raises for a failed task has no type of its own
        return {"errors": [describe_loss(error)["message"]]}
    errors = [a["value"]["error"] if a["ok"] else a["error"]["message"] for a in answers]
    return {"errors": [error for error in errors if error][:5]}
