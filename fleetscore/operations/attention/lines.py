"""What needs attention: windows of the calendar that failed, lack results or drifted, a line for each
cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fleetscore.operations.attention.calendar import Cell
from fleetscore.operations.attention.mutes import OVERDUE, Mute, mutes_all, remaining
from fleetscore.operations.attention.states import NEED_ATTENTION, Mark
from fleetscore.pipeline.spellings import Speller
from fleetscore.records import Cause, Outcome
from fleetscore.schemas import DRIFTED

_WITH_RESULTS = frozenset({Mark.FAILURES, Mark.LATE, Mark.DRIFTED, Mark.REMARKS})


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Windows in the same state for the same cause: how many, the newest and the oldest of them.

    A cell's `bad`, `first_cause`, `first_partition` and `first_detail` are those of the cause; the cause of
    windows that never ran is `overdue`.
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
    mutes: tuple[Mute, ...] = ()  # in force

    @property
    def needs_attention(self) -> bool:
        """Whether something is left that no mute is about."""
        return bool(self.looks or self.broken)


ReadPartitions = Callable[[str, Cause], Sequence[str]]
"""All partitions of a run that have the cause."""


def group_attention(
    cells: Sequence[Cell],
    mutes: Sequence[Mute] = (),
    read_partitions: ReadPartitions | None = None,
    spell: Speller | None = None,
) -> tuple[AttentionGroup, ...]:
    """The windows that need attention, grouped by state and cause: those without results first, then the
    newest.

    A window with several causes stands in several groups, so that no cause hides another. What `mutes` are
    about is left out, in whatever spelling by `spell`; `read_partitions` is asked only where all partitions
    that a cell names are muted and it has more. A window without results stays, for the error that kept it
    from being published, although all causes of its partitions are muted.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in reversed(cells):
        if cell.mark in NEED_ATTENTION:
            for left in _left_of(cell, mutes, read_partitions, spell):
                groups.setdefault((left.mark, left.first_cause), []).append(left)
    looks = (AttentionGroup(len(group), group[0], group[-1]) for group in groups.values())
    return tuple(sorted(looks, key=lambda look: look.newest.mark in _WITH_RESULTS))  # stable


def _left_of(
    cell: Cell, mutes: Sequence[Mute], read_partitions: ReadPartitions | None, spell: Speller | None
) -> list[Cell]:
    """The cell once for each of its causes that no mute is about."""
    if not mutes:
        return _each_cause(cell)
    left = [_without_muted(one, mutes, read_partitions, spell) for one in _each_cause(cell)]
    found = [one for one in left if one is not None]
    if found or cell.mark in _WITH_RESULTS or not cell.causes:
        return found
    itself = replace(
        cell, bad=0, first_cause=cell.error or str(cell.mark), first_partition="", first_detail="", causes=()
    )
    return [] if mutes_all(itself.first_cause, mutes) else [itself]


def _each_cause(cell: Cell) -> list[Cell]:
    """The cell once for each of its causes; as it is where it has none of its own, such as a run that an
    error stopped.
    """
    if cell.mark is Mark.OVERDUE and not cell.first_cause:
        return [replace(cell, first_cause=OVERDUE)]
    return [_of_cause(cell, cause) for cause in cell.causes] or [cell]


def _of_cause(cell: Cell, cause: Cause) -> Cell:
    mark = _mark_of(cause) if cell.mark in _WITH_RESULTS else cell.mark
    return replace(
        cell, mark=mark, bad=cause.partitions, first_cause=cause.cause, first_partition=cause.example,
        first_detail=cause.detail, causes=(cause,),
    )  # fmt: skip


def _without_muted(
    cell: Cell, mutes: Sequence[Mute], read_partitions: ReadPartitions | None, spell: Speller | None
) -> Cell | None:
    """The cell without its muted partitions; None where nothing is left."""
    if mutes_all(cell.first_cause, mutes):
        return None
    cause = next(iter(cell.causes), None)
    named = (cause.examples if cause else ()) or ((cell.first_partition,) if cell.first_partition else ())
    left = remaining(named, cell.first_cause, mutes, spell)
    if len(left) == len(named):
        return cell
    if not left and len(named) < cell.bad:
        if cause is None or read_partitions is None:
            return cell
        named = tuple(read_partitions(cell.run, cause))
        left = remaining(named, cell.first_cause, mutes, spell)
    if not left:
        return None
    detail = cell.first_detail if left[0] == cell.first_partition else ""
    return replace(cell, bad=cell.bad - len(named) + len(left), first_partition=left[0], first_detail=detail)


def _mark_of(cause: Cause) -> Mark:
    if cause.warning or cause.outcome == Outcome.SCORED:
        return Mark.DRIFTED if cause.cause == DRIFTED else Mark.REMARKS
    return Mark.LATE if cause.outcome == Outcome.LATE else Mark.FAILURES
