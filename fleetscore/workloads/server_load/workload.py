"""The kind server_load: what it implements of the seam. Each method imports what it needs when it is
called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fleetscore.capabilities import (
    Backtests,
    Judges,
    MakesSamples,
    Prepares,
    Respells,
    SampleReport,
    ScoresRows,
    Trains,
)
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key, split_key
from fleetscore.predictions import Rates
from fleetscore.sources import Listing
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import (
    MapItem,
    ModelSetDraft,
    Partitions,
    RunContext,
    Scored,
    Shard,
    Trained,
    Workload,
)
from fleetscore.workloads.server_load.results import RESULTS
from fleetscore.workloads.server_load.settings import ServerLoadSettings


class ServerLoad(Workload, Prepares, Trains, ScoresRows, Respells, Judges, MakesSamples, Backtests):
    """A window is a day of sessions; its results are the classes of the 48 hours after it, for every server
    seen lately.
    """

    name = "server_load"
    title = "Servers: the load class of the hours ahead"
    cadences = (Cadence.DAY,)
    schedule = "0 30 2 * * *"
    settings_type = ServerLoadSettings
    rates = Rates(shard_s=1.5, partition_s=0.0005, row_s=1e-6, bytes_per_row=200.0)
    training_rates = Rates(shard_s=4.0, partition_s=0.0, row_s=3e-4, bytes_per_row=1_500.0)
    result_schema = RESULTS
    partition_columns = ("server",)
    loss = "share of hours whose load class was predicted wrongly"
    chart = "fleetscore.dashboard.charts.load_classes:draw_classes"
    backtest_chart = "fleetscore.dashboard.charts.backtests:draw_methods"

    def list_input(self, store: Store) -> Listing:
        from fleetscore.workloads.server_load.sources import list_logs

        return list_logs(store, self.settings, self.name)

    def discover(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.server_load.discovery import discover_window

        return discover_window(run)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        from fleetscore.workloads.server_load.scoring import score_shard

        return score_shard(run, shard)

    def map_items(self, run: RunContext) -> Sequence[MapItem]:
        from fleetscore.workloads.server_load.preparation import open_items

        return open_items(run)

    def map_item(self, run: RunContext, item: MapItem) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.preparation import run_item

        return run_item(run, item)

    def discover_training(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.server_load.discovery import discover_span

        return discover_span(run)

    def train(self, run: RunContext, shard: Shard) -> Trained:
        from fleetscore.workloads.server_load.training import train_shard

        return train_shard(run, shard)

    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        del run
        from fleetscore.workloads.server_load.training import assemble_set

        return assemble_set(parts)

    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from fleetscore.workloads.server_load.rows import answer_rows

        return answer_rows(store, self.name, pins, rows, self.settings.canonical_name)

    def canonical_key(self, key: str) -> str:
        server = split_key(key)[0]
        return join_key([self.settings.canonical_name(server) or server])

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.server_load.actuals import judge_classes

        return judge_classes(store, self.settings, self.name, window, results)

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.server_load.samples import write_samples

        return write_samples(store, self.settings.folder, scale, seed)

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.judging import judge_windows

        return judge_windows(store, self.name, windows)

    def backtest(self, store: Store, cutoffs: int) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.backtesting import run_backtest

        return run_backtest(store, self.settings, self.name, cutoffs)
