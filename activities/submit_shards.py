"""Submit a run's large shards to Batch."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def submit_shards(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "instance"}; give {"job"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.pipeline.offload import submit_shards as submit
    from fleetscore.runs.run_records import check_instance

    app = read_app_settings()
    check_instance(app_store(), asked["run"], asked.get("instance", ""))
    return {"job": submit(app_store(), connect_compute(app), app, asked["run"], datetime.now(UTC))}
