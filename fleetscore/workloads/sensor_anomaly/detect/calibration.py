"""Calibration: raw scores become -log10 of the probability that the sensor's own past gives such a score or
a larger one.

The largest 2 % of a sensor's raw scores of the last CALIBRATION_BINS get a generalised Pareto tail, fitted
by its first two moments. Below the 98 % quantile the score is 0. Where the past is short, the
largest scores of training stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.model import TAIL
from fleetscore.workloads.sensor_anomaly.readings import Floats

TAIL_SHARE = 0.02
LIMIT = 8.0  # a smaller probability says no more: a sensor that goes far beyond its week is alike by 1e-8
_SHORT_PAST = 1000  # with fewer scores the ones of training count, too
_LEAST = 50  # with fewer scores in all, nothing is rare
_HEAVIEST = 0.9


@dataclass(frozen=True, slots=True)
class Tails:
    """The fitted tail of each sensor: above `threshold` a score's excess has a Pareto law of `width` and
    `shape`.
    """

    threshold: Floats
    width: Floats
    shape: Floats

    def score(self, raw: Floats, sensor: npt.NDArray[np.int64] | None = None) -> Floats:
        """-log10 of the tail probability of raw scores, shape (sensors, n), or of loose ones with the
        sensor of each; 0 for NaN.
        """
        if sensor is None:
            threshold, width, shape = self.threshold[:, None], self.width[:, None], self.shape[:, None]
        else:
            threshold, width, shape = self.threshold[sensor], self.width[sensor], self.shape[sensor]
        excess = np.where(raw > threshold, raw - threshold, 0.0)  # NaN compares false
        with np.errstate(over="ignore"):
            heavy = np.log10(1.0 + shape * excess / width) / shape
        score = np.minimum(heavy - np.log10(TAIL_SHARE), LIMIT)
        return np.where(raw > threshold, score, 0.0)


def fit_tails(past: Floats, training: Floats, seen: Floats) -> Tails:
    """The tails of sensors: `past` (sensors, n) are the last raw scores, `training` (sensors, TAIL) the
    largest of training.

    `seen` says how many scores of training there were.
    """
    return fit_largest(*pick_largest(past), training, seen)


def pick_largest(scores: Floats) -> tuple[Floats, Floats]:
    """The TAIL largest of the scores (..., n) in any order, -inf where there are fewer, and how many there
    are.
    """
    there = np.isfinite(scores)
    return _largest(np.where(there, scores, -np.inf)), there.sum(axis=-1).astype(np.float64)


def fit_largest(top: Floats, count: Floats, training: Floats, seen: Floats) -> Tails:
    """The tails of sensors whose last raw scores are `count`, `top` (sensors, TAIL) the largest of them."""
    short = count < _SHORT_PAST
    both = np.concatenate([top, np.where(short[:, None], training, -np.inf)], axis=1)
    total = count + np.where(short, seen, 0.0)
    return _fit(-np.sort(-both, axis=1)[:, :TAIL], total)


def _largest(scores: Floats) -> Floats:
    """The TAIL largest scores of the last axis, -inf where there are fewer."""
    count = scores.shape[-1]
    if count <= TAIL:
        return np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, TAIL - count)], constant_values=-np.inf)
    found: Floats = np.partition(scores, count - TAIL, axis=-1)[..., -TAIL:]
    return found


def _fit(top: Floats, total: Floats) -> Tails:
    """`top` are the largest scores, largest first, of `total` ones."""
    place = np.arange(TAIL)
    size = np.clip(np.rint(TAIL_SHARE * total), 3, TAIL - 1).astype(np.int64)
    threshold = np.take_along_axis(top, size[:, None], axis=1)[:, 0]
    usable = (total >= _LEAST) & np.isfinite(threshold)
    base = np.where(usable, threshold, 0.0)
    excess = np.where((place < size[:, None]) & usable[:, None], top - base[:, None], 0.0)
    mean = excess.sum(axis=1) / size
    tiny = 1e-9 * (1.0 + np.abs(base))
    mean = np.maximum(mean, tiny)
    variance = np.maximum((excess * excess).sum(axis=1) / size - mean * mean, tiny * tiny)
    shape = np.clip(0.5 - 0.5 * mean * mean / variance, 1e-3, _HEAVIEST)
    width = mean * (1.0 - shape)
    return Tails(np.where(usable, threshold, np.inf), width, shape)


def least_threshold(known: Floats) -> Floats:
    """A bound (...) that the threshold of any past is not below that holds the scores `known` (..., n), with
    whatever others; -inf where there is none.
    """
    found: Floats = _largest(np.where(np.isfinite(known), known, -np.inf)).min(axis=-1)
    return found


def largest_of_training(raw: Floats) -> tuple[Floats, Floats]:
    """The TAIL largest raw scores of each sensor (rows), largest first, and how many scores there are."""
    there = np.isfinite(raw)
    top = -np.sort(-_largest(np.where(there, raw, -np.inf)), axis=1)
    return top, there.sum(axis=1).astype(np.float64)
