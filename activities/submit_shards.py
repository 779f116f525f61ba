"""Submit a run's large shards to Batch."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def submit_shards(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"run"}; give {"job"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.pipeline.offload import submit_shards as submit

    app = read_app_settings()
    return {"job": submit(app_store(), connect_compute(app), app, asked["run"], datetime.now(UTC))}
