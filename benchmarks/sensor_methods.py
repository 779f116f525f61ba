"""Methods that mark readings: Fleetscore's detectors, together and each alone, and what else people use; each sees the past only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.sensor_series import Floats, Int64s, Series
from fleetscore.workloads.sensor_anomaly.decision import decide
from fleetscore.workloads.sensor_anomaly.detect.assessing import Rules, ShardReadings, assess
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, HOUR_BINS, Bins, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.detect.horizon import HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, DetectorPack, join_detectors
from fleetscore.workloads.sensor_anomaly.detect.past import Past, past_of_bins
from fleetscore.workloads.sensor_anomaly.detect.svm import SvmOfBins
from fleetscore.workloads.sensor_anomaly.detect.training import train_detectors
from fleetscore.workloads.sensor_anomaly.fitted import Fitted
from fleetscore.workloads.sensor_anomaly.gathering import Gathered
from fleetscore.workloads.sensor_anomaly.packs import SensorModel, pack_models
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.training import fit_model, pick_evenly

SETTINGS = SensorSettings()
DEFAULT_WEIGHTS = np.array(SETTINGS.detect.weights)


def alone(detector: str) -> Floats:
    """Weights that leave one detector."""
    return np.array([float(name == detector) for name in DETECTORS])


@dataclass(frozen=True, slots=True)
class Judged:
    """Series with everything that assessing them takes, so that several budgets and weights need it computed once."""

    series: Sequence[Series]
    pack: DetectorPack
    past: Past
    bins: Bins
    readings: ShardReadings

    def marks(self, budget: float, weights: Floats = DEFAULT_WEIGHTS) -> list[tuple[Floats, Floats]]:
        """Severity and marks (0 or 1) of each series' readings, 0 for those of training."""
        rules = Rules(weights, budget, 24)
        assessed = assess(self.pack, self.past, self.bins, self.bins.first, self.readings, rules)
        ends = np.cumsum(self.readings.counts)[:-1]
        parts = zip(
            self.series, np.split(assessed.severity, ends), np.split(assessed.marked, ends), strict=True
        )
        return [
            (_after_training(one, severity), _after_training(one, marked)) for one, severity, marked in parts
        ]


def fleetscore_marks(
    series: Sequence[Series], budget: float, weights: Floats = DEFAULT_WEIGHTS
) -> list[tuple[Floats, Floats]]:
    """Severity and marks (0 or 1) of each series' readings, 0 for those of training, by the code that scores windows."""
    return judge(series).marks(budget, weights)


