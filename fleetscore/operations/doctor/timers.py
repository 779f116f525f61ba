"""What the doctor finds about the app's timers: when each one last ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fleetscore.operations.doctor.findings import Finding
from fleetscore.operations.ticks import MINUTE_TIMERS, SILENT_AFTER, read_ticks
from fleetscore.store.base import Store

_FIX = (
    "Start the app that serves this store. Where it is deployed and running, sync its triggers: "
    "azd hooks run postdeploy. GET /api/health does the silent timers' work meanwhile."
)


def find_silent_timers(store: Store, now: datetime) -> Iterator[Finding]:
    """When each timer last ran; a warning where one that runs each minute has not for five.

    It is "not checked" where none ever ran, as in a store that only commands use.
    """
    ticks = read_ticks(store)
    if not ticks:
        yield Finding("timers", "not checked", "No timer of an app has run on this store.", _FIX)
        return
    for timer in sorted({*ticks, *MINUTE_TIMERS}):
        yield _judge(timer, ticks.get(timer), now)


def _judge(timer: str, last: datetime | None, now: datetime) -> Finding:
    if last is None:
        return Finding("timers", "warning", f"{timer} runs each minute and never ran.", _FIX)
    ago = timedelta(seconds=max(0, round((now - last).total_seconds())))
    detail = f"{timer} last ran at {last:%Y-%m-%d %H:%M:%S} UTC, {ago} ago."
    if timer in MINUTE_TIMERS and ago > SILENT_AFTER:
        return Finding("timers", "warning", f"{detail} It runs each minute.", _FIX)
    return Finding("timers", "ok", detail)
