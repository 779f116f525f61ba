"""Raw scores of the detectors per bin: how far from the sensor's own usual a bin is, in deviations; NaN
where that cannot be said.

Everything is computed element by element in a fixed order, so that a sensor's scores do not depend on which
others are in its shard. A raw score depends on the bin and on the CONTEXT_BINS before it, and on nothing
else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS, Bins
from fleetscore.workloads.sensor_anomaly.detect.horizon import CONTEXT_BINS
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, WEEK_HOURS, DetectorPack
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

_RECENT_HOURS = 2
_DAY_HOURS = 24
_LEAST_HOURS = 8  # with readings, of the day before
_BLOCK = 1 << 20  # elements of an intermediate that the processor's cache holds


def raw_scores(pack: DetectorPack, bins: Bins, svm: Floats | None = None) -> Floats:
    """Raw scores, shape (detectors, sensors, bins): of all bins but the first CONTEXT_BINS, which are
    context.

    `pack` has a row per sensor, `svm` the raw scores of the one-class SVM (sensors, bins without context)
    where it takes part. `bins` begin at a whole hour.
    """
    level = _standardise(bins.mean, pack)
    high = np.maximum(np.abs(_standardise(bins.low, pack)), np.abs(_standardise(bins.high, pack)))
    out = np.full((len(DETECTORS), len(pack), level.shape[1] - CONTEXT_BINS), np.nan)
    out[0] = high[:, CONTEXT_BINS:]
    out[1], out[2] = _window_distances(pack, level)
    hours = (bins.first + np.arange(level.shape[1])) // HOUR_BINS
    out[3] = _day_before(level - np.nan_to_num(pack.week[:, hours % WEEK_HOURS]))
    out[4] = np.abs(level - _season_at(pack, hours))[:, CONTEXT_BINS:]
    if svm is not None:
        out[5] = svm
    out[:, np.isnan(level[:, CONTEXT_BINS:])] = np.nan
    return out


def _season_at(pack: DetectorPack, hours: Int64s) -> Floats:
    """The seasonal level (sensors, bins) of bins in these hours, NaN for sensors without a season."""
    week = pack.week[:, hours % WEEK_HOURS]
    return np.where(np.isnan(week), pack.season[:, hours % 24], week)


def median_rows(values: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Median of what is there along the last axis, NaN where nothing is, and how many there are."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, values.shape[-1] - 1)
    pick = [np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0] for place in (low, high)]
    return np.where(count > 0, (pick[0] + pick[1]) / 2, np.nan), count


def _standardise(values: Floats, pack: DetectorPack) -> Floats:
    return (values - pack.center[:, None]) / pack.scale[:, None]


def _window_distances(pack: DetectorPack, level: Floats) -> tuple[Floats, Floats]:
    """Distances of the last SHORT and LONG bins with readings to the nearest centroid, of all bins but the
    context.
    """
    there = np.isfinite(level)
    order = np.argsort(there, axis=1, kind="stable")  # bins without readings first, the others in time order
    dense = np.take_along_axis(level, order, axis=1)
    last = level.shape[1] - int(there[:, CONTEXT_BINS:].sum(axis=1).max(initial=0))
    found = []
    for centroids in (pack.short, pack.long):
        lag = centroids.shape[2] - 1
        begin = max(last, lag)  # before it stand only bins of the context
        distance = nearest(dense[:, begin - lag :], centroids)
        age = order[:, begin:] - order[:, begin - lag : order.shape[1] - lag]
        distance[~((age >= 0) & (age < CONTEXT_BINS - 1))] = np.nan
        spread = np.full(level.shape, np.nan)
        np.put_along_axis(spread, order[:, begin:], distance, axis=1)
        found.append(spread[:, CONTEXT_BINS:])
    return found[0], found[1]


def nearest(values: Floats, centroids: Floats) -> Floats:
    """Distance of every window of values, which ends at a column, to the nearest of the sensor's centroids.

    `values` is (sensors, columns), `centroids` (sensors, clusters, length); the result has length - 1
    columns less.
    """
    sensors, clusters, length = centroids.shape
    columns = values.shape[1] - length + 1
    best = np.empty((sensors, columns))
    step = max(1, _BLOCK // max(columns * clusters, 1))
    for first in range(0, sensors, step):
        part, points = values[first : first + step], centroids[first : first + step]
        total = np.zeros((len(part), clusters, columns))
        for lag in range(length):
            gap = part[:, None, lag : lag + columns] - points[:, :, lag, None]
            gap *= gap
            total += gap
        best[first : first + step] = total.min(axis=1)
    return np.sqrt(best, out=best)


def _day_before(level: Floats) -> Floats:
    """Median of the last two hours against the median of the hours of the day before these, of all bins but
    the context.
    """
    sensors = len(level)
    whole = np.pad(level, ((0, 0), (0, -level.shape[1] % HOUR_BINS)), constant_values=np.nan)
    hourly, _ = median_rows(whole.reshape(sensors, -1, HOUR_BINS))
    days, there = median_rows(sliding_window_view(hourly, _DAY_HOURS, axis=1))
    days[there < _LEAST_HOURS] = np.nan
    width = _RECENT_HOURS * HOUR_BINS
    recent, _ = median_rows(sliding_window_view(level[:, CONTEXT_BINS - width + 1 :], width, axis=1))
    first_hour = CONTEXT_BINS // HOUR_BINS  # of the bins that are scored; the day ends two hours before each
    hours = np.arange(recent.shape[1]) // HOUR_BINS + first_hour - _RECENT_HOURS - _DAY_HOURS
    return np.abs(recent - days[:, hours])
