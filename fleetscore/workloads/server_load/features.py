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
from fleetscore.workloads.server_load.level_features import LEVEL_FEATURES, build_level_features
from fleetscore.workloads.server_load.week_features import WEEK_FEATURES, Meaning, build_week_features

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
    row_server, row_hour, peaks = _rows(hours, servers, first_hour, stop_hour)
    load = np.full((count, width), np.nan)
    load[row_server, row_hour - first] = peaks[:, 0] / UNITS
    daily = np.full((count * (width // 24), len(SUMS)), np.nan)
    day = row_server * (width // 24) + (row_hour - first) // 24
    if len(day):
        begins = np.flatnonzero(np.diff(day, prepend=-1))
        lengths = np.diff(begins, append=len(day))
        daily[day[begins]] = np.add.reduceat(peaks, begins, axis=0) / UNITS / lengths[:, None]
    return LoadHistory(tuple(servers), first, load, daily.reshape(count, width // 24, len(SUMS)))


def _rows(hours: pa.Table, servers: Sequence[str], first_hour: int, stop_hour: int) -> tuple[Any, Any, Any]:
    """Server number, hour and peaks (int64 units) of the wanted rows, by server and hour."""
    encoded = hours["server"].combine_chunks()
    encoded = encoded.dictionary_encode() if not pa.types.is_dictionary(encoded.type) else encoded
    chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    number = {server: n for n, server in enumerate(servers)}
    of_code = np.array([number.get(text, -1) for text in chunk.dictionary.to_pylist()], np.int64)
    row_server = of_code[chunk.indices.to_numpy()] if len(chunk) else np.zeros(0, np.int64)
    row_hour = hours["hour"].to_numpy().astype(np.int64)
    wanted = np.flatnonzero((row_server >= 0) & (row_hour >= first_hour) & (row_hour < stop_hour))
    wanted = wanted[np.lexsort((row_hour[wanted], row_server[wanted]))]
    peaks = np.column_stack([hours[name].to_numpy()[wanted] for name in SUMS])
    return row_server[wanted], row_hour[wanted], peaks


def build_all_features(history: LoadHistory, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, ALL_FEATURES): `at` holds per row the server's number, the hour, and the hour from which
    on nothing is known, at most 48 before it and not after the hour's day began.
    """
    server, hour, known_until = (np.asarray(one, np.int64) for one in at)
    when = (server, hour, known_until)
    level = build_level_features(history.load, history.first_hour, when, meaning)
    return np.hstack([build_weekly_features(history, when, meaning), level])


def build_weekly_features(history: LoadHistory, at: tuple[Any, Any, Any], meaning: Meaning) -> Any:
    """float64 (rows, WEEKLY_FEATURES) for what `build_all_features` takes."""
    server, hour, known_until = (np.asarray(one, np.int64) for one in at)
    daily = build_features(history, server, hour, meaning.country)
    week = build_week_features(history.load, history.first_hour, (server, hour, known_until), meaning)
    return np.hstack([daily, week])


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
    inside = (position >= 0) & (position < values.shape[1])
    found = values[server, np.where(inside, position, 0)]
    return np.where(inside if found.ndim == 1 else inside[:, None], found, np.nan)


def _mean(layers: Sequence[Any]) -> Any:
    """The mean of what is there, in the order of the layers; NaN where nothing is."""
    total = np.zeros_like(layers[0])
    count = np.zeros_like(layers[0])
    for layer in layers:
        there = ~np.isnan(layer)
        total += np.where(there, layer, 0.0)
        count += there
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
