"""Keep what the tasks of a run's Batch job said, and let go of nodes that were there for the run alone."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def keep_logs(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run"}; give {"files"}: how many were copied to the run's logs/."""
    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.pipeline.offload_usage import keep_logs as keep
    from fleetscore.pipeline.offload_usage import release_pool

    store, compute = app_store(), connect_compute(read_app_settings())
    try:
        return {"files": keep(store, compute, payload["run"])}
    finally:  # nodes cost money whether their logs can be read or not
        release_pool(store, compute, payload["run"])
