"""Wait for the end of a run or a backfill: poll often at first and seldom later, and again where no app
answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fleetscore.errors import CapacityError, FleetscoreError, HostUnreachableError
from fleetscore.exhaustion import EXHAUSTED
from fleetscore.fleet.app_answers import NO_APP_ANSWER

if TYPE_CHECKING:
    from fleetscore.fleet.answers import BackfillStatus

Answer = TypeVar("Answer")
Status = TypeVar("Status")
_WAITS_S = (0.1, 0.5, 2.0, 5.0, 10.0)  # where no app answers
_MIN_WAIT_S = 0.05  # an answer takes 2 ms of the cores that score, the command's share included
_MAX_WAIT_S = 1.0
_SHARE = 0.005  # of the time that has passed: news are reported this much late, where that is more than the least wait

STILL_LIMIT_S = 14_400.0
"""How long a backfill may stand still: twice as long as a live window may hold it up."""


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
    """What `call` answers; where no app answers, or it lacks memory, threads or file handles, wait, `recover`
    and call again, a few times within half a minute.
    """
    for wait_s in _WAITS_S:
        try:
            return call()
        except FleetscoreError as error:
            if not _passes(error):
                raise
            time.sleep(wait_s)
            recover()
    return call()


def _passes(error: FleetscoreError) -> bool:
    """Whether the app may answer in a moment: it is away, its host lost a worker, or it lacks memory, threads
    or file handles.
    """
    return isinstance(error, HostUnreachableError) or error.code in (NO_APP_ANSWER, EXHAUSTED)


class StillWatch:
    """Ends the wait for a backfill that stands still: nothing of it changes, and none of its windows is under
    way.
    """

    def __init__(self) -> None:
        self._seen: BackfillStatus | None = None
        self._since_s = 0.0

    def check(self, status: BackfillStatus, now_s: float) -> None:
        """CapacityError where it has stood still beyond the limit at `now_s`, of any clock that only goes
        on.
        """
        under_way = any(window.run and not window.verdict for window in status.windows)
        if under_way or status != self._seen:
            self._seen, self._since_s = status, now_s
        elif now_s - self._since_s > STILL_LIMIT_S:
            raise CapacityError(
                f"Backfill {status.id} is {status.state}, with {status.done} of {status.total} windows done, "
                f"and made no step for {now_s - self._since_s:,.0f} s.",
                fix="Start it again: windows that are published are not repeated. If others stand still as well, see `fleetscore doctor`.",
                code="backfill_stands_still",
            )
