"""Assessing a shard: severity, marks and events of every reading of the window, from the readings of the
window and before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, HOUR_BINS, Bins
from fleetscore.workloads.sensor_anomaly.detect.budget import severity_limits
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, MEMORY_BINS
from fleetscore.workloads.sensor_anomaly.detect.marking import chain_marks, find_strong, limit_marks
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, DetectorPack
from fleetscore.workloads.sensor_anomaly.detect.past import Past
from fleetscore.workloads.sensor_anomaly.detect.severity import (
    RatedHour,
    add_up,
    rate_candidates,
    rate_first_hour,
    rate_hours,
)
from fleetscore.workloads.sensor_anomaly.detect.usual import follows_pattern
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

_MEDIAN, _SVM = DETECTORS.index("median"), DETECTORS.index("svm")
_SENSORS = 256  # assessed at once


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say: the weights of the detectors, the budget of alarms per sensor and day, and the
    gap that ends an event.
    """

    weights: Floats
    alarms_per_sensor_day: float
    gap_bins: int


@dataclass(frozen=True, slots=True)
class Assessed:
    """Columns for readings: severity, expected range, and of marked readings the event's beginning,
    readings, and severity so far.

    `event_us` is -1 and `detector` -1 where a reading is not marked.
    """

    severity: Floats
    expected_low: Floats
    expected_high: Floats
    event_us: Int64s
    event_readings: Int64s
    event_severity: Floats
    detector: npt.NDArray[np.int8]

    @property
    def marked(self) -> npt.NDArray[np.int8]:
        """1 where a reading is an anomaly, else 0."""
        return (self.event_us >= 0).view(np.int8)


def no_assessment(readings: int) -> Assessed:
    """Columns that say nothing yet."""
    floats = [np.full(readings, np.nan) for _ in range(4)]
    return Assessed(
        floats[0], floats[1], floats[2], np.full(readings, -1, np.int64), np.zeros(readings, np.int64),
        floats[3], np.full(readings, -1, np.int8),
    )  # fmt: skip


@dataclass(slots=True)
class ShardReadings:
    """The readings of the window, sorted by sensor (`counts` each) and time, with their decision values."""

    time_us: Int64s
    value: Floats
    score: Floats
    counts: Int64s
    starts: Int64s = field(init=False)

    def __post_init__(self) -> None:
        self.starts = np.cumsum(self.counts) - self.counts


def assess(
    pack: DetectorPack, past: Past, bins: Bins, window: int, readings: ShardReadings, rules: Rules
) -> Assessed:
    """Assess the readings of all sensors, row i of `pack`, `past` and `bins` being sensor i.

    `bins` begin with the hour in which the window begins, at bin `window`, and end with it.
    """
    out = no_assessment(len(readings.value))
    for first in range(0, len(pack), _SENSORS):
        rows = np.arange(first, min(first + _SENSORS, len(pack)))
        _assess_group(pack.rows(rows), past.rows(rows), bins.rows(rows), window, readings, rows, rules, out)
    return out


def _assess_group(
    pack: DetectorPack, past: Past, bins: Bins, window: int, readings: ShardReadings, rows: Int64s,
    rules: Rules, out: Assessed,
) -> None:  # fmt: skip
    hours = _rate_window(pack, past, bins, rules)
    severity = np.concatenate([hour.severity for hour in hours], axis=1)[:, window - bins.first :]
    for hour in hours:
        _rate_readings(pack, hour, readings, rows, window, out)
    limits = severity_limits(rules.alarms_per_sensor_day, pack.pace, pack.per_bin)[:, None]
    candidates = np.flatnonzero((severity >= limits).any(axis=1))
    if len(candidates):
        own = rows[candidates]
        _mark(
            pack.rows(candidates),
            past.rows(candidates),
            bins.rows(candidates),
            window,
            readings,
            own,
            rules,
            out,
        )


def _rate_window(pack: DetectorPack, past: Past, bins: Bins, rules: Rules) -> list[RatedHour]:
    """The window's hours; only those after the first take every raw score of the days before."""
    first = rate_first_hour(pack, past.top, past.seen, past.raw[:, :, :HOUR_BINS], bins.first, rules.weights)
    if bins.end <= bins.first + HOUR_BINS:
        return [first]
    before = past.scores(np.arange(len(pack))).raw[:, :, -CALIBRATION_BINS:]
    raw = np.concatenate([before, past.raw], axis=2)
    since = bins.first - CALIBRATION_BINS
    return [first, *rate_hours(pack, raw, since, bins.first + HOUR_BINS, bins.end, rules.weights)]


def _rate_readings(
    pack: DetectorPack, hour: RatedHour, readings: ShardReadings, rows: Int64s, window: int, out: Assessed
) -> None:
    """Severity and expected range of the readings of an hour; scores of windows of bins are shared by a
    bin's readings.

    Hardly any reading is rare by itself, so its own scores, the first and the last of the sum, are computed
    only where they are not 0.
    """
    part, sensor, number = _readings_of_hour(hour, readings, rows, window)
    bins = sensor * hour.scores.shape[2] + (number - hour.first)
    shared = [hour.scores[n].reshape(-1) for n in range(1, _SVM)]
    level = np.abs((readings.value[part] - pack.center[sensor]) / pack.scale[sensor])
    first, own_first = _own_scores(hour, _MEDIAN, level, sensor)
    last, own_last = _own_scores(hour, _SVM, -readings.score[part], sensor)
    severity = add_up(shared)[bins]
    severity[first] = add_up([own_first, *(one[bins[first]] for one in shared)])
    severity[last] += own_last
    highest, detector = np.zeros(len(severity)), np.zeros(len(severity), np.int8)
    highest[first] = own_first
    most = np.max(shared, axis=0)
    which = (np.argmax(shared, axis=0) + 1).astype(np.int8)
    higher = np.flatnonzero(most[bins] > highest)
    highest[higher], detector[higher] = most[bins[higher]], which[bins[higher]]
    detector[last[own_last > highest[last]]] = _SVM
    out.severity[part], out.detector[part] = severity, detector
    reach = hour.tails[_MEDIAN].threshold * pack.scale
    reach = np.where(np.isfinite(reach), reach, np.nan)
    out.expected_low[part] = (pack.center - reach)[sensor]
    out.expected_high[part] = (pack.center + reach)[sensor]


