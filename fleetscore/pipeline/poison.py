"""Suspects: finding the partition that kills its process, from the crumbs that dead attempts left, and setting it aside.

Before an attempt scores a group of partitions it writes down which (a crumb). An attempt that dies leaves its last crumb behind.
The next attempt scores everybody else first and the suspects in groups of the square root of their number, so that the culprit among
ten thousand is known after four deaths.
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
    partitions: Sequence[str], crumbs: Sequence[Sequence[str]], max_attempts: int
) -> ScoringOrder:
    """How to score `partitions` given the crumbs of dead attempts.

    A partition is quarantined when it was once alone in a crumb and `max_attempts` crumbs hold it.

    >>> order_scoring(["a", "b", "c"], [["a", "b", "c"]], 3).groups
    (('a',), ('b',), ('c',))
    >>> order_scoring(["a", "b", "c", "d"], [["a", "b", "c", "d"], ["c", "d"], ["c"]], 3)
    ScoringOrder(groups=(('a', 'b', 'd'),), quarantined=('c',))
    """
    alone = {crumb[0] for crumb in crumbs if len(crumb) == 1}
    quarantined = tuple(p for p in partitions if p in alone and _deaths([p], crumbs) >= max_attempts)
    unexplained = [crumb for crumb in crumbs if not set(crumb) & set(quarantined)]
    groups = [[p for p in partitions if p not in set(quarantined)]]
    for crumb in sorted(unexplained, key=len, reverse=True):
        groups = [part for group in groups for part in _refine(group, set(crumb))]
    groups.sort(key=lambda group: _deaths(group, unexplained))
    return ScoringOrder(tuple(tuple(group) for group in groups if group), quarantined)


def _deaths(group: Sequence[str], crumbs: Sequence[Sequence[str]]) -> int:
    return sum(not set(group).isdisjoint(crumb) for crumb in crumbs)


def _refine(group: list[str], crumb: set[str]) -> list[list[str]]:
    """The members that did not die, in one group, and those that did, in smaller ones."""
    outside = [p for p in group if p not in crumb]
    inside = [p for p in group if p in crumb]
    size = math.ceil(math.sqrt(len(inside))) if len(inside) > 10 else 1
    return [outside] * bool(outside) + [inside[i : i + size] for i in range(0, len(inside), size)]
