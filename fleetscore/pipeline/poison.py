"""Poison partitions: finding the partition that kills its process, from the markers that dead attempts
left, and setting it aside.

Before an attempt scores a group of partitions it writes down which (a marker). An attempt that dies leaves
its last marker behind. The next attempt scores all others first and these in groups of the square root of
their number, so that the one among ten thousand is known after four deaths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoringOrder:
    """Groups of partitions to score one after the other, and the partitions to set aside."""

    groups: tuple[tuple[str, ...], ...]
    quarantined: tuple[str, ...]


def order_scoring(
    partitions: Sequence[str], markers: Sequence[Sequence[str]], max_attempts: int
) -> ScoringOrder:
    """How to score `partitions` given the markers of dead attempts.

    A partition is quarantined when it was once alone in a marker and `max_attempts` markers hold it.

    >>> order_scoring(["a", "b", "c"], [["a", "b", "c"]], 3).groups
    (('a',), ('b',), ('c',))
    >>> order_scoring(["a", "b", "c", "d"], [["a", "b", "c", "d"], ["c", "d"], ["c"]], 3)
    ScoringOrder(groups=(('a', 'b', 'd'),), quarantined=('c',))
    """
    alone = {marker[0] for marker in markers if len(marker) == 1}
    quarantined = tuple(p for p in partitions if p in alone and _deaths([p], markers) >= max_attempts)
    unexplained = [marker for marker in markers if not set(marker) & set(quarantined)]
    groups = [[p for p in partitions if p not in set(quarantined)]]
    for marker in sorted(unexplained, key=len, reverse=True):
        groups = [part for group in groups for part in _refine(group, set(marker))]
    groups.sort(key=lambda group: _deaths(group, unexplained))
    return ScoringOrder(tuple(tuple(group) for group in groups if group), quarantined)


def _deaths(group: Sequence[str], markers: Sequence[Sequence[str]]) -> int:
    return sum(not set(group).isdisjoint(marker) for marker in markers)


def _refine(group: list[str], marker: set[str]) -> list[list[str]]:
    """The members that did not die, in one group, and those that did, in smaller ones."""
    outside = [p for p in group if p not in marker]
    inside = [p for p in group if p in marker]
    size = math.ceil(math.sqrt(len(inside))) if len(inside) > 10 else 1
    return [outside] * bool(outside) + [inside[i : i + size] for i in range(0, len(inside), size)]
