"""Detection for a shard: loads the detectors and the history once, then assesses group after group of its
partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fleetscore.errors import FleetscoreError
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.decision import decide
from fleetscore.workloads.sensor_anomaly.detect.assessing import (
    Assessed,
    Rules,
    ShardReadings,
    assess,
    no_assessment,
)
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, Bins, empty_bins, fill_bins, join_bins
from fleetscore.workloads.sensor_anomaly.detect.history import gather_bins, window_bins
from fleetscore.workloads.sensor_anomaly.detect.horizon import HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.loading import LoadedDetectors, load_detectors
from fleetscore.workloads.sensor_anomaly.discovery import span_us
from fleetscore.workloads.sensor_anomaly.fitted import Fitted
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


@dataclass(frozen=True)
class Detection:
    """The detectors of a shard's partitions, their bins before the window (rows as in `loaded`), and
    partitions that lost these.
    """

    fitted: Fitted
    loaded: LoadedDetectors
    before: Bins
    row: Int64s  # partition -> row of `before`, -1 for one without detectors
    rules: Rules
    span_us: tuple[int, int]
    errors: Mapping[int, FleetscoreError]

    def assess(
        self, partitions: Int64s, time_us: Int64s, value: Floats, score: Floats, counts: Int64s
    ) -> Assessed:
        """Assess readings of some partitions, sorted by them (`counts` each) and time; NaN severity for
        those without detectors.
        """
        out = no_assessment(len(value))
        chosen = np.flatnonzero(self.row[partitions] >= 0)
        if not len(chosen):
            return out
        inside = np.repeat(self.row[partitions] >= 0, counts)
        readings = ShardReadings(time_us[inside], value[inside], score[inside], counts[chosen])
        own = partitions[chosen]
        hour, first, end = window_bins(*self.span_us)
        within = empty_bins(len(own), first, end)
        fill_bins(within, readings.time_us, readings.value, readings.counts)
        whole = join_bins(self.before.rows(self.row[own]), within)
        pack = self.loaded.pack.rows(self.loaded.place[own])
        svm = SvmOfBins(self.fitted, self.fitted.place[own])
        assessed = assess(pack, whole, hour, first, readings, svm, self.rules)
        for name in Assessed.__slots__:
            getattr(out, name)[inside] = getattr(assessed, name)
        return out


@dataclass(frozen=True, slots=True)
class SvmOfBins:
    """Raw scores of the one-class SVM per bin: the negative of the least decision value of its least and
    largest reading.
    """

    fitted: Fitted
    place: Int64s

    def __call__(self, rows: Int64s, bins: Bins) -> Floats:
        """Raw scores (sensors, bins) of the sensors `rows`; NaN where a bin has no reading."""
        there = np.isfinite(bins.mean)
        counts = there.sum(axis=1)
        ends = [
            decide(self.fitted.pack, self.place[rows], counts, values[there])
            for values in (bins.low, bins.high)
        ]
        out = np.full(there.shape, np.nan)
        out[there] = -np.minimum(*ends)
        return out


def rules_of(settings: SensorSettings) -> Rules:
    """The rules that the settings give."""
    gap_bins = max(1, round(settings.events.gap_minutes * 60e6 / BIN_US))
    return Rules(np.array(settings.detect.weights), settings.alarms_per_sensor_day, gap_bins)


def start_detection(run: RunContext, keys: pa.Array, versions: pa.Array, fitted: Fitted) -> Detection:
    """Load detectors and history of the partitions; without any detectors nothing else is read."""
    loaded = load_detectors(run.store, run.workload, keys, versions)
    place = np.where(fitted.place >= 0, loaded.place, -1)
    chosen = np.flatnonzero(place >= 0)
    row = np.full(len(keys), -1, np.int64)
    row[chosen] = np.arange(len(chosen))
    hour, first, _ = window_bins(*span_us(run))
    begin = hour - HORIZON_BINS
    rules = rules_of(run.settings)
    if not len(chosen):
        return Detection(fitted, loaded, empty_bins(0, begin, first), row, rules, span_us(run), loaded.errors)
    before, lost = gather_bins(run, keys.take(pa.array(chosen)), begin, first)
    errors = {int(chosen[one]): error for one, error in lost.items()} | dict(loaded.errors)
    return Detection(fitted, replace(loaded, place=place), before, row, rules, span_us(run), errors)
