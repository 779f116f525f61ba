"""Isolation: an unexpected error costs the partition that causes it its result, and no other."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from fleetscore.capabilities import Trains, require
from fleetscore.errors import BugError, FleetscoreError
from fleetscore.exhaustion import is_exhausted
from fleetscore.workload import RunContext, Scored, Shard, Trained

_log = logging.getLogger("fleetscore.isolation")
_MAX_ERRORS = 64
"""After so many errors in one shard the rest is not searched further: everything left fails with the last
error.
"""


def score_isolated(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """The workload's pieces; where it raises, the unsettled partitions are halved and tried again until the
    failing partition is alone.

    Raises FleetscoreErrors with `retry` (the store is down) and BugErrors.
    """
    errors = 0
    waiting = [shard]
    while waiting:
        current = waiting.pop()
        settled: set[str] = set()
        try:
            for piece in run.kind.score(run, current):
                settled.update(piece.outcomes["partition"].to_pylist())
                yield piece
        except Exception as error:
            if is_nobodys_fault(error):
                raise
            errors += 1
            left = [p for p in current.keys if p not in settled]
            if len(left) <= 1 or errors >= _MAX_ERRORS:
                yield _failed(run, current.restricted(left), error)
            else:
                middle = len(left) // 2
                waiting += [current.restricted(left[middle:]), current.restricted(left[:middle])]


def train_isolated(run: RunContext, shard: Shard) -> list[Trained]:
    """What training the shard's partitions gave, in as many pieces as it took: one, unless the kind raised,
    which halves the shard.

    Partitions that cannot be trained are in a piece without files, each with an outcome that says why.
    Raises as `score_isolated` does.
    """
    kind, errors = require(run.kind, Trains), 0
    done: list[Trained] = []
    waiting = [shard]
    while waiting:
        current = waiting.pop()
        try:
            done.append(kind.train(run, current))
        except Exception as error:
            if is_nobodys_fault(error):
                raise
            errors += 1
            keys = current.keys
            if len(keys) <= 1 or errors >= _MAX_ERRORS:
                done.append(Trained({}, _failed(run, current, error).outcomes))
            else:
                middle = len(keys) // 2
                waiting += [current.restricted(keys[middle:]), current.restricted(keys[:middle])]
    return done


def is_nobodys_fault(error: Exception) -> bool:
    """Whether no partition is to blame for the error, so that the attempt fails, and not they.

    The store is down, memory, threads or handles are exhausted, or ours is the fault.
    """
    passing = isinstance(error, FleetscoreError) and error.retry
    return passing or isinstance(error, BugError) or is_exhausted(error)


def _failed(run: RunContext, shard: Shard, error: Exception) -> Scored:
    if isinstance(error, FleetscoreError):
        cause, detail = error.code, str(error)
    else:
        cause, detail = "unexpected_error", f"{type(error).__name__}: {error}"
    _log.error(
        "%s: %s failed: %s\n%s", run.run, shard.keys[:3], detail, "".join(traceback.format_exception(error))
    )
    table = shard.partitions
    return Scored.failed(table["partition"], cause, detail, input_rows=table["rows"], model=table["model"])
