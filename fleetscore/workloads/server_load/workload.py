"""The workload `server_load`: session logs to a load class per server and hour ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleetscore.models.model_sets import Pins
from fleetscore.records import Rates
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import (
    Discovery,
    MapItem,
    ModelSetDraft,
    SampleReport,
    Scored,
    ShardTask,
    Trained,
    TrainingRequest,
    TrainingTask,
    WindowRequest,
    Workload,
)
from fleetscore.workloads.server_load.results import RESULTS
from fleetscore.workloads.server_load.settings import ServerLoadSettings


class ServerLoad(Workload):
    """A window is a day of sessions; its results are the classes of the 48 hours after it, for every server seen lately."""

    name = "server_load"
    cadences = (Cadence.DAY,)
    settings_type = ServerLoadSettings
    rates = Rates(shard_s=1.5, partition_s=0.0005, row_s=1e-6, bytes_per_row=200.0)
    training_rates = Rates(shard_s=4.0, partition_s=0.0, row_s=3e-4, bytes_per_row=1_500.0)
    result_schema = RESULTS
    partition_columns = ("server",)
    loss = "share of hours whose load class was told wrongly"

    def map_items(self, store: Store, request: WindowRequest) -> Sequence[MapItem]:
        """The ranges of logs that were never parsed; once there are none, the months of hours that the window lacks."""
        from fleetscore.workloads.server_load.preparation import open_items

        return open_items(store, request)

    def training_map_items(self, store: Store, request: TrainingRequest) -> Sequence[MapItem]:
        """The same for a training's span."""
        from fleetscore.workloads.server_load.preparation import open_items

        return open_items(store, request)

    def map_item(self, store: Store, item: MapItem, settings: Any) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.preparation import run_item

        return run_item(store, item, settings)

    def discover(self, store: Store, request: WindowRequest) -> Discovery:
        from fleetscore.workloads.server_load.discovery import discover_window

        return discover_window(store, request)

    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        from fleetscore.workloads.server_load.scoring import score_shard

        return score_shard(store, task)

    def discover_training(self, store: Store, request: TrainingRequest) -> Discovery:
        from fleetscore.workloads.server_load.discovery import discover_span

        return discover_span(store, request)

    def train(self, store: Store, task: TrainingTask) -> Trained:
        from fleetscore.workloads.server_load.training import train_shard

        return train_shard(store, task)

    def assemble(
        self, store: Store, request: TrainingRequest, parts: Iterable[Mapping[str, bytes]]
    ) -> ModelSetDraft:
        from fleetscore.workloads.server_load.training import assemble_set

        del store
        return assemble_set(request, parts)

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.server_load.samples import write_samples

        return write_samples(store, scale=scale, seed=seed)

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.judging import judge_windows

        return judge_windows(store, windows)

    def draw(
        self, store: Store, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        from fleetscore.workloads.server_load.drawing import draw_windows

        return draw_windows(store, windows, folder, partitions)

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.server_load.actuals import judge_classes

        return judge_classes(store, window, results)

    def score_rows(
        self, store: Store, pins: Pins, settings: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        from fleetscore.workloads.server_load.rows import answer_rows

        return answer_rows(store, pins, settings, rows)

    def backtest(self, store: Store, settings: Any, cutoffs: int, folder: Path) -> Mapping[str, Any]:
        from fleetscore.workloads.server_load.backtesting import run_backtest

        return run_backtest(store, settings, cutoffs, folder)
