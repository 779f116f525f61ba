"""Score one shard inline, or train it in a training run."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def score_shard(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "shard", "purpose"}; give {"cancelled": bool}; everything else is in the shard's
    record.
    """
    from activities.store import app_store
    from fleetscore.pipeline.score import name_attempt
    from fleetscore.pipeline.score import score_shard as score
    from fleetscore.pipeline.shard_telemetry import measure_shard
    from fleetscore.pipeline.train import train_shard
    from fleetscore.telemetry import note_ids

    step = train_shard if payload["purpose"] == "train" else score
    attempt = name_attempt()
    note_ids(attempt=attempt, placement="inline")
    record = step(app_store(), payload["run"], payload["shard"], attempt=attempt)
    if record is not None and record.attempt == attempt:  # else another one counts it
        measure_shard(app_store(), record, payload["purpose"])
    return {"cancelled": record is None}
