"""The worker's entry point: score the shard that the environment names, commit it once, announce it, exit
with a code that says how it ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from worker_image.attempt_telemetry import AttemptStory, format_story

if TYPE_CHECKING:
    from fleetscore.app_settings import AppSettings
    from fleetscore.records import ShardRecord
    from fleetscore.store.base import Store

DONE = 0
# some partitions failed; Batch runs the task once more, which finds the commit and gives 0
DONE_WITH_FAILURES = 10
DO_NOT_RETRY = 20  # a retry is of no use, and the run gets this code
MAY_RETRY = 30
_SAY_EVERY_S = 5.0
_log = logging.getLogger("fleetscore.worker")


def main() -> int:
    """Score one shard and report it; gives the exit code."""
    _talk()
    signal.signal(signal.SIGTERM, _leave)
    _find_folders()
    if os.environ.get("FLEETSCORE_PURPOSE") == "probe":
        from worker_image.probe import print_probe

        print_probe()
        return DONE
    shard, purpose = int(os.environ["FLEETSCORE_SHARD"]), os.environ.get("FLEETSCORE_PURPOSE", "score")
    story = AttemptStory(os.environ["FLEETSCORE_RUN"], shard, purpose)
    try:
        code = _attempt(story)
    except SystemExit as leaving:  # a signal to stop
        story.error, code = leaving, MAY_RETRY
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left takes seconds
    if not format_story(story):
        logging.shutdown()
        os._exit(code)
    return code


def _attempt(story: AttemptStory) -> int:
    from fleetscore.app_settings import read_app_settings
    from fleetscore.errors import FleetscoreError
    from fleetscore.store import open_store

    app = read_app_settings()
    store = open_store(app.store)
    try:
        return _work(store, app, story)
    except FleetscoreError as error:
        story.error = error
        _log.exception("%s %s", error.message, error.fix)
        if error.retry:
            return MAY_RETRY
        _give_up(store, app, story.run, story.shard, f"{error.message} {error.fix}".strip())
        return DO_NOT_RETRY
    except Exception as error:
        story.error = error
        _log.exception("This should not happen.")
        return MAY_RETRY


def _work(store: Store, app: AppSettings, story: AttemptStory) -> int:
    from fleetscore.batch.completions import announce
    from fleetscore.pipeline.offload import offloaded_shards, read_given_up
    from fleetscore.pipeline.score import read_shard_record
    from fleetscore.records import GOOD

    run, shard = story.run, story.shard
    known = read_shard_record(store, run, shard)
    if known is None and shard in read_given_up(store, run):
        _log.error("shard %d of %s was given up: %s", shard, run, read_given_up(store, run)[shard])
        return DO_NOT_RETRY
    record = known or _score(store, story)
    if record is None:
        _log.info("%s was cancelled", run)
        return DONE
    _log.info(
        "shard %d of %s is committed by attempt %s: %s", shard, run, record.attempt, dict(record.counts)
    )
    announce(store, app, run, shard, offloaded_shards(store, run))
    bad = sum(count for outcome, count in record.counts.items() if outcome not in GOOD)
    return DONE_WITH_FAILURES if bad and known is None else DONE


def _score(store: Store, story: AttemptStory) -> ShardRecord | None:
    from fleetscore.pipeline.score import name_attempt, score_shard
    from fleetscore.pipeline.train import train_shard

    story.attempt = name_attempt()
    _log.info("attempt %s at shard %d of %s begins", story.attempt, story.shard, story.run)
    step = train_shard if story.purpose == "train" else score_shard
    record = step(store, story.run, story.shard, "batch", _Progress(), story.attempt, began_s=story.began_s)
    story.committed = record if record is not None and record.attempt == story.attempt else None
    story.store = store
    return record


class _Progress:
    """Says how many partitions are done, every few seconds and at the end."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done == total or time.monotonic() - self._said > _SAY_EVERY_S:
            self._said = time.monotonic()
            _log.info("partitions %d / %d", done, total)


def _give_up(store: Store, app: AppSettings, run: str, shard: int, reason: str) -> None:
    """Report to the run at once that this shard will not come, so that it does not wait for the retries of
    Batch.
    """
    from fleetscore.batch.completions import wake
    from fleetscore.errors import FleetscoreError
    from fleetscore.pipeline.offload import give_up

    try:
        give_up(store, run, shard, reason)
        wake(app, run)
    except FleetscoreError:  # then the run finds out from Batch
        _log.exception("The completion could not be announced.")


def _talk() -> None:
    """Log to standard output; the SDKs' requests only where something is wrong with them."""
    line = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=line, stream=sys.stdout)
    logging.getLogger("azure").setLevel(logging.WARNING)


def _find_folders() -> None:
    """Name a home and a place for compiled code that this process may write to.

    A container runs as a user of the node that is in no user database, and the variables of the image may
    be replaced. Compiled code goes where the node's other tasks find it, if Batch offers such a place.
    """
    own = Path(os.environ.get("AZ_BATCH_TASK_WORKING_DIR") or tempfile.gettempdir())
    if not _is_writable(Path(os.environ.get("HOME") or "/nowhere")):
        os.environ["HOME"] = str(own)
    shared = os.environ.get("AZ_BATCH_NODE_SHARED_DIR", "")
    wanted = [Path(folder) / "numba" for folder in (shared, str(own)) if folder]
    os.environ["NUMBA_CACHE_DIR"] = str(next(filter(_is_writable, wanted), own))


def _is_writable(folder: Path) -> bool:
    """Whether this process may write in the folder, which is made where it may be."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End in order when the node is taken: nothing is half committed, and no partition is suspected."""
    _log.warning("stopping on a signal")
    sys.exit(MAY_RETRY)


if __name__ == "__main__":
    sys.exit(main())
