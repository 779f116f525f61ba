"""Plan a run, or list the preparation that has to come first."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def plan_run(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"request", "round", "instance"}; give the plan as counts and shard ranges.

    While there is something to prepare it gives {"items": n} instead.
    """
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.metadata.lineage import hand_over_lineage
    from fleetscore.pipeline.plan import commit_plan
    from fleetscore.pipeline.prepare import list_items
    from fleetscore.records import RunState
    from fleetscore.runs.orchestration_inputs import requested
    from fleetscore.runs.plans import read_shard_plans
    from fleetscore.runs.run_records import check_instance, record_planned, record_state
    from orchestrators.grouping import ranges_of

    store = app_store()
    request = requested(store, payload["request"])
    check_instance(store, request.run, payload.get("instance", ""))
    items = list_items(store, request, payload["round"])
    if items:
        record_state(store, request.run, RunState.PREPARING, datetime.now(UTC))
        return {"items": len(items)}
    head = commit_plan(store, request, read_app_settings(), datetime.now(UTC))
    record_planned(store, head, datetime.now(UTC))
    hand_over_lineage(store, request.run, datetime.now(UTC))
    shards = read_shard_plans(store, head)
    return {
        "items": 0,
        "partitions": head.partitions,
        "shards": head.shards,
        "inline": ranges_of([shard.shard for shard in shards if shard.placement == "inline"]),
        "batch": ranges_of([shard.shard for shard in shards if shard.placement == "batch"]),
        "predicted_s": round(head.predicted_s, 3),
    }