def _readings_of_hour(
    hour: RatedHour, readings: ShardReadings, rows: Int64s, window: int
) -> tuple[Any, Int64s, Int64s]:
    """Where the readings of consecutive sensors in the hour stand, and the sensor and bin of each."""
    first, last = int(rows[0]), int(rows[-1])
    whole = slice(int(readings.starts[first]), int(readings.starts[last] + readings.counts[last]))
    number = readings.time_us[whole] // BIN_US
    sensor = np.repeat(np.arange(len(rows)), readings.counts[rows])
    inside = (number >= max(hour.first, window)) & (number < hour.first + hour.scores.shape[2])
    if inside.all():
        return whole, sensor, number
    return whole.start + np.flatnonzero(inside), sensor[inside], number[inside]


def _own_scores(hour: RatedHour, detector: int, raw: Floats, sensor: Int64s) -> tuple[Int64s, Floats]:
    """The readings whose own score of a detector is not 0, and that score."""
    tails = hour.tails[detector]
    rare = np.flatnonzero(raw > tails.threshold[sensor])
    return rare, hour.weights[detector, sensor[rare]] * tails.score(raw[rare], sensor[rare])


def _mark(
    pack: DetectorPack, past: Past, bins: Bins, window: int, readings: ShardReadings, rows: Int64s,
    rules: Rules, out: Assessed,
) -> None:  # fmt: skip
    """Mark the readings of sensors with candidates: their last six days are rated as they were online."""
    before, begin = past.scores(np.arange(len(pack))), bins.first
    raw = np.concatenate([before.raw, past.raw], axis=2)
    first = begin - before.raw.shape[2]
    limits = severity_limits(rules.alarms_per_sensor_day, pack.pace, pack.per_bin)
    begin_rated = first + CALIBRATION_BINS
    rated = rate_candidates(pack, raw, first, begin_rated, bins.end, rules.weights, limits)
    severity = np.concatenate([np.zeros((len(pack), CALIBRATION_BINS)), rated], axis=1)
    mean = np.concatenate([before.mean, bins.mean], axis=1)
    there = np.isfinite(mean)
    count = np.concatenate([before.count, bins.count], axis=1).astype(np.int64)
    memory = begin - MEMORY_BINS
    usual = _suppress_usual(pack, mean, first, readings, rows, limits, window, out)
    strong = find_strong(severity, limits) & ~usual
    marked = limit_marks((severity >= limits[:, None]) & ~usual, strong, there, first, memory)
    for row, sensor in enumerate(rows.tolist()):
        for hour in range(begin, bins.end, HOUR_BINS):  # each knows the day before it, as a window of its own
            known = marked[row, hour - begin : hour + HOUR_BINS - memory]
            for chain in chain_marks(known, hour - MEMORY_BINS, max(hour, window), rules.gap_bins):
                counts = np.cumsum(count[row, chain.bins - first])
                peaks = np.maximum.accumulate(severity[row, chain.bins - first])
                since = max(hour, window)
                _write_event(chain.bins, counts, peaks, since, readings, sensor, float(limits[row]), out)


def _suppress_usual(
    pack: DetectorPack, mean: Floats, first: int, readings: ShardReadings, rows: Int64s, limits: Floats, window: int,
    out: Assessed,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Which bins follow a usual pattern of their sensor; severities of the window's readings in them are kept
    below the limit.
    """
    usual = np.zeros(mean.shape, bool)
    for row in np.flatnonzero(np.isfinite(pack.usual[:, 0, 0])).tolist():
        level = (mean[row] - pack.center[row]) / pack.scale[row]
        usual[row] = follows_pattern(level, pack.usual[row], float(pack.tolerance[row]))
        start = int(readings.starts[rows[row]])
        place = np.arange(start, start + int(readings.counts[rows[row]]))
        number = readings.time_us[place] // BIN_US
        own = place[(number >= window) & usual[row, number - first]]
        out.severity[own] = np.minimum(out.severity[own], np.nextafter(limits[row], 0.0))
    return usual


def _write_event(
    chain: Int64s, counts: Int64s, peaks: Floats, window: int, readings: ShardReadings, sensor: int, limit: float,
    out: Assessed,
) -> None:  # fmt: skip
    start = int(readings.starts[sensor])
    place = np.arange(start, start + int(readings.counts[sensor]))
    number = readings.time_us[place] // BIN_US
    for bin_number, count, peak in zip(chain.tolist(), counts.tolist(), peaks.tolist(), strict=True):
        if bin_number < window:
            continue
        own = place[number == bin_number]
        highest = out.severity[own].max()
        told = own[out.severity[own] >= min(limit, highest)]
        out.event_us[told] = int(chain[0]) * BIN_US
        out.event_readings[told] = count
        out.event_severity[told] = peak
