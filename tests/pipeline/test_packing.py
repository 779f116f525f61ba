"""Packing puts each partition in one shard, within memory, and close to the best makespan."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.pipeline.packing import PackingLimits, count_shards, pack_shards

seconds = st.lists(st.floats(0.001, 100.0), min_size=1, max_size=60)


def makespan(loads: list[float], assignment: list[int]) -> float:
    """The load of the fullest shard."""
    totals: dict[int, float] = {}
    for load, shard in zip(loads, assignment, strict=True):
        totals[shard] = totals.get(shard, 0.0) + load
    return max(totals.values())


@given(
    seconds, st.lists(st.floats(0.0, 10.0), min_size=60, max_size=60), st.integers(1, 8), st.floats(1.0, 20.0)
)
@settings(max_examples=200)
def test_each_partition_has_one_shard_and_no_shard_exceeds_its_memory(
    loads: list[float], sizes: list[float], cores: int, bound: float
) -> None:
    """Shards are numbered without gaps; only a partition that is too big by itself may exceed the bound, alone."""
    memory = np.array(sizes[: len(loads)])
    limits = PackingLimits(shard_s=50.0, memory_bytes=bound, parallelism=cores)
    shards = pack_shards(np.array(loads), memory, limits)
    assert sorted(set(shards.tolist())) == list(range(shards.max() + 1))
    for shard in range(shards.max() + 1):
        members = memory[shards == shard]
        assert members.sum() <= bound * (1 + 1e-9) or len(members[members > 0]) == 1


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=7), st.integers(2, 3))
@settings(max_examples=60)
def test_the_longest_shard_is_within_grahams_bound_of_the_best(loads: list[float], shards: int) -> None:
    """Against brute force over all assignments: at most 4/3 - 1/(3k) of the optimum."""
    limits = PackingLimits(shard_s=1e9, memory_bytes=1e9, worth_s=1e-9, parallelism=shards)
    packed = pack_shards(np.array(loads), np.zeros(len(loads)), limits)
    count = min(shards, len(loads))
    best = min(makespan(loads, list(a)) for a in itertools.product(range(count), repeat=len(loads)))
    assert makespan(loads, packed.tolist()) <= (4 / 3 - 1 / (3 * count)) * best + 1e-9


@given(seconds)
def test_packing_depends_on_nothing_but_its_input(loads: list[float]) -> None:
    """The same partitions give the same shards."""
    limits = PackingLimits(shard_s=30.0)
    once, twice = (pack_shards(np.array(loads), np.array(loads), limits) for _ in range(2))
    assert (once == twice).all()


def test_small_work_is_not_split_and_large_work_is_split_by_time() -> None:
    """Half a second stays whole on any number of cores; an hour makes shards of about the wanted length."""
    limits = PackingLimits(shard_s=60.0, parallelism=8)
    assert count_shards(0.5, 0.0, 1000, limits) == 1
    assert count_shards(3600.0, 0.0, 1000, limits) == 60
    assert count_shards(16.0, 0.0, 1000, limits) == 8
    assert count_shards(3600.0, 0.0, 3, limits) == 3


def test_equal_chunks_never_collapse_or_pile_up() -> None:
    """95 equal items on 10 shards give nine or ten each, and 5 items on 10 give five shards (a known defect of equal-count chunking)."""
    limits = PackingLimits(shard_s=1.0, worth_s=0.1, parallelism=10)
    sizes = np.bincount(pack_shards(np.full(95, 10 / 95), np.zeros(95), limits))
    assert set(sizes.tolist()) == {9, 10}
    assert len(np.bincount(pack_shards(np.full(5, 1.0), np.zeros(5), limits))) == 5


def test_neighbours_stay_together() -> None:
    """Partitions of uneven size in the order of their names are cut into runs of neighbours, also where memory needs a shard more."""
    loads = np.random.default_rng(1).lognormal(0, 0.5, 2000)
    limits = PackingLimits(shard_s=float(loads.sum()) / 10, worth_s=1e-9, parallelism=10)
    packed = pack_shards(loads, np.zeros(2000), limits)
    assert (np.diff(packed) >= 0).all() and packed.max() == 9
    assert np.bincount(packed, loads).max() <= 1.05 * loads.sum() / 10
    tight = PackingLimits(shard_s=1e9, memory_bytes=float(loads.sum()) / 9.99, worth_s=1e9)
    packed = pack_shards(loads, loads, tight)
    assert (np.diff(packed) >= 0).all() and packed.max() == 10
    assert np.bincount(packed, loads).max() <= tight.memory_bytes
