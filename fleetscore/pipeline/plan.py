"""Plan a run: expected partitions -> shards -> placement, written once; or shown without writing anything."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.app_settings import AppSettings
from fleetscore.capabilities import HoldsModels, Trains, require
from fleetscore.errors import BugError, CapacityError
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.absent import with_absent
from fleetscore.pipeline.capacity import look_at_pool, offer_inline, refuse
from fleetscore.pipeline.carry_over import carry_over
from fleetscore.pipeline.context import open_run
from fleetscore.pipeline.cost import Prices, find_prices, forecast_batch, forecast_inline
from fleetscore.pipeline.kept_versions import CURRENT, describe_versions, pins_of_round
from fleetscore.pipeline.packing import PackingLimits, pack_shards
from fleetscore.pipeline.placement import Floats, Placement, PoolOffer, place_partitions
from fleetscore.pipeline.spellings import respell_pins, speller_of
from fleetscore.pipeline.training_entry import describe_entry
from fleetscore.predictions import Forecast, Rates
from fleetscore.records import Finding, PlanHead, RunRequest, ShardPlan, from_json, to_json
from fleetscore.schemas import PARTITIONS
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.paths import rates_path, run_path
from fleetscore.store.state_files import check_range, read_hint_with, read_truth
from fleetscore.store.tables import count_values
from fleetscore.workload import Partitions, Purpose, Remark, RunContext, Workload

_READ_BYTES_PER_S = 4e8  # of model files: read, checked against their hash, and opened


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan in memory: its head, its shards, and the PARTITIONS table with `shard` (-1: settled) and
    `kept`.

    `prices` says of when and where the prices are; `refusal` why it cannot be carried out, if so.
    """

    head: PlanHead
    shards: Sequence[ShardPlan]
    table: pa.Table
    prices: str = ""
    refusal: CapacityError | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What placing depends on beside the partitions: settings, prices, and the pool as it is now."""

    app: AppSettings
    policy: RunPolicy
    prices: Prices
    pool: PoolOffer | None


def commit_plan(store: Store, request: RunRequest, app: AppSettings, now: datetime) -> PlanHead:
    """Plan the run and write the plan, once: a second call gets the first one's plan. CapacityError if
    nothing can carry it.
    """
    path = run_path(request.run, "plan.json")
    if store.stat(path) is None:
        plan = make_plan(store, request, app, now)
        if plan.refusal is not None:
            raise plan.refusal
        _write_tables(store, plan)
        store.flush([plan.head.table, plan.head.shard_list])
        store.create(path, to_json(plan.head))
    return read_truth(store, path, PlanHead)


def make_plan(store: Store, request: RunRequest, app: AppSettings, now: datetime) -> Plan:
    """The plan of the run as things stand now; writes nothing."""
    run = open_run(store, request)
    pinned = run.pins if request.models in ("", CURRENT) else read_pins(store, request.workload)
    pinned = respell_pins(run.kind, pinned)
    run = replace(run, pins=respell_pins(run.kind, pins_of_round(store, request, run.pins)))
    found = _discover(run)
    spell = speller_of(run.kind)
    carried = carry_over(store, request, _checked(found.expected, run.workload), spell)
    rates = _with_models(read_rates(store, run.kind, run.purpose), run)
    app = replace(app, inline_memory_bytes=int(_room_for_rows(app.inline_memory_bytes, rates)))
    prices = find_prices(store)
    pool = look_at_pool(store, app, run.policy, prices, *_weigh(carried.table, rates))
    if pool is not None:
        pool = replace(pool, slot_memory_bytes=_room_for_rows(pool.slot_memory_bytes, rates))
    situation = Situation(app, run.policy, prices, pool)
    table, shards, refusal = _pack(carried.table, rates, situation)
    token = uuid.uuid4().hex[:8]
    head = PlanHead(
        request=request,
        created=now,
        partitions=table.num_rows,
        pending=sum(shard.partitions for shard in shards),
        settled=count_values(table.filter(pc.less(table["shard"], 0))["outcome"]),
        rows=sum(shard.rows for shard in shards),
        size_bytes=sum(shard.size_bytes for shard in shards),
        shards=len(shards),
        inline_shards=sum(shard.placement == "inline" for shard in shards),
        predicted_s=sum(shard.predicted_s for shard in shards),
        table=run_path(request.run, f"plan-{token}.parquet"),
        shard_list=run_path(request.run, f"shards-{token}.json"),
        inputs=found.inputs,
        models=count_values(table["model"]),
        rates=rates,
        remarks=(
            *describe_entry(store, request),
            *describe_versions(request, carried.fresh, pinned),
            *map(str, found.remarks),
            *([prices.problem] if prices.problem else []),
        ),
        findings=tuple(Finding(r.cause, str(r)) for r in found.remarks if isinstance(r, Remark)),
        kept_files=carried.files,
        rewritten_files=carried.rewritten,
        forecasts=forecast(shards, rates, situation),
        challenger=_challenger(store, request),
    )
    return Plan(head, shards, table, prices.origin, refusal)


def read_rates(store: Store, workload: Workload, purpose: Purpose = "score") -> Rates:
    """What this store has measured of the workload, or the workload's own figures before the first run."""
    measured = read_hint_with(store, rates_path(workload.name, purpose), decode_rates)
    if measured is not None:
        return measured
    if purpose == "train" and isinstance(workload, Trains) and workload.training_rates:
        return workload.training_rates
    return workload.rates


