"""Backfills: which windows one would run, and why; and when one has to wait for live windows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from fleetscore.errors import DamagedStateError, InputError, MissingBlobError
from fleetscore.pipeline.budget import check_budget
from fleetscore.pipeline.named_partitions import check_named
from fleetscore.pipeline.submit import Backfilled, decide_backfilled, newest_round
from fleetscore.pipeline.window_checks import check_due, check_year
from fleetscore.records import FINAL, Only, RunRecord
from fleetscore.registry import get_workload, read_policy, workload_names
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.windows import windows_between

_log = logging.getLogger("fleetscore.runs")
LIVE = "timer"
"""What requests live windows: the schedules."""

MOST_WINDOWS = 10_000
"""The windows of one backfill, at the most: more than a year of hours, and far less than a mistyped year
would give.
"""

_YIELD_S = 10.0
_LIVE_FOR = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class PreviewedWindow:
    """What a backfill would do with a window; `run` is its newest run, "" if it never ran."""

    window: str
    runs: bool
    why: str
    run: str
    state: str


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """What a backfill would do, window by window, in the order in which it would."""

    workload: str
    only: str
    would_run: int
    total: int
    windows: tuple[PreviewedWindow, ...]


def list_windows(
    store: Store, workload_name: str, first: str, stop: str, *, newest_first: bool = False
) -> list[str]:
    """The keys of the windows in [first, stop) in the order in which a backfill takes them; InputError for
    none, and for too many.
    """
    workload = get_workload(store, workload_name)
    start, end = workload.parse_window(first), workload.parse_window(stop)
    check_year(start)
    check_year(end)
    keys = [window.key for window in islice(windows_between(start, end), MOST_WINDOWS + 1)]
    if not keys:
        raise InputError(
            f"There is no window in [{first}, {stop}).", fix="`to` comes after the last window.", field="to"
        )
    if len(keys) > MOST_WINDOWS:
        raise InputError(
            f"There are {end.ordinal - start.ordinal:,} windows in [{first}, {stop}); a backfill takes {MOST_WINDOWS:,} at the most.",
            fix="Look whether both dates are what you mean; if so, backfill a part of them at a time.",
            field="from",
        )
    return keys[::-1] if newest_first else keys


def check_backfill_due(store: Store, workload: str, windows: Sequence[str], now: datetime) -> None:
    """InputError where a window of the backfill is not due yet, CapacityError where the month's budget is
    used up.
    """
    check_budget(store, workload, now)
    newest = max(get_workload(store, workload).parse_window(window) for window in (windows[0], windows[-1]))
    check_due(newest, read_policy(store, workload), now)


def preview_backfill(
    store: Store, workload: str, windows: Sequence[str], only: Only, partitions: tuple[str, ...] = ()
) -> BackfillPreview:
    """What a backfill of the windows would do as things stand now; writes nothing."""
    previewed = tuple(
        side_by_side(lambda window: _preview(store, workload, window, only, partitions), windows)
    )
    would_run = sum(window.runs for window in previewed)
    return BackfillPreview(workload, str(only), would_run, len(previewed), previewed)


def wait_for_live_s(store: Store, now: datetime) -> float:
    """Seconds that a backfill or late data has to wait before it starts its next window; 0.0 while no live
    window is under way.

    So live windows wait for the windows that run already at the most, never for a backfill's queue. A live
    run that was requested more than two hours ago delays nothing: something is wrong with it, and the
    watchdog sees to that.
    """
    return _YIELD_S if is_under_way(store, workload_names(store), LIVE, now) else 0.0


def is_under_way(store: Store, workloads: Sequence[str], requested_by: str, now: datetime) -> bool:
    """Whether a run of the workloads that `requested_by` requested in the last two hours has not ended.
    Reads the records of open runs only.
    """
    day = f"{now - _LIVE_FOR:%Y-%m-%d}"
    lines = [line for name in workloads for line in list_runs_since(store, name, day)]
    open_runs = [line.run for line in lines if line.state not in FINAL and line.requested > now - _LIVE_FOR]
    return any(_is_open(store, run, requested_by) for run in open_runs)


def _is_open(store: Store, run: str, requested_by: str) -> bool:
    """Whether `requested_by` requested the run and it has not ended; False where its record is lost or
    damaged: that is for `fleetscore repair`, and must not hold up the windows of every workload.
    """
    try:
        record = read_run(store, run)  # the index may lag a moment behind the record
    except (MissingBlobError, DamagedStateError) as error:
        _log.warning("%s delays no other window, though the index has it under way: %s", run, error.message)
        return False
    return record.request.who == requested_by and record.state not in FINAL


def _checked(
    store: Store, newest: RunRecord | None, decision: Backfilled, partitions: tuple[str, ...]
) -> Backfilled:
    """The decision; not to run, and why, where a name means no partition of the window."""
    if newest is None or newest.state not in FINAL:
        return decision
    try:
        check_named(store, newest, partitions)
    except InputError as error:
        return Backfilled(False, str(error))
    return decision


def _preview(
    store: Store, workload: str, window: str, only: Only, partitions: tuple[str, ...]
) -> PreviewedWindow:
    newest = newest_round(store, workload, window)
    decision = _checked(store, newest, decide_backfilled(newest, only, partitions), partitions)
    run, state = (newest.request.run, str(newest.state)) if newest else ("", "never ran")
    return PreviewedWindow(window, decision.runs, decision.why, run, state)
