"""What the four weeks before a moment say of a server's hour: its hour of the week, its kind of day, how far
the server has moved from that lately, and how often it was medium or high.

The server itself is described by such statistics, never by its name. Loads are log1p of the peak load here,
apart from the lags; hours without sessions are left out. Nothing from the moment on is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetscore.workloads.server_load.calendar_features import holiday_days

WEEKS = 4
WEEK_HOURS = 168
_HOURS = WEEKS * WEEK_HOURS
_WEEK_LAGS = (336, 504, 672)
SATURDAY, SUNDAY, _THURSDAY = 5, 6, 3
_KIND_WEEKS = 1.0  # an hour of the week is shrunk towards its kind of day as by so many weeks
_LEVEL_HOURS = 4.0  # a server's move is shrunk towards none as by so many hours
_SHARE_HOURS = 2.0  # and its shares of an hour of the week towards those of all its hours
_NEIGHBOUR = 0.5  # weight of the hours before and after in those shares

WEEK_FEATURES = (
    "hoursAhead",  # of the moment up to which hours are known: 0 for the first hour after it
    *(f"peakLoadLag{lag}" for lag in _WEEK_LAGS),
    "weekHourMean",  # of the same hour of the week, without holidays
    "weekHourLow",  # the least and the greatest of them
    "weekHourHigh",
    "weekHourCount",
    "dayKindMean",  # of the same hour on the same kind of day: working day, or Saturday, Sunday and holiday
    "restDayMean",  # of the same hour on Sundays and holidays
    "expectedHour",  # weekHourMean shrunk towards dayKindMean; on holidays half of it is restDayMean
    "movedDay",  # by how much the last 24 hours differed from what was expected of them, shrunk
    "movedThreeDays",
    "movedWeek",
    "expectedLoadDay",  # expectedHour and movedDay
    "expectedLoad",  # expectedHour and the mean of movedThreeDays and movedWeek
    "serverMean",
    "serverSpread",  # root mean square of what differs from what was expected
    "serverAboveMedium",  # share of the server's hours
    "serverAboveHigh",
    "weekHourAboveMedium",  # share of the hours of the week around this one, shrunk towards the server's
    "weekHourAboveHigh",
)
"""The columns of `build_week_features`, in order."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a model's features rest on beside the history: whose holidays, and where classes begin."""

    country: str
    medium_above: float
    high_above: float


@dataclass(frozen=True, slots=True)
class Known:
    """The four weeks before a moment: servers x hours, log1p of loads, 0.0 where there is none."""

    logs: Any
    there: Any  # bool
    holiday: Any  # bool per hour, and per hour of the week after the moment (`_HOURS` + `WEEK_HOURS`)
    weekday: Any  # likewise, Monday is 0