def judge(series: Sequence[Series]) -> Judged:
    """The series, trained on their beginnings, by the code that scores windows.

    Series are shifted by whole hours so that what is judged begins together, and are scored together, as in a shard.
    """
    cut = max(int(one.time_s[one.trained]) for one in series) * 1_000_000 // BIN_US // HOUR_BINS * HOUR_BINS
    times = [_shifted(one, cut) for one in series]
    keys = [f"s/{place:04d}" for place in range(len(series))]
    models = {
        key: fit_model(pick_evenly(one.value[: one.trained], 2000), SETTINGS)
        for key, one in zip(keys, series, strict=True)
    }
    packs = [_train(key, one, time_us, models) for key, one, time_us in zip(keys, series, times, strict=True)]
    end = max(int(time_us[-1]) // BIN_US // HOUR_BINS + 1 for time_us in times) * HOUR_BINS
    bins = empty_bins(len(series), cut - HORIZON_BINS, end)
    near = [time_us // BIN_US >= bins.first for time_us in times]
    fill_bins(bins, *_joined([(t[n], s.value[n]) for t, s, n in zip(times, series, near, strict=True)]))
    svm = pack_models(models)
    fitted = Fitted(svm, np.arange(len(series)), {})
    judged = [
        time_us // BIN_US >= cut for time_us in times
    ]  # all that the bins hold, the last of training included
    time_us, value, counts = _joined(
        [(t[j], s.value[j]) for t, s, j in zip(times, series, judged, strict=True)]
    )
    readings = ShardReadings(time_us, value, decide(svm, fitted.place, counts, value), counts)
    pack, svm_of_bins = join_detectors(packs), SvmOfBins(fitted, fitted.place)
    past = past_of_bins(pack, bins, cut, partial(svm_of_bins, np.arange(len(series))))
    return Judged(series, pack, past, bins.since(cut), readings)


def _after_training(series: Series, column: Floats) -> Floats:
    """The column, which has the last of the series' readings, for all of them; 0 for those of training."""
    found = np.zeros(len(series.value))
    found[len(found) - len(column) :] = column
    found[: series.trained] = 0
    return found


def _shifted(series: Series, cut: int) -> Int64s:
    """The series' times in microseconds, shifted by whole hours so that the first judged reading is in the hour of bin `cut`."""
    time_us = series.time_s * 1_000_000
    hour_us = HOUR_BINS * BIN_US
    return time_us + (cut * BIN_US - int(time_us[series.trained])) // hour_us * hour_us + hour_us


def _train(key: str, series: Series, time_us: Int64s, models: Mapping[str, SensorModel]) -> DetectorPack:
    counts = np.array([series.trained])
    past = Gathered(time_us[: series.trained], series.value[: series.trained], counts, counts, counts, {}, {})
    first, end = int(time_us[0]), int(time_us[series.trained - 1]) + 1
    pack = train_detectors(pa.array([key]), past, {key: models[key]}, SETTINGS, first, end, {})
    if not len(pack):
        raise ValueError(f"{series.name} is too short for detectors")
    return pack


def _joined(parts: Sequence[tuple[Int64s, Floats]]) -> tuple[Int64s, Floats, Int64s]:
    """Times, values and counts of several series one after the other."""
    times, values = zip(*parts, strict=True)
    return np.concatenate(times), np.concatenate(values), np.array([len(one) for one in times])


def median_marks(series: Series) -> Floats:
    """Outside the median of training ± 6 median absolute deviations."""
    past = series.value[: series.trained]
    centre = np.median(past)
    spread = np.median(np.abs(past - centre)) or past.std() or 1.0
    return (np.abs(series.value - centre) > 6 * spread).astype(np.float64)


def rolling_marks(series: Series) -> Floats:
    """More than 4 deviations from the mean of the day before (288 readings)."""
    length = min(288, series.trained)
    windows = sliding_window_view(series.value, length)[:-1]
    mean, deviation = windows.mean(axis=1), windows.std(axis=1)
    marks = np.zeros(len(series.value))
    gap = np.abs(series.value[length:] - mean)
    marks[length:] = gap > 4 * np.maximum(deviation, 1e-9 + 1e-9 * np.abs(mean))
    return marks


def forest_marks(series: Series) -> Floats:
    """scikit-learn's IsolationForest of 100 trees on the reading, the last hour's mean and the change, threshold at 0.1 % of training."""
    from sklearn.ensemble import IsolationForest

    features = _features(series.value)
    model = IsolationForest(n_estimators=100, random_state=0, contamination=0.001)
    model.fit(features[: series.trained])
    return (model.predict(features) == -1).astype(np.float64)


def svm_marks(series: Series) -> Floats:
    """scikit-learn's OneClassSVM as sensor_anomaly trains it, on the reading alone."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    past = series.value[: series.trained, None]
    scaler = StandardScaler().fit(past)
    model = OneClassSVM(gamma=SETTINGS.gamma, nu=max(SETTINGS.nu, 1 / len(past))).fit(scaler.transform(past))
    return (model.predict(scaler.transform(series.value[:, None])) == -1).astype(np.float64)


def _features(value: Floats) -> Floats:
    hour = np.convolve(value, np.ones(12) / 12)[: len(value)]
    return np.column_stack([value, hour, np.diff(value, prepend=value[0])])


RIVALS: Mapping[str, Callable[[Series], Floats]] = {
    "median ± 6 MAD": median_marks,
    "rolling z > 4": rolling_marks,
    "IsolationForest": forest_marks,
    "OneClassSVM": svm_marks,
}
