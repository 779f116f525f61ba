"""Suspects: finding the partition that kills its process, from the crumbs that dead attempts left, and setting it aside.

Before an attempt scores a group of partitions it writes down which (a crumb). An attempt that dies leaves its last crumb behind.
The next attempt scores everybody else first and the suspects in smaller groups, so that a shard of n partitions needs three deaths,
not n, to know the culprit.
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

    >>> order_scoring(["a", "b", "c", "d"], [["a", "b", "c", "d"]], 3).groups
    (('a', 'b'), ('c', 'd'))
    >>> order_scoring(["a", "b", "c", "d"], [["a", "b", "c", "d"], ["c", "d"], ["c"]], 3)
    ScoringOrder(groups=(('a', 'b', 'd'),), quarantined=('c',))
    """
    alone = {crumb[0] for crumb in crumbs if len(crumb) == 1}
    quarantined = tuple(p for p in partitions if p in alone and _deaths(p, crumbs) >= max_attempts)
    rest = [p for p in partitions if p not in quarantined]
    open_crumbs = [set(crumb) for crumb in crumbs if not set(crumb) & set(quarantined)]
    if not open_crumbs:
        return ScoringOrder((tuple(rest),) if rest else (), quarantined)
    suspects = [p for p in rest if p in min(open_crumbs, key=len)]
    others = tuple(p for p in rest if p not in set(suspects))
    groups = ((others,) if others else ()) + _split(suspects)
    return ScoringOrder(groups, quarantined)


def _deaths(partition: str, crumbs: Sequence[Sequence[str]]) -> int:
    return sum(partition in crumb for crumb in crumbs)


def _split(suspects: list[str]) -> tuple[tuple[str, ...], ...]:
    size = math.ceil(math.sqrt(len(suspects))) if len(suspects) > 3 else 1
    return tuple(tuple(suspects[i : i + size]) for i in range(0, len(suspects), size))
