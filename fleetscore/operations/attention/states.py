"""Marks: how a window, a run or a partition stands, as a word and a sign, so that colour is never the only
sign.
"""

from __future__ import annotations

from enum import StrEnum

from fleetscore.records import Outcome, RunState, count_bad, is_idle
from fleetscore.runs.index import RunLine


class Mark(StrEnum):
    """How a window stands; the names are CSS classes as well."""

    GOOD = "good"
    AGAIN = "again"
    REMARKS = "remarks"
    DRIFTED = "drifted"
    LATE = "late"
    FAILURES = "failures"
    UNPUBLISHED = "unpublished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDERWAY = "underway"
    IDLE = "idle"
    MISSING = "missing"
    OVERDUE = "overdue"


SIGNS = {
    Mark.GOOD: "✓",
    Mark.AGAIN: "↻",
    Mark.REMARKS: "*",
    Mark.DRIFTED: "~",
    Mark.LATE: "◷",
    Mark.FAILURES: "!",
    Mark.UNPUBLISHED: "✕",
    Mark.FAILED: "✕",
    Mark.CANCELLED: "–",
    Mark.UNDERWAY: "▸",
    Mark.IDLE: "○",
    Mark.MISSING: "·",
    Mark.OVERDUE: "?",
}
WORDS = {
    Mark.GOOD: "published, all good",
    Mark.AGAIN: "published again, all good",
    Mark.REMARKS: "published, with remarks",
    Mark.DRIFTED: "published, some drifted",
    Mark.LATE: "published, some late",
    Mark.FAILURES: "published with failures",
    Mark.UNPUBLISHED: "not published",
    Mark.FAILED: "stopped by an error",
    Mark.CANCELLED: "cancelled",
    Mark.UNDERWAY: "under way",
    Mark.IDLE: "nothing expected",
    Mark.MISSING: "never run",
    Mark.OVERDUE: "overdue",
}
NEED_ATTENTION = frozenset(
    {Mark.REMARKS, Mark.DRIFTED, Mark.LATE, Mark.FAILURES, Mark.UNPUBLISHED, Mark.FAILED, Mark.OVERDUE}
)
"""The states that need attention."""

_BY_STATE = {
    RunState.UNPUBLISHED: Mark.UNPUBLISHED,
    RunState.FAILED: Mark.FAILED,
    RunState.CANCELLED: Mark.CANCELLED,
}
OUTCOME_SIGNS = {
    Outcome.SCORED: "✓",
    Outcome.FAILED: "✕",
    Outcome.SKIPPED: "↷",
    Outcome.LATE: "◷",
    Outcome.QUARANTINED: "⚠",
}


def mark_of(line: RunLine) -> Mark:
    """How the run stands."""
    if is_idle(line):
        return Mark.IDLE
    if line.state is not RunState.PUBLISHED:
        return _BY_STATE.get(line.state, Mark.UNDERWAY)
    if count_bad(line.counts):
        late = line.counts.get(Outcome.LATE, 0)
        return Mark.LATE if late == count_bad(line.counts) else Mark.FAILURES
    if line.drifted:
        return Mark.DRIFTED
    if line.causes:
        return Mark.REMARKS
    return Mark.AGAIN if line.round > 1 else Mark.GOOD
