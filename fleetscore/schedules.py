"""Schedules: NCRONTAB expressions `second minute hour day month weekday`, or without seconds, in a time zone.

The rules are those of Azure's timers and differ from Unix cron: day and weekday must both match, a range
given backwards is swapped, Sunday is 0 only. A fixed time that a change of clocks skips runs at the shifted
time, one that it repeats runs once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fleetscore.errors import SettingsError

_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 6),
)
_NAMES = {
    "month": [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
    "weekday": ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"],
}
_LATEST_YEARS = 40
_LOOKS_BACK = (
    timedelta(minutes=2),
    timedelta(hours=2),
    timedelta(days=2),
    timedelta(days=40),
    timedelta(days=1500),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed expression in its zone: gives the occurrence after a moment, or the latest one."""

    text: str
    zone: str
    fields: tuple[frozenset[int], ...]
    repeats_within_day: bool  # runs through a repeated hour twice, as its wall clock does

    def next_after(self, moment: datetime) -> datetime | None:
        """The first occurrence after the aware `moment` (exclusive), in UTC; None when there is none in 40
        years.
        """
        zone = ZoneInfo(self.zone)
        local = moment.astimezone(zone)
        if self.repeats_within_day and local.fold == 0 and _is_repeated(local):
            found = self._next_in_repeated_hour(local, zone)
            if found is not None:
                return found
        wall = local.replace(tzinfo=None)
        second_pass = self.repeats_within_day and local.fold == 1
        while (following := self._next_wall(wall)) is not None:
            found = following.replace(tzinfo=zone, fold=int(second_pass)).astimezone(UTC)
            if found > moment:
                return found
            wall = following
        return None

    def latest(self, moment: datetime) -> datetime | None:
        """The last occurrence at or before the aware `moment`, in UTC; None when there was none in four
        years.
        """
        for back in _LOOKS_BACK:
            found = self.next_after(moment - back)
            if found is not None and found <= moment:
                while (later := self.next_after(found)) is not None and later <= moment:
                    found = later
                return found
        return None

    def _next_in_repeated_hour(self, local: datetime, zone: ZoneInfo) -> datetime | None:
        """The next occurrence before the clock is put back, else the first one after it was."""
        wall = local.replace(tzinfo=None)
        following = self._next_wall(wall)
        if following is not None and _is_repeated(following.replace(tzinfo=zone)):
            return following.replace(tzinfo=zone).astimezone(UTC)
        start = wall
        while _is_repeated((start - timedelta(minutes=1)).replace(tzinfo=zone)):
            start -= timedelta(minutes=1)
        again = self._next_wall(start.replace(second=0) - timedelta(seconds=1))
        if again is None or not _is_repeated(again.replace(tzinfo=zone)):
            return None
        return again.replace(tzinfo=zone, fold=1).astimezone(UTC)

    def _next_wall(self, wall: datetime) -> datetime | None:
        """The next wall-clock time that matches after `wall`; both have no zone."""
        seconds, minutes, hours, days, months, weekdays = self.fields
        at = wall.replace(microsecond=0) + timedelta(seconds=1)
        last_year = at.year + _LATEST_YEARS
        while at.year <= last_year:
            if at.month not in months:
                first = at.replace(day=1, hour=0, minute=0, second=0)
                at = first.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
            elif at.day not in days or (at.weekday() + 1) % 7 not in weekdays:
                at = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif at.hour not in hours:
                at = at.replace(minute=0, second=0) + timedelta(hours=1)
            elif at.minute not in minutes:
                at = at.replace(second=0) + timedelta(minutes=1)
            elif at.second not in seconds:
                at += timedelta(seconds=1)
            else:
                return at
        return None


@lru_cache(maxsize=256)
def parse_schedule(text: str, zone: str = "UTC", where: str = "schedule") -> Schedule:
    """The schedule that the expression says; SettingsError names `where` it stands and the field at fault.

    >>> parse_schedule("0 30 2 * * *").next_after(datetime(2026, 11, 21, 3, tzinfo=UTC)).isoformat()
    '2026-11-22T02:30:00+00:00'
    """
    parts = text.split()
    if len(parts) not in (5, 6):
        raise _refused(text, where, f"it has {len(parts)} fields")
    parts = ["0", *parts] if len(parts) == 5 else parts
    fields = tuple(_parse_field(part, *each, text, where) for part, each in zip(parts, _FIELDS, strict=True))
    return Schedule(text, zone, fields, any(mark in part for part in parts[:3] for mark in "*-/"))


def _parse_field(part: str, name: str, lowest: int, highest: int, text: str, where: str) -> frozenset[int]:
    values: set[int] = set()
    for item in part.split(","):
        span, slash, step = item.partition("/")
        ends = (
            [lowest, highest]
            if span == "*"
            else [_value(x, name, lowest, highest) for x in span.split("-", 1)]
        )
        if -1 in ends or (slash and not (step.isascii() and step.isdigit() and int(step))):
            raise _refused(
                text, where, f"{item!r} is no {name} ({lowest} to {highest}, a list, range or step)"
            )
        first, last = min(ends), max(ends)
        last = highest if slash and len(ends) == 1 else last
        values.update(range(first, last + 1, int(step) if slash else 1))
    return frozenset(values)


def _value(word: str, name: str, lowest: int, highest: int) -> int:
    """The number that the word means, -1 for none."""
    if word.isascii() and word.isdigit():
        return int(word) if lowest <= int(word) <= highest else -1
    names = _NAMES.get(name, []) if word.isalpha() else []
    return next((n for n, each in enumerate(names, lowest) if each.startswith(word.lower())), -1)


def _refused(text: str, where: str, why: str) -> SettingsError:
    return SettingsError(
        f"{where} is {text!r}, which is no NCRONTAB expression: {why}.",
        fix="Write six fields: second minute hour day month weekday; as 0 5 * * * *.",
        field=where,
    )


def _is_repeated(local: datetime) -> bool:
    """Whether the clock shows this time twice on its day."""
    first = local.replace(fold=0)
    again = local.replace(fold=1)
    back = first.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None)
    return first.utcoffset() != again.utcoffset() and back == local.replace(tzinfo=None)
