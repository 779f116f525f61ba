"""The kind store_sales: what it implements of the seam. Each method imports what it needs when it is
called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleetscore.capabilities import (
    Backtests,
    ImportsModels,
    Judges,
    MakesSamples,
    SampleReport,
    ScoresRows,
    Trains,
)
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.sources import KeyedSpan, TableCover
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import ModelSetDraft, Partitions, RunContext, Scored, Shard, Trained, Workload
from fleetscore.workloads.store_sales.contract import NAME, RESULTS, StoreSalesSettings


class StoreSales(Workload, Trains, ImportsModels, ScoresRows, Judges, MakesSamples, Backtests):
    """Weekly sales of every SKU in every store, forecast as five quantiles; the window is the first week to
    forecast.
    """

    name = NAME
    title = "Stores: sales of the coming quarter, with their uncertainty"
    cadences = (Cadence.WEEK, Cadence.INDEX)
    schedule = "0 0 4 * * 1"
    warnings = frozenset({"odd_sales", "odd_deals", "odd_prices", "many_repeats"})
    settings_type = StoreSalesSettings
    rates = Rates(shard_s=0.6, partition_s=4e-4, row_s=3e-7, bytes_per_row=120.0)
    training_rates = Rates(shard_s=3.0, partition_s=5.0, row_s=2e-5, bytes_per_row=900.0)
    result_schema = RESULTS
    partition_columns = ("store",)
    run_defaults: Mapping[str, Any] = {
        "watermark_s": -604800.0
    }  # a week is forecast when it begins, not when it has ended
    loss = "mean pinball loss of the five quantiles, in units sold"
    parquet_options: Mapping[str, Any] = {
        "compression": "none",  # quantiles hardly compress
        "use_dictionary": ["store", "sku", "week", "step", "model"],
        "store_schema": False,  # readers see plain strings
    }
    chart = "fleetscore.dashboard.charts.sales_forecasts:draw_forecasts"
    backtest_chart = "fleetscore.dashboard.charts.backtests:draw_quantiles"

    def discover(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.store_sales.discovery import discover_window

        return discover_window(run)

    def table_cover(self, window: Window) -> TableCover:
        from fleetscore.workloads.store_sales.weeks import cover_history

        return cover_history(self.settings, window)

    def landed_span(self, run: RunContext) -> KeyedSpan:
        from fleetscore.workloads.store_sales.landed_weeks import window_weeks

        return window_weeks(run)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        from fleetscore.workloads.store_sales.scoring import score_shard

        return score_shard(run, shard)

    def discover_training(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.store_sales.discovery import discover_training

        return discover_training(run)

    def train(self, run: RunContext, shard: Shard) -> Trained:
        from fleetscore.workloads.store_sales.model_sets import train_shard

        return train_shard(run, shard)

    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        from fleetscore.workloads.store_sales.model_sets import assemble_models

        return assemble_models(run, parts)

    def import_models(self, store: Store, source: Path) -> ModelSetDraft:
        from fleetscore.workloads.store_sales.gbm_import import import_gbm, is_gbm_export
        from fleetscore.workloads.store_sales.own_import import import_forecaster

        if is_gbm_export(source):
            return import_gbm(source)
        return import_forecaster(store, source, self.settings, self.name)

    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from fleetscore.workloads.store_sales.mini_batches import score_mini_batch

        return score_mini_batch(store, self.name, pins, self.settings, rows)

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.store_sales.actuals import judge_forecasts

        return judge_forecasts(store, self.settings, self.name, window, results)

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.store_sales.samples import write_samples

        return write_samples(store, self.settings.folder, scale, seed)

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        from fleetscore.workloads.store_sales.judging import judge_windows

        return judge_windows(store, self.name, windows)

    def backtest(self, store: Store, cutoffs: int) -> Mapping[str, Any]:
        from fleetscore.workloads.store_sales.backtest import run_backtest

        return run_backtest(store, self.settings, self.name, cutoffs)
