"""Windows: the span of data time that one run covers, as an hour, a day, an ISO week, or a plain week number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from fleetscore.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY = datetime(1969, 12, 29, tzinfo=UTC)  # of ISO week 1970-W01


class Cadence(StrEnum):
    """How long a window is, and so how its key is written."""

    HOUR = "hour"  # 2018-08-28T23
    DAY = "day"  # 2016-06-29
    WEEK = "week"  # 2026-W47
    INDEX = "index"  # 108: data that counts its weeks and names no dates


_LENGTHS = {
    Cadence.HOUR: timedelta(hours=1),
    Cadence.DAY: timedelta(days=1),
    Cadence.WEEK: timedelta(weeks=1),
}
_EXAMPLES = {
    Cadence.HOUR: "2018-08-28T23",
    Cadence.DAY: "2016-06-29",
    Cadence.WEEK: "2026-W47",
    Cadence.INDEX: "108",
}


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The `ordinal`-th period of its cadence: counted from 1970 (UTC), or the index itself. Windows of a cadence sort by time."""

    cadence: Cadence
    ordinal: int

    @property
    def start(self) -> datetime:
        """The first instant of the window, aware UTC; an index window has none and raises InputError."""
        if self.cadence is Cadence.INDEX:
            raise InputError(f"Window {self.ordinal} is a plain week number and has no date.", field="window")
        origin = _FIRST_MONDAY if self.cadence is Cadence.WEEK else _EPOCH
        return origin + self.ordinal * _LENGTHS[self.cadence]

    @property
    def end(self) -> datetime:
        """The first instant after the window, aware UTC."""
        return self.next().start

    @property
    def key(self) -> str:
        """The window as users write it and as paths carry it.

        >>> parse_window("2018-08-28T23", Cadence.HOUR).key
        '2018-08-28T23'
        """
        if self.cadence is Cadence.INDEX:
            return str(self.ordinal)
        if self.cadence is Cadence.WEEK:
            iso = self.start.isocalendar()
            return f"{iso.year:04d}-W{iso.week:02d}"
        return self.start.strftime("%Y-%m-%dT%H" if self.cadence is Cadence.HOUR else "%Y-%m-%d")

    def next(self, steps: int = 1) -> Window:
        """The window `steps` periods later (earlier when negative)."""
        return Window(self.cadence, self.ordinal + steps)


def parse_window(text: str, *cadences: Cadence) -> Window:
    """Read a window key of one of the `cadences`; InputError names the form that was expected.

    An hour may be written with minutes and a zone (`2018-08-28T23:00Z`); a date is taken as the ISO week that holds it where
    weeks are expected, and as its first hour where hours are.
    """
    for cadence in cadences:
        window = _read(text.strip(), cadence)
        if window is not None:
            return window
    examples = " or ".join(_EXAMPLES[c] for c in cadences)
    article = "an" if cadences[0] in (Cadence.HOUR, Cadence.INDEX) else "a"
    raise InputError(
        f"Window {text!r} is not {article} {'/'.join(cadences)}.",
        fix=f"Write it like {examples}.",
        field="window",
    )


def parse_key(key: str) -> Window:
    """The window of a stored key, whose form tells its cadence; InputError when it is none.

    >>> parse_key("2026-W47").cadence
    <Cadence.WEEK: 'week'>
    """
    if key.isdigit():
        return parse_window(key, Cadence.INDEX)
    if "W" in key:
        return parse_window(key, Cadence.WEEK)
    return parse_window(key, Cadence.HOUR if "T" in key else Cadence.DAY)


def window_at(moment: datetime, cadence: Cadence) -> Window:
    """The window of a calendar cadence that holds the aware `moment`."""
    origin = _FIRST_MONDAY if cadence is Cadence.WEEK else _EPOCH
    return Window(cadence, (moment.astimezone(UTC) - origin) // _LENGTHS[cadence])


def windows_between(first: Window, stop: Window) -> Iterator[Window]:
    """The windows in [first, stop), in order; InputError when the two are of different cadences."""
    if first.cadence is not stop.cadence:
        raise InputError(f"{first.key} and {stop.key} are windows of different lengths.", field="to")
    return (Window(first.cadence, n) for n in range(first.ordinal, stop.ordinal))


def due_windows(
    now: datetime, cadence: Cadence, delay: timedelta, last: Window | None, limit: int
) -> list[Window]:
    """The windows that ended at least `delay` before `now` and come after `last`, oldest first, the newest `limit` of them.

    With no `last` (nothing published yet) only the newest due window is given: history is a backfill's work.
    """
    newest = window_at(now - delay, cadence).next(-1)
    if last is None:
        return [newest]
    first = max(last.ordinal + 1, newest.ordinal - limit + 1)
    return [Window(cadence, n) for n in range(first, newest.ordinal + 1)]


def _read(text: str, cadence: Cadence) -> Window | None:
    if cadence is Cadence.INDEX:
        return Window(cadence, int(text)) if re.fullmatch(r"\d{1,6}", text) else None
    if cadence is Cadence.WEEK and (match := re.fullmatch(r"(\d{4})-?W(\d{2})", text)):
        return _week(int(match[1]), int(match[2]))
    moment = _moment(text)
    if moment is None:
        return None
    window = window_at(moment, cadence)
    whole = moment == moment.replace(hour=0, minute=0, second=0)
    return window if window.start == moment or (cadence is Cadence.WEEK and whole) else None


def _week(year: int, week: int) -> Window | None:
    try:
        monday = date.fromisocalendar(year, week, 1)
    except ValueError:
        return None
    return window_at(datetime(monday.year, monday.month, monday.day, tzinfo=UTC), Cadence.WEEK)


def _moment(text: str) -> datetime | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2})?)?(Z|[+-]\d{2}:?\d{2})?)?", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
