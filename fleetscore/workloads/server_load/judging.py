"""Published classes against what the samples planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.metrics import measure
from fleetscore.workloads.server_load.results import RESULTS
from fleetscore.workloads.server_load.samples import TRUTH_PATH
from fleetscore.workloads.server_load.scoring import WORKLOAD


def read_published(store: Store, window: Window) -> pa.Table:
    """The published results of a window; an empty table when nothing was published."""
    try:
        manifest = msgspec.json.decode(store.read(f"results/{WORKLOAD}/{window.key}/manifest.json"))
    except MissingBlobError:
        return RESULTS.empty_table()
    parts = []
    for file in manifest["files"]:
        with store.open(file["path"]) as source:
            parts.append(pq.read_table(source, columns=RESULTS.names).cast(RESULTS))
    return pa.concat_tables(parts) if parts else RESULTS.empty_table()


def judge_windows(store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
    """Accuracy, weighted precision, recall and F1 over the hours ahead that turned out to have sessions."""
    with store.open(TRUTH_PATH) as file:
        truth = pq.read_table(file, columns=["server", "hour", "load_class"]).rename_columns(
            ["server", "hour", "truth"]
        )
    published = pa.concat_tables(
        [RESULTS.empty_table(), *(read_published(store, window) for window in windows)]
    )
    both = published.select(["server", "hour", "load_class"]).join(
        truth, ["server", "hour"], join_type="inner"
    )
    number = {name: n for n, name in enumerate(CLASSES)}
    true = [number[name] for name in both["truth"].to_pylist()]
    told = [number[name] for name in both["load_class"].to_pylist()]
    return {"hours_published": published.num_rows, "hours_judged": len(true)} | asdict(measure(true, told))
