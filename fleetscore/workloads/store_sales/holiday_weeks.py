"""Which week of an earlier year a week is like: that of the same holiday, where dates and a country are
known, else 52 weeks before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import SettingsError
from fleetscore.windows import Cadence
from fleetscore.workloads.store_sales.contract import StoreSalesSettings

IntArray = NDArray[np.int64]

YEAR_WEEKS = 52
_EPOCH = date(1970, 1, 1)
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday
_NEAR = (0, -1, 1, -2)  # weeks around a holiday that it moves with it, the nearest first
_MOST_SHIFT = 6  # weeks that a holiday moves from year to year; more is another holiday of the same name
_AROUND = (1, -1, 2, -2, 3, -3)  # where a usual week looks when its own week of last year was a holiday's


@dataclass(frozen=True, slots=True)
class Calendar:
    """The country whose holidays move weeks, and by how much window ordinals differ from ISO weeks since
    1970.
    """

    country: str  # ISO 3166 code; "{column}": that of each store, in a panel's countries
    shift_weeks: int = 0  # added to a window ordinal; 0 where windows are ISO weeks


def calendar_of(settings: StoreSalesSettings, cadence: Cadence) -> Calendar | None:
    """The calendar of the settings; None without a country, or where plain week numbers have no dates.

    Raises SettingsError when the country's holidays are not known.
    """
    if settings.country and not settings.country_column:
        _holidays_of(settings.country, 2026)
    if not settings.country or (cadence is Cadence.INDEX and not settings.week_one):
        return None
    if cadence is not Cadence.INDEX:
        return Calendar(settings.country)
    return Calendar(settings.country, plain_shift(settings.week_one))


def plain_shift(week_one: str) -> int:
    """What a plain week number lacks to the ordinal of its ISO week; `week_one` is a date in number 1."""
    return _week_of(date.fromisoformat(week_one)) - 1


def describe_calendar(settings: StoreSalesSettings, cadence: Cadence) -> str:
    """What of the calendar acts, for the model card."""
    if calendar_of(settings, cadence) and settings.country_column:
        return f"weeks are moved with the holidays of the country in column {settings.country_column}"
    if calendar_of(settings, cadence):
        return f"weeks are moved with the holidays of {settings.country}; 52 and 104 weeks before elsewhere"
    lags = "the values of 52 and 104 weeks before act alone"
    if cadence is Cadence.INDEX and not settings.week_one:
        return f"plain week numbers have no dates (week_one is not set): {lags}"
    return f"no country is set: {lags}"


def like_weeks(weeks: IntArray, years: int, calendar: Calendar | None) -> IntArray:
    """Per week (window ordinals) the week `years` years before that it is like.

    A week with a holiday, and the two weeks before and the one after, are like those around the same holiday;
    others like the week 52 weeks before for each year, or the nearest one that no holiday claims.
    """
    lag = YEAR_WEEKS * years
    if calendar is None or not len(weeks):
        return weeks - lag
    like = dict(_like_by_week(calendar.country, years, *_span(weeks, calendar)))
    dated = weeks + calendar.shift_weeks
    return np.array([like[int(week)] for week in dated], np.int64) - calendar.shift_weeks


def _span(weeks: IntArray, calendar: Calendar) -> tuple[int, int]:
    """The years of the weeks asked for, with a margin."""
    first, last = int(weeks.min()), int(weeks.max())
    return _year_of(first + calendar.shift_weeks) - 1, _year_of(last + calendar.shift_weeks) + 1


@lru_cache(maxsize=64)
def _like_by_week(country: str, years: int, first_year: int, last_year: int) -> tuple[tuple[int, int], ...]:
    lag = YEAR_WEEKS * years
    named = _days_by_name(country, first_year - years - 1, last_year + 1)
    weeks = range(_week_of(date(first_year, 1, 4)), _week_of(date(last_year, 12, 28)) + 1)
    moved = _moved(weeks, lag, named)
    claimed = set(moved.values())
    return tuple((week, moved.get(week, _unclaimed(week - lag, claimed))) for week in weeks)


def _moved(weeks: range, lag: int, named: Mapping[str, tuple[int, ...]]) -> dict[int, int]:
    """The weeks around holidays, and what each is like; a holiday moves by the whole weeks next to its
    days.
    """
    shifts: dict[int, int] = {}  # by a holiday's week; of several in one week the one that moves most decides
    for of_name in named.values():
        for day in of_name:
            off = min((other - day + 7 * lag for other in of_name), key=abs)
            week, shift = _week_of_day(day), round(off / 7)
            if abs(shift) <= _MOST_SHIFT and abs(shift) >= abs(shifts.get(week, 0)):
                shifts[week] = shift
    moved: dict[int, int] = {}
    for distance in _NEAR:
        for week, shift in sorted(shifts.items()):
            if week + distance in weeks:
                moved.setdefault(week + distance, week + distance - lag + shift)
    return moved


def _unclaimed(week: int, claimed: set[int]) -> int:
    around = (week + offset for offset in (0, *_AROUND))
    return next((other for other in around if other not in claimed), week)


def _days_by_name(country: str, first_year: int, last_year: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for year in range(first_year, last_year + 1):
        for name, day in _holidays_of(country, year):
            found.setdefault(name, []).append(day)
    return {name: tuple(days) for name, days in sorted(found.items())}


@cache
def is_known_country(country: str) -> bool:
    """Whether the holidays of the country are known."""
    try:
        _holidays_of(country, 2026)
    except SettingsError:
        return False
    return True


@cache
def _holidays_of(country: str, year: int) -> tuple[tuple[str, int], ...]:
    """Names and days since 1970 of the country's public holidays of a year, without the days on which
    they are observed instead.
    """
    import holidays

    try:
        days = holidays.country_holidays(country, years=year, observed=False)
    except NotImplementedError as error:
        raise SettingsError(
            f"The holidays of {country!r} are not known.",
            fix="Set country to an ISO 3166 code such as US.",
            field="country",
        ) from error
    named = ((name, day) for day in sorted(days) for name in days.get_list(day))
    return tuple((name, (day - _EPOCH).days) for name, day in named if day.year == year)


def _week_of(day: date) -> int:
    return _week_of_day((day - _EPOCH).days)


def _week_of_day(day: int) -> int:
    return (day + _MONDAY_OFFSET) // 7


def _year_of(week: int) -> int:
    thursday = 7 * week - _MONDAY_OFFSET + 3
    return (_EPOCH + timedelta(days=thursday)).year
