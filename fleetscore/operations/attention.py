"""What needs attention: windows of the calendar that failed, lack results or drifted, grouped by cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetscore.operations.window_calendar import Cell
from fleetscore.operations.window_states import NEED_ATTENTION, Mark

_WITH_RESULTS = frozenset({Mark.FAILURES, Mark.DRIFTED})


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Windows in the same state for the same first cause: how many, the newest and the oldest of them."""

    windows: int
    newest: Cell
    oldest: Cell


@dataclass(frozen=True, slots=True)
class WorkloadAttention:
    """What needs attention in one workload; `broken` says why it cannot run at all, "" where it can."""

    workload: str
    looks: tuple[AttentionGroup, ...]
    broken: str = ""


def group_attention(cells: Sequence[Cell]) -> tuple[AttentionGroup, ...]:
    """The windows that need attention, grouped by state and first cause: those without results first, then the newest."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in reversed(cells):
        if cell.mark in NEED_ATTENTION:
            groups.setdefault((cell.mark, cell.first_cause), []).append(cell)
    looks = (AttentionGroup(len(group), group[0], group[-1]) for group in groups.values())
    return tuple(sorted(looks, key=lambda look: look.newest.mark in _WITH_RESULTS))  # stable
