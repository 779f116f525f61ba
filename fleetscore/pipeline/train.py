"""Train a shard and commit it once, as scoring does: files under the attempt's path, then one record by create-if-absent."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from fleetscore.pipeline.score import (
    Progress,
    is_cancelled,
    name_attempt,
    peak_memory_bytes,
    read_shard_record,
)
from fleetscore.records import PlanHead, ShardRecord, to_json
from fleetscore.registry import get_workload
from fleetscore.runs.plans import read_plan, read_shard_partitions
from fleetscore.schemas import OUTCOMES
from fleetscore.settings import read_workload_settings
from fleetscore.store.base import Store
from fleetscore.store.paths import attempt_path, shard_log_path, shard_record_path
from fleetscore.store.tables import count_values, write_table
from fleetscore.workload import Trained, TrainingTask


def train_shard(
    store: Store, run: str, shard: int, placement: str = "inline", progress: Progress | None = None, attempt: str = ""
) -> ShardRecord | None:  # fmt: skip
    """Train the shard unless it is committed already, and give the record of the attempt that won; None if the run was cancelled.

    `attempt` is what `name_attempt` gave, for those who want to know the name of this one before it ends.
    """
    committed = read_shard_record(store, run, shard)
    if committed is not None or is_cancelled(store, run):
        return committed
    head = read_plan(store, run)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    task = _task(store, head, shard)
    trained = get_workload(head.request.workload).train(store, task)
    name = attempt or name_attempt()
    record = _write(store, run, shard, name, placement, trained, started, time.perf_counter() - clock)
    store.create(shard_record_path(run, shard), to_json(record))
    if progress is not None:
        progress(task.partitions.num_rows, task.partitions.num_rows)
    return read_shard_record(store, run, shard)


def _task(store: Store, head: PlanHead, shard: int) -> TrainingTask:
    workload = get_workload(head.request.workload)
    settings: Any = read_workload_settings(store, workload.name, workload.settings_type)
    return TrainingTask(
        run=head.request.run,
        first=workload.parse_window(head.request.window),
        stop=workload.parse_window(head.request.stop),
        shard=shard,
        partitions=read_shard_partitions(store, head, shard),
        inputs=head.inputs,
        settings=settings,
    )


def _write(
    store: Store,
    run: str,
    shard: int,
    attempt: str,
    placement: str,
    trained: Trained,
    started: datetime,
    seconds: float,
) -> ShardRecord:
    files = {name: attempt_path(run, shard, attempt, f"files/{name}") for name in trained.files}
    for name, path in files.items():
        store.write(path, trained.files[name])
    outcomes = trained.outcomes.cast(OUTCOMES)
    outcomes_path = attempt_path(run, shard, attempt, "outcomes.parquet")
    write_table(store, outcomes_path, outcomes)
    metrics_path = ""
    if trained.metrics is not None:
        metrics_path = attempt_path(run, shard, attempt, "metrics.parquet")
        write_table(store, metrics_path, trained.metrics)
    return ShardRecord(
        run=run,
        shard=shard,
        attempt=attempt,
        placement=placement,
        started=started,
        seconds=seconds,
        counts=count_values(outcomes["outcome"]),
        rows=0,
        input_rows=pc.sum(outcomes["input_rows"]).as_py() or 0,
        outcomes=outcomes_path,
        results=None,
        sketches=metrics_path,
        files=files,
        peak_memory_bytes=peak_memory_bytes(),
        worker=socket.gethostname(),
        log=shard_log_path(run, shard) if placement == "batch" else "",
    )
