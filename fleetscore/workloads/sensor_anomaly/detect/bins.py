"""Bins: the readings of a shard's sensors on one time grid, as mean, least and largest value of each step
of the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

BIN_US = 300_000_000
"""Length of a bin: five minutes of the clock, in microseconds. Every window holds whole bins."""

HOUR_BINS = 3_600_000_000 // BIN_US
DAY_BINS = 24 * HOUR_BINS


@dataclass(frozen=True, slots=True)
class Bins:
    """Mean, least and largest reading per sensor (row) and bin (column), NaN where a bin has none, and how
    many it has.

    `first` numbers the first bin since 1970.
    """

    first: int
    mean: Floats
    low: Floats
    high: Floats
    count: Int64s

    @property
    def end(self) -> int:
        """The number of the bin after the last."""
        return self.first + int(self.mean.shape[1])

    def until(self, end: int) -> Bins:
        """The bins before number `end`."""
        part = slice(None, end - self.first)
        return Bins(
            self.first, self.mean[:, part], self.low[:, part], self.high[:, part], self.count[:, part]
        )

    def since(self, first: int) -> Bins:
        """The bins from number `first` on."""
        part = slice(first - self.first, None)
        return Bins(first, self.mean[:, part], self.low[:, part], self.high[:, part], self.count[:, part])

    def rows(self, rows: Int64s) -> Bins:
        """The same span of some of the sensors."""
        return Bins(self.first, self.mean[rows], self.low[rows], self.high[rows], self.count[rows])


def join_bins(before: Bins, after: Bins) -> Bins:
    """Two spans of bins, the second right after the first."""
    mean, low, high = (
        np.concatenate([getattr(before, n), getattr(after, n)], axis=1) for n in ("mean", "low", "high")
    )
    return Bins(before.first, mean, low, high, np.concatenate([before.count, after.count], axis=1))


def stack_bins(parts: Sequence[Bins]) -> Bins:
    """The sensors of several bins of one span, one after the other."""
    mean, low, high, count = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("mean", "low", "high", "count")
    )
    return Bins(parts[0].first, mean, low, high, count)


def empty_bins(sensors: int, first: int, end: int) -> Bins:
    """Bins without any reading."""
    shape = sensors, end - first
    mean, low, high = (np.full(shape, np.nan) for _ in range(3))
    return Bins(first, mean, low, high, np.zeros(shape, np.int64))


def fill_bins(bins: Bins, time_us: Int64s, value: Floats, counts: Int64s) -> None:
    """Put readings, sorted by sensor (`counts` each) and then by time, into their bins; all bins must be
    empty before.
    """
    if not len(time_us):
        return
    sensor = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    cell = sensor * bins.mean.shape[1] + (time_us // BIN_US - bins.first)
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    cells, sizes = cell[starts], np.diff(starts, append=len(cell))
    bins.mean.reshape(-1)[cells] = np.add.reduceat(value, starts) / sizes
    bins.count.reshape(-1)[cells] = sizes
    bins.low.reshape(-1)[cells] = np.minimum.reduceat(value, starts)
    bins.high.reshape(-1)[cells] = np.maximum.reduceat(value, starts)
