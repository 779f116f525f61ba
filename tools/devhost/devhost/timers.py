"""Timer triggers: one loop per timer, with a record of when it last ran and when it should run next."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devhost.clock import parse_stamp, stamp, utc_now
from devhost.errors import LoadError, SettingsError, WorkerLostError
from devhost.functions import FunctionInfo
from devhost.ncrontab import Schedule, parse_schedule
from devhost.pool import FunctionFailedError
from devhost.settings import parse_span
from devhost.store import Store

_ENDLESS_TRIES = 1000
_LONGEST_SLEEP_S = 60.0  # so that a clock that is set, or a machine that slept, is noticed


@dataclass(frozen=True, slots=True)
class TimerRecord:
    """What is known of a timer: the last run, the next one due, and when this was written."""

    last: datetime | None
    next: datetime
    updated: datetime

    def to_json(self) -> dict[str, str | None]:
        """Return the record as the function sees it."""
        last = stamp(self.last) if self.last else None
        return {"Last": last, "Next": stamp(self.next), "LastUpdated": stamp(self.updated)}


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer function with its parsed schedule."""

    info: FunctionInfo
    schedule: Schedule
    runs_on_startup: bool
    is_monitored: bool


def read_record(connection: sqlite3.Connection, name: str) -> TimerRecord | None:
    """Return the stored record of a timer, or None."""
    row = connection.execute("SELECT last, next, updated FROM timer WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    return TimerRecord(parse_stamp(row[0]) if row[0] else None, parse_stamp(row[1]), parse_stamp(row[2]))


def write_record(connection: sqlite3.Connection, name: str, record: TimerRecord) -> None:
    """Store the record of a timer."""
    values = record.to_json()
    connection.execute(
        "INSERT OR REPLACE INTO timer (name, last, next, updated) VALUES (?, ?, ?, ?)",
        (name, values["Last"], values["Next"], values["LastUpdated"]),
    )


def make_timer(info: FunctionInfo, schedule_text: str, zone: ZoneInfo, now: datetime) -> Timer:
    """Parse a timer's schedule; raises LoadError or SettingsError where it is wrong."""
    schedule = parse_schedule(schedule_text)
    first = schedule.next_after(now, zone)
    if first is None:
        raise LoadError(
            f"Function {info.name}: the schedule '{schedule_text}' never fires; give days that exist"
        )
    retry_pauses(info.retry)  # refuses a policy that cannot be read
    second = schedule.next_after(first, zone)
    fires_often = second is not None and second - first < timedelta(minutes=1)
    use_monitor = info.trigger.get("useMonitor")
    return Timer(
        info, schedule, bool(info.trigger.get("runOnStartup")), use_monitor is not False and not fires_often
    )


@dataclass(frozen=True, slots=True)
class Opening:
    """What to do at a start: whether to run at once, whether that is late, and the record to begin with."""

    runs_now: bool
    is_past_due: bool
    record: TimerRecord


def decide_opening(timer: Timer, record: TimerRecord | None, now: datetime, zone: ZoneInfo) -> Opening:
    """Compare the stored record with the schedule. Pure.

    A record whose next run is not the schedule's own was written under another schedule: it is replaced, and
    nothing is late. A next run in the past is late, once, however many were missed.
    """
    following = _following(timer, now, zone)
    fresh = TimerRecord(None, following, now)
    if record is None:
        return Opening(timer.runs_on_startup, False, fresh)
    basis = max(record.last, record.updated) if record.last else record.updated
    if record.next not in (_following(timer, basis, zone), _following(timer, record.last or basis, zone)):
        return Opening(timer.runs_on_startup, False, TimerRecord(record.last, following, now))
    if now > record.next:
        return Opening(True, True, record)
    return Opening(timer.runs_on_startup, False, record)


def _following(timer: Timer, moment: datetime, zone: ZoneInfo) -> datetime:
    found = timer.schedule.next_after(moment, zone)
    if found is None:  # refused when the app is loaded
        raise LoadError(f"Function {timer.info.name}: the schedule '{timer.schedule.text}' never fires again")
    return found


class TimerLoop:
    """Runs one timer for while the host runs; never two runs at once."""

    def __init__(
        self,
        timer: Timer,
        zone: ZoneInfo,
        store: Store,
        invoke: Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> None:
        self._timer = timer
        self._zone = zone
        self._store = store
        self._invoke = invoke

    async def run(self) -> None:
        """Wait for each occurrence and run the function; those missed meanwhile are skipped."""
        name, monitored = self._timer.info.name, self._timer.is_monitored
        stored = await self._store.read(read_record, name) if monitored else None
        opening = decide_opening(self._timer, stored, utc_now(), self._zone)
        record = opening.record
        if monitored:
            await self._store.write(write_record, name, record)
        if opening.runs_now:
            record = await self._fire(
                record, record.next if opening.is_past_due else None, opening.is_past_due
            )
        while True:
            await _sleep_until(record.next)
            record = await self._fire(record, record.next, False)

    async def _fire(self, record: TimerRecord, due: datetime | None, is_past_due: bool) -> TimerRecord:
        started = utc_now()
        shown = record.to_json() if self._timer.is_monitored else None
        await run_once(self._timer.info, self._invoke, shown, is_past_due)
        last = max(started, due) if due is not None and not is_past_due else started
        ended = max(last, utc_now())
        new = TimerRecord(last, _following(self._timer, ended, self._zone), ended)
        if self._timer.is_monitored:
            await self._store.write(write_record, self._timer.info.name, new)
        return new


async def run_once(
    info: FunctionInfo,
    invoke: Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]],
    status: dict[str, str | None] | None,
    is_past_due: bool,
) -> None:
    """Run a timer function, again where its retry policy says so; a failure is logged, and the schedule goes
    on.
    """
    request = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": is_past_due}
    pauses = retry_pauses(info.retry)
    tries: dict[str, Any] = {"count": 0, "limit": len(pauses)}
    for count, pause_s in enumerate([*pauses, None]):
        try:
            await invoke(info, {"timer": json.dumps(request), "tries": tries | {"count": count}})
            return
        except (FunctionFailedError, WorkerLostError) as error:  # logged by the caller; the schedule goes on
            tries |= {"failure": str(error), "trace": getattr(error, "trace", "")}
            if pause_s is not None:
                await asyncio.sleep(pause_s)


