"""Windows of workloads that say when their data is complete: each starts as soon as it is, and at the
latest at its deadline or `overdue_s` after it is due.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow.compute as pc

from fleetscore.errors import FleetscoreError
from fleetscore.operations.due.late_data import prepare_window
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.submit import Submission, count_left_out, newest_round, submit_run
from fleetscore.records import Outcome, RunState
from fleetscore.runs.manifests import read_latest
from fleetscore.settings import RunPolicy
from fleetscore.sources import DataSettings, check_ready, latest_start, list_inputs
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, due_windows, parse_key, window_at
from fleetscore.workload import RunContext, Workload

_log = logging.getLogger("fleetscore.schedules")
_SHARE_EVERY = timedelta(minutes=5)
_COUNT_EVERY = timedelta(hours=1)
_counted: dict[tuple[str, str, str], _Count] = {}
"""Store, workload and window -> the last count of its partitions."""

_started: set[tuple[str, str, str]] = set()
"""Windows that are known to have a run; only spares reading it again."""


@dataclass(frozen=True, slots=True)
class _Count:
    """When a window's input was looked at, when its partitions were counted, of which files and models,
    and the share that was seen.
    """

    looked: datetime
    counted: datetime
    state: str
    share: float


def submit_ready_windows(
    store: Store, workload: Workload, policy: RunPolicy, data: DataSettings, now: datetime
) -> list[Submission]:
    """The runs of the windows that may start now and never ran, oldest first, and those whose starter died.

    With nothing published yet the newest such window is requested; older ones are a backfill's work.
    """
    cadence = next((c for c in workload.cadences if c is not Cadence.INDEX), None)
    first = find_first(store, workload, cadence) if cadence is not None else None
    if cadence is None or (first is not None and first.cadence is not cadence):
        return []
    ended = _ended_windows(workload, policy, cadence, first, now)
    if first is None:
        return _submit_newest(store, workload, policy, data, ended, now)
    found = (_submit(store, workload, policy, data, window, now) for window in ended)
    return [submission for submission in found if submission is not None]


def find_first(store: Store, workload: Workload, cadence: Cadence) -> Window | None:
    """The first published window, after which windows of the cadence are due; None where none is published.

    Where windows had another length, it is the last one of the cadence that begins before those end.
    """
    latest = read_latest(store, workload.name)
    if latest is None or workload.is_own_window(latest.first):
        return workload.stored_window(latest.first) if latest else None
    newest = parse_key(latest.window, workload.zone)
    return window_at(newest.end - timedelta(microseconds=1), cadence, workload.zone)


def may_start(
    store: Store, workload: Workload, policy: RunPolicy, data: DataSettings, window: Window, now: datetime
) -> bool:
    """Whether the window's data is complete, or it starts without that by now.

    A place that cannot be read is logged, and its window waits for the latest start.
    """
    due = window.end + timedelta(seconds=policy.watermark_s)
    if now >= latest_start(data.ready, window, due, policy.overdue_s, workload.zone):
        return True
    try:
        cover = workload.table_cover(window)
        found = check_ready(store, data, window, lambda: _share_seen(store, workload, window, now), cover)
    except FleetscoreError as error:
        _log.error("%s: whether %s is ready cannot be seen: %s", workload.name, window.key, error)
        return False
    _log.info("%s %s: %s", workload.name, window.key, found.detail)
    return found.is_ready


def _ended_windows(
    workload: Workload, policy: RunPolicy, cadence: Cadence, first: Window | None, now: datetime
) -> list[Window]:
    """The windows whose rows may all be there: those that have ended, or are due before their end."""
    delay = timedelta(seconds=min(policy.watermark_s, 0.0))
    if first is None:
        [newest] = due_windows(now, cadence, delay, None, policy.lookback, workload.zone)
        first = newest.next(-policy.lookback)
    return due_windows(now, cadence, delay, first, policy.lookback, workload.zone)


def _submit_newest(
    store: Store,
    workload: Workload,
    policy: RunPolicy,
    data: DataSettings,
    ended: list[Window],
    now: datetime,
) -> list[Submission]:
    """The newest window that may start, unless it or a newer one has a run already."""
    for window in reversed(ended):
        submission = _submit(store, workload, policy, data, window, now)
        if submission is not None:
            return [submission]
        if (store.url, workload.name, window.key) in _started:
            break
    return []


def _submit(
    store: Store, workload: Workload, policy: RunPolicy, data: DataSettings, window: Window, now: datetime
) -> Submission | None:
    key = (store.url, workload.name, window.key)
    if key in _started:
        return None
    newest = newest_round(store, workload.name, window.key)
    if newest is not None and not count_left_out(newest):
        if newest.state == RunState.REQUESTED:
            return Submission(newest.request, False, newest.state)
        _started.add(key)
        return None
    if not may_start(store, workload, policy, data, window, now):
        return None
    return submit_run(store, workload.name, window.key, now, "timer")


def _share_seen(store: Store, workload: Workload, window: Window, now: datetime) -> float:
    """The share of the expected partitions that are not late; looked at every few minutes, and counted anew
    where files, models or settings are others than those of the last count, or that is an hour old.
    """
    key = (store.url, workload.name, window.key)
    last = _counted.get(key)
    if last is not None and now - last.looked < _SHARE_EVERY:
        return last.share
    context = open_window(store, workload, window.key)
    state = _state_of(context)
    if last is None or not state or last.state != state or now - last.counted >= _COUNT_EVERY:
        last = _Count(now, now, state, _count_share(context))
    _counted[key] = replace(last, looked=now)
    return last.share


def _state_of(context: RunContext) -> str:
    """A digest of all that a window's partitions are found by: its files, the pinned models, the settings; ""
    for a kind that lists its input otherwise.
    """
    data = context.kind.source()
    if data is None:
        return ""
    files = list_inputs(context.store, data, context.kind.landed_span(context)).files
    known = [(file.path, file.etag, file.size_bytes) for file in files]
    text = repr((known, context.pins, context.kind.settings, context.policy))
    return hashlib.sha256(text.encode()).hexdigest()


def _count_share(context: RunContext) -> float:
    """The share of the window's expected partitions that are not late now."""
    if not prepare_window(context):
        return 0.0
    outcomes = context.kind.discover(context).expected["outcome"]
    expected = len(outcomes) - pc.sum(pc.equal(outcomes, Outcome.SKIPPED)).as_py()
    late = pc.sum(pc.equal(outcomes, Outcome.LATE)).as_py()
    return 1.0 - late / expected if expected else 0.0
