"""The time limit of an attempt on Batch: the process ends itself shortly before the service would end its task.

Batch tries a task again that ended by itself, and never one that it ended at its time limit. An attempt that
ends itself leaves its marker, so that the partition that never ends is found as one that kills its process
is.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SHARE = 0.9  # of the service's limit; the rest is for the start of container and program, and for storage
_BLAMED_SHARE = 0.5
"""A group that had less of the limit than this is not ended by it: the partitions before it took the time."""
_STDERR = 2


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """When the attempt's process began (monotonic clock), None for one that it shares; how long its task may run."""

    began_s: float | None
    limit_s: float

    @contextmanager
    def ending_the_process(self) -> Iterator[None]:
        """End this process, with its threads' stacks on stderr, if the block runs at the attempt's limit.

        A block that begins late runs on until the service ends the task, which is then not tried again: its
        partitions would be suspected for what the ones before them took.
        """
        elapsed_s = self.limit_s if self.began_s is None else time.monotonic() - self.began_s
        left_s = seconds_left(self.limit_s, elapsed_s)
        if left_s == 0.0:
            yield
            return
        # A thread of C ends the process: code that never gives up the interpreter's lock cannot hold it.
        faulthandler.dump_traceback_later(left_s, file=_STDERR, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def seconds_left(limit_s: float, elapsed_s: float) -> float:
    """How long a group that begins after `elapsed_s` may take; 0.0 where the limit is not to end it.

    >>> seconds_left(100.0, 0.0), seconds_left(100.0, 39.0), seconds_left(100.0, 41.0), seconds_left(100.0, 300.0)
    (90.0, 51.0, 0.0, 0.0)
    """
    left_s = limit_s * _SHARE - elapsed_s
    return left_s if left_s >= limit_s * _BLAMED_SHARE else 0.0
