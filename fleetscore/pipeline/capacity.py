"""Capacity: what the pool offers now, and whether it can carry what a plan puts on it; decided before
anything is submitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.app_settings import AppSettings
from fleetscore.batch import connect_compute
from fleetscore.batch.interface import PoolState
from fleetscore.errors import CapacityError, FleetscoreError
from fleetscore.pipeline.cost import Prices, cores_of
from fleetscore.pipeline.placement import InlineOffer, PoolOffer, is_done_before
from fleetscore.records import from_json
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.paths import pool_rates_path
from fleetscore.store.state_files import check_range, read_hint_with

Floats = npt.NDArray[np.float64]
_NODE_MEMORY_SHARE = 0.85
"""Of a node's memory, what its tasks may have; the rest is the system's and the agent's."""


@dataclass(frozen=True, slots=True)
class PoolRates:
    """Seconds from submitting until the first task starts, on a pool without nodes and on one with free
    ones.
    """

    boot_s: float
    start_s: float
    schema: int = 1


def read_pool_rates(store: Store, pool: str, prices: Prices) -> PoolRates:
    """What this store has measured of the pool, or the guess that comes with the prices."""
    known = read_hint_with(store, pool_rates_path(pool), decode_pool_rates)
    return known or PoolRates(prices.pool.boot_s, prices.pool.start_s)


def decode_pool_rates(data: bytes) -> PoolRates:
    """The pool's rates that the bytes hold; an error where one of them cannot be."""
    rates = from_json(data, PoolRates)
    check_range([rates.boot_s, rates.start_s])
    return rates


def offer_inline(app: AppSettings, policy: RunPolicy, prices: Prices) -> InlineOffer:
    """What the app can do by itself."""
    return InlineOffer(
        app.cores(),
        app.inline_shard_s,
        app.inline_memory_bytes,
        prices.inline_usd_per_s,
        policy.inline_limit_s,
    )


def look_at_pool(
    store: Store, app: AppSettings, policy: RunPolicy, prices: Prices, seconds: Floats, memory_bytes: Floats
) -> PoolOffer | None:
    """What the configured pool offers now for partitions of that size; None without a Batch account, or
    where all is to stay inline.

    The service is not queried where inline is done before even a warm pool could start: most runs are
    small, and need not wait for an answer, or suffer when none comes. One that cannot be queried is an
    offer that names the trouble, unless Batch is forced: then the error is raised.
    """
    if not app.batch_endpoint or app.batch_placement == "inline":
        return None
    rates = read_pool_rates(store, app.batch_pool, prices)
    inline = offer_inline(app, policy, prices)
    if app.batch_placement == "auto" and is_done_before(seconds, memory_bytes, inline, rates.start_s):
        return PoolOffer(0, 1, math.inf, policy.batch_shard_s, rates.start_s, is_warm=True)
    try:
        return offer_pool(connect_compute(app).pool_state(), rates, policy, prices)
    except FleetscoreError as error:
        if app.batch_placement == "batch":
            raise
        return PoolOffer(0, 1, math.inf, policy.batch_shard_s, rates.boot_s, False, trouble=error.message)


def offer_pool(state: PoolState, rates: PoolRates, policy: RunPolicy, prices: Prices) -> PoolOffer:
    """The offer of a pool in that state."""
    price = prices.node(state.vm_size)
    cores = price.cores if price else cores_of(state.vm_size)
    dedicated = _within(state.most_dedicated, prices.quota.dedicated_cores, cores)
    most_spot = max(state.most_spot, policy.pool_nodes)
    spot = _within(most_spot, prices.quota.spot_cores, cores)
    memory = price.memory_gb * 1e9 * _NODE_MEMORY_SHARE / state.slots_per_node if price else math.inf
    is_warm = state.usable_nodes > 0
    return PoolOffer(
        slots=(dedicated + spot) * state.slots_per_node,
        slots_per_node=state.slots_per_node,
        slot_memory_bytes=memory,
        shard_s=policy.batch_shard_s,
        wait_s=rates.start_s if is_warm else rates.boot_s,
        is_warm=is_warm,
        cores_per_node=cores,
        usd_per_s=prices.node_usd_per_s(state.vm_size),
        most_usd_per_s=prices.node_usd_per_s_at_most(state.vm_size),
        trouble=_trouble(state, dedicated + spot),
        headroom=_headroom(prices, (state.most_dedicated, most_spot), cores),
    )


def refuse(seconds: Floats, memory_bytes: Floats, pool: PoolOffer, policy: RunPolicy) -> CapacityError | None:
    """Why the pool cannot carry these partitions, with the number to ask for; None if it can."""
    if len(seconds) == 0:
        return None
    total_s = float(seconds.sum())
    least_cores = _cores_for(total_s, policy.job_limit_s, pool)
    all_cores = pool.cores_per_node * math.ceil(total_s / pool.shard_s / pool.slots_per_node)
    request = f"Request at least {least_cores} cores of quota for the Batch account; {max(all_cores, least_cores)} run it fastest."
    if pool.trouble:
        return CapacityError(f"The pool cannot take {total_s:,.0f} s of work: {pool.trouble}.", fix=request)
    if memory_bytes.max() > pool.slot_memory_bytes:
        return CapacityError(
            f"A partition needs {memory_bytes.max() / 1e9:.1f} GB, a slot of the pool has {pool.slot_memory_bytes / 1e9:.1f} GB.",
            fix="Give the pool larger nodes or fewer slots per node.",
        )
    if seconds.max() > policy.shard_limit_s:
        return CapacityError(
            f"A partition is predicted to take {seconds.max():,.0f} s, one try at a shard may take {policy.shard_limit_s:,.0f} s.",
            fix="Raise shard_limit_s in the [run] table of the workload's settings.",
        )
    wall_s = pool.wait_s + total_s / pool.slots
    if wall_s > policy.job_limit_s:
        return CapacityError(
            f"The pool's {pool.slots} slots need {wall_s:,.0f} s, the job may take {policy.job_limit_s:,.0f} s.",
            fix=f"{request} Raise the pool's limits with it, or job_limit_s in the [run] table of the workload's settings.",
        )
    return None


def _cores_for(total_s: float, limit_s: float, pool: PoolOffer) -> int:
    nodes = math.ceil(total_s / max(1.0, limit_s - pool.wait_s) / pool.slots_per_node)
    return max(1, nodes) * pool.cores_per_node


def _within(nodes: int, quota_cores: int | None, cores: int) -> int:
    return nodes if quota_cores is None else min(nodes, quota_cores // cores)


def _trouble(state: PoolState, nodes: int) -> str:
    quota = [problem for problem in state.problems if "quota" in problem.lower()]
    if quota and not state.usable_nodes:
        return quota[0].rstrip(".")
    if nodes == 0 and not state.usable_nodes:
        return "it has no nodes, and neither its formula nor the quota lets it have any"
    return ""


def _headroom(prices: Prices, most_nodes: tuple[int, int], cores: int) -> str:
    """What is left of the stated quota when the pool has grown to its limits."""
    quotas = (("dedicated", prices.quota.dedicated_cores), ("Spot", prices.quota.spot_cores))
    parts = [
        f"{quota - nodes * cores:+d} {kind} cores"
        for (kind, quota), nodes in zip(quotas, most_nodes, strict=True)
        if quota is not None
    ]
    return ", ".join(parts)
