"""What needs attention: windows of the calendar that failed, lack results or drifted, a line for each cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetscore.operations.window_calendar import Cell
from fleetscore.operations.window_states import NEED_ATTENTION, Mark
from fleetscore.records import Cause, Outcome

_WITH_RESULTS = frozenset({Mark.FAILURES, Mark.LATE, Mark.DRIFTED})


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Windows in the same state for the same cause: how many, the newest and the oldest of them.

    A cell's `bad`, `first_cause`, `first_partition` and `first_detail` are those of the cause.
    """

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
    """The windows that need attention, grouped by state and cause: those without results first, then the newest.

    A window with several causes stands in several groups, so that no cause hides another.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in reversed(cells):
        if cell.mark in NEED_ATTENTION:
            for one in _each_cause(cell):
                groups.setdefault((one.mark, one.first_cause), []).append(one)
    looks = (AttentionGroup(len(group), group[0], group[-1]) for group in groups.values())
    return tuple(sorted(looks, key=lambda look: look.newest.mark in _WITH_RESULTS))  # stable


def _each_cause(cell: Cell) -> list[Cell]:
    """The cell once for each of its causes; as it is where it has none of its own, such as a run that an error stopped."""
    return [_of_cause(cell, cause) for cause in cell.causes] or [cell]


def _of_cause(cell: Cell, cause: Cause) -> Cell:
    mark = _mark_of(cause) if cell.mark in _WITH_RESULTS else cell.mark
    return replace(
        cell, mark=mark, bad=cause.partitions, first_cause=cause.cause, first_partition=cause.example,
        first_detail=cause.detail, causes=(cause,),
    )  # fmt: skip


def _mark_of(cause: Cause) -> Mark:
    if cause.outcome == Outcome.SCORED:
        return Mark.DRIFTED
    return Mark.LATE if cause.outcome == Outcome.LATE else Mark.FAILURES
