"""Wait for the end of a run or a backfill: poll often at first and seldom later, and again where no app
answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from fleetscore.errors import HostUnreachableError

Answer = TypeVar("Answer")
Status = TypeVar("Status")
_WAITS_S = (0.1, 0.5, 2.0, 5.0, 10.0)  # where no app answers
_MIN_WAIT_S = 0.05  # an answer takes 2 ms of the cores that score, the command's share included
_MAX_WAIT_S = 1.0
_SHARE = 0.005  # of the time that has passed: news are reported this much late, where that is more than the least wait


def poll(call: Callable[[], Status]) -> Iterator[Status]:
    """What `call` answers, again and again, with waits that grow from 50 ms to a second."""
    started = time.monotonic()
    while True:
        yield call()
        time.sleep(wait_s(time.monotonic() - started))


def wait_s(passed_s: float) -> float:
    """How long to wait for news of what began so long ago.

    >>> wait_s(0.3), wait_s(60), wait_s(3600)
    (0.05, 0.3, 1.0)
    """
    return min(max(_SHARE * passed_s, _MIN_WAIT_S), _MAX_WAIT_S)


def call_with_retries(call: Callable[[], Answer], recover: Callable[[], None] = lambda: None) -> Answer:
    """What `call` answers; where no app answers, wait, `recover` and call again, a few times within half a
    minute.
    """
    for wait_s in _WAITS_S:
        try:
            return call()
        except HostUnreachableError:
            time.sleep(wait_s)
            recover()
    return call()
