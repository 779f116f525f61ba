"""The workload sensor_anomaly: its parts, joined to the seam that the spine knows."""

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
from fleetscore.workloads.sensor_anomaly.discovery import discover_training_span, discover_window
from fleetscore.workloads.sensor_anomaly.scoring import RESULTS, score_shard
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


class SensorAnomaly(Workload):
    """Hourly readings of many sensors, each judged by its own one-class SVM; scoring imports numpy and pyarrow only."""

    name = "sensor_anomaly"
    cadences = (Cadence.HOUR,)
    settings_type = SensorSettings
    rates = Rates(shard_s=0.05, partition_s=1e-5, row_s=1.5e-7, bytes_per_row=96.0)
    training_rates = Rates(shard_s=1.5, partition_s=1.5e-3, row_s=2e-7, bytes_per_row=96.0)
    result_schema = RESULTS
    partition_columns = ("device", "sensor")
    loss = "share of labelled readings that were called wrongly"
    parquet_options: Mapping[str, Any] = {  # a quarter of the plain size for a tenth more time
        "compression": {name: "none" if name == "score" else "snappy" for name in RESULTS.names},
        "use_dictionary": ["device", "sensor", "value", "anomaly", "model"],
        "column_encoding": {"ts": "DELTA_BINARY_PACKED"},  # readings come at nearly even steps
        "write_statistics": ["device"],  # rows are sorted by it; in the others every row group spans all
        "write_batch_size": 1 << 14,
        "data_page_size": 1 << 22,
        "store_schema": False,  # readers see plain strings
    }

    def discover(self, store: Store, request: WindowRequest) -> Discovery:
        return discover_window(store, request)

    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        return score_shard(store, task)

    def discover_training(self, store: Store, request: TrainingRequest) -> Discovery:
        return discover_training_span(store, request)

    def train(self, store: Store, task: TrainingTask) -> Trained:
        from fleetscore.workloads.sensor_anomaly.training import train_shard

        return train_shard(store, task)

    def assemble(
        self, store: Store, request: TrainingRequest, parts: Iterable[Mapping[str, bytes]]
    ) -> ModelSetDraft:
        del store
        from fleetscore.workloads.sensor_anomaly.training import assemble_models

        return assemble_models(request, parts)

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.sensor_anomaly.samples import write_samples

        return write_samples(store, scale, seed)

    def draw(
        self, store: Store, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        from fleetscore.workloads.sensor_anomaly.drawing import draw_windows

        return draw_windows(store, windows, folder, partitions)

    def training_profile(self, store: Store, version: str) -> pa.Table | None:
        from fleetscore.workloads.sensor_anomaly.fitted import read_scalers

        return read_scalers(store, version)

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        from fleetscore.workloads.sensor_anomaly.judging import judge_windows

        return judge_windows(store, windows)

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.sensor_anomaly.labelled import judge_labelled

        return judge_labelled(store, window, results)

    def score_rows(
        self, store: Store, pins: Pins, settings: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        del settings
        from fleetscore.workloads.sensor_anomaly.mini_batches import score_mini_batch

        return score_mini_batch(store, pins, rows)

    def import_models(self, store: Store, source: Path) -> ModelSetDraft:
        del store
        from fleetscore.workloads.sensor_anomaly.importing import import_folder

        return import_folder(source)
