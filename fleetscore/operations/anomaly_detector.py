"""Answers in the shapes of Azure Anomaly Detector 1.1 (univariate): requests checked, series filled,
anomalies detected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from fleetscore.errors import InputError
from fleetscore.workloads.sensor_anomaly.detect.whole_series import detect_changes, detect_points
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

POINTS_MIN, POINTS_MAX = 12, 8640
_STEPS_US = {
    "yearly": 0, "monthly": 0, "weekly": 7 * 86_400_000_000, "daily": 86_400_000_000, "hourly": 3_600_000_000,
    "minutely": 60_000_000, "secondly": 1_000_000, "microsecond": 1, "none": 0,
}  # fmt: skip
_IMPUTE = ("auto", "previous", "linear", "fixed", "zero", "notFill")
_MISSING_MOST = 0.1
_RATIO, _SENSITIVITY = 0.25, 99
_GREATEST = 1e100  # of values
_SHOWN = 60  # characters of what was sent, in messages


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """A checked request: the values on an even grid without gaps, and where in it each point that was sent
    stands.
    """

    values: Floats
    place: Int64s
    period: int | None
    sensitivity: int
    ratio: float
    window: int  # of change points


def detect_entire(body: bytes) -> dict[str, Any]:
    """The answer of entire/detect; InputError has one of the service's codes."""
    request = read_request(body)
    found = detect_points(request.values, request.period, request.sensitivity, request.ratio)
    left = request.values - found.expected
    at = request.place
    margins = found.margin[at].tolist()
    return {
        "period": found.period,
        "expectedValues": found.expected[at].tolist(),
        "upperMargins": margins,
        "lowerMargins": margins,
        "isAnomaly": found.is_anomaly[at].tolist(),
        "isNegativeAnomaly": (found.is_anomaly & (left < 0))[at].tolist(),
        "isPositiveAnomaly": (found.is_anomaly & (left > 0))[at].tolist(),
        "severity": found.severity[at].tolist(),
    }


def detect_last(body: bytes) -> dict[str, Any]:
    """The answer of last/detect: the newest point judged by the series; InputError has one of the service's
    codes.
    """
    request = read_request(body)
    found = detect_points(request.values, request.period, request.sensitivity, 0.5)
    expected, margin = float(found.expected[-1]), float(found.margin[-1])
    left = float(request.values[-1]) - expected
    is_anomaly = abs(left) > margin
    return {
        "period": found.period,
        "suggestedWindow": max(POINTS_MIN + 1, 4 * found.period + 1 if found.period else 29),
        "expectedValue": expected,
        "upperMargin": margin,
        "lowerMargin": margin,
        "isAnomaly": is_anomaly,
        "isNegativeAnomaly": is_anomaly and left < 0,
        "isPositiveAnomaly": is_anomaly and left > 0,
        "severity": float(found.severity[-1]),
    }


def detect_change_points(body: bytes) -> dict[str, Any]:
    """The answer of changepoint/detect; InputError has one of the service's codes."""
    request = read_request(body, needs_granularity=True)
    found = detect_changes(request.values, request.period, request.sensitivity, request.window)
    return {
        "period": found.period,
        "isChangePoint": found.is_change[request.place].tolist(),
        "confidenceScores": found.confidence[request.place].tolist(),
    }


def read_request(body: bytes, *, needs_granularity: bool = False) -> SeriesRequest:
    """The request in the body, its gaps filled as it asks for; InputError has one of the service's codes."""
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad("InvalidJsonFormat", f"The body is no JSON: {error}.") from error
    except RecursionError as error:
        raise _bad("InvalidJsonFormat", "The body is nested too deeply.") from error
    if not isinstance(sent, dict):
        raise _bad("InvalidJsonFormat", "The body is not a JSON object.")
    series = sent.get("series")
    if series is None:
        raise _bad("RequiredSeries", "The field 'series' is required.")
    granularity = sent.get("granularity")
    if granularity is None and needs_granularity:
        raise _bad("RequiredGranularity", "The field 'granularity' is required.")
    granularity = "none" if granularity is None else granularity
    if not isinstance(granularity, str) or granularity not in _STEPS_US:
        raise _bad(
            "InvalidGranularity", f"The 'granularity' is {_show(granularity)}; known: {', '.join(_STEPS_US)}."
        )
    values = _read_values(series)
    times = None if granularity == "none" else _read_times(series, granularity, _custom_interval(sent))
    grid, place = _fill(values, times, sent)
    period, sensitivity = _period(sent, len(values)), _sensitivity(sent)
    return SeriesRequest(grid, place, period, sensitivity, _ratio(sent), _window(sent))


def _read_values(series: Any) -> Floats:
    if not isinstance(series, list):
        raise _bad("InvalidSeries", "The field 'series' is not a list.")
    if not POINTS_MIN <= len(series) <= POINTS_MAX:
        raise _bad(
            "InvalidSeries", f"The 'series' has {len(series)} points; it takes {POINTS_MIN} to {POINTS_MAX}."
        )
    values = np.empty(len(series))
    for place, point in enumerate(series):
        value = point.get("value") if isinstance(point, dict) else None
        if not _is_value(value):
            raise _bad(
                "InvalidSeries",
                f"The 'value' of point {place} is {_show(value)}; expected a number from -1e100 to 1e100.",
            )
        values[place] = value
    return values


def _is_value(value: Any) -> bool:
    """Whether it is a number that can be squared and added up without overflow."""
    # NaN compares false
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= _GREATEST


