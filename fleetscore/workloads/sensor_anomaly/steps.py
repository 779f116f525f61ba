"""Steps of the clock (UTC): readings are counted by them, and a window holds whole ones."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from fleetscore.windows import Cadence

HOUR_US = 3_600_000_000
QUARTER_US = HOUR_US // 4
LENGTHS = (Cadence.QUARTER_HOUR, Cadence.HOUR, Cadence.DAY)
"""The windows that there may be."""

_YEARS = range(1970, 2038)


@lru_cache(maxsize=64)
def step_of(length: Cadence, zone: str) -> int:
    """The step of windows of a length, in microseconds: an hour, or a quarter of one where windows begin
    within an hour, as days of India do.

    >>> step_of(Cadence.DAY, "Europe/Berlin") // QUARTER_US, step_of(Cadence.DAY, "Asia/Kolkata") // QUARTER_US
    (4, 1)
    """
    within = length is Cadence.QUARTER_HOUR or (length is Cadence.DAY and _has_odd_days(zone))
    return QUARTER_US if within else HOUR_US


def _has_odd_days(zone: str) -> bool:
    """Whether days of the zone have begun within an hour of UTC at any time since 1970."""
    moments = (datetime(year, month, 1, tzinfo=UTC) for year in _YEARS for month in (1, 7))
    return any(moment.astimezone(ZoneInfo(zone)).minute for moment in moments)
