"""Placement: which partitions are scored inline (activities of the app) and which on Batch, with the reason
in words.

What an activity cannot carry goes to Batch. Of the rest, inline takes as much as it gets done until a task
could start on the pool, and the pool takes what is left, unless it is dearer and the wait for inline is
short. The largest partitions go first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.errors import SettingsError

WISHES = ("auto", "inline", "batch")
ACTIVITY_LIMIT_S = 1500.0
"""The limit of one activity: host.json ends it after 30 minutes."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class InlineOffer:
    """What the app itself can do: shards at once, what one shard is packed for and may take, and what a
    second of a core costs.
    """

    cores: int
    shard_s: float
    memory_bytes: float
    usd_per_s: float | None  # None where prices are unknown
    patience_s: float  # how long inline may take where the pool is dearer


@dataclass(frozen=True, slots=True)
class PoolOffer:
    """What the pool can do: slots that it may grow to, seconds until a task starts, and why it cannot take
    anything, if so.
    """

    slots: int
    slots_per_node: int
    slot_memory_bytes: float  # inf where the node's memory is not known
    shard_s: float
    wait_s: float
    is_warm: bool
    cores_per_node: int = 1
    usd_per_s: float | None = None  # of a node, at the listed prices
    most_usd_per_s: float | None = None  # of a node, every Spot node at the dedicated price
    trouble: str = ""
    headroom: str = ""

    def slots_for(self, seconds: float) -> int:
        """The slots that so much work is spread over."""
        return max(1, min(self.slots, math.ceil(seconds / self.shard_s)))

    def nodes_for(self, seconds: float) -> int:
        """The nodes of those slots."""
        return math.ceil(self.slots_for(seconds) / self.slots_per_node)

    def cost_usd(self, seconds: float) -> float | None:
        """What so much work costs at the listed prices, with the nodes' idle start."""
        return None if self.usd_per_s is None else self._node_s(seconds) * self.usd_per_s

    def most_usd(self, seconds: float) -> float | None:
        """What it costs at most, should Spot nodes cost what dedicated ones do."""
        return None if self.most_usd_per_s is None else self._node_s(seconds) * self.most_usd_per_s

    def _node_s(self, seconds: float) -> float:
        return self.nodes_for(seconds) * (self.wait_s + seconds / self.slots_for(seconds))


@dataclass(frozen=True, slots=True)
class Placement:
    """Which partitions are on Batch, and the reasons: of inline shards, of Batch shards, of those that hold
    a `large` partition.
    """

    on_batch: Mask
    large: Mask
    inline_reason: str
    batch_reason: str
    large_reason: str

    def reason(self, placement: str, has_large: bool) -> str:
        """The reason of a shard's placement."""
        if placement == "inline":
            return self.inline_reason
        return self.large_reason if has_large and self.large_reason else self.batch_reason


def place_partitions(
    seconds: Floats, memory_bytes: Floats, inline: InlineOffer, pool: PoolOffer | None, wish: str
) -> Placement:
    """Place each partition; `wish` is FLEETSCORE_BATCH_PLACEMENT, SettingsError for one that is not known
    or cannot be met.
    """
    nowhere = np.zeros(len(seconds), bool)
    if wish not in WISHES:
        raise SettingsError(
            f"FLEETSCORE_BATCH_PLACEMENT is {wish!r}.",
            fix=f"Expected one of {', '.join(WISHES)}.",
            field="FLEETSCORE_BATCH_PLACEMENT",
        )
    if wish == "inline":
        return Placement(nowhere, nowhere, "FLEETSCORE_BATCH_PLACEMENT is inline", "", "")
    if pool is None and wish == "batch":
        raise SettingsError(
            "FLEETSCORE_BATCH_PLACEMENT is batch, but no Batch account is configured.",
            fix="Set FLEETSCORE_BATCH_ENDPOINT, FLEETSCORE_BATCH_POOL and FLEETSCORE_BATCH_IMAGE.",
            field="FLEETSCORE_BATCH_ENDPOINT",
        )
    if pool is None:
        return Placement(nowhere, nowhere, "no Batch account is configured", "", "")
    if wish == "batch":
        return Placement(~nowhere, nowhere, "", "FLEETSCORE_BATCH_PLACEMENT is batch", "")
    return _weigh(seconds, memory_bytes, inline, pool)


def is_done_before(seconds: Floats, memory_bytes: Floats, inline: InlineOffer, start_s: float) -> bool:
    """Whether inline can carry it all and is done within `start_s`."""
    fits = (seconds <= inline.shard_s) & (memory_bytes <= inline.memory_bytes)
    return bool(fits.all()) and float(seconds.sum()) / inline.cores <= start_s


def _weigh(seconds: Floats, memory_bytes: Floats, inline: InlineOffer, pool: PoolOffer) -> Placement:
    if pool.trouble:
        large = (seconds > ACTIVITY_LIMIT_S) | (memory_bytes > inline.memory_bytes)
        return Placement(large, large, f"the pool takes nothing: {pool.trouble}", "", _format_large(inline))
    large = (seconds > inline.shard_s) | (memory_bytes > inline.memory_bytes)
    rest_s = float(seconds[~large].sum())
    alone_s = rest_s / inline.cores
    state = "warm" if pool.is_warm else "cold"
    if alone_s <= pool.wait_s:
        why = f"inline is done before a task starts on a {state} pool ({pool.wait_s:.0f} s)"
        return Placement(large, large, why, "", _format_large(inline))
    cost, inline_cost = pool.cost_usd(rest_s), rest_s * (inline.usd_per_s or 0.0)
    price = _format_price(cost, pool.most_usd(rest_s))
    if cost is not None and cost > inline_cost and alone_s <= inline.patience_s:
        why = f"inline costs ${inline_cost:.2g} and takes {alone_s:.0f} s, the {state} pool costs {price}"
        return Placement(large, large, why, "", _format_large(inline))
    moved = _move(seconds, large, rest_s - pool.wait_s * inline.cores)
    why = f"inline gets this done until a task starts on the {state} pool ({pool.wait_s:.0f} s)"
    instead = f" for {price} instead of ${inline_cost:.2g}" if price else ""
    batch_why = f"inline alone would take {alone_s:.0f} s; the pool does it on {pool.slots_for(rest_s)} slots{instead}"
    return Placement(large | moved, large, why, batch_why, _format_large(inline))


def _format_price(listed_usd: float | None, most_usd: float | None) -> str:
    """The price of work on the pool: listed, and up to what; "" where its nodes have no price."""
    if listed_usd is None:
        return ""
    return f"${listed_usd:.2g}" + ("" if most_usd is None else f" (up to ${most_usd:.2g})")


def _move(seconds: Floats, large: Mask, amount_s: float) -> Mask:
    """The longest of the partitions that are not large, up to `amount_s` seconds in all."""
    order = np.argsort(np.where(large, -np.inf, seconds), kind="stable")[::-1]
    order = order[: int((~large).sum())]
    moved = np.zeros(len(seconds), bool)
    moved[order[np.cumsum(seconds[order]) <= amount_s]] = True
    return moved


def _format_large(inline: InlineOffer) -> str:
    return (
        f"it holds a partition beyond what an inline shard takes ({inline.shard_s:.0f} s, "
        f"{inline.memory_bytes / 1e6:,.0f} MB)"
    )
