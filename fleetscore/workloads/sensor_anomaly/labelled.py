"""Verdicts against labels: what a person who looked at single readings said."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from fleetscore.errors import InputError
from fleetscore.partition_keys import join_columns
from fleetscore.schemas import JUDGED
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


def labels_folder(settings: SensorSettings) -> str:
    """Where labels lie: CSV files with ts, device, sensor, anomaly (0 or 1); times without a zone are UTC.

    >>> labels_folder(SensorSettings())
    'data/sensor_anomaly_labels/'
    """
    return f"{settings.folder.rstrip('/')}_labels/"


_KEY = ["ts", "device", "sensor"]
_COLUMNS = {"ts": pa.string(), "device": pa.string(), "sensor": pa.string(), "anomaly": pa.int8()}
_TIME = pa.timestamp("us", tz="UTC")


def judge_labelled(store: Store, settings: SensorSettings, window: Window, results: pa.Table) -> pa.Table:
    """JUDGED rows: per sensor the share of labelled readings of the window that were called wrongly."""
    labels = read_labels(store, settings, window)
    if not labels.num_rows or not results.num_rows:
        return JUDGED.empty_table()
    table = pa.table({name: results[name].cast(kind) for name, kind in _keyed().items()})
    both = table.join(labels, keys=_KEY, join_type="inner").combine_chunks()
    wrong = pc.not_equal(both["anomaly"], both["label"]).cast(pa.float64())
    keyed = pa.table({"partition": join_columns([both["device"], both["sensor"]]), "loss": wrong})
    sums = keyed.group_by("partition").aggregate([("loss", "mean"), ("loss", "count")])
    return pa.table([sums["partition"], sums["loss_mean"], sums["loss_count"]], schema=JUDGED)


def read_labels(store: Store, settings: SensorSettings, window: Window) -> pa.Table:
    """The labels of the window's readings: ts, device, sensor, label; of a reading labelled twice the last
    label in path order counts.

    InputError names a file without the four columns, or with a cell that cannot be read.
    """
    entries = store.list(labels_folder(settings))
    parts = [_read(store, entry.path, window) for entry in entries if entry.path.endswith(".csv")]
    table = pa.concat_tables(
        [
            pa.schema(
                [*((n, k) for n, k in _keyed().items() if n != "anomaly"), ("label", pa.int8())]
            ).empty_table(),
            *parts,
        ]
    )
    last = table.group_by(_KEY, use_threads=False).aggregate([("label", "last")])
    return last.rename_columns([name.removesuffix("_last") for name in last.column_names])


def _read(store: Store, path: str, window: Window) -> pa.Table:
    options = csv.ConvertOptions(column_types=_COLUMNS, include_columns=list(_COLUMNS))
    try:
        with store.open(path) as source:
            table = csv.read_csv(source, convert_options=options)
        moments = _moments(table["ts"])
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InputError(
            f"{path}: {error}.", fix="Labels are CSV with ts,device,sensor,anomaly (0 or 1).", field="labels"
        ) from error
    inside = pc.and_(
        pc.greater_equal(moments, pa.scalar(window.start, _TIME)),
        pc.less(moments, pa.scalar(window.end, _TIME)),
    )
    columns = {"ts": moments, "device": table["device"], "sensor": table["sensor"], "label": table["anomaly"]}
    return pa.table(columns).filter(inside)


def _moments(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in UTC of ISO texts, with or without a zone."""
    zoned = pc.match_substring_regex(texts, r"(Z|[+-]\d{2}:?\d{2})$")
    return pc.if_else(zoned, texts, pc.binary_join_element_wise(texts, "Z", "")).cast(_TIME)


def _keyed() -> dict[str, pa.DataType]:
    return {"ts": _TIME, "device": pa.string(), "sensor": pa.string(), "anomaly": pa.int8()}
