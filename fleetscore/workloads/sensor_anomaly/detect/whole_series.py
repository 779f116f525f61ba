"""Detection in one series that is sent whole: expected values, margins, severities and changes, without any
training before.

The expected value is a robust level that follows the series slowly, plus the median of each phase where
there is a period. What is left over is judged by the detectors of sensor_anomaly: distance to the median,
KMeans over 8 points, change against the day before (here: against the period before), each calibrated by
the series itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fleetscore.workloads.sensor_anomaly.detect.calibration import TAIL_SHARE, fit_tails
from fleetscore.workloads.sensor_anomaly.detect.fitting import fit_centroids
from fleetscore.workloads.sensor_anomaly.detect.model import SHORT, TAIL
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import median_rows, nearest
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

_TO_DEVIATION = 1.4826
_PERIOD_LEAST = 0.3  # correlation with the series one period before, for a period to be taken
_LEVEL_LEAST = 24  # points that a level is the median of, at least
_ANCHORS = 200  # places at which the level is computed; between them it is a straight line
_KNOTS = ((0, 20.0), (50, 9.0), (85, 5.5), (95, 4.0), (99, 3.0))
"""Sensitivity -> margin in deviations of what is left over."""

_HARDEST = 4.0  # a calibrated score that counts as the largest: a series of its own says no more


@dataclass(frozen=True, slots=True)
class Detected:
    """Per point: expected value, margin to either side, whether it is an anomaly, and severity from 0 to 1;
    and the period, 0 for none.
    """

    period: int
    expected: Floats
    margin: Floats
    is_anomaly: npt.NDArray[np.bool_]
    severity: Floats


@dataclass(frozen=True, slots=True)
class Changes:
    """Per point: whether the level changes there, and how sure that is from 0 to 1; and the period, 0 for
    none.
    """

    period: int
    is_change: npt.NDArray[np.bool_]
    confidence: Floats


def detect_points(values: Floats, period: int | None, sensitivity: int, ratio: float) -> Detected:
    """Anomalies among the values (12 or more, finite), at most the share `ratio` of them; `period` None:
    find it.
    """
    found = find_period(values) if period is None else period
    expected = _expect(values, found)
    left = values - expected
    scale = _deviation(left)
    margin = np.full(len(values), margin_of(sensitivity) * scale)
    severity = _severity(left / scale, found)
    outside = np.flatnonzero(np.abs(left) > margin)
    most = int(np.floor(ratio * len(values)))
    if len(outside) > most:
        worst = np.lexsort((-np.abs(left[outside]), -severity[outside]))
        outside = outside[worst[:most]]
    is_anomaly = np.zeros(len(values), bool)
    is_anomaly[outside] = True
    return Detected(found, expected, margin, is_anomaly, severity)


def detect_changes(values: Floats, period: int | None, sensitivity: int, window: int) -> Changes:
    """Points where the level before and after differ by more than the margin of the sensitivity, over
    `window` points or more each.
    """
    found = find_period(values) if period is None else period
    season = _season(values - _level(values, found), found)
    plain = values - season
    width = max(2, min(len(values) // 4, max(found or 12, window)))
    medians = _moving_medians(plain, width)
    step = np.zeros(len(values))
    step[width : len(values) - width + 1] = np.abs(medians[width:] - medians[:-width])
    scale = _deviation(np.diff(plain)) / np.sqrt(2)
    limit = margin_of(sensitivity) * scale / np.sqrt(width) * 3
    confidence = 1.0 - np.exp(-step / limit)
    is_change = np.zeros(len(values), bool)
    left = np.where(step > limit, step, 0.0)
    while left.any():  # the largest step of a neighbourhood is its change
        place = int(left.argmax())
        is_change[place] = True
        left[max(0, place - width) : place + width] = 0.0
    return Changes(found, is_change, confidence)


def margin_of(sensitivity: int) -> float:
    """The margin in deviations.

    >>> margin_of(85), margin_of(99) < margin_of(10)
    (5.5, True)
    """
    known, margins = zip(*_KNOTS, strict=True)
    return float(np.interp(sensitivity, known, margins))


def find_period(values: Floats) -> int:
    """The lag at which the series is most like itself, from 4 points to half of it; 0 where it is not much
    like itself at any.
    """
    count = len(values)
    plain = values - np.linspace(*_ends(values), count)
    low, high = np.quantile(plain, [0.01, 0.99])
    plain = np.clip(plain, low, high) - np.clip(plain, low, high).mean()
    power = np.abs(np.fft.rfft(plain, 2 * count)) ** 2
    alike = np.fft.irfft(power)[: count // 2 + 1]
    if alike[0] <= 1e-12 * (1.0 + np.abs(values).max()):
        return 0
    alike = alike / alike[0] * count / (count - np.arange(len(alike)))
    peaks = np.flatnonzero((alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:])) + 1
    peaks = peaks[(peaks >= 4) & (alike[peaks] >= _PERIOD_LEAST)]
    if not len(peaks):
        return 0
    first = int(peaks[alike[peaks] >= 0.9 * alike[peaks].max()][0])
    # a peak is flat: several periods away it is as flat, and counts less
    many = max(1, min(10, (len(alike) - 1) // first))
    low = int((many - 0.4) * first)
    return round((low + int(alike[low : int((many + 0.4) * first) + 1].argmax())) / many)


def _ends(values: Floats) -> tuple[float, float]:
    part = max(1, len(values) // 8)
    return float(np.median(values[:part])), float(np.median(values[-part:]))


def _expect(values: Floats, period: int) -> Floats:
    level = _level(values, period)
    return level + _season(values - level, period)


def _level(values: Floats, period: int) -> Floats:
    """Medians of windows of whole periods around some places, joined by lines."""
    count = len(values)
    width = min(count, max(_LEVEL_LEAST, 2 * period if period else count // 8) | 1)
    anchors = np.unique(np.linspace(0, count - 1, min(count, _ANCHORS)).astype(np.int64))
    starts = np.clip(anchors - width // 2, 0, count - width)
    windows = np.lib.stride_tricks.sliding_window_view(values, width)[starts]
    level: Floats = np.interp(np.arange(count), anchors, np.median(windows, axis=1))
    return level


def _season(left: Floats, period: int) -> Floats:
    """The median of each phase, repeated; 0 without a period or with less than two of them."""
    if period < 2 or len(left) < 2 * period:
        return np.zeros(len(left))
    padded = np.pad(left, (0, -len(left) % period), constant_values=np.nan).reshape(-1, period)
    medians, _ = median_rows(padded.T)
    return np.tile(medians, len(padded))[: len(left)]


def _severity(left: Floats, period: int) -> Floats:
    """Mean of the detectors' calibrated scores, from 0 to 1."""
    raw = np.full((3, len(left)), np.nan)
    raw[0] = np.abs(left)
    if len(left) >= 4 * SHORT:
        raw[1, SHORT - 1 :] = nearest(left[None], fit_centroids(left[None], SHORT))[0]
    raw[2] = _against_before(left, max(8, min(period or 24, len(left) // 4)))
    none = np.full((1, TAIL), -np.inf)
    total = np.zeros(len(left))
    for one in raw:
        tails = fit_tails(_thinned(one)[None], none, np.zeros(1))
        total += np.minimum(tails.score(one[None])[0], _HARDEST)
    short = _short_scores(np.abs(left)) if len(left) < 50 else total / 3
    return np.asarray(short / _HARDEST)


def _short_scores(away: Floats) -> Floats:
    """Scores of a series that is too short for a tail: that of a normal distribution, beyond its 98 %
    quantile.
    """
    rare = 10.0 ** -np.minimum(0.2 * away**2, 12.0)
    return np.where(rare < TAIL_SHARE, np.minimum(-np.log10(rare), _HARDEST), 0.0)


def _against_before(left: Floats, width: int) -> Floats:
    """The median of the last few points against that of the `width` points before them."""
    few = max(2, width // 8)
    short, wide = _moving_medians(left, few), _moving_medians(left, width)
    found = np.full(len(left), np.nan)
    first = width + few - 1
    found[first:] = np.abs(short[width:] - wide[: len(left) - first])
    return found


def _moving_medians(values: Floats, width: int) -> Floats:
    """The median of each `width` consecutive values: pandas keeps them in order from window to window, where
    sorting windows of thousands anew takes a hundred times as long.
    """
    found: Floats = pd.Series(values).rolling(width).median().to_numpy()
    return found[width - 1 :]


def _thinned(scores: Floats) -> Floats:
    """At most 2,000 of the scores, evenly spread: 2 % of them fit the tail that is kept."""
    if len(scores) <= 2000:
        return scores
    places: Int64s = np.linspace(0, len(scores) - 1, 2000).astype(np.int64)
    return scores[places]


def _deviation(left: Floats) -> float:
    """A robust deviation, above 0."""
    spread = _TO_DEVIATION * float(np.median(np.abs(left - np.median(left))))
    return spread or float(left.std()) or 1e-9 * (1.0 + float(np.abs(left).max(initial=0.0)))
