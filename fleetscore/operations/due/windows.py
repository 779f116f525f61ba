"""Due windows: what a timer's tick has to start, worked out from what is published, not from which ticks
fired.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from fleetscore.errors import FleetscoreError
from fleetscore.operations.due.ready_windows import find_first, submit_ready_windows
from fleetscore.operations.due.trainings import submit_due_training
from fleetscore.pipeline.submit import Submission, count_left_out, newest_round, submit_run
from fleetscore.registry import KnownWorkload, find_workloads
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, due_windows
from fleetscore.workload import Workload

_log = logging.getLogger("fleetscore.schedules")
_AGAIN = timedelta(minutes=15)
_done: dict[tuple[str, str], tuple[datetime, datetime]] = {}
"""Store and workload -> the tick of which nothing was left to start, and when that was seen; only spares
reading it again.
"""


def submit_due(store: Store, now: datetime) -> list[Submission]:
    """The runs to start now, of all workloads: what the latest tick of each one's schedules names and has
    not been started.

    So a tick that was missed heals at the next call. What is wrong with one workload is logged and keeps
    back no other.
    """
    found: list[Submission] = []
    for known in find_workloads(store):
        try:
            found += _submit_workload(store, known, now)
            found += submit_due_training(store, known, now)
        except FleetscoreError as error:
            _log.error("%s: due windows could not be started: %s", known.name, error)
    return found


def submit_due_windows(store: Store, known: KnownWorkload, tick: datetime, now: datetime) -> list[Submission]:
    """The runs, requested `now`, of the windows that were due at `tick` and never ran, oldest first, and
    those whose starter died; no data, no windows.

    With nothing published yet the newest due window is requested; older ones are a backfill's work.
    """
    workload = known.ready()
    if not has_input(store, workload):
        return []
    submissions = []
    for window in list_due(store, workload, known.policy, tick):
        newest = newest_round(store, workload.name, window.key)
        if newest is None:
            submissions.append(submit_run(store, workload.name, window.key, now, "timer"))
        elif newest.state == "requested":
            submissions.append(Submission(newest.request, False, newest.state))
        elif count_left_out(newest):  # somebody asked for a few partitions before the window was due
            submissions.append(submit_run(store, workload.name, window.key, now, "timer"))
    return submissions


def _submit_workload(store: Store, known: KnownWorkload, now: datetime) -> list[Submission]:
    """By its data at any time where the line `ready` says when that is complete, else by its ticks."""
    data = known.workload.source() if known.workload is not None and not known.reason else None
    if data is not None and data.ready is not None and known.schedule is not None:
        if not has_input(store, known.ready()):
            return []
        return submit_ready_windows(store, known.ready(), known.policy, data, now)
    tick = known.schedule.latest(now) if known.schedule is not None and not known.reason else None
    key = (store.url, known.name)
    if tick is None or (_done.get(key, (None, now))[0] == tick and now - _done[key][1] < _AGAIN):
        return []
    found = submit_due_windows(store, known, tick, now)
    if not found and known.workload is not None and has_input(store, known.workload):
        _done[key] = (tick, now)
    return found


def started_until(known: KnownWorkload, moment: datetime) -> datetime:
    """Until when windows were due that a timer had to start by `moment`: the latest tick of the workload's
    schedule; `moment` itself where data says when windows start, or nothing does.
    """
    data = known.workload.source() if known.workload is not None else None
    if known.schedule is None or (data is not None and data.ready is not None):
        return moment
    return known.schedule.latest(moment) or moment


def has_input(store: Store, workload: Workload) -> bool:
    """Whether a file lies where the workload's input lies."""
    return any(next(iter(store.list(prefix, 1)), None) is not None for prefix in workload.data_prefixes())


def list_due(store: Store, workload: Workload, policy: RunPolicy, now: datetime) -> list[Window]:
    """The windows from the first published one to the newest that is due, `lookback` at the most; of a
    calendar cadence only.
    """
    cadence = next((c for c in workload.cadences if c is not Cadence.INDEX), None)
    if cadence is None:
        return []
    first = find_first(store, workload, cadence)
    if first is not None and first.cadence is not cadence:
        return []  # this store counts its windows without dates: nothing is ever due by the clock
    delay = timedelta(seconds=policy.watermark_s)
    return due_windows(now, cadence, delay, first, policy.lookback, workload.zone)
