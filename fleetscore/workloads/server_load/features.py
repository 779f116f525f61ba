"""The features of a server's hour, from hours at least 48 back, and beside them (`week_features`) from the
four weeks up to the forecast: one function for training, scoring and requests.

Lags and windows are in real hours and days. An hour or day without sessions has no load: its feature is
NaN, not 0 and not the row before. Every number is a float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.workloads.server_load.calendar_features import CALENDAR, calendar_matrix
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.level_features import LEVEL_FEATURES, level_columns
from fleetscore.workloads.server_load.week_features import (
    WEEK_FEATURES,
    Meaning,
    known_before,
    put_columns,
    split_moments,
    week_columns,
)

LAGS = (48, 49, 50, 51, 52, 55, 60, 67, 72, 96, 168, 730)
SAME_HOUR_LAGS = tuple(range(72, 72 + 7 * 24, 24))
DAYS_BACK = range(3, 10)
LOOKBACK_HOURS = 31 * 24
"""No feature looks further back than this from its own day's start, nor nearer than 48 hours to its own hour.
"""

PEAKS = ("peakLoad", "peakBytes", *(f"peakLoad{n}" for n in range(1, 6)), "peakLoadSecure")
"""The names of the eight peaks in features, in the order of SUMS."""

WINDOWS = tuple(f"{name}DailyLag2Win7" for name in PEAKS)
HISTORY = (*(f"peakLoadLag{lag}" for lag in LAGS), *WINDOWS, "peakLoadSameHour7")
FEATURES = (*CALENDAR, *HISTORY)
"""The columns of `build_features`, in order: all that models of earlier versions know."""

WEEKLY_FEATURES = (*FEATURES, *WEEK_FEATURES)
"""The columns of `build_weekly_features`, in order: what models know that expect loads by means."""

ALL_FEATURES = (*WEEKLY_FEATURES, *LEVEL_FEATURES)
"""The columns of `build_all_features`, in order: what models learn from."""


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """Hours of some servers as dense arrays, NaN where there were no sessions."""

    servers: tuple[str, ...]
    first_hour: int  # the beginning of a day
    load: Any  # float64 (servers, hours): peakLoad
    daily: Any  # float64 (servers, days, 8): mean of each peak over the hours of the day that have one


def build_history(hours: pa.Table, servers: Sequence[str], first_hour: int, stop_hour: int) -> LoadHistory:
    """Lay the hours (HOURS, a server's hour at most once) of the servers in [first_hour, stop_hour) out;
    whole days only.
    """
    first, stop = first_hour // 24 * 24, -(-stop_hour // 24) * 24
    count, width = len(servers), stop - first
    rows, place = _wanted(hours, servers, (first_hour, stop_hour), (first, width))
    load, daily = np.full(count * width, np.nan), np.full((count * width // 24, len(SUMS)), np.nan)
    load[place] = hours[SUMS[0]].to_numpy()[rows] / UNITS
    day = place // 24
    if len(day):
        begins = np.flatnonzero(np.diff(day, prepend=-1))
        lengths = np.diff(begins, append=len(day))
        for column, name in enumerate(SUMS):
            sums = np.add.reduceat(hours[name].to_numpy()[rows], begins)
            daily[day[begins], column] = sums / UNITS / lengths
    shape = (count, width // 24, len(SUMS))
    return LoadHistory(tuple(servers), first, load.reshape(count, width), daily.reshape(shape))


def _wanted(
    hours: pa.Table, servers: Sequence[str], span: tuple[int, int], layout: tuple[int, int]
) -> tuple[Any, Any]:
    """The numbers of the rows of the servers in the span, by server and hour, and the place of each in an array
    (servers, hours) of the layout: its first hour and its width.
    """
    encoded = hours["server"].combine_chunks()
    encoded = encoded.dictionary_encode() if not pa.types.is_dictionary(encoded.type) else encoded
    chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    number = {server: n for n, server in enumerate(servers)}
    of_code = np.array([number.get(text, -1) for text in chunk.dictionary.to_pylist()], np.int64)
    server = of_code[chunk.indices.to_numpy()] if len(chunk) else np.zeros(0, np.int64)
    hour = hours["hour"].to_numpy().astype(np.int64)
    wanted = np.flatnonzero((server >= 0) & (hour >= span[0]) & (hour < span[1]))
    place = server[wanted] * layout[1] + (hour[wanted] - layout[0])
    order = np.argsort(place, kind="stable")  # quick on what lies in order already, month by month
    return wanted[order], place[order]


def build_all_features(history: LoadHistory, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, ALL_FEATURES): `at` holds per row the server's number, the hour, and the hour from which
    on nothing is known, at most 48 before it and not after the hour's day began.
    """
    return _build(history, at, meaning, len(ALL_FEATURES))


def build_weekly_features(history: LoadHistory, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, WEEKLY_FEATURES) for what `build_all_features` takes."""
    return _build(history, at, meaning, len(WEEKLY_FEATURES))


def _build(history: LoadHistory, at: tuple[Any, Any, Any], meaning: Meaning, width: int) -> Any:
    server, hour, known_until = (np.asarray(one, np.int64) for one in at)
    out = np.empty((len(hour), width))
    out[:, : len(FEATURES)] = build_features(history, server, hour, meaning.country)
    for moment, rows in split_moments(known_until):
        known = known_before(history.load, moment - history.first_hour, moment, meaning.country)
        where = (server[rows], hour[rows] - moment)
        columns = week_columns(known, *where, meaning)
        if width > len(WEEKLY_FEATURES):
            columns += level_columns(known, *where)
        put_columns(out[:, len(FEATURES) :], rows, columns)
    return out


def build_features(history: LoadHistory, server: Any, hour: Any, country: str) -> Any:
    """float64 (rows, FEATURES) for the server numbers and hours; what lies before the history's beginning
    is NaN.
    """
    server, hour = np.asarray(server, np.int64), np.asarray(hour, np.int64)
    unique, inverse = np.unique(hour, return_inverse=True)
    at = hour - history.first_hour
    lags = [_value_at(history.load, server, at - lag) for lag in LAGS]
    windows = _mean([_value_at(history.daily, server, at // 24 - back) for back in DAYS_BACK])
    same_hour = _mean([_value_at(history.load, server, at - lag) for lag in SAME_HOUR_LAGS])
    calendar = calendar_matrix(unique, country)[inverse]
    return np.column_stack([calendar, *lags, windows, same_hour])


def _value_at(values: Any, server: Any, position: Any) -> Any:
    width = values.shape[1]
    inside = (position >= 0) & (position < width)
    cells = values.reshape(len(values) * width, *values.shape[2:])
    found = cells.take(server * width + np.where(inside, position, 0), axis=0)
    found[~inside] = np.nan
    return found


def _mean(layers: Sequence[Any]) -> Any:
    """The mean of what is there, in the order of the layers; NaN where nothing is."""
    total = np.zeros_like(layers[0])
    count = np.zeros_like(layers[0])
    for layer in layers:
        there = ~np.isnan(layer)
        total += np.where(there, layer, 0.0)
        count += there
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
