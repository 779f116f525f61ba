"""Forecasts against the sales that came: the later history has them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import join_columns
from fleetscore.schemas import JUDGED
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, StoreSalesSettings
from fleetscore.workloads.store_sales.input_files import find_files
from fleetscore.workloads.store_sales.judgement import pinball
from fleetscore.workloads.store_sales.loading import Span, load_panel

_KEY = ["store", "sku", "step"]


def judge_forecasts(
    store: Store, settings: StoreSalesSettings, workload: str, window: Window, results: pa.Table
) -> pa.Table:
    """JUDGED rows: per store the mean pinball loss over (SKU, week, quantile) whose sales are known by
    now.
    """
    if not results.num_rows:
        return JUDGED.empty_table()
    actual = read_actuals(
        store,
        settings,
        workload,
        window,
        pc.unique(results["store"]).to_pylist(),
        int(pc.max(results["step"]).as_py()),
    )
    both = (
        results.select([*_KEY, *QUANTILE_NAMES]).join(actual, keys=_KEY, join_type="inner").combine_chunks()
    )
    if not both.num_rows:
        return JUDGED.empty_table()
    quantiles = np.stack([both[name].to_numpy() for name in QUANTILE_NAMES], axis=1)
    loss = pinball(both["sales"].to_numpy(), quantiles).mean(axis=1)
    keyed = pa.table({"partition": join_columns([both["store"]]), "loss": loss})
    sums = keyed.group_by("partition").aggregate([("loss", "mean"), ("loss", "count")])
    return pa.table([sums["partition"], sums["loss_mean"], sums["loss_count"]], schema=JUDGED)


def read_actuals(
    store: Store, settings: StoreSalesSettings, workload: str, window: Window, stores: list[str], steps: int
) -> pa.Table:
    """Known sales of the `steps` weeks from the window on: store, sku, step (from 1), sales."""
    files = find_files(store, settings, workload)
    stop = window.ordinal + steps
    panel = load_panel(
        files, Span(window.cadence, window.ordinal, stop, stop), stores, settings.covariates
    ).panel
    series, week = np.nonzero(~np.isnan(panel.sales))
    names = np.asarray(panel.stores, object)[panel.store_of[series]]
    return pa.table(
        {
            "store": pa.array(names, pa.string()),
            "sku": pa.array(panel.skus[series].astype(str), pa.string()),
            "step": pa.array((week + 1).astype(np.int8)),
            "sales": pa.array(panel.sales[series, week]),
        }
    )
