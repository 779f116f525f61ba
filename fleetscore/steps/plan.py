"""Plan a run: expected partitions -> shards -> placement, written once; or shown without writing anything."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.app_settings import AppSettings
from fleetscore.carry import carry_over
from fleetscore.errors import BugError, MissingBlobError
from fleetscore.layout import rates_path, run_path
from fleetscore.model_sets import Pins, read_model_set, read_pins
from fleetscore.packing import PackingLimits, pack_shards
from fleetscore.placement import place_shards
from fleetscore.records import PlanHead, RunRequest, ShardPlan, from_json, to_json
from fleetscore.settings import read_workload_settings
from fleetscore.stores.base import Store
from fleetscore.workloads import get_workload
from fleetscore.workloads.base import Discovery, Rates, TrainingRequest, WindowRequest, Workload


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan in memory: its head, its shards, and the PARTITIONS table with `shard` (-1: settled) and `kept`."""

    head: PlanHead
    shards: Sequence[ShardPlan]
    table: pa.Table


def commit_plan(store: Store, request: RunRequest, app: AppSettings, now: datetime) -> PlanHead:
    """Plan the run and write the plan, once: whoever comes second gets the first one's plan."""
    path = run_path(request.run, "plan.json")
    if store.stat(path) is None:
        plan = make_plan(store, request, app, now)
        _write_tables(store, plan)
        store.create(path, to_json(plan.head))
    return from_json(store.read(path), PlanHead)


def make_plan(store: Store, request: RunRequest, app: AppSettings, now: datetime) -> Plan:
    """The plan of the run as things stand now; writes nothing."""
    workload = get_workload(request.workload)
    discovery = _discover(store, workload, request)
    carried = carry_over(store, request, _checked(discovery.partitions, workload.name))
    rates = _rates_of(store, workload, request)
    table, shards = _pack(carried.table, rates, app)
    token = uuid.uuid4().hex[:8]
    head = PlanHead(
        request=request,
        created=now,
        partitions=table.num_rows,
        pending=sum(shard.partitions for shard in shards),
        settled=_count(table.filter(pc.less(table["shard"], 0))["outcome"]),
        rows=sum(shard.rows for shard in shards),
        size_bytes=sum(shard.size_bytes for shard in shards),
        shards=len(shards),
        inline_shards=sum(shard.placement == "inline" for shard in shards),
        predicted_s=sum(shard.predicted_s for shard in shards),
        table=run_path(request.run, f"plan-{token}.parquet"),
        shard_list=run_path(request.run, f"shards-{token}.json"),
        inputs=discovery.inputs,
        models=_count(table["model"]),
        rates=rates,
        remarks=discovery.remarks,
        kept_files=carried.files,
    )
    return Plan(head, shards, table)


def read_plan(store: Store, run: str) -> PlanHead:
    """The head of the run's committed plan; MissingBlobError before it is planned."""
    return from_json(store.read(run_path(run, "plan.json")), PlanHead)


def read_shard_plans(store: Store, head: PlanHead) -> list[ShardPlan]:
    """The planned shards, in shard order."""
    return msgspec.json.decode(store.read(head.shard_list), type=list[ShardPlan])


def read_shard_partitions(store: Store, head: PlanHead, shard: int) -> pa.Table:
    """The PARTITIONS rows of one shard, reading only its row group."""
    with store.open(head.table) as source:
        return pq.ParquetFile(source).read_row_group(shard)


def read_rates(store: Store, workload: Workload) -> Rates:
    """What this store has measured of the workload, or the workload's own figures before the first run."""
    try:
        return from_json(store.read(rates_path(workload.name)), Rates)
    except MissingBlobError:
        return workload.rates


def _rates_of(store: Store, workload: Workload, request: RunRequest) -> Rates:
    if request.purpose == "train" and workload.training_rates is not None:
        return workload.training_rates
    return read_rates(store, workload)


def pins_of(store: Store, request: RunRequest) -> Pins:
    """The pins that the run uses: those of the store, or the one version that was asked for."""
    if request.models:
        return Pins(read_model_set(store, request.workload, request.models).version)
    return read_pins(store, request.workload)


def _discover(store: Store, workload: Workload, request: RunRequest) -> Discovery:
    settings: Any = read_workload_settings(store, workload.name, workload.settings_type)
    first = workload.parse_window(request.window)
    if request.purpose == "train":
        stop = workload.parse_window(request.stop)
        return workload.discover_training(store, TrainingRequest(first, stop, settings, request.partitions))
    return workload.discover(store, WindowRequest(first, settings, pins_of(store, request)))


def _checked(table: pa.Table, workload: str) -> pa.Table:
    if pc.count_distinct(table["partition"]).as_py() != table.num_rows:
        raise BugError(f"{workload} discovered a partition twice.")
    return table


def _pack(table: pa.Table, rates: Rates, app: AppSettings) -> tuple[pa.Table, list[ShardPlan]]:
    """Add the `shard` column and sort by it, settled partitions last."""
    pending = np.asarray(pc.equal(table["outcome"], ""))
    rows = np.asarray(table["rows"], dtype=np.float64)[pending]
    seconds = rates.partition_s + rows * rates.row_s
    memory = rows * rates.bytes_per_row
    limits = PackingLimits(
        shard_s=app.inline_shard_s, memory_bytes=app.inline_memory_bytes, parallelism=app.cores()
    )
    assignment = pack_shards(seconds, memory, limits)
    shards = np.full(table.num_rows, -1, np.int32)
    shards[pending] = assignment
    order = np.argsort(np.where(shards < 0, np.iinfo(np.int32).max, shards), kind="stable")
    table = table.append_column("shard", pa.array(shards)).take(order)
    return table, _describe(table, rates, app)


def _describe(table: pa.Table, rates: Rates, app: AppSettings) -> list[ShardPlan]:
    shards = np.asarray(table["shard"])
    shards = shards[shards >= 0]
    if len(shards) == 0:
        return []
    partitions = np.bincount(shards)
    rows = np.bincount(shards, np.asarray(table["rows"], dtype=np.float64)[: len(shards)])
    size_bytes = np.bincount(shards, np.asarray(table["size_bytes"], dtype=np.float64)[: len(shards)])
    seconds = rates.shard_s + partitions * rates.partition_s + rows * rates.row_s
    memory = rows * rates.bytes_per_row
    return place_shards(partitions, rows, size_bytes, seconds, memory, app)


def _write_tables(store: Store, plan: Plan) -> None:
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, plan.table.schema, compression="zstd") as writer:
        start = 0
        for shard in plan.shards:
            writer.write_table(plan.table.slice(start, shard.partitions), row_group_size=shard.partitions)
            start += shard.partitions
        writer.write_table(plan.table.slice(start))
    store.write(plan.head.table, buffer.getvalue())
    store.write(plan.head.shard_list, to_json(list(plan.shards)))


def _count(column: Any) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
