"""Calendar months and hours as plain numbers: an hour is counted from 1970-01-01T00 UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

HOUR_S = 3600


def hour_of(moment: datetime) -> int:
    """The hour that the aware moment lies in.

    >>> hour_of(datetime(1970, 1, 2, 3, 59, tzinfo=UTC))
    27
    """
    return int(moment.timestamp()) // HOUR_S


def moment_of(hour: int) -> datetime:
    """The first instant of the hour, aware UTC."""
    return datetime.fromtimestamp(hour * HOUR_S, UTC)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month (UTC)."""

    year: int
    month: int

    @property
    def key(self) -> str:
        """As paths carry it.

        >>> Month(2016, 6).key
        '2016-06'
        """
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def first_hour(self) -> int:
        """Its first hour."""
        return hour_of(datetime(self.year, self.month, 1, tzinfo=UTC))

    @property
    def stop_hour(self) -> int:
        """The first hour after it."""
        return self.next().first_hour

    def next(self) -> Month:
        """The month after."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)


def months_between(first_hour: int, stop_hour: int) -> list[Month]:
    """The months that share an hour with [first_hour, stop_hour), in order."""
    moment = moment_of(first_hour)
    month = Month(moment.year, moment.month)
    months = []
    while month.first_hour < stop_hour:
        months.append(month)
        month = month.next()
    return months
