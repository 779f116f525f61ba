"""Look after a run's shards on Batch."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def check_shards(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"run", "woken": whether a message came}; give {"open", "reasons", "check_s"}; at the end,
    measures what the job took.
    """
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.batch import connect_compute
    from fleetscore.pipeline import offload
    from fleetscore.pipeline.offload_usage import write_usage
    from orchestrators.grouping import bound_texts

    store, run, now = app_store(), payload["run"], datetime.now(UTC)
    compute = connect_compute(read_app_settings())
    check = offload.check_shards(store, compute, run, now, reads_batch=not payload["woken"])
    if not check.open:
        write_usage(store, compute, run, now)
    check_s = offload.policy_of(store, run).check_s
    return {
        "open": check.open,
        "reasons": bound_texts({str(shard): why for shard, why in check.reasons.items()}),
        "check_s": check_s,
    }
