"""Mini-batches: a few readings sent to be scored at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.decision import anomalies, decide
from fleetscore.workloads.sensor_anomaly.fitted import load_models
from fleetscore.workloads.sensor_anomaly.text import time_of_text


def score_mini_batch(
    store: Store, workload: str, pins: Pins, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One answer per row, in order: the row's device, sensor, ts, and `score`, `anomaly`, `model`.

    A sensor without a usable model gets null for these and a `cause` (no_model, corrupt_model, ...);
    InputError names a malformed row and its field.
    """
    if not rows:
        return []
    readings = [_check(number, row) for number, row in enumerate(rows)]
    keys = [join_key([device, sensor]) for device, sensor, _ in readings]
    versions = [pins.version_for(key) for key in keys]
    fitted = load_models(store, workload, pa.array(keys), pa.array(versions))
    place = fitted.place
    known = np.flatnonzero(place >= 0)
    values = np.array([readings[row][2] for row in known.tolist()], np.float64)
    scores = decide(fitted.pack, place[known], np.ones(len(known), np.int64), values)
    flags = anomalies(scores)
    answers = [_echo(row) for row in rows]
    for row, error in fitted.errors.items():
        answers[row] |= {
            "score": None,
            "anomaly": None,
            "model": None,
            "cause": error.code,
            "detail": str(error),
        }
    for row, score, flag in zip(known.tolist(), scores.tolist(), flags.tolist(), strict=True):
        answers[row] |= {"score": score, "anomaly": flag, "model": versions[row]}
    return answers


def _echo(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("device", "sensor", "ts") if name in row}


def _check(number: int, row: Mapping[str, Any]) -> tuple[str, str, float]:
    unknown = sorted(set(row) - {"device", "sensor", "value", "ts"})
    if unknown:
        raise _bad(number, unknown[0], "there is no such field; known: device, sensor, value, ts")
    device, sensor = (_name(number, field, row.get(field)) for field in ("device", "sensor"))
    value = row.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(number, "value", f"got {value!r}, expected a finite number")
    ts = row.get("ts")
    if ts is not None and (not isinstance(ts, str) or time_of_text(ts) is None):
        raise _bad(number, "ts", f"got {ts!r}, expected a time such as 2018-08-28T23:00:05Z")
    return device, sensor, float(value)


def _name(number: int, field: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise _bad(number, field, f"got {value!r}, expected a name")
    return value


def _bad(number: int, field: str, why: str) -> InputError:
    return InputError(f"Row {number}, field {field}: {why}.", field=f"rows[{number}].{field}")
