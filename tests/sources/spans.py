"""Times and spans written short, and the columns of the examples."""

from datetime import UTC, datetime

from fleetscore.sources import ColumnKind, TimeRange

VANS = {"ts": ColumnKind.TIME, "van": ColumnKind.KEY, "km": ColumnKind.NUMBER}
"""What the examples are read for: a time, a key and a number."""


def at(text: str) -> datetime:
    """The aware moment of an ISO text, UTC where it names no zone.

    >>> at("2026-03-04 10:00").isoformat()
    '2026-03-04T10:00:00+00:00'
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def between(start: str, end: str) -> TimeRange:
    """The span of time between two ISO texts."""
    return TimeRange(at(start), at(end))
