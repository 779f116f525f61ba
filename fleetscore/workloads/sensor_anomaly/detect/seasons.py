"""The usual level by hour of the day or of the week, where the readings of training carry one."""

from __future__ import annotations

import numpy as np

from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.model import WEEK_HOURS
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import median_rows
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

_SEASON_DAYS = 3
_SEASON_GAIN = 0.7  # a season counts where it leaves at most this share of the deviation on the last day
# the hour of the week counts where it leaves at most this share of what the hour of the day does
_WEEK_GAIN = 0.9


def fit_season(level: Floats, first: int) -> tuple[Floats, Floats]:
    """Level by hour of the day (sensors, 24) and of the week (sensors, 168) in UTC, NaN where there is
    none.

    `level` (sensors, bins) begins at bin `first`. A season is there where the history has three days and
    the last one follows those before, of two weeks the last one. The week is that day seven times, or
    where the last week of two or more follows the hours of the week better than those of the day, the
    level by these.
    """
    hours = level.shape[1] // HOUR_BINS
    hourly, _ = median_rows(level[:, : hours * HOUR_BINS].reshape(len(level), hours, HOUR_BINS))
    clock = first // HOUR_BINS + np.arange(hours)
    season, week = np.full((len(level), 24), np.nan), np.full((len(level), WEEK_HOURS), np.nan)
    for row, values in enumerate(hourly):
        there = np.flatnonzero(np.isfinite(values))
        if not len(there) or there[-1] - there[0] + 1 < _SEASON_DAYS * 24:
            continue
        end = there[-1] + 1
        own, when, span = values[:end], clock[:end], int(end - there[0])
        is_long = span >= 2 * WEEK_HOURS
        if _follows_days(own, when, WEEK_HOURS if is_long else 24):
            season[row] = _by_clock(own, when, 24)
            weekly = is_long and _weeks_differ(own, when)
            week[row] = _by_clock(own, when, WEEK_HOURS) if weekly else np.tile(season[row], 7)
    return season, week


def _by_clock(values: Floats, clock: Int64s, period: int) -> Floats:
    """The median of each hour of the period; NaN for one without any reading."""
    return np.array([median_rows(values[clock % period == hour][None])[0][0] for hour in range(period)])


def _follows_days(values: Floats, clock: Int64s, last: int) -> bool:
    """Whether the hour of the day explains the `last` hours better than the level of those before does."""
    learned, after = _learned(values, clock, 24, last)
    level = median_rows(values[:-last][None])[0][0]
    return bool(np.isfinite(learned).all() and _left(after, learned) < _SEASON_GAIN * _left(after, level))


def _weeks_differ(values: Floats, clock: Int64s) -> bool:
    """Whether the hour of the week explains the last week better than the hour of the day does."""
    weekly, after = _learned(values, clock, WEEK_HOURS, WEEK_HOURS)
    daily, _ = _learned(values, clock, 24, WEEK_HOURS)
    return bool(np.isfinite(weekly).all() and _left(after, weekly) < _WEEK_GAIN * _left(after, daily))


def _learned(values: Floats, clock: Int64s, period: int, last: int) -> tuple[Floats, Floats]:
    """What the hours before the `last` ones say of these by their place in the period, and what they were."""
    by_clock = _by_clock(values[:-last], clock[:-last], period)
    return by_clock[clock[-last:] % period], values[-last:]


def _left(actual: Floats, expected: Floats | float) -> float:
    return float(median_rows(np.abs(actual - expected)[None])[0][0])
