"""Submit a run's large shards to Batch."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def submit_shards(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"run"}; give {"job", "submitted"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.steps.offload import connect_compute
    from fleetscore.steps.offload import submit_shards as submit

    app = read_app_settings()
    job = submit(app_store(), connect_compute(app), app, asked["run"])
    return {"job": job, "submitted": datetime.now(UTC).isoformat()}
