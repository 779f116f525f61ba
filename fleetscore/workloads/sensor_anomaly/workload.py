"""The kind sensor_anomaly: what it implements of the seam. Each method imports what it needs when it is
called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleetscore.capabilities import (
    FindsEvents,
    ImportsModels,
    Judges,
    MakesCaptureSamples,
    MakesSamples,
    SampleReport,
    ScoresRows,
    Trains,
)
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.records import ResultFile
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import ModelSetDraft, Partitions, RunContext, Scored, Shard, Trained, Workload
from fleetscore.workloads.sensor_anomaly.results import RESULTS
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings


class SensorAnomaly(
    Workload, Trains, ImportsModels, ScoresRows, Judges, FindsEvents, MakesSamples, MakesCaptureSamples
):
    """Readings of many sensors by quarters of an hour, hours or days, each judged by its own detectors.

    Scoring imports numpy and pyarrow only.
    """

    name = "sensor_anomaly"
    title = "Sensors: anomalies in readings, hour by hour"
    cadences = (Cadence.HOUR,)
    schedule = "0 5 * * * *"
    settings_type = SensorSettings
    rates = Rates(shard_s=0.05, partition_s=1e-5, row_s=1.5e-7, bytes_per_row=96.0)
    training_rates = Rates(shard_s=1.5, partition_s=1.5e-3, row_s=2e-7, bytes_per_row=96.0)
    result_schema = RESULTS
    partition_columns = ("device", "sensor")
    loss = "share of labelled readings that were called wrongly"
    parquet_options: Mapping[str, Any] = {  # a quarter of the plain size for a tenth more time
        "compression": {
            name: "none" if name in ("score", "severity") else "snappy" for name in RESULTS.names
        },
        "use_dictionary": [name for name in RESULTS.names if name not in ("ts", "score", "severity")],
        "column_encoding": {"ts": "DELTA_BINARY_PACKED"},  # readings come at nearly even steps
        "write_statistics": ["device"],  # rows are sorted by it; in the others every row group spans all
        "write_batch_size": 1 << 14,
        "data_page_size": 1 << 22,
        "max_rows_per_page": 1 << 18,  # a piece's: a tenth of the writes of pages of 20,000 rows
        "store_schema": False,  # readers see plain strings
    }
    chart = "fleetscore.dashboard.charts.sensor_readings:draw_readings"

    def __init__(self, name: str = "", settings: Any = None, zone: str = "UTC") -> None:
        """The workload with these settings, which say how long its windows are."""
        super().__init__(name, settings, zone)
        self.cadences = (self.settings.window,)
        if self.settings.window is Cadence.QUARTER_HOUR:
            self.schedule = "0 5/15 * * * *"

    def discover(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.sensor_anomaly.discovery import discover_window

        return discover_window(run)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        from fleetscore.workloads.sensor_anomaly.scoring import score_shard

        return score_shard(run, shard)

    def modelled_partitions(self, read: Callable[[str], bytes]) -> Sequence[str] | None:
        from fleetscore.workloads.sensor_anomaly.packs import INDEX_FILE, read_index

        keys: list[str] = read_index(read(INDEX_FILE))[0].to_pylist()
        return keys

    def discover_training(self, run: RunContext) -> Partitions:
        from fleetscore.workloads.sensor_anomaly.discovery import discover_training_span

        return discover_training_span(run)

    def train(self, run: RunContext, shard: Shard) -> Trained:
        from fleetscore.workloads.sensor_anomaly.training import train_shard

        return train_shard(run, shard)

    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        from fleetscore.workloads.sensor_anomaly.training import assemble_models

        return assemble_models(run, parts)

    def training_profile(self, store: Store, version: str) -> pa.Table | None:
        from fleetscore.workloads.sensor_anomaly.fitted import read_scalers

        return read_scalers(store, self.name, version)

    def import_models(self, store: Store, source: Path) -> ModelSetDraft:
        del store
        from fleetscore.workloads.sensor_anomaly.importing import import_folder

        return import_folder(source)

    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from fleetscore.workloads.sensor_anomaly.mini_batches import score_mini_batch

        return score_mini_batch(store, self.name, pins, rows)

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        from fleetscore.workloads.sensor_anomaly.labelled import judge_labelled

        return judge_labelled(store, self.settings, window, results)

    def find_events(self, store: Store, files: Sequence[ResultFile], window: Window) -> pa.Table:
        from fleetscore.workloads.sensor_anomaly.events import find_marked_events

        return find_marked_events(store, files, window)

    def event_gap(self) -> timedelta:
        return timedelta(minutes=self.settings.events.gap_minutes)

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.sensor_anomaly.samples import check_plain_format, cut_windows, write_samples

        check_plain_format(self.name, self.settings.data.format)
        report = write_samples(store, self.settings.folder, scale, seed)
        return cut_windows(report, self.settings.window, self.zone)

    def capture_samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        from fleetscore.workloads.sensor_anomaly.capture_samples import write_capture_samples
        from fleetscore.workloads.sensor_anomaly.samples import cut_windows

        report = write_capture_samples(store, self.name, self.settings.data, scale, seed)
        return cut_windows(report, self.settings.window, self.zone)

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        from fleetscore.workloads.sensor_anomaly.judging import judge_windows

        return judge_windows(store, self.name, windows)
