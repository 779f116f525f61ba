"""The events of a run: found in the rows that are about to be published, and named in the run's record."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.capabilities import FindsEvents
from fleetscore.records import Manifest, ResultFile
from fleetscore.registry import find_workload
from fleetscore.runs.manifests import read_events
from fleetscore.schemas import EVENT_FILES
from fleetscore.store.base import Store
from fleetscore.store.paths import events_path
from fleetscore.windows import parse_key

_WORST = 5
_NAMED = 1000


def write_events(
    store: Store, workload: str, window: str, run: str, files: tuple[ResultFile, ...]
) -> tuple[ResultFile, ...]:
    """Write the events of the run's rows and name their file; none where the kind finds none, or there are
    none.

    A second call writes the same. Rows that a retry kept are among those of `files`, so their events are,
    too.
    """
    kind: object = find_workload(store, workload).workload
    if not isinstance(kind, FindsEvents) or not files:
        return ()
    table = kind.find_events(store, files, kind.stored_window(window))  # type: ignore[attr-defined]  # a Workload
    if not table.num_rows:
        return ()
    buffer = io.BytesIO()
    pq.write_table(table.select(EVENT_FILES.names), buffer, compression="zstd")
    data = buffer.getvalue()
    path = events_path(workload, window, run)
    store.write(path, data)
    partitions = pc.count_distinct(table["partition"]).as_py()
    return (ResultFile(path, table.num_rows, hashlib.sha256(data).hexdigest(), partitions),)


def summarise_events(store: Store, manifest: Manifest) -> dict[str, Any]:
    """Facts for the run's record: how many events the window has, how many began in it, and the worst; {}
    without any.
    """
    table = read_events(store, manifest)
    if not table.num_rows:
        return {}
    order = pc.sort_indices(table, [("severity", "descending"), ("partition", "ascending")])
    return {
        "events": table.num_rows,
        "began": pc.sum(pc.greater_equal(table["start"], parse_key(manifest.window).start)).as_py(),
        "partitions": sorted(set(table["partition"].to_pylist()))[:_NAMED],
        "worst": [format_event(row) for row in table.take(order[:_WORST]).to_pylist()],
    }


def format_event(event: dict[str, Any]) -> str:
    """An event in a line."""
    expected = ""
    if event["expected_low"] is not None:
        expected = f", expected {event['expected_low']:.4g} to {event['expected_high']:.4g}"
    readings = f"{event['readings']} reading{'' if event['readings'] == 1 else 's'}"
    return (
        f"{event['partition']} since {event['start']:%Y-%m-%d %H:%M} UTC: severity {event['severity']:.1f}, {readings}, "
        f"{event['value']:.4g}{expected}"
    )
