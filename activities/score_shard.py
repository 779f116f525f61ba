"""Score one shard inline, or train it in a training run."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def score_shard(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "shard", "purpose"}; give {"cancelled": bool}; everything else is in the shard's record."""
    from activities.store import app_store
    from activities.telemetry import count_shard
    from fleetscore.steps.score import score_shard as score
    from fleetscore.steps.train import train_shard

    step = train_shard if asked["purpose"] == "train" else score
    record = step(app_store(), asked["run"], asked["shard"])
    if record is not None:
        count_shard(
            record.counts, record.seconds, {"purpose": asked["purpose"], "placement": record.placement}
        )
    return {"cancelled": record is None}
