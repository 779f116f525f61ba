"""Collect a run's ledger."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def collect_run(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "reasons": {shard: why it was not committed}, "instance"}; give {"counts", "rows"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.pipeline.collect import collect_run as collect
    from fleetscore.records import RunState
    from fleetscore.runs.run_records import check_instance, record_state

    check_instance(app_store(), payload["run"], payload.get("instance", ""))
    record_state(app_store(), payload["run"], RunState.COLLECTING, datetime.now(UTC))
    collected = collect(
        app_store(), payload["run"], {int(shard): why for shard, why in payload["reasons"].items()}
    )
    return {"counts": dict(collected.counts), "rows": collected.rows}
