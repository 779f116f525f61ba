"""What the load of a server's hour is about, and how the past differs from that: medians throughout, and a
server's move is told hour of the day by hour of the day.

So neither idle nights, whose loads are near 0 and grow a hundredfold when a constant is added, nor a day's
outage say anything of the other hours. Loads are log1p of the peak load; every column but the first is a
difference, so that trees learn nothing that hangs on how high a server's load is. Nothing from the moment on
is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetscore.workloads.server_load.week_features import (
    SATURDAY,
    SUNDAY,
    WEEK_HOURS,
    WEEKS,
    Known,
    Meaning,
    known_before,
)

_HOURS = WEEKS * WEEK_HOURS
_LAGS = (48, 49, 50, 72, 96, 168, 336, 504, 672)
_KIND_WEEKS = 1.0  # an hour of the week is shrunk towards its kind of day as by so many weeks
_AROUND = 2  # a move is the median over so many hours of the day before and after

LEVEL_FEATURES = (
    "expectedLevel",  # levelHour and the move of the last three days at this hour of the day
    *(f"offLag{lag}" for lag in _LAGS),  # loads so many hours before, less expectedLevel
    "offLastDay",  # likewise the last known load of the hour of the day,
    "offRestDay",  # the median of the hour on Sundays and holidays,
    "offServer",  # and the median of all hours
    "levelOffMedian",  # of the hour of the week the median, least and greatest, less levelHour
    "levelOffLow",
    "levelOffHigh",
    "moveOffDay",  # the moves at this hour of the last day and week, less that of the last three days
    "moveOffWeek",
    "moveOffServer",  # the median move over the last 24 hours, less that over the last week
    "levelSpread",  # median distance from the median of the day, of what differs from levelHour
)
"""The columns of `build_level_features`, in order. levelHour is the median of the hour of the week without
holidays, shrunk towards that of the same hour on the same kind of day; on holidays half of it is the median
of Sundays and holidays.
"""


@dataclass(frozen=True, slots=True)
class _Levels:
    """Medians of servers: per hour of the next week, per hour of the day, and of all hours."""

    week_hour: Any
    level: Any  # the former, shrunk towards the kind of day
    rest_day: Any  # (servers, 24)
    server: Any


def build_level_features(load: Any, first_hour: int, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, LEVEL_FEATURES); arguments as in `build_week_features`."""
    server, hour, known_until = at
    out = np.empty((len(hour), len(LEVEL_FEATURES)))
    for moment in np.unique(known_until):
        rows = known_until == moment
        known = known_before(load, int(moment) - first_hour, int(moment), meaning.country)
        out[rows] = _of_moment(known, server[rows], hour[rows] - moment)
    return out


def _of_moment(known: Known, server: Any, ahead: Any) -> Any:
    slot, of_day = ahead % WEEK_HOURS, ahead % 24
    logs = np.where(known.there, known.logs, np.nan)
    usual = np.where(known.holiday[:_HOURS], np.nan, logs)
    levels = _levels(known, logs, usual)
    off = usual - np.tile(levels.level, WEEKS)
    day, three_days, week = (move[server, of_day] for move in _moves(off))
    rest, level = levels.rest_day[server, of_day], levels.level[server, slot]
    on_rest = known.holiday[_HOURS + ahead] & ~np.isnan(rest)
    level = np.where(on_rest, (level + rest) / 2, level)
    expected = level + three_days
    low, high = _extremes(logs)
    lags = [_before(logs, server, ahead - lag) - expected for lag in _LAGS]
    columns = [
        expected, *lags, usual[server, _HOURS - 24 + of_day] - expected, rest - expected,
        levels.server[server] - expected, levels.week_hour[server, slot] - level, low[server, slot] - level,
        high[server, slot] - level, day - three_days, week - three_days, _recent_move(off)[server],
        _spread(off)[server],
    ]  # fmt: skip
    return np.column_stack(columns)


def _before(logs: Any, server: Any, ahead: Any) -> Any:
    return np.where(ahead < 0, logs[server, _HOURS + np.minimum(ahead, -1)], np.nan)


def _levels(known: Known, logs: Any, usual: Any) -> _Levels:
    rest = (known.weekday >= SATURDAY) | known.holiday
    quiet = ((known.weekday == SUNDAY) | known.holiday)[:_HOURS]
    week_hour = median(_by_slot(usual))
    count = (~np.isnan(_by_slot(usual))).sum(axis=2)
    working, resting = (_day_median(logs, mask) for mask in (~rest[:_HOURS], rest[:_HOURS]))
    of_rest, hour = known.weekday[_HOURS:] >= SATURDAY, np.arange(WEEK_HOURS) % 24
    kind = np.where(of_rest, resting[:, hour], working[:, hour])
    server = median(logs)
    kind = np.where(np.isnan(kind), server[:, None], kind)
    total = count * np.nan_to_num(week_hour) + _KIND_WEEKS * kind
    return _Levels(week_hour, total / (count + _KIND_WEEKS), _day_median(logs, quiet), server)


def _moves(off: Any) -> list[Any]:
    """(servers, 24) of the last day, three days and week: medians over the hours of the day around each."""
    by_day = off[:, -WEEK_HOURS:].reshape(len(off), -1, 24)
    around = np.stack([np.roll(by_day, hours, axis=2) for hours in range(-_AROUND, _AROUND + 1)], axis=3)
    hours = [around[:, -days:].swapaxes(1, 2).reshape(len(off), 24, -1) for days in (1, 3, 7)]
    return [np.nan_to_num(median(values)) for values in hours]


def _recent_move(off: Any) -> Any:
    return np.nan_to_num(median(off[:, -24:])) - np.nan_to_num(median(off[:, -WEEK_HOURS:]))


def _spread(off: Any) -> Any:
    by_day = off.reshape(len(off), -1, 24)
    return median(np.abs(by_day - median(by_day)[:, :, None]).reshape(len(off), -1))


def _extremes(logs: Any) -> tuple[Any, Any]:
    by_slot = _by_slot(logs)
    there = ~np.isnan(by_slot)
    known = there.any(axis=2)
    low = np.where(there, by_slot, np.inf).min(axis=2)
    high = np.where(there, by_slot, -np.inf).max(axis=2)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _by_slot(values: Any) -> Any:
    return values.reshape(len(values), WEEKS, WEEK_HOURS).swapaxes(1, 2)


def _day_median(logs: Any, mask: Any) -> Any:
    """Per server and hour of the day the median of the chosen hours."""
    return median(np.where(mask, logs, np.nan).reshape(len(logs), -1, 24).swapaxes(1, 2))


def median(values: Any) -> Any:
    """The median along the last axis of what is not NaN; NaN where nothing is.

    >>> median(np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    ordered = np.sort(values, axis=-1)
    count = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1)
    return np.where(count > 0, middle / 2, np.nan)[..., 0]