def _with_models(rates: Rates, run: RunContext) -> Rates:
    """The rates with what this run's models weigh, and take to be read, and at least what its rows take."""
    if isinstance(run.kind, HoldsModels):
        rates = replace(rates, bytes_per_row=max(rates.bytes_per_row, run.kind.row_bytes(run)))
    if run.purpose == "train" or not isinstance(run.kind, HoldsModels):
        return replace(rates, models_bytes=0.0, models_s=0.0)
    read, held = run.kind.model_bytes(run)
    return replace(rates, models_bytes=float(held), models_s=read / _READ_BYTES_PER_S)


def _room_for_rows(memory_bytes: float, rates: Rates) -> float:
    """What models leave of a shard's memory; a quarter at the least, for rows have to be scored somewhere."""
    return max(memory_bytes - rates.models_bytes, memory_bytes / 4)


def decode_rates(data: bytes) -> Rates:
    """The rates that the bytes hold; an error where one of them cannot be."""
    rates = from_json(data, Rates)
    check_range([rates.shard_s, rates.partition_s, rates.row_s, rates.bytes_per_row])
    check_range([rates.spread], least=1.0)
    return rates


def forecast(shards: Sequence[ShardPlan], rates: Rates, situation: Situation) -> tuple[Forecast, ...]:
    """What the shards of each placement are expected to take, in time and money."""
    app, pool, found = situation.app, situation.pool, []
    inline = [shard for shard in shards if shard.placement == "inline"]
    batch = [shard for shard in shards if shard.placement == "batch"]
    if inline:
        seconds = sum(shard.predicted_s for shard in inline)
        found.append(forecast_inline(len(inline), seconds, rates.spread, app.cores(), situation.prices))
    if batch and pool is not None:
        seconds, slots = sum(shard.predicted_s for shard in batch), max(1, min(len(batch), pool.slots))
        nodes = -(-slots // pool.slots_per_node)
        made = forecast_batch(
            len(batch), seconds, rates.spread, pool.wait_s, nodes, slots, pool.usd_per_s, pool.most_usd_per_s
        )
        found.append(replace(made, headroom=pool.headroom))
    return tuple(found)


def _challenger(store: Store, request: RunRequest) -> str:
    """The version that scores in shadow: none in training, or where the run was given a version of its
    own.
    """
    if request.purpose == "train" or request.models not in ("", CURRENT):
        return ""
    pins = read_pins(store, request.workload)
    return pins.challenger if pins.challenger != pins.current else ""


def _discover(run: RunContext) -> Partitions:
    if run.purpose == "train":
        return require(run.kind, Trains).discover_training(run)
    return with_absent(run, run.kind.discover(run))


def _checked(table: pa.Table, workload: str) -> pa.Table:
    if pc.count_distinct(table["partition"]).as_py() != table.num_rows:
        raise BugError(f"{workload} discovered a partition twice.")
    return table.select(PARTITIONS.names).cast(PARTITIONS)


def _pack(
    table: pa.Table, rates: Rates, situation: Situation
) -> tuple[pa.Table, list[ShardPlan], CapacityError | None]:
    """Add the `shard` column (inline shards first) and sort by it, settled partitions last."""
    app, pool, policy = situation.app, situation.pool, situation.policy
    pending = np.asarray(pc.equal(table["outcome"], ""))
    seconds, memory = _weigh(table, rates)
    inline = offer_inline(app, policy, situation.prices)
    placement = place_partitions(seconds, memory, inline, pool, app.batch_placement)
    on_batch = placement.on_batch
    assignment = np.empty(len(seconds), np.int32)
    assignment[~on_batch] = pack_shards(seconds[~on_batch], memory[~on_batch], _inline_limits(app))
    first_on_batch = int(assignment[~on_batch].max(initial=-1)) + 1
    refusal = None
    if pool is not None and on_batch.any():
        packed = pack_shards(seconds[on_batch], memory[on_batch], _batch_limits(pool))
        assignment[on_batch] = first_on_batch + packed
        refusal = refuse(seconds[on_batch], memory[on_batch], pool, policy)
    shards = np.full(table.num_rows, -1, np.int32)
    shards[pending] = assignment
    large = np.bincount(assignment, placement.large) > 0
    order = np.argsort(np.where(shards < 0, np.iinfo(np.int32).max, shards), kind="stable")
    table = table.append_column("shard", pa.array(shards)).take(order)
    return table, _describe(table, rates, placement, first_on_batch, large), refusal


def _weigh(table: pa.Table, rates: Rates) -> tuple[Floats, Floats]:
    """Predicted seconds and memory of each partition that is to be scored."""
    rows = np.asarray(table["rows"], dtype=np.float64)[np.asarray(pc.equal(table["outcome"], ""))]
    return rates.partition_s + rows * rates.row_s, rows * rates.bytes_per_row


def _inline_limits(app: AppSettings) -> PackingLimits:
    return PackingLimits(app.inline_shard_s, app.inline_memory_bytes, parallelism=app.cores())


def _batch_limits(pool: PoolOffer) -> PackingLimits:
    """A task is worth a few times what it takes to start one."""
    return PackingLimits(
        pool.shard_s, pool.slot_memory_bytes, worth_s=min(60.0, pool.shard_s), parallelism=max(1, pool.slots)
    )


def _describe(
    table: pa.Table, rates: Rates, placement: Placement, first_on_batch: int, large: npt.NDArray[np.bool_]
) -> list[ShardPlan]:
    shards = np.asarray(table["shard"])
    shards = shards[shards >= 0]
    if len(shards) == 0:
        return []
    partitions = np.bincount(shards)
    rows = np.bincount(shards, np.asarray(table["rows"], dtype=np.float64)[: len(shards)])
    size_bytes = np.bincount(shards, np.asarray(table["size_bytes"], dtype=np.float64)[: len(shards)])
    seconds = rates.shard_s + rates.models_s + partitions * rates.partition_s + rows * rates.row_s
    memory = rates.models_bytes + rows * rates.bytes_per_row
    columns = zip(partitions, rows, size_bytes, seconds, memory, large, strict=True)
    return [
        _shard_plan(shard, row, "inline" if shard < first_on_batch else "batch", placement)
        for shard, row in enumerate(columns)
    ]


def _shard_plan(
    shard: int, row: tuple[Any, ...], where: Literal["inline", "batch"], placement: Placement
) -> ShardPlan:
    partitions, rows, size_bytes, seconds, memory, large = row
    reason = placement.reason(where, bool(large))
    return ShardPlan(
        shard, int(partitions), int(rows), int(size_bytes), float(seconds), int(memory), where, reason
    )


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
