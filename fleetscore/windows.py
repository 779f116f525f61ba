"""Windows: the span of data time that one run covers, from a quarter of an hour to a month, or a plain week
number.

Quarter hours and hours are cut in UTC; days, ISO weeks and months begin at midnight in the workload's zone.
Windows of a cadence are numbered without gaps, so that they sort, and count, without a calendar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import overload
from zoneinfo import ZoneInfo

from fleetscore.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday


class Cadence(StrEnum):
    """How long a window is, and so how its key is written."""

    QUARTER_HOUR = "15min"  # 2018-08-28T2315
    HOUR = "hour"  # 2018-08-28T23
    DAY = "day"  # 2016-06-29
    WEEK = "week"  # 2026-W47
    MONTH = "month"  # 2026-11
    INDEX = "index"  # 108: data that counts its weeks and names no dates


_CLOCK = {Cadence.QUARTER_HOUR: timedelta(minutes=15), Cadence.HOUR: timedelta(hours=1)}
"""Lengths of the cadences that are cut in UTC."""

_EXAMPLES = {
    Cadence.QUARTER_HOUR: "2018-08-28T2315",
    Cadence.HOUR: "2018-08-28T23",
    Cadence.DAY: "2016-06-29",
    Cadence.WEEK: "2026-W47",
    Cadence.MONTH: "2026-11",
    Cadence.INDEX: "108",
}
_FORMS = {Cadence.HOUR: "an hour", Cadence.INDEX: "a plain number", Cadence.QUARTER_HOUR: "15 minutes"}


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The `ordinal`-th period of its cadence: counted from 1970, or the index itself. Windows of a cadence
    sort by time.
    """

    cadence: Cadence
    ordinal: int
    zone: str = field(default="UTC", compare=False)  # of days, weeks and months

    @property
    def start(self) -> datetime:
        """The first instant of the window, aware UTC; InputError for an index window, which has none, and
        beyond the calendar.
        """
        if self.cadence is Cadence.INDEX:
            raise InputError(f"Window {self.ordinal} is a plain week number and has no date.", field="window")
        try:
            if self.cadence in _CLOCK:
                return _EPOCH + self.ordinal * _CLOCK[self.cadence]
            first = self.first_day
            return datetime(first.year, first.month, first.day, tzinfo=_zone(self.zone)).astimezone(UTC)
        except (OverflowError, ValueError) as error:
            raise InputError(
                f"Window {self.ordinal} of cadence {self.cadence} lies beyond the calendar.", field="window"
            ) from error

    @property
    def end(self) -> datetime:
        """The first instant after the window, aware UTC."""
        return self.next().start

    @property
    def first_day(self) -> date:
        """The first local day of a window of days, a week or a month."""
        if self.cadence is Cadence.MONTH:
            return date(1970 + self.ordinal // 12, self.ordinal % 12 + 1, 1)
        days = 7 * self.ordinal - _MONDAY_OFFSET if self.cadence is Cadence.WEEK else self.ordinal
        return _EPOCH_DAY + timedelta(days=days)

    @property
    def key(self) -> str:
        """The window as users write it and as paths carry it.

        >>> parse_window("2018-08-28T23", Cadence.HOUR).key
        '2018-08-28T23'
        """
        if self.cadence is Cadence.INDEX:
            return str(self.ordinal)
        if self.cadence in _CLOCK:
            start = self.start
            minute = f"{start.minute:02d}" if self.cadence is Cadence.QUARTER_HOUR else ""
            return f"{start.date().isoformat()}T{start.hour:02d}{minute}"
        first = self.first_day
        if self.cadence is Cadence.WEEK:
            iso = first.isocalendar()
            return f"{iso.year:04d}-W{iso.week:02d}"
        return first.isoformat()[:7] if self.cadence is Cadence.MONTH else first.isoformat()

    def next(self, steps: int = 1) -> Window:
        """The window `steps` periods later (earlier when negative)."""
        return Window(self.cadence, self.ordinal + steps, self.zone)


def parse_window(text: str, *cadences: Cadence, zone: str = "UTC") -> Window:
    """Read a window key of one of the `cadences`; InputError names the form that was expected.

    An hour may be written with minutes and a zone (`2018-08-28T23:00Z`); a date is taken as the ISO week or
    the month that holds it where weeks or months are expected, and as its first hour where hours are.
    """
    for cadence in cadences:
        window = _read(text.strip(), cadence, zone)
        if window is not None:
            return window
    examples = " or ".join(_EXAMPLES[c] for c in cadences)
    forms = " or ".join(_FORMS.get(cadence, f"a {cadence}") for cadence in cadences)
    raise InputError(
        f"Window {text[:100]!r} is not {forms}.",
        fix=f"Write it like {examples}.",
        field="window",
    )


def parse_key(key: str, zone: str = "UTC") -> Window:
    """The window of a stored key, whose form gives its cadence, in the workload's zone; InputError when it is
    none.

    >>> parse_key("2026-W47").cadence, parse_key("2026-11").cadence
    (<Cadence.WEEK: 'week'>, <Cadence.MONTH: 'month'>)
    """
    return replace(parse_window(key, _cadence_of(key)), zone=zone)


def _cadence_of(key: str) -> Cadence:
    if key.isdigit():
        return Cadence.INDEX
    if "W" in key:
        return Cadence.WEEK
    if "T" in key:
        return Cadence.HOUR if len(key) == len("2018-08-28T23") else Cadence.QUARTER_HOUR
    return Cadence.MONTH if len(key) == len("2026-11") else Cadence.DAY


def window_at(moment: datetime, cadence: Cadence, zone: str = "UTC") -> Window:
    """The window of a calendar cadence that holds the aware `moment`."""
    if cadence in _CLOCK:
        return Window(cadence, (moment.astimezone(UTC) - _EPOCH) // _CLOCK[cadence], zone)
    return _window_of_day(moment.astimezone(_zone(zone)).date(), cadence, zone)


def windows_between(first: Window, stop: Window) -> Iterator[Window]:
    """The windows in [first, stop), in order; InputError when the two are of different cadences."""
    if first.cadence is not stop.cadence:
        raise InputError(f"{first.key} and {stop.key} are windows of different lengths.", field="to")
    return (Window(first.cadence, n, first.zone) for n in range(first.ordinal, stop.ordinal))


@dataclass(frozen=True, slots=True)
class WindowSpan(Sequence[str]):
    """The keys of consecutive windows in order, without a list of them: `length` windows from the
    `first`-th of the cadence on, or back from it where `step` is -1.

    >>> list(span_of(["2026-W53", "2027-W01"]))
    ['2026-W53', '2027-W01']
    """

    cadence: Cadence
    first: int
    length: int
    step: int = 1

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        ordinals = range(self.first, self.first + self.step * self.length, self.step)[at]
        if isinstance(ordinals, range):
            return [Window(self.cadence, ordinal).key for ordinal in ordinals]
        return Window(self.cadence, ordinals).key


def span_of(keys: Sequence[str]) -> WindowSpan:
    """The span that consecutive window keys are, rising or falling; InputError for others, and for none."""
    windows = [parse_key(key) for key in (keys[0], keys[-1])] if keys else []
    step = -1 if windows and windows[0] > windows[-1] else 1
    span = WindowSpan(windows[0].cadence, windows[0].ordinal, len(keys), step) if windows else None
    if span is None or list(span) != list(keys):
        raise InputError("The windows are not consecutive.", field="from")
    return span


def due_windows(
    now: datetime, cadence: Cadence, delay: timedelta, last: Window | None, limit: int, zone: str = "UTC"
) -> list[Window]:
    """The windows that ended at least `delay` before `now` and come after `last`, oldest first, the newest
    `limit` of them.

    With no `last` (nothing published yet) only the newest due window is given: history is a backfill's work.
    """
    newest = window_at(now - delay, cadence, zone).next(-1)
    if last is None:
        return [newest]
    first = max(last.ordinal + 1, newest.ordinal - limit + 1)
    return [Window(cadence, n, zone) for n in range(first, newest.ordinal + 1)]


def check_time_of_day(name: str, text: str) -> None:
    """ValueError unless the text is a time of day in hours and minutes, as 06:00."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError(f"{name} is {text!r}; it must be a time of day such as 06:30")


def next_time_of_day(text: str, moment: datetime, zone: str) -> datetime:
    """The first moment at or after `moment` at which clocks in the zone show `text` (HH:MM), in UTC.

    On nights when clocks change, a time that they skip counts from midnight as on any other day (02:30 is
    03:30 then), and of a time that they show twice the first counts.

    >>> next_time_of_day("06:00", datetime(2026, 3, 29, 0, tzinfo=UTC), "Europe/Berlin").isoformat()
    '2026-03-29T04:00:00+00:00'
    """
    local = _zone(zone)
    day = moment.astimezone(local).date()
    while True:
        at = datetime.combine(day, time.fromisoformat(text), local).astimezone(UTC)
        if at >= moment:
            return at
        day += timedelta(days=1)


def _read(text: str, cadence: Cadence, zone: str) -> Window | None:
    if cadence is Cadence.INDEX:
        return Window(cadence, int(text)) if re.fullmatch(r"[0-9]{1,6}", text) else None
    if cadence is Cadence.WEEK and (match := re.fullmatch(r"([0-9]{4})-?W([0-9]{2})", text)):
        return _week(int(match[1]), int(match[2]), zone)
    if cadence is Cadence.MONTH and (match := re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)):
        return (
            Window(cadence, 12 * (int(match[1]) - 1970) + int(match[2]) - 1, zone) if int(match[1]) else None
        )
    return _read_moment(text, cadence, zone)


def _read_moment(text: str, cadence: Cadence, zone: str) -> Window | None:
    """The window that a date or a date with a time names; for a time of day it has to be the window's
    start.
    """
    moment = _moment(text, UTC if cadence in _CLOCK else _zone(zone))
    if moment is None:
        return None
    if cadence in (Cadence.WEEK, Cadence.MONTH) and re.fullmatch(r"[0-9-]{10}", text):
        return window_at(moment, cadence, zone)
    window = window_at(moment, cadence, zone)
    return window if window.start == moment else None


def _week(year: int, week: int, zone: str) -> Window | None:
    try:
        return _window_of_day(date.fromisocalendar(year, week, 1), Cadence.WEEK, zone)
    except ValueError:
        return None


def _window_of_day(day: date, cadence: Cadence, zone: str) -> Window:
    if cadence is Cadence.MONTH:
        return Window(cadence, 12 * (day.year - 1970) + day.month - 1, zone)
    days = (day - _EPOCH_DAY).days
    return Window(cadence, (days + _MONDAY_OFFSET) // 7 if cadence is Cadence.WEEK else days, zone)


def _moment(text: str, zone: tzinfo) -> datetime | None:
    """The instant that the text names, aware UTC; without a zone of its own it is read in `zone`."""
    form = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}(:?[0-9]{2}(:?[0-9]{2})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
    if not re.fullmatch(form, text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        local = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _zone(name: str) -> ZoneInfo:
    """The zone of that name; InputError when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{name!r} is no time zone.", fix="Name one such as Europe/Berlin, or UTC.", field="timezone"
        ) from error
