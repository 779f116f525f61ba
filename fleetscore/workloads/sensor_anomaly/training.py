"""Training: one Pipeline(StandardScaler, OneClassSVM) per sensor, fitted by scikit-learn and kept as plain
arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.exhaustion import raise_lack
from fleetscore.records import Outcome
from fleetscore.runs.normal_marks import list_normal_events
from fleetscore.schemas import OUTCOMES
from fleetscore.workload import ModelSetDraft, RunContext, Shard, Trained
from fleetscore.workloads.sensor_anomaly.detect.model import (
    DetectorPack,
    join_detectors,
    read_detectors,
    write_detectors,
)
from fleetscore.workloads.sensor_anomaly.detect.training import train_detectors, with_detectors
from fleetscore.workloads.sensor_anomaly.discovery import span_us
from fleetscore.workloads.sensor_anomaly.gathering import Gathered, gather_readings
from fleetscore.workloads.sensor_anomaly.importing import draft_of
from fleetscore.workloads.sensor_anomaly.marked_readings import gather_marked
from fleetscore.workloads.sensor_anomaly.normal_events import spans_by_partition
from fleetscore.workloads.sensor_anomaly.packs import SensorModel, pack_models, read_pack, write_pack
from fleetscore.workloads.sensor_anomaly.readings import Floats
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

_PART = "models.npz"
_DETECTORS_PART = "detectors.npz"


def fit_model(values: Floats, settings: SensorSettings) -> SensorModel:
    """Fit one sensor's model to its readings; the same readings give the same model.

    nu is raised to 1/n where it is smaller: below that libsvm may stop at its starting point, and the model
    calls everything an anomaly.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    column = values.reshape(-1, 1)
    scaler = StandardScaler().fit(column)
    scaled = scaler.transform(column)
    _require_finite(scaled)
    svm = OneClassSVM(gamma=settings.gamma, nu=max(settings.nu, 1.0 / len(values)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # a fit that does not converge is no model
        svm.fit(scaled)
    rho = -float(svm.intercept_[0])
    parts = (scaler.mean_, scaler.scale_, svm.support_vectors_, svm.dual_coef_[0])
    _require_finite(np.array([rho]), *parts)
    return SensorModel(*parts, rho, settings.gamma)


def _require_finite(*parts: Floats) -> None:
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError("its readings are too large to be scaled: mean or deviation is not finite")


def pick_evenly(values: Floats, most: int) -> Floats:
    """At most `most` of the values, evenly spread over their order, the first and the last among them.

    >>> pick_evenly(np.arange(10.0), 4).tolist()
    [0.0, 3.0, 6.0, 9.0]
    """
    if len(values) <= most:
        return values
    picked: Floats = values[np.linspace(0, len(values) - 1, most).astype(np.int64)]
    return picked


def train_shard(run: RunContext, shard: Shard) -> Trained:
    """Train the shard's sensors; one that cannot be trained gets an outcome that says why, and no model."""
    keys = shard.partitions["partition"].combine_chunks()
    gathered = gather_readings(run.store, run.inputs, keys, run.settings, *span_us(run))
    models: dict[str, SensorModel] = {}
    outcomes, metrics = [], []
    for row, key in enumerate(keys.to_pylist()):
        model, outcome = _train_one(gathered, row, key, run.settings)
        outcomes.append(outcome)
        if model is not None:
            models[key] = model
            metrics.append(
                {
                    "partition": key,
                    "n": float(gathered.counts[row]),
                    "support_vectors": float(len(model.alpha)),
                }
            )
    table = pa.Table.from_pylist(outcomes, OUTCOMES)
    events = list_normal_events(run.store, run.workload, datetime.now(UTC))
    marks = spans_by_partition(event for event in events if event.partition in models)
    normal = gather_marked(run, marks, span_us(run))
    detectors = train_detectors(keys, gathered, models, run.settings, *span_us(run), normal)
    files = {_PART: write_pack(pack_models(models)), _DETECTORS_PART: write_detectors(detectors)}
    return Trained(files, table, pa.Table.from_pylist(metrics) if metrics else None)


def assemble_models(run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
    """One model set of all shards' models; its card says on what it was trained, and how."""
    models: dict[str, SensorModel] = {}
    detectors: list[DetectorPack] = []
    for part in parts:
        pack = read_pack(part[_PART])
        models.update({key: pack.model(index) for index, key in enumerate(pack.keys.to_pylist())})
        if _DETECTORS_PART in part:  # a shard that an earlier version trained has none
            detectors.append(read_detectors(part[_DETECTORS_PART]))
    settings = run.settings
    first, end = run.span
    card = {
        "source": "trained",
        "first": first.key,
        "stop": end.key,
        "gamma": settings.gamma,
        "nu": settings.nu,
        "train_rows_max": settings.train_rows_max,
    }
    return with_detectors(draft_of(models, card), join_detectors(detectors), settings)


def _train_one(
    gathered: Gathered, row: int, key: str, settings: SensorSettings
) -> tuple[SensorModel | None, dict[str, Any]]:
    count = int(gathered.counts[row])
    outcome = {
        "partition": key,
        "outcome": str(Outcome.SCORED),
        "cause": "",
        "detail": "",
        "input_rows": int(gathered.input_rows[row]),
        "rows": 0,
        "model": "",
        "seconds": 0.0,
    }
    if row in gathered.lost:
        error = gathered.lost[row]
        return None, outcome | {"outcome": str(Outcome.FAILED), "cause": error.code, "detail": str(error)}
    if count < settings.train_rows_min:
        detail = f"It has {count} usable readings; training takes {settings.train_rows_min}."
        return None, outcome | {
            "outcome": str(Outcome.SKIPPED),
            "cause": "too_few_readings",
            "detail": detail,
        }
    start = int(gathered.counts[:row].sum())
    values = gathered.value[start : start + count]
    if values.min() == values.max():
        detail = f"All {count} readings are {values[0]}; nothing can be learned from them."
        return None, outcome | {
            "outcome": str(Outcome.SKIPPED),
            "cause": "constant_readings",
            "detail": detail,
        }
    return _fitted(values, settings, outcome)


def _fitted(
    values: Floats, settings: SensorSettings, outcome: dict[str, Any]
) -> tuple[SensorModel | None, dict[str, Any]]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below, by name
            model = fit_model(pick_evenly(values, settings.train_rows_max), settings)
    except Exception as error:  # whatever a library raises for this sensor costs this sensor only
        raise_lack(error)
        said = str(error).partition("\n")[0]  # libraries go on for pages
        detail = f"{type(error).__name__}: {said}"
        return None, outcome | {"outcome": str(Outcome.FAILED), "cause": "training_failed", "detail": detail}
    if float(model.alpha.sum()) <= model.rho:
        detail = "The model calls every reading an anomaly; raise nu or train on more readings."
        return model, outcome | {"cause": "degenerate_model", "detail": detail}
    return model, outcome
