"""The worker's entry point: score the shard that the environment names, commit it once, announce it, exit with a code that means something.

0: done. 10: done, with partitions that failed. 20: trying again is of no use. 30: trying again may help.
"""

from __future__ import annotations

import logging
import os
import sys

DONE, DONE_WITH_FAILURES, DO_NOT_RETRY, MAY_RETRY = 0, 10, 20, 30
_log = logging.getLogger("fleetscore.worker")


def main() -> int:
    """Score one shard; gives the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout
    )
    from fleetscore.errors import FleetscoreError

    try:
        return _work(
            os.environ["FLEETSCORE_RUN"],
            int(os.environ["FLEETSCORE_SHARD"]),
            os.environ["FLEETSCORE_PURPOSE"],
        )
    except FleetscoreError as error:
        _log.exception("%s %s", error.message, error.fix)
        return MAY_RETRY if error.retry else DO_NOT_RETRY
    except Exception:
        _log.exception("This should not happen.")
        return MAY_RETRY


def _work(run: str, shard: int, purpose: str) -> int:
    from fleetscore.app_settings import read_app_settings
    from fleetscore.completions import announce
    from fleetscore.outcomes import GOOD
    from fleetscore.steps.offload import offloaded_shards
    from fleetscore.steps.score import read_shard_record, score_shard
    from fleetscore.steps.train import train_shard
    from fleetscore.stores import open_store

    app = read_app_settings()
    store = open_store(app.store)
    known = read_shard_record(store, run, shard) is not None
    step = train_shard if purpose == "train" else score_shard
    record = step(
        store, run, shard, "batch", lambda done, total: _log.info("partitions %d / %d", done, total)
    )
    if record is None:
        _log.info("%s was cancelled", run)
        return DONE
    announce(store, app, run, shard, offloaded_shards(store, run))
    bad = sum(count for outcome, count in record.counts.items() if outcome not in GOOD)
    _log.info(
        "shard %d of %s is committed by attempt %s: %s", shard, run, record.attempt, dict(record.counts)
    )
    return DONE_WITH_FAILURES if bad and not known else DONE


if __name__ == "__main__":
    sys.exit(main())
