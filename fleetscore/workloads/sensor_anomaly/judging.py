"""Judging the samples: which of the planted anomalies the published results found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.sensor_anomaly.discovery import microseconds
from fleetscore.workloads.sensor_anomaly.samples import TRUTH_PATH

_PLACE = ["ts", "device", "sensor"]


def judge_windows(store: Store, workload: str, windows: Sequence[Window]) -> Mapping[str, Any]:
    """Of the events planted in the windows: found (at least one of their readings marked) and missed, by
    kind; and false alarms.

    InputError when there are no samples in the store. Windows that are not published count as missed.
    """
    truth = _within(_read_truth(store), windows)
    marked, readings = _read_anomalies(store, workload, windows)
    hits = truth.join(marked, keys=_PLACE, join_type="inner")
    by_kind: dict[str, dict[str, int]] = {}
    for kind in pc.unique(truth["kind"]).to_pylist():
        planted, found = _events(truth, kind), _events(hits, kind)
        by_kind[kind] = {"planted": planted, "found": found, "missed": planted - found}
    return {
        "planted": sum(k["planted"] for k in by_kind.values()),
        "found": sum(k["found"] for k in by_kind.values()),
        "missed": sum(k["missed"] for k in by_kind.values()),
        "by_kind": by_kind,
        "readings": readings,
        "anomalies": marked.num_rows,
        "false_alarms": marked.num_rows - hits.num_rows,
    }


def _read_truth(store: Store) -> pa.Table:
    try:
        with store.open(TRUTH_PATH) as source:
            return pq.read_table(source)
    except MissingBlobError as error:
        raise InputError(
            f"The store has no {TRUTH_PATH}.",
            fix="Run `fleetscore samples sensor_anomaly` first.",
            field="store",
        ) from error


def _within(truth: pa.Table, windows: Sequence[Window]) -> pa.Table:
    times = truth["ts"].cast(pa.int64()).to_numpy()
    inside = np.zeros(len(times), bool)
    for window in windows:
        inside |= (times >= microseconds(window.start)) & (times < microseconds(window.end))
    return truth.filter(pa.array(inside))


def _read_anomalies(store: Store, workload: str, windows: Sequence[Window]) -> tuple[pa.Table, int]:
    parts, readings = [], 0
    for window in windows:
        try:
            manifest = read_manifest(store, workload, window.key)
        except MissingBlobError:
            continue
        readings += manifest.rows
        table = read_results(store, manifest, [*_PLACE, "anomaly"])
        parts.append(table.filter(pc.equal(table["anomaly"], 1)).select(_PLACE))
    empty = pa.schema(
        [("ts", pa.timestamp("us", tz="UTC")), ("device", pa.string()), ("sensor", pa.string())]
    )
    return pa.concat_tables([empty.empty_table(), *(part.cast(empty) for part in parts)]), readings


def _events(table: pa.Table, kind: str) -> int:
    count: int = pc.count_distinct(table.filter(pc.equal(table["kind"], kind))["event"]).as_py()
    return count
