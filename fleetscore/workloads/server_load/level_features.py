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

from fleetscore.workloads.server_load.medians import (
    extremes_of_weeks,
    median,
    median_of_weeks,
    order_weeks,
)
from fleetscore.workloads.server_load.week_features import (
    SATURDAY,
    SUNDAY,
    WEEK_HOURS,
    WEEKS,
    Known,
    Meaning,
    known_before,
    put_columns,
    split_moments,
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
    low: Any  # the least and the greatest per hour of the next week
    high: Any


def build_level_features(load: Any, first_hour: int, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, LEVEL_FEATURES); arguments as in `build_week_features`."""
    server, hour, known_until = at
    out = np.empty((len(hour), len(LEVEL_FEATURES)))
    for moment, rows in split_moments(known_until):
        known = known_before(load, moment - first_hour, moment, meaning.country)
        put_columns(out, rows, level_columns(known, server[rows], hour[rows] - moment))
    return out


def level_columns(known: Known, server: Any, ahead: Any) -> list[Any]:
    """The columns LEVEL_FEATURES of the rows' servers so many hours ahead of the moment up to which is known."""
    logs = np.where(known.there, known.logs, np.nan)
    holiday = known.holiday[:_HOURS]
    usual = np.where(holiday, np.nan, logs) if holiday.any() else logs
    levels = _levels(known, logs, usual)
    off = (_by_week(usual) - levels.level[:, None]).reshape(usual.shape)
    slot, day_slot = server * WEEK_HOURS + ahead % WEEK_HOURS, server * 24 + ahead % 24
    day, three_days, week = (move.take(day_slot) for move in _moves(off))
    rest, level = levels.rest_day.take(day_slot), levels.level.take(slot)
    on_rest = known.holiday[_HOURS + ahead] & ~np.isnan(rest)
    level = np.where(on_rest, (level + rest) / 2, level) if on_rest.any() else level
    expected = level + three_days
    lags = [_before(logs, server, ahead - lag) - expected for lag in _LAGS]
    last_day = usual[:, -24:].ravel().take(day_slot)
    return [
        expected, *lags, last_day - expected, rest - expected,
        levels.server[server] - expected, levels.week_hour.take(slot) - level, levels.low.take(slot) - level,
        levels.high.take(slot) - level, day - three_days, week - three_days, _recent_move(off)[server],
        _spread(off)[server],
    ]  # fmt: skip


def _before(logs: Any, server: Any, ahead: Any) -> Any:
    values = logs.take(server * _HOURS + _HOURS + np.minimum(ahead, -1))
    values[ahead >= 0] = np.nan
    return values


def _levels(known: Known, logs: Any, usual: Any) -> _Levels:
    rest = (known.weekday >= SATURDAY) | known.holiday
    quiet = ((known.weekday == SUNDAY) | known.holiday)[:_HOURS]
    weeks = order_weeks(_by_week(logs))
    week_hour, count = median_of_weeks(weeks if usual is logs else order_weeks(_by_week(usual)))
    working, resting = (_day_median(logs, mask) for mask in (~rest[:_HOURS], rest[:_HOURS]))
    of_rest, hour = known.weekday[_HOURS:] >= SATURDAY, np.arange(WEEK_HOURS) % 24
    kind = np.where(of_rest, resting[:, hour], working[:, hour])
    server = median(logs)
    kind = np.where(np.isnan(kind), server[:, None], kind)
    total = count * np.nan_to_num(week_hour) + _KIND_WEEKS * kind
    level = total / (count + _KIND_WEEKS)
    return _Levels(week_hour, level, _day_median(logs, quiet), server, *extremes_of_weeks(weeks))


def _moves(off: Any) -> list[Any]:
    """(servers, 24) of the last day, three days and week: medians over the hours of the day around each."""
    by_day = off[:, -WEEK_HOURS:].reshape(len(off), -1, 24)
    hours = (np.arange(24)[:, None, None] + np.arange(-_AROUND, _AROUND + 1)) % 24
    around = by_day[:, np.arange(WEEK_HOURS // 24)[:, None], hours]  # servers, 24, days, hours around
    return [np.nan_to_num(median(around[:, :, -days:].reshape(len(off), 24, -1))) for days in (1, 3, 7)]


def _recent_move(off: Any) -> Any:
    return np.nan_to_num(median(off[:, -24:])) - np.nan_to_num(median(off[:, -WEEK_HOURS:]))


def _spread(off: Any) -> Any:
    by_day = off.reshape(len(off), -1, 24)
    return median(np.abs(by_day - median(by_day)[:, :, None]).reshape(len(off), -1))


def _by_week(values: Any) -> Any:
    return values.reshape(len(values), WEEKS, WEEK_HOURS)


def _day_median(logs: Any, mask: Any) -> Any:
    """Per server and hour of the day the median of the chosen hours."""
    of_day = mask.reshape(-1, 24)
    days = of_day.any(axis=1)
    if not days.any():
        return np.full((len(logs), 24), np.nan)
    chosen = logs.reshape(len(logs), -1, 24)[:, days]
    chosen = chosen if of_day[days].all() else np.where(of_day[days], chosen, np.nan)
    return median(chosen.swapaxes(1, 2))
