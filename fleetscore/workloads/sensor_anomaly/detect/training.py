"""Training the detectors of a shard beside its one-class SVMs, and what the model card says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.workload import ModelSetDraft
from fleetscore.workloads.sensor_anomaly.detect.bins import (
    BIN_US,
    DAY_BINS,
    HOUR_BINS,
    Bins,
    empty_bins,
    fill_bins,
)
from fleetscore.workloads.sensor_anomaly.detect.fitting import fit_detectors
from fleetscore.workloads.sensor_anomaly.detect.horizon import CONTEXT_BINS
from fleetscore.workloads.sensor_anomaly.detect.loading import detector_files
from fleetscore.workloads.sensor_anomaly.detect.model import (
    DETECTORS,
    SHAPES,
    USUAL,
    DetectorPack,
    join_detectors,
)
from fleetscore.workloads.sensor_anomaly.detect.severity import share_weights
from fleetscore.workloads.sensor_anomaly.detect.svm import SvmOfBins
from fleetscore.workloads.sensor_anomaly.detect.usual import learn_patterns
from fleetscore.workloads.sensor_anomaly.fitted import Fitted
from fleetscore.workloads.sensor_anomaly.gathering import Gathered
from fleetscore.workloads.sensor_anomaly.marked_readings import Marked
from fleetscore.workloads.sensor_anomaly.packs import SensorModel, pack_models, read_index
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

BINS_MIN = 96
"""A sensor whose readings of training fill fewer bins, or span less than half a day, gets no detectors: its
one-class SVM decides.
"""

_CELLS = 1_500_000  # bins of all sensors that are fitted at once


def train_detectors(
    keys: pa.Array, gathered: Gathered, models: Mapping[str, SensorModel], settings: SensorSettings,
    first_us: int, end_us: int, normal: Mapping[str, Sequence[Marked]],
) -> DetectorPack:  # fmt: skip
    """The detectors of those sensors that got a model and have half a day of readings; none where all
    weights are 0.

    `normal` has the events of a sensor that are marked as normal: they become its usual patterns.
    """
    if not any(settings.detect.weights):
        return join_detectors([])
    first = first_us // BIN_US // HOUR_BINS * HOUR_BINS
    end = -(-end_us // BIN_US)
    starts = np.cumsum(gathered.counts) - gathered.counts
    named = keys.to_pylist()
    rows = [row for row, key in enumerate(named) if key in models and _is_enough(gathered, starts, row)]
    step = max(1, _CELLS // (end - first + CONTEXT_BINS))
    packs = []
    for begin in range(0, len(rows), step):
        own = np.array(rows[begin : begin + step])
        chosen = pa.array([named[row] for row in own])
        packs.append(_fit(chosen, gathered, starts, own, models, first, end, normal))
    return join_detectors(packs)


def with_detectors(draft: ModelSetDraft, pack: DetectorPack, settings: SensorSettings) -> ModelSetDraft:
    """The model set with the detectors beside its models, its card saying what each contributes."""
    if not len(pack):
        return draft
    models, _ = read_index(draft.files["index.npz"])
    shares = share_weights(pack, np.array(settings.detect.weights)).mean(axis=1)
    card: dict[str, Any] = {
        "detectors": {
            "sensors": len(pack),
            "with_season": int(np.isfinite(pack.season).all(axis=1).sum()),
            "share_of_severity": {
                name: round(float(s), 4) for name, s in zip(DETECTORS, shares, strict=True)
            },
            "severity_at_98_percent": _typical(pack),
            "bytes_per_sensor": 8
            * sum(int(np.prod(shape)) for name, shape in SHAPES.items() if name not in USUAL),
            "alarms_per_sensor_day": settings.alarms_per_sensor_day,
        }
    }
    patterns = np.isfinite(pack.usual[:, :, 0]).sum(axis=1)
    if patterns.any():
        card["detectors"]["usual_patterns"] = {
            pack.keys[row].as_py(): int(patterns[row]) for row in np.flatnonzero(patterns).tolist()
        }
    return replace(draft, files={**draft.files, **detector_files(pack, models)}, card={**draft.card, **card})


def _typical(pack: DetectorPack) -> dict[str, float]:
    """Of each detector the median over the sensors of the raw score that 2 % of training's exceed, in
    deviations.
    """
    found = {}
    for place, name in enumerate(DETECTORS):
        seen = pack.seen[:, place]
        rank = np.clip(np.rint(0.02 * seen), 0, pack.tail.shape[2] - 1).astype(np.int64)
        scores = pack.tail[np.arange(len(pack)), place, rank]
        scores = scores[np.isfinite(scores)]
        if len(scores):
            found[name] = round(float(np.median(scores)), 4)
    return found


def _is_enough(gathered: Gathered, starts: Int64s, row: int) -> bool:
    times = gathered.time_us[starts[row] : starts[row] + gathered.counts[row]]
    bins = times // BIN_US
    filled = 1 + int(np.count_nonzero(np.diff(bins))) if len(bins) else 0
    return filled >= BINS_MIN and int(bins[-1] - bins[0]) >= DAY_BINS // 2


def _fit(
    keys: pa.Array, gathered: Gathered, starts: Int64s, rows: Int64s, models: Mapping[str, SensorModel], first: int,
    end: int, normal: Mapping[str, Sequence[Marked]],
) -> DetectorPack:  # fmt: skip
    bins = empty_bins(len(rows), first - CONTEXT_BINS, end)
    place = np.concatenate([np.arange(starts[r], starts[r] + gathered.counts[r]) for r in rows.tolist()])
    fill_bins(bins, gathered.time_us[place], gathered.value[place], gathered.counts[rows])
    pack = pack_models({key: models[key] for key in keys.to_pylist()})
    fitted = Fitted(pack, _positions(pack.keys, keys), {})
    svm: Floats = SvmOfBins(fitted, fitted.place)(np.arange(len(rows)), bins.since(first))
    return _with_usual(fit_detectors(keys, bins, svm), bins, normal)


def _with_usual(pack: DetectorPack, bins: Bins, normal: Mapping[str, Sequence[Marked]]) -> DetectorPack:
    usual, tolerance = pack.usual.copy(), pack.tolerance.copy()
    for row, key in enumerate(pack.keys.to_pylist()):
        if key in normal:
            usual[row], tolerance[row] = _learn(pack, row, bins, normal[key])
    return replace(pack, usual=usual, tolerance=tolerance)


def _learn(pack: DetectorPack, row: int, bins: Bins, marked: Sequence[Marked]) -> tuple[Floats, float]:
    def standardise(mean: Floats) -> Floats:
        level: Floats = (mean - pack.center[row]) / pack.scale[row]
        return level

    spans = [one.span for one in marked if one.mean is None]
    elsewhere = [(one.span, one.first, standardise(one.mean)) for one in marked if one.mean is not None]
    return learn_patterns(standardise(bins.mean[row]), bins.first, spans, elsewhere)


def _positions(sorted_keys: pa.Array, keys: pa.Array) -> Int64s:
    found: Int64s = pc.index_in(keys, sorted_keys).to_numpy().astype(np.int64)
    return found