def retry_pauses(policy: Mapping[str, Any] | None) -> list[float]:
    """Return the seconds to wait before each further try that a function's retry policy grants.

    A fixed delay repeats; an exponential one doubles from its minimum to its maximum. -1 tries, which means
    for ever in Azure, are a thousand here. Raises SettingsError for a policy that cannot be read.
    """
    if policy is None:
        return []
    try:
        count = int(policy["max_retry_count"])
        shortest = parse_span(str(policy.get("delay_interval") or policy.get("minimum_interval")))
        longest = parse_span(str(policy.get("maximum_interval") or "00:00:00"))
    except (KeyError, ValueError) as error:
        raise SettingsError(f"the retry policy {dict(policy)!r} cannot be read") from error
    if shortest is None or longest is None:
        raise SettingsError(f"the retry policy {dict(policy)!r} has an interval that is not hh:mm:ss")
    tries = _ENDLESS_TRIES if count < 0 else count
    if policy.get("strategy") == "fixed_delay":
        return [shortest] * tries
    return [min(shortest * 2.0 ** min(number, 60), longest) for number in range(tries)]


async def _sleep_until(moment: datetime) -> None:
    while (left_s := (moment - utc_now()).total_seconds()) > 0:
        await asyncio.sleep(min(left_s, _LONGEST_SLEEP_S))


def read_zone(environment: Mapping[str, str]) -> ZoneInfo:
    """Return the zone of the schedules: `WEBSITE_TIME_ZONE`, else `TZ`, else UTC; raises SettingsError if
    unknown.
    """
    name = environment.get("WEBSITE_TIME_ZONE") or environment.get("TZ", "").lstrip(":") or "UTC"
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"the time zone {name!r} is not known; expected an IANA name such as Europe/Berlin"
        ) from error
