"""A partition that kills its process is found in three deaths and set aside; nobody else is."""

from hypothesis import given
from hypothesis import strategies as st

from fleetscore.pipeline.poison import order_scoring


def run_until_done(
    partitions: list[str], killers: set[str], max_attempts: int
) -> tuple[int, set[str], set[str]]:
    """Play attempts until one ends: the number of deaths, the scored and the quarantined."""
    markers: list[list[str]] = []
    while True:
        order = order_scoring(partitions, markers, max_attempts)
        scored: set[str] = set()
        for group in order.groups:
            if killers & set(group):
                markers.append(list(group))
                break
            scored |= set(group)
        else:
            return len(markers), scored, set(order.quarantined)
        assert len(markers) < 20 * (len(killers) + 1)


@given(st.integers(1, 400), st.data(), st.integers(1, 4))
def test_only_killers_are_set_aside(count: int, data: st.DataObject, max_attempts: int) -> None:
    """Every partition is scored or quarantined, and quarantined are exactly the killers."""
    partitions = [f"p{i}" for i in range(count)]
    killers = set(data.draw(st.lists(st.sampled_from(partitions), max_size=3)))
    _, scored, quarantined = run_until_done(partitions, killers, max_attempts)
    assert quarantined == killers
    assert scored == set(partitions) - killers


def test_one_killer_among_ten_thousand_costs_few_deaths() -> None:
    """Whole shard, a hundredth of it, a tenth of that, alone: then it is known."""
    deaths, _, quarantined = run_until_done([f"p{i}" for i in range(10_000)], {"p7777"}, 3)
    assert quarantined == {"p7777"}
    assert deaths == 4


def test_a_shard_that_was_killed_from_outside_is_scored_whole() -> None:
    """Markers of innocent deaths quarantine nobody as long as the next attempt survives."""
    order = order_scoring(["a", "b"], [["a", "b"], ["a", "b"], ["a", "b"], ["a", "b"]], 3)
    assert not order.quarantined
    assert {p for group in order.groups for p in group} == {"a", "b"}
