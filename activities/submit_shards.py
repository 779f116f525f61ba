"""Submit a run's large shards to Batch."""

from __future__ import annotations

from typing import Any

from activities.answers import answering, describe_error


@answering
def submit_shards(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "instance"}; give {"job", "limit_s": when the job has ended}, or why it has to wait for
    the quota.

    That is {"refused": the error, "check_s": when to check again, "limit_s": how long to wait}.
    """
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.errors import CapacityError
    from fleetscore.pipeline.offload import policy_of
    from fleetscore.pipeline.offload import submit_shards as submit
    from fleetscore.runs.run_records import check_instance

    app, store, run = read_app_settings(), app_store(), payload["run"]
    check_instance(store, run, payload.get("instance", ""))
    policy = policy_of(store, run)
    try:
        job = submit(store, connect_compute(app), app, run, datetime.now(UTC))
    except CapacityError as error:
        if error.code != "quota_exceeded":
            raise
        return {"refused": describe_error(error), "check_s": policy.check_s, "limit_s": policy.start_limit_s}
    return {"job": job, "limit_s": policy.job_limit_s}
