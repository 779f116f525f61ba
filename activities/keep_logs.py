"""Keep what the tasks of a run's Batch job said, end the job, and let go of nodes that were there for the run
alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from activities.answers import answering


@answering
def keep_logs(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run"}; give {"files"}: how many were copied to the run's logs/."""
    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.pipeline.offload_usage import end_job, release_pool
    from fleetscore.pipeline.offload_usage import keep_logs as keep

    store, compute, run = app_store(), connect_compute(read_app_settings()), payload["run"]
    with ExitStack() as afterwards:  # nodes cost money whether logs can be read and the job be ended or not
        afterwards.callback(release_pool, store, compute, run)
        afterwards.callback(end_job, store, compute, run)
        return {"files": keep(store, compute, run)}
