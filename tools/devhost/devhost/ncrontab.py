"""NCRONTAB schedules: `sec min hour day month dow`, without seconds, or a constant interval.

Pure: an expression is parsed once and asked for the next occurrence after a moment. Unlike Unix cron, day and
day of week must both match, a range given backwards is swapped, and Sunday is 0 only.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from devhost.errors import LoadError
from devhost.settings import parse_span

_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_LATEST_YEARS = 40


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule; `text` is the expression it came from."""

    text: str
    fields: tuple[frozenset[int], ...] = ()
    interval: timedelta | None = None
    is_repeating_within_day: bool = False

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first occurrence after the moment (exclusive), UTC; None if none is in 40 years."""
        if self.interval is not None:
            return (moment + self.interval).astimezone(UTC)
        local = moment.astimezone(zone)
        if self.is_repeating_within_day and local.fold == 0 and _is_repeated(local):
            found = self._next_within(local, zone)  # stay in the first pass through the repeated hour
            if found is not None:
                return found
        wall = local.replace(tzinfo=None)
        for _ in range(4):
            following = self._next_wall(wall)
            if following is None:
                return None
            found = _from_wall(following, zone, self.is_repeating_within_day and local.fold == 1)
            if found > moment:
                return found
            wall = following
        return None

    def _next_within(self, local: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the next occurrence before the clock is put back, else the first one after it was."""
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
        """Return the next matching wall-clock time after `wall`, which has no zone."""
        seconds, minutes, hours, days, months, weekdays = self.fields
        at = wall.replace(microsecond=0) + timedelta(seconds=1)
        last_year = at.year + _LATEST_YEARS
        while at.year <= last_year:
            if at.month not in months:
                at = _month_after(at)
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


def _month_after(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0, second=0)
    return first.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def _is_repeated(local: datetime) -> bool:
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset() and (
        local.replace(fold=0).astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None)
        == local.replace(tzinfo=None)
    )


def _from_wall(wall: datetime, zone: ZoneInfo, is_second_pass: bool) -> datetime:
    """Return the moment of a wall-clock time; one that the clock skips runs at the shifted time."""
    return wall.replace(tzinfo=zone, fold=1 if is_second_pass else 0).astimezone(UTC)


def parse_schedule(text: str) -> Schedule:
    """Parse an expression of six or five fields or a time span; raises LoadError saying what is wrong with
    it.
    """
    parts = text.split()
    if len(parts) in (5, 6):
        parts = ["0", *parts] if len(parts) == 5 else parts
        fields = tuple(_parse_field(part, *field, text) for part, field in zip(parts, _FIELDS, strict=True))
        return Schedule(text, fields, None, any(mark in part for part in parts[:3] for mark in "*-/"))
    seconds = parse_span(text)
    if seconds is None or seconds <= 0:
        raise LoadError(
            f"The schedule expression '{text}' was not recognized as a valid cron expression or timespan "
            "string."
        )
    return Schedule(text, interval=timedelta(seconds=seconds))


def _parse_field(part: str, name: str, lowest: int, highest: int, text: str) -> frozenset[int]:
    values: set[int] = set()
    for item in part.split(","):
        span, slash, step_text = item.partition("/")
        if slash and (not step_text.isdigit() or int(step_text) < 1):
            raise _field_error(text, name, item, lowest, highest)
        step = int(step_text) if slash else 1
        if span == "*":
            first, last = lowest, highest
        elif "-" in span:
            first, last = sorted(
                _parse_value(each, name, lowest, highest, text) for each in span.split("-", 1)
            )
        else:
            first = _parse_value(span, name, lowest, highest, text)
            last = highest if slash else first
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _parse_value(word: str, name: str, lowest: int, highest: int, text: str) -> int:
    names = {"month": _MONTHS, "day of week": _DAYS}.get(name, [])
    if word.isalpha() and names:
        found = [number for number, each in enumerate(names, lowest) if each.lower().startswith(word.lower())]
        if found:
            return found[0]
    elif word.isascii() and word.isdigit() and lowest <= int(word) <= highest:
        return int(word)
    raise _field_error(text, name, word, lowest, highest)


def _field_error(text: str, name: str, word: str, lowest: int, highest: int) -> LoadError:
    return LoadError(
        f"The schedule expression '{text}' was not recognized: '{word}' is not a valid {name}; "
        f"expected {lowest} to "
        f"{highest}, a list, a range or a step."
    )
