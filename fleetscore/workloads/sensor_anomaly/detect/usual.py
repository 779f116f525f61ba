"""Usual patterns: what somebody marked as normal, learned by training and recognised when it comes again.

A pattern is the course of a sensor over its bins with readings, relative to the level just before it. A
later bin is usual where the readings up to it follow a pattern from its beginning; later readings play no
part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US
from fleetscore.workloads.sensor_anomaly.detect.model import LONG, PATTERN_BINS, PATTERNS, SHORT
from fleetscore.workloads.sensor_anomaly.readings import Floats

LEAD = SHORT
"""So many bins with readings before the event begin a pattern; their median is its level."""

_TO_DEVIATION = 1.4826 / np.sqrt(2)  # median absolute step -> deviation of the readings around their course
_TOLERANCE = 5.0  # deviations: two courses of 96 readings with the same noise stay within it
_NOISE_LEAST = 0.05  # of the sensor's deviation: readings in coarse steps have no noise otherwise

Span = tuple[int, int]
"""First and last time of an event, in microseconds since 1970."""

Elsewhere = tuple[Span, int, Floats]
"""An event that the readings of training do not hold: its span, and bins around it from this number on."""


def learn_patterns(
    level: Floats, first: int, spans: Sequence[Span], elsewhere: Sequence[Elsewhere] = ()
) -> tuple[Floats, float]:
    """The patterns (PATTERNS, PATTERN_BINS) of one sensor's marked events, NaN where there is none, and the
    tolerance.

    `level` are its standardised bins from number `first` on, which hold the events `spans`; those
    `elsewhere` have standardised bins of their own. Of more events than PATTERNS the last ones count; one
    that its readings do not tell from the noise has no pattern.
    """
    found = np.full((PATTERNS, PATTERN_BINS), np.nan)
    steps = np.abs(np.diff(level[np.isfinite(level)]))
    noise = _TO_DEVIATION * float(np.median(steps)) if len(steps) else 0.0
    tolerance = _TOLERANCE * max(noise, _NOISE_LEAST)
    events = [*((span, first, level) for span in spans), *elsewhere]
    courses = (_course(bins, begin, span) for span, begin, bins in sorted(events, key=lambda one: one[:2]))
    told = [course for course in courses if (np.abs(course[LEAD:]) > tolerance).any()]
    for row, course in enumerate(told[-PATTERNS:]):
        found[row, : len(course)] = course
    return found, tolerance


def follows_pattern(level: Floats, patterns: Floats, tolerance: float) -> npt.NDArray[np.bool_]:
    """Which of one sensor's bins are usual: the readings up to it follow one of the patterns within the
    tolerance, far enough to be told from the level.
    """
    usual = np.zeros(len(level), bool)
    places = np.flatnonzero(np.isfinite(level))
    if len(places) <= LEAD:
        return usual
    padded = np.concatenate([level[places], np.full(PATTERN_BINS - 1, np.nan)])
    courses = np.lib.stride_tricks.sliding_window_view(padded, PATTERN_BINS)
    courses = courses - np.median(courses[:, :LEAD], axis=1, keepdims=True)
    dense = np.zeros(len(padded), bool)
    for pattern in patterns[np.isfinite(patterns[:, 0])]:
        away = (np.abs(pattern) > tolerance) & (np.arange(PATTERN_BINS) >= LEAD)
        told = np.logical_or.accumulate(away)
        near = np.logical_and.accumulate(np.abs(courses - pattern) <= tolerance, axis=1)
        start, offset = np.nonzero(near & told)
        dense[start + offset] = True
    usual[places] = dense[: len(places)]
    return usual


def _course(level: Floats, first: int, span: Span) -> Floats:
    """The readings from LEAD bins before the event to LONG after it, as far as a pattern goes, relative to
    the level before; none where the event or what came before it is not there.

    The bins after it count as well: windows of that many bins have the event in them.
    """
    places = np.flatnonzero(np.isfinite(level))
    dense, numbers = level[places], places + first
    begin, end = np.searchsorted(numbers, [span[0] // BIN_US, span[1] // BIN_US + 1])
    if begin < LEAD or begin == end:
        return np.empty(0)
    part = dense[begin - LEAD : min(end + LONG, begin - LEAD + PATTERN_BINS)]
    course: Floats = part - np.median(part[:LEAD])
    return course
