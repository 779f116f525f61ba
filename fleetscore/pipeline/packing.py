"""Packing: partitions into shards by predicted seconds within a memory bound, neighbours together where that
costs next to nothing, else longest first.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NEARLY_SHORTEST = 1.05


@dataclass(frozen=True, slots=True)
class PackingLimits:
    """What a shard may cost: about `shard_s` seconds, never more than `memory_bytes`, and no shard is split
    off below `worth_s`.
    """

    shard_s: float = 60.0
    memory_bytes: float = 1.0e9
    worth_s: float = 1.0  # below this, another shard costs more in orchestration than it gains
    parallelism: int = 2
    max_shards: int = 10_000


def count_shards(total_s: float, total_bytes: float, partitions: int, limits: PackingLimits) -> int:
    """How many shards the work needs: enough for time and memory, and one per core where each is worth it."""
    by_time = math.ceil(total_s / limits.shard_s)
    by_memory = math.ceil(total_bytes / limits.memory_bytes)
    by_cores = min(limits.parallelism, int(total_s / limits.worth_s))
    return max(1, min(max(by_time, by_memory, by_cores), partitions, limits.max_shards))


def pack_shards(
    seconds: npt.NDArray[np.float64], memory_bytes: npt.NDArray[np.float64], limits: PackingLimits
) -> npt.NDArray[np.int32]:
    """The shard of each partition, 0-based and without gaps: neighbours together where the longest shard is
    within a twentieth of the shortest that it can be, else by longest processing time first (Graham 1969).

    Neighbours are so in files that are sorted or cut by partition: their shard reads its own part of them,
    where one of partitions from everywhere reads all. Each shard's memory stays within the bound, unless it
    is a single partition that exceeds it alone. With k shards and memory to spare the longest shard takes at
    most 4/3 - 1/(3k) of the optimum. Same input, same answer.
    """
    if len(seconds) == 0:
        return np.empty(0, np.int32)
    shards = count_shards(float(seconds.sum()), float(memory_bytes.sum()), len(seconds), limits)
    if shards == 1:
        return np.zeros(len(seconds), np.int32)
    for count in (shards, min(shards + 1, len(seconds), limits.max_shards)):  # one more where memory is short
        together = _cut(seconds, count)
        if np.bincount(together, memory_bytes).max() <= limits.memory_bytes:
            shortest = max(float(seconds.sum()) / shards, float(seconds.max()))
            if np.bincount(together, seconds).max() <= _NEARLY_SHORTEST * shortest:
                return _without_gaps(together)
            break
    order = np.argsort(-seconds, kind="stable")
    dealt = _deal(seconds[order].tolist(), memory_bytes[order].tolist(), shards, limits.memory_bytes)
    assignment = np.empty(len(seconds), np.int32)
    assignment[order] = dealt
    return _without_gaps(assignment)


def _cut(seconds: npt.NDArray[np.float64], shards: int) -> npt.NDArray[np.int32]:
    """The partitions in their order, cut into so many parts of about the same seconds."""
    middles = np.cumsum(seconds) - seconds / 2
    return np.minimum(middles * shards / max(float(seconds.sum()), 1e-300), shards - 1).astype(np.int32)


def _deal(seconds: list[float], memory_bytes: list[float], shards: int, bound: float) -> list[int]:
    """Give each partition in turn to the shard with the least time; a shard whose memory is full leaves the
    game for a new one.
    """
    heap = [(0.0, shard) for shard in range(shards)]
    filled = [0.0] * shards
    dealt: list[int] = []
    for second, size in zip(seconds, memory_bytes, strict=True):
        load, shard = heap[0]
        if filled[shard] and filled[shard] + size > bound:
            load, shard = _take_shard_with_room(heap, filled, size, bound)
            heapq.heappush(heap, (load + second, shard))
        else:
            heapq.heapreplace(heap, (load + second, shard))
        filled[shard] += size
        dealt.append(shard)
    return dealt


def _take_shard_with_room(
    heap: list[tuple[float, int]], filled: list[float], size: float, bound: float
) -> tuple[float, int]:
    """Take out the least loaded shard that has room for `size`, or open a new one; shards that are nearly
    full are dropped for good.
    """
    passed: list[tuple[float, int]] = []
    found: tuple[float, int] | None = None
    while heap and found is None:
        candidate = heapq.heappop(heap)
        if not filled[candidate[1]] or filled[candidate[1]] + size <= bound:
            found = candidate
        elif filled[candidate[1]] < 0.95 * bound:
            passed.append(candidate)
    for candidate in passed:
        heapq.heappush(heap, candidate)
    if found is None:
        filled.append(0.0)
        found = (0.0, len(filled) - 1)
    return found


def _without_gaps(assignment: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    used, renumbered = np.unique(assignment, return_inverse=True)
    del used
    return renumbered.astype(np.int32)
