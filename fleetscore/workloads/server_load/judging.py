"""Published classes against what the samples planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.metrics import measure
from fleetscore.workloads.server_load.results import RESULTS
from fleetscore.workloads.server_load.samples import TRUTH_PATH

_JUDGED = pa.schema([RESULTS.field(name) for name in ("server", "hour", "load_class")])


def read_published(store: Store, workload: str, window: Window) -> pa.Table:
    """The published classes of a window; an empty table when nothing was published."""
    try:
        manifest = read_manifest(store, workload, window.key)
    except MissingBlobError:
        return _JUDGED.empty_table()
    return read_results(store, manifest, _JUDGED.names).cast(_JUDGED)


def judge_windows(store: Store, workload: str, windows: Sequence[Window]) -> Mapping[str, Any]:
    """Accuracy, weighted precision, recall and F1 over the hours ahead that turned out to have sessions."""
    with store.open(TRUTH_PATH) as file:
        truth = pq.read_table(file, columns=["server", "hour", "load_class"]).rename_columns(
            ["server", "hour", "truth"]
        )
    published = pa.concat_tables(
        [_JUDGED.empty_table(), *(read_published(store, workload, window) for window in windows)]
    )
    both = published.join(truth, ["server", "hour"], join_type="inner")
    number = {name: n for n, name in enumerate(CLASSES)}
    true = [number[name] for name in both["truth"].to_pylist()]
    classes = [number[name] for name in both["load_class"].to_pylist()]
    return {"hours_published": published.num_rows, "hours_judged": len(true)} | asdict(measure(true, classes))
