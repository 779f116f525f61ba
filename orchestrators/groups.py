"""The second level of the fan-out: a group of at most 100 shards or pieces of preparation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from orchestrators.grouping import numbers_of

Flow = Generator[Any, Any, dict[str, Any]]


def score_group(context: DurableOrchestrationContext) -> Flow:
    """Score the shards of {"run", "purpose", "shards": ranges}; give {"reasons": {shard: why it was not committed}, "cancelled"}."""
    asked = context.get_input()
    shards = numbers_of(asked["shards"])
    answers = yield context.task_all(
        [
            context.call_activity(
                "score_shard", {"run": asked["run"], "shard": shard, "purpose": asked["purpose"]}
            )
            for shard in shards
        ]
    )
    failed = {
        str(shard): answer["error"]["message"]
        for shard, answer in zip(shards, answers, strict=True)
        if not answer["ok"]
    }
    return {"reasons": failed, "cancelled": any(a["ok"] and a["value"]["cancelled"] for a in answers)}


def prepare_group(context: DurableOrchestrationContext) -> Flow:
    """Compute the pieces of {"request", "round", "numbers": ranges}; give {"errors": [...]}, the first few."""
    asked = context.get_input()
    answers = yield context.task_all(
        [
            context.call_activity(
                "prepare_item", {"request": asked["request"], "round": asked["round"], "number": number}
            )
            for number in numbers_of(asked["numbers"])
        ]
    )
    errors = [a["value"]["error"] if a["ok"] else a["error"]["message"] for a in answers]
    return {"errors": [error for error in errors if error][:5]}
