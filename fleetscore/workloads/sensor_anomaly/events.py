"""Events of sensor_anomaly: the marked readings of a window, put together by what each says of its event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.records import ResultFile
from fleetscore.schemas import EVENTS
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.sensor_anomaly.readings import partition_keys

_COLUMNS = [
    "ts", "device", "sensor", "value", "severity", "expected_low", "expected_high", "event_start", "event_readings",
    "event_severity", "detector",
]  # fmt: skip


def find_marked_events(store: Store, files: Sequence[ResultFile], window: Window) -> pa.Table:
    """The EVENTS rows of the marked readings in the files, as of the window's end."""
    parts = [part for part in (_read_marked(store, file.path) for file in files) if part is not None]
    if not parts:
        return EVENTS.empty_table()
    order = [("partition", "ascending"), ("event_start", "ascending"), ("ts", "ascending")]
    marked = pa.concat_tables(parts).sort_by(order).combine_chunks()
    key, start = (marked[name].combine_chunks() for name in ("partition", "event_start"))
    changed = pc.or_(pc.not_equal(key[1:], key[:-1]), pc.not_equal(start[1:], start[:-1]))
    first = np.flatnonzero(np.r_[True, changed.to_numpy(zero_copy_only=False)])
    last = np.r_[first[1:], marked.num_rows] - 1
    furthest = [_furthest(marked, a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return _rows(marked.take(pa.array(last)), marked.take(pa.array(furthest)), window)


def _rows(at_end: pa.Table, at_peak: pa.Table, window: Window) -> pa.Table:
    """EVENTS rows from each event's last reading and the one that is furthest from what is expected."""
    starts = pc.strftime(at_end["event_start"], format="%Y%m%dT%H%MZ")
    columns = {
        "event": pc.binary_join_element_wise(at_end["partition"], starts, "@"),
        "partition": at_end["partition"],
        "group": at_end["device"],
        "start": at_end["event_start"],
        "end": at_end["ts"],
        "readings": at_end["event_readings"],
        "severity": at_end["event_severity"],
        "peak": at_peak["ts"],
        "value": at_peak["value"],
        "expected_low": at_peak["expected_low"],
        "expected_high": at_peak["expected_high"],
        "detector": at_peak["detector"],
        "window": pa.repeat(pa.scalar(window.key), at_end.num_rows),
    }
    return pa.table(columns).cast(EVENTS)


def _read_marked(store: Store, path: str) -> pa.Table | None:
    """The marked readings with an event; None of a file that has none, such as one of an earlier version."""
    with store.open(path) as source:
        file = pq.ParquetFile(source)
        if "event_start" not in file.schema_arrow.names:
            return None
        marked = file.read(["event_start"])["event_start"].is_valid()
        if not pc.any(marked).as_py():
            return None
        table = file.read(_COLUMNS).filter(marked)
    for name in ("device", "sensor", "detector"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pc.cast(table[name], pa.string()))
    return table.append_column("partition", partition_keys(table))


def _furthest(table: pa.Table, first: int, end: int) -> int:
    """Which of the rows has the largest severity; of equal ones the one furthest from the middle of what is
    expected.
    """
    part = table.slice(first, end - first)
    columns = ("value", "severity", "expected_low", "expected_high")
    value, severity, low, high = (part[name].to_numpy() for name in columns)
    away = np.nan_to_num(np.abs(value - (low + high) / 2))
    return first + int(np.lexsort((away, severity))[-1])
