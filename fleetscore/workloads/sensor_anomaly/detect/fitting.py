"""Fitting the detectors to the readings of training: scale, centroids, season, and the tails to begin
with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, Bins
from fleetscore.workloads.sensor_anomaly.detect.calibration import largest_of_training
from fleetscore.workloads.sensor_anomaly.detect.model import (
    CLUSTERS,
    DETECTORS,
    LONG,
    PATTERN_BINS,
    PATTERNS,
    SHORT,
    TAIL,
    DetectorPack,
)
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import median_rows, raw_scores
from fleetscore.workloads.sensor_anomaly.detect.seasons import fit_season
from fleetscore.workloads.sensor_anomaly.readings import Floats

_WINDOWS = 400  # of each sensor that centroids are fitted to, evenly spread over the span
_ROUNDS = 12
_TO_DEVIATION = 1.4826  # median absolute deviation -> standard deviation of a normal distribution


def fit_detectors(keys: pa.StringArray, bins: Bins, svm: Floats) -> DetectorPack:
    """The detectors of the sensors `keys`, one per row of `bins`.

    The first CONTEXT_BINS of the bins are empty or context; `svm` has the raw scores of the one-class SVM
    of the bins after them. Each sensor needs two bins with different readings.
    """
    center, _ = median_rows(bins.mean)
    spread, _ = median_rows(np.abs(bins.mean - center[:, None]))
    deviation = np.nanstd(bins.mean, axis=1)
    scale = np.where(spread > 0, _TO_DEVIATION * spread, np.where(deviation > 0, deviation, 1.0))
    level = (bins.mean - center[:, None]) / scale[:, None]
    short, long = (fit_centroids(level, length) for length in (SHORT, LONG))
    season, week = fit_season(level, bins.first)
    none = np.full((len(keys), len(DETECTORS), TAIL), -np.inf)
    pace = _pace(np.isfinite(level))
    pack = DetectorPack(
        keys, center, scale, pace, short, long, season, none, np.zeros((len(keys), len(DETECTORS))),
        _per_bin(bins), np.full((len(keys), PATTERNS, PATTERN_BINS), np.nan, np.float32), np.zeros(len(keys), np.float32),
        week,
    )  # fmt: skip
    raw = raw_scores(pack, bins, svm)
    tops = [largest_of_training(one) for one in raw]
    tail = np.stack([top for top, _ in tops], axis=1)
    seen = np.stack([count for _, count in tops], axis=1)
    return replace(pack, tail=tail, seen=seen)


def _per_bin(bins: Bins) -> Floats:
    """How many readings a bin has that has any."""
    found: Floats = bins.count.sum(axis=1) / np.maximum((bins.count > 0).sum(axis=1), 1)
    return np.maximum(found, 1.0)


def _pace(there: npt.NDArray[np.bool_]) -> Floats:
    """How many bins a day have readings, from the first to the last that has."""
    first, last = there.argmax(axis=1), there.shape[1] - there[:, ::-1].argmax(axis=1)
    found: Floats = there.sum(axis=1) * DAY_BINS / (last - first)
    return found


def fit_centroids(level: Floats, length: int) -> Floats:
    """CLUSTERS centroids of the windows of `length` bins with readings, of each sensor; repeated values
    where it has few.
    """
    found = np.empty((len(level), CLUSTERS, length))
    for row, values in enumerate(level):
        dense = values[np.isfinite(values)]
        if len(dense) < length:
            dense = np.resize(dense, length)
        found[row] = _cluster(_pick_windows(dense, length))
    return found


def _pick_windows(dense: Floats, length: int) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(dense, length)
    picked = np.linspace(0, len(windows) - 1, min(len(windows), _WINDOWS)).astype(np.int64)
    return windows[picked]


def _cluster(windows: Floats) -> Floats:
    """Lloyd's rounds from windows evenly spread over the order of their means; the same windows give the same
    centroids.

    Centroids that begin as far from each other as possible would begin at what was rare in training.
    """
    square = np.einsum("ij,ij->i", windows, windows)
    order = np.argsort(windows.mean(axis=1), kind="stable")
    centroids = windows[order[(2 * np.arange(CLUSTERS) + 1) * len(windows) // (2 * CLUSTERS)]]
    for _ in range(_ROUNDS):
        own = _distances(windows, square, centroids).argmin(axis=1)
        member = own[:, None] == np.arange(CLUSTERS)
        size = member.sum(axis=0)
        moved = np.where(size[:, None] > 0, member.T @ windows / np.maximum(size, 1)[:, None], centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _distances(windows: Floats, square: Floats, centroids: Floats) -> Floats:
    cross: Floats = windows @ centroids.T
    found: Floats = np.maximum(
        square[:, None] - 2.0 * cross + np.einsum("ij,ij->i", centroids, centroids), 0.0
    )
    return found
