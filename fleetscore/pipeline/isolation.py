"""Isolation: an unexpected error costs the partition that causes it its result, and no other."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from fleetscore.errors import BugError, FleetscoreError
from fleetscore.workload import RunContext, Scored, Shard

_log = logging.getLogger("fleetscore.isolation")
_MAX_ERRORS = 64
"""After so many errors in one shard the rest is not searched further: everything left fails with the last error."""


def score_isolated(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """The workload's pieces; where it raises, the unsettled partitions are halved and tried again until the failing partition is alone.

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
        except BugError:
            raise
        except Exception as error:
            if isinstance(error, FleetscoreError) and error.retry:
                raise
            errors += 1
            left = [p for p in current.keys if p not in settled]
            if len(left) <= 1 or errors >= _MAX_ERRORS:
                yield _failed(run, current.restricted(left), error)
            else:
                middle = len(left) // 2
                waiting += [current.restricted(left[middle:]), current.restricted(left[:middle])]


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
