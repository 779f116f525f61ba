"""Deadlines by the clock: by when each window has to be published, whether it was, and whether it will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from typing import Literal

from fleetscore.operations.known_workloads import find_named, find_named_workload
from fleetscore.records import FINAL, RunState, is_idle
from fleetscore.registry import KnownWorkload
from fleetscore.runs.index import RunLine, list_runs_since, newest_rounds
from fleetscore.runs.status import describe_run
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.windows import Cadence, Window, next_time_of_day, parse_key, window_at, windows_between

KEPT_DAYS = 90
_TYPICAL_OF = 20  # published runs whose median is what a run takes
_LONGEST = timedelta(days=32)  # from a window's start to its deadline, at the most

State = Literal["met", "missed", "at risk", "open"]


@dataclass(frozen=True, slots=True)
class WindowDeadline:
    """By when a window has to be published, and how that stands; `expected` is when it will be, None where
    nothing says so.
    """

    window: str
    deadline: datetime
    state: State
    published: datetime | None = None  # the first time
    expected: datetime | None = None
    run: str = ""  # the newest of the window


@dataclass(frozen=True, slots=True)
class DeadlineReport:
    """The windows of one workload whose deadlines lie within the last `days` or ahead, newest first, and
    the share that met theirs.
    """

    workload: str
    deadline: str  # time of day in `timezone`
    timezone: str
    days: int
    met: int
    missed: int
    share: float | None  # of those that are met or missed; None before the first
    windows: tuple[WindowDeadline, ...]


def list_deadlines(store: Store, workload: str, days: int, now: datetime) -> list[DeadlineReport]:
    """The reports of all workloads that have a deadline, or of one; InputError where there is no such
    workload.
    """
    known = [find_named_workload(store, workload)] if workload else find_named(store)
    wanted = [each for each in known if each.policy.deadline and each.workload is not None]
    return side_by_side(partial(report_deadlines, store, days=days, now=now), wanted)


def report_deadlines(store: Store, known: KnownWorkload, days: int, now: datetime) -> DeadlineReport:
    """The report of a workload with a deadline; reads the index of runs, and the record of a run that is
    under way.
    """
    since = now - timedelta(days=days)
    lines = list_runs_since(store, known.name, f"{since - _LONGEST:%Y-%m-%d}")
    zone = _zone_of(known)
    found = [
        _judge(store, known, window, lines, now)
        for window in _expected_windows(known, lines, now)
        if since <= deadline_of(known, window) <= now + _LONGEST
    ]
    met, missed = (sum(each.state == state for each in found) for state in ("met", "missed"))
    share = met / (met + missed) if met + missed else None
    newest_first = tuple(sorted(found, key=lambda each: each.deadline, reverse=True))
    return DeadlineReport(known.name, known.policy.deadline, zone, days, met, missed, share, newest_first)


def deadline_of(known: KnownWorkload, window: Window) -> datetime:
    """The first time of day, as the workload's `deadline` names it in its zone, at or after the window is
    due; in UTC.
    """
    due = window.end + timedelta(seconds=known.policy.watermark_s)
    return next_time_of_day(known.policy.deadline, due, _zone_of(known))


def _zone_of(known: KnownWorkload) -> str:
    return known.workload.zone if known.workload is not None else "UTC"


def judge_deadline(
    deadline: datetime, published: datetime | None, expected: datetime | None, now: datetime
) -> State:
    """How a deadline stands: met or missed once that is certain, at risk while the window is expected
    after it.

    >>> from datetime import UTC
    >>> six, seven = datetime(2026, 1, 1, 6, tzinfo=UTC), datetime(2026, 1, 1, 7, tzinfo=UTC)
    >>> judge_deadline(six, six, None, seven), judge_deadline(six, seven, None, seven), judge_deadline(seven, None, None, six)
    ('met', 'missed', 'open')
    """
    if published is not None:
        return "met" if published <= deadline else "missed"
    if now > deadline:
        return "missed"
    return "at risk" if expected is not None and expected > deadline else "open"


def typical_s(lines: Sequence[RunLine]) -> float | None:
    """What a run of a window takes from its request to its publication: the median of the last ones; None
    before the first.
    """
    published = [line for line in lines if _is_publication(line) and line.round == 1]
    newest = sorted(published, key=lambda line: line.requested)[-_TYPICAL_OF:]
    took = [(line.ended - line.requested).total_seconds() for line in newest if line.ended is not None]
    return median(took) if took else None


def _is_publication(line: RunLine) -> bool:
    return line.purpose == "score" and line.state is RunState.PUBLISHED and line.ended is not None


def _expected_windows(known: KnownWorkload, lines: Sequence[RunLine], now: datetime) -> list[Window]:
    """The windows that have runs, and where windows are expected those between the first of them and now,
    run or not.
    """
    zone = _zone_of(known)
    newest = newest_rounds(line for line in lines if line.purpose == "score")
    idle = {key for key, line in newest.items() if is_idle(line)}
    keys = newest.keys() - idle
    windows = {parse_key(key) for key in keys}
    dated = {Window(w.cadence, w.ordinal, zone) for w in windows if w.cadence is not Cadence.INDEX}
    if not dated or not known.expects_windows:
        return sorted(dated, key=lambda window: window.start)
    first = min(dated, key=lambda window: window.start)
    end = window_at(now - timedelta(seconds=known.policy.watermark_s), first.cadence, zone)
    expected = {window for window in windows_between(first, end) if window.key not in idle}
    return sorted(dated | expected, key=lambda window: window.start)


def _judge(
    store: Store, known: KnownWorkload, window: Window, lines: Sequence[RunLine], now: datetime
) -> WindowDeadline:
    mine = [line for line in lines if line.window == window.key and line.purpose == "score"]
    published = min((line.ended for line in mine if _is_publication(line) and line.ended), default=None)
    newest = max(mine, key=lambda line: line.requested, default=None)
    deadline = deadline_of(known, window)
    expected = None
    if published is None and now <= deadline:
        expected = _expect(store, known, window, newest, typical_s(lines), now)
    state = judge_deadline(deadline, published, expected, now)
    return WindowDeadline(window.key, deadline, state, published, expected, newest.run if newest else "")


def _expect(
    store: Store, known: KnownWorkload, window: Window, newest: RunLine | None, takes_s: float | None, now: datetime
) -> datetime | None:  # fmt: skip
    """When the window will be published: by the estimate of its run, else by what runs took so far, from
    now or from when it is due.
    """
    if newest is not None and newest.state not in FINAL:
        rest_s = describe_run(store, newest.run, now).eta_s
        if rest_s is not None:
            return now + timedelta(seconds=rest_s)
        return None if takes_s is None else max(now, newest.requested + timedelta(seconds=takes_s))
    due = window.end + timedelta(seconds=known.policy.watermark_s)
    return None if takes_s is None else max(now, due) + timedelta(seconds=takes_s)
