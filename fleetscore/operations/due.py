"""Due windows: what a timer's tick has to start, worked out from what is published, not from which ticks fired."""

from __future__ import annotations

from datetime import datetime, timedelta

from fleetscore.pipeline.context import open_workload
from fleetscore.pipeline.submit import Asked, ask_run, newest_round
from fleetscore.runs.manifests import read_latest
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, due_windows
from fleetscore.workload import Workload


def ask_due_windows(store: Store, workload_name: str, now: datetime) -> list[Asked]:
    """Ask for every due window that was never run, oldest first, and give again those whose starter died; no data, no windows.

    With nothing published yet the newest due window is asked for; older ones are a backfill's work.
    """
    workload, policy = open_workload(store, workload_name)
    if not has_input(store, workload):
        return []
    asked = []
    for window in list_due(store, workload, policy, now):
        newest = newest_round(store, workload.name, window.key)
        if newest is None:
            asked.append(ask_run(store, workload.name, window.key, now, "timer"))
        elif newest.state == "requested":
            asked.append(Asked(newest.request, False, newest.state))
    return asked


def has_input(store: Store, workload: Workload) -> bool:
    """Whether a file lies where the workload's input lies."""
    return any(next(iter(store.list(prefix, 1)), None) is not None for prefix in workload.data_prefixes())


def list_due(store: Store, workload: Workload, policy: RunPolicy, now: datetime) -> list[Window]:
    """The windows from the first published one to the newest that is due, `lookback` at the most; of a calendar cadence only."""
    cadence = next((c for c in workload.cadences if c is not Cadence.INDEX), None)
    if cadence is None:
        return []
    latest = read_latest(store, workload.name)
    first = workload.parse_window(latest.first) if latest else None
    if first is not None and first.cadence is not cadence:
        return []  # this store counts its windows without dates: nothing is ever due by the clock
    delay = timedelta(seconds=policy.watermark_s)
    return due_windows(now, cadence, delay, first, policy.lookback, workload.zone)