def build_week_features(load: Any, first_hour: int, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, WEEK_FEATURES) from loads (servers, hours from `first_hour` on, NaN where there is
    none).

    `at` holds per row the number of the server, the hour, and the hour from which on nothing is known; the
    hour lies in the week after that.
    """
    server, hour, known_until = at
    out = np.empty((len(hour), len(WEEK_FEATURES)))
    for moment, rows in split_moments(known_until):
        known = known_before(load, moment - first_hour, moment, meaning.country)
        put_columns(out, rows, week_columns(known, server[rows], hour[rows] - moment, meaning))
    return out


def split_moments(known_until: Any) -> list[tuple[int, Any]]:
    """Each moment of the rows with what selects its rows: a slice, which copies nothing, where all have one."""
    moments = np.unique(known_until)
    if len(moments) == 1:
        return [(int(moments[0]), slice(None))]
    return [(int(moment), known_until == moment) for moment in moments]


def put_columns(out: Any, rows: Any, columns: list[Any]) -> None:
    """Write the columns into the chosen rows of `out` (rows, columns)."""
    if isinstance(rows, slice):
        np.stack(columns, axis=1, out=out[rows], casting="same_kind")
    else:
        out[rows] = np.column_stack(columns)


def known_before(load: Any, stop: int, moment: int, country: str) -> Known:
    """The four weeks of columns up to `stop`, which is the hour `moment`."""
    values = np.full((len(load), _HOURS), np.nan)
    first = max(stop - _HOURS, 0)
    part = load[:, first : max(stop, 0)]
    begin = first - (stop - _HOURS)
    values[:, begin : begin + part.shape[1]] = part
    there = ~np.isnan(values)
    logs = np.log1p(np.maximum(np.where(there, values, 0.0), 0.0))
    days = np.arange(moment - _HOURS, moment + WEEK_HOURS) // 24
    years = days[[0, -1]].astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    return Known(logs, there, np.isin(days, holiday_days(years, country)), (days + _THURSDAY) % 7)


def week_columns(known: Known, server: Any, ahead: Any, meaning: Meaning) -> list[Any]:
    """The columns WEEK_FEATURES of the rows' servers so many hours ahead of the moment up to which is known."""
    slot, of_day = ahead % WEEK_HOURS, ahead % 24
    logs, there = _by_week(known.logs), _by_week(known.there)
    usual = there & ~known.holiday[:_HOURS].reshape(WEEKS, WEEK_HOURS)
    count = usual.sum(axis=1)
    week_mean = _ratio((logs * usual).sum(axis=1), count)
    kind_mean, rest_mean, mean = _day_kinds(known)
    expected = np.where(count > 0, count * np.nan_to_num(week_mean) + _KIND_WEEKS * kind_mean, kind_mean)
    expected = np.where(count > 0, expected / (count + _KIND_WEEKS), expected)
    off = np.where(usual, logs - expected[:, None, :], 0.0).reshape(len(logs), -1)
    off_there = usual.reshape(len(logs), -1)
    moved = [_shrunk_mean(off[:, -hours:], off_there[:, -hours:]) for hours in (24, 72, WEEK_HOURS)]
    rest, hour_mean = rest_mean[server, of_day], expected[server, slot]
    on_holiday = known.holiday[_HOURS + ahead]
    hour_mean = np.where(on_holiday & ~np.isnan(rest), (hour_mean + rest) / 2, hour_mean)
    spread = np.sqrt(_ratio((off * off).sum(axis=1), off_there.sum(axis=1)))
    above = [_above(known, logs > np.log1p(limit)) for limit in (meaning.medium_above, meaning.high_above)]
    low, high = np.where(there, logs, np.inf).min(axis=1), np.where(there, logs, -np.inf).max(axis=1)
    lags = [_lagged(logs, there, lag)[server, slot] for lag in _WEEK_LAGS]
    return [
        ahead, *lags, week_mean[server, slot], _finite(low[server, slot]), _finite(high[server, slot]),
        there.sum(axis=1)[server, slot], kind_mean[server, slot], rest, hour_mean, *(one[server] for one in moved),
        hour_mean + moved[0][server], hour_mean + (moved[1] + moved[2])[server] / 2, mean[server], spread[server],
        *(share[server] for share, _ in above), *(of_hour[server, slot] for _, of_hour in above),
    ]  # fmt: skip


def _day_kinds(known: Known) -> tuple[Any, Any, Any]:
    """Mean per hour of the next week by its kind of day, per hour of the day of Sundays and holidays, and of
    all hours; NaN where a server has none.
    """
    rest = (known.weekday >= SATURDAY) | known.holiday
    quiet = (known.weekday == SUNDAY) | known.holiday
    total = _ratio(known.logs.sum(axis=1), known.there.sum(axis=1))
    by_kind = [_day_mean(known, mask[:_HOURS]) for mask in (~rest, rest, quiet)]
    slots = np.arange(WEEK_HOURS) % 24
    of_rest = known.weekday[_HOURS:] >= SATURDAY
    kind = np.where(of_rest, by_kind[1][:, slots], by_kind[0][:, slots])
    quiet_mean = np.where(np.isnan(by_kind[2]), by_kind[1], by_kind[2])
    return np.where(np.isnan(kind), total[:, None], kind), quiet_mean, total


def _day_mean(known: Known, mask: Any) -> Any:
    """Per server and hour of the day the mean of the chosen hours."""
    shape = (len(known.logs), -1, 24)
    sums = (known.logs * mask).reshape(shape).sum(axis=1)
    return _ratio(sums, (known.there & mask).reshape(shape).sum(axis=1))


def _above(known: Known, above: Any) -> tuple[Any, Any]:
    """The share of a server's hours that lie above, and per hour of the week that of the hours around it."""
    there = _by_week(known.there)
    hits, hours = (above & there).sum(axis=1), there.sum(axis=1)
    share = _ratio(hits.sum(axis=1), hours.sum(axis=1))
    base = _SHARE_HOURS * np.nan_to_num(share)[:, None]
    return share, (_around(hits) + base) / (_around(hours) + _SHARE_HOURS)


def _around(values: Any) -> Any:
    return values + _NEIGHBOUR * (np.roll(values, 1, axis=1) + np.roll(values, -1, axis=1))


def _lagged(logs: Any, there: Any, lag: int) -> Any:
    week = WEEKS - lag // WEEK_HOURS
    return np.where(there[:, week], np.expm1(logs[:, week]), np.nan)


def _by_week(values: Any) -> Any:
    return values.reshape(len(values), WEEKS, WEEK_HOURS)


def _shrunk_mean(values: Any, there: Any) -> Any:
    return values.sum(axis=1) / (there.sum(axis=1) + _LEVEL_HOURS)


def _finite(values: Any) -> Any:
    return np.where(np.isfinite(values), values, np.nan)


def _ratio(total: Any, count: Any) -> Any:
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