def _show(value: Any) -> str:
    """What was sent, as a message shows it: a whole number has any number of digits, a text any length."""
    text = (
        f"a whole number of {value.bit_length():,} bits"
        if isinstance(value, int) and abs(value) > _GREATEST
        else repr(value)
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read_times(series: Sequence[dict[str, Any]], granularity: str, custom: int) -> Int64s:
    """The number of each point on the grid of the granularity, from 0; they rise."""
    moments = [_moment(place, point.get("timestamp")) for place, point in enumerate(series)]
    if granularity in ("monthly", "yearly"):
        months = np.array([12 * moment.year + moment.month for moment in moments])
        step, numbers = custom * (12 if granularity == "yearly" else 1), months - months[0]
    else:
        micros = np.array([(moment - moments[0]) // _MICROSECOND for moment in moments])
        step, numbers = custom * _STEPS_US[granularity], micros
    if (np.diff(numbers) <= 0).any():
        place = int(np.flatnonzero(np.diff(numbers) <= 0)[0]) + 1
        raise _bad(
            "InvalidSeries",
            f"The 'timestamp' of point {place} is not later than that of the point before it.",
        )
    off = np.flatnonzero(numbers % step)
    if len(off):
        raise _bad(
            "InvalidSeries",
            f"The 'timestamp' of point {int(off[0])} is invalid in {granularity} granularity with customInterval {custom}.",
        )
    found: Int64s = (numbers // step).astype(np.int64)
    return found


_MICROSECOND = datetime.resolution


def _moment(place: int, text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise _bad(
            "InvalidSeries", f"The 'timestamp' of point {place} is {_show(text)}; expected ISO 8601."
        ) from error


def _fill(values: Floats, times: Int64s | None, sent: dict[str, Any]) -> tuple[Floats, Int64s]:
    """The values on an even grid, and where each stands in it."""
    mode, fixed = sent.get("imputeMode") or "auto", sent.get("imputeFixedValue")
    if mode not in _IMPUTE:
        raise _bad("InvalidImputeMode", f"The 'imputeMode' is {_show(mode)}; known: {', '.join(_IMPUTE)}.")
    if mode == "fixed" and not _is_value(fixed):
        raise _bad(
            "InvalidImputeFixedValue",
            f"The 'imputeFixedValue' is {_show(fixed)}; 'fixed' takes a number from -1e100 to 1e100.",
        )
    place = np.arange(len(values)) if times is None else times
    missing = int(place[-1]) + 1 - len(values)
    if not missing or mode == "notFill":
        return values, np.arange(len(values))
    if missing > _MISSING_MOST * (len(values) + missing):
        share = f"{_MISSING_MOST:.0%}"
        raise _bad(
            "InvalidSeries",
            f"{missing} points are missing between the first and the last; at most {share} may.",
        )
    grid = np.arange(int(place[-1]) + 1)
    if mode in ("auto", "linear"):
        return np.interp(grid, place, values), place
    if mode == "previous":
        return values[np.searchsorted(place, grid, side="right") - 1], place
    filled = np.full(len(grid), float(fixed) if mode == "fixed" and fixed is not None else 0.0)
    filled[place] = values
    return filled, place


def _custom_interval(sent: dict[str, Any]) -> int:
    custom = sent.get("customInterval")
    if custom is None:
        return 1
    if isinstance(custom, bool) or not isinstance(custom, int) or not 1 <= custom <= 1_000_000:
        raise _bad(
            "InvalidCustomInterval",
            f"The 'customInterval' is {_show(custom)}; expected a whole number from 1.",
        )
    return custom


def _period(sent: dict[str, Any], points: int) -> int | None:
    period = sent.get("period")
    if period is None:
        return None
    if isinstance(period, bool) or not isinstance(period, int) or not 0 <= period <= points:
        raise _bad(
            "InvalidPeriod", f"The 'period' is {_show(period)}; expected a whole number from 0 to {points}."
        )
    return period if period >= 2 else 0


def _window(sent: dict[str, Any]) -> int:
    window = sent.get("stableTrendWindow")
    if window is None:
        return 0
    if isinstance(window, bool) or not isinstance(window, int) or not 1 <= window <= POINTS_MAX:
        raise _bad(
            "InvalidModelArgument",
            f"The 'stableTrendWindow' is {_show(window)}; expected a whole number from 1.",
        )
    return window


def _sensitivity(sent: dict[str, Any]) -> int:
    threshold = sent.get("threshold")  # of change points: the lower, the fewer of them
    if threshold is not None:
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise _bad(
                "InvalidModelArgument",
                f"The 'threshold' is {_show(threshold)}; expected a number from 0 to 1.",
            )
        return round(99 * threshold)
    given = sent.get("sensitivity")
    if given is None:
        return _SENSITIVITY
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 99:
        raise _bad(
            "InvalidModelArgument",
            f"The 'sensitivity' is {_show(given)}; expected a whole number from 0 to 99.",
        )
    return given


def _ratio(sent: dict[str, Any]) -> float:
    given = sent.get("maxAnomalyRatio")
    if given is None:
        return _RATIO
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 0.5:
        raise _bad(
            "InvalidModelArgument",
            f"The 'maxAnomalyRatio' is {_show(given)}; expected a number above 0 and below 0.5.",
        )
    return float(given)


def _bad(code: str, message: str) -> InputError:
    return InputError(message, code=code, field="series" if "eries" in code else "")
