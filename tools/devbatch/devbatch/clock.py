"""Time in the service: one clock that can run faster than the wall, one that cannot."""

import time
from datetime import UTC, datetime


class ServiceClock:
    """Simulated seconds for the cloud (boot, evaluation, samples); wall time for tasks and time stamps.

    Tasks are real processes, so their limits and all time stamps stay on the wall clock.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._started = time.monotonic()
        self._skipped_s = 0.0

    def now_s(self) -> float:
        """Simulated seconds since the service started; monotonic."""
        return (time.monotonic() - self._started) * self.scale + self._skipped_s

    def advance(self, seconds: float) -> None:
        """Moves simulated time forward."""
        self._skipped_s += seconds

    def wall_s(self) -> float:
        """Unscaled monotonic seconds."""
        return time.monotonic() - self._started

    @staticmethod
    def utc() -> datetime:
        """The wall clock, aware."""
        return datetime.now(UTC)
