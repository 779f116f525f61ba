"""Predicted classes against the load that came: later logs have it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import join_columns
from fleetscore.schemas import JUDGED
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.server_load.discovery import read_hours, window_targets
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.labels import CLASSES, classify
from fleetscore.workloads.server_load.months import HOUR_S
from fleetscore.workloads.server_load.preparation import prepare_span
from fleetscore.workloads.server_load.settings import ServerLoadSettings

_KEY = ["server", "hour"]


def judge_classes(
    store: Store, settings: ServerLoadSettings, workload: str, window: Window, results: pa.Table
) -> pa.Table:
    """JUDGED rows: per server the share of hours with sessions whose class was predicted wrongly. The logs
    of those hours must be parsed.
    """
    if not results.num_rows:
        return JUDGED.empty_table()
    targets = window_targets(window, settings.horizon_hours)
    first, stop = int(targets[0]), int(targets[-1]) + 1
    hours = read_hours(store, prepare_span(store, settings, workload, first, stop), first, stop)
    number = classify(hours["load"].to_numpy() / UNITS, settings.medium_above, settings.high_above)
    moments = pa.array(hours["hour"].to_numpy().astype(np.int64) * (HOUR_S * 1_000_000))
    actual = pa.table(
        {
            "server": hours["server"].cast(pa.string()),
            "hour": moments.cast(pa.timestamp("us", "UTC")),
            "actual": pa.array(np.asarray(CLASSES, object)[number], pa.string()),
        }
    )
    both = results.select([*_KEY, "load_class"]).join(actual, keys=_KEY, join_type="inner").combine_chunks()
    wrong = pc.not_equal(both["load_class"], both["actual"]).cast(pa.float64())
    keyed = pa.table({"partition": join_columns([both["server"]]), "loss": wrong})
    sums = keyed.group_by("partition").aggregate([("loss", "mean"), ("loss", "count")])
    return pa.table([sums["partition"], sums["loss_mean"], sums["loss_count"]], schema=JUDGED)
