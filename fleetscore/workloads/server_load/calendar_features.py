"""What the calendar says of an hour: date parts, public holiday, business hour, morning, and the trend of
years.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

import numpy as np

from fleetscore.errors import SettingsError

CALENDAR = (
    "year",
    "month",
    "weekofyear",
    "dayofmonth",
    "hourofday",
    "dayofweek",
    "Holiday",
    "BusinessHour",
    "Morning",
    "linearTrend",
)
"""The columns of `calendar_matrix`. dayofweek counts from Monday = 0; linearTrend is in years since 2009
began.
"""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TREND_ORIGIN_HOUR = 341_880  # 2009-01-01T00
_HOURS_PER_YEAR = 24 * 365.25
_THURSDAY = 3


def calendar_matrix(hours: Any, country: str) -> Any:
    """float64 (hours, CALENDAR) of hours since 1970 (UTC); SettingsError when the country's holidays are
    not known.
    """
    hours = np.asarray(hours, np.int64)
    days = hours // 24
    of_day = hours % 24
    stamps = days.astype("datetime64[D]")
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    months = stamps.astype("datetime64[M]").astype(np.int64) % 12 + 1
    in_month = (stamps - stamps.astype("datetime64[M]")).astype(np.int64) + 1
    weekday = (days + _THURSDAY) % 7  # 1970-01-01 was a Thursday
    columns = (
        years,
        months,
        _iso_week(days, weekday),
        in_month,
        of_day,
        weekday,
        np.isin(days, holiday_days(years, country)),
        (of_day >= 8) & (of_day <= 18),
        (of_day >= 6) & (of_day <= 9),
        (hours - _TREND_ORIGIN_HOUR) / _HOURS_PER_YEAR,
    )
    return np.column_stack([np.asarray(column, np.float64) for column in columns])


def _iso_week(days: Any, weekday: Any) -> Any:
    # a week belongs to the year of its Thursday
    thursday = (days - weekday + _THURSDAY).astype("datetime64[D]")
    return (thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7 + 1


def holiday_days(years: Any, country: str) -> Any:
    """The public holidays of the country in these years, and the days they are observed on, as sorted days
    since 1970.
    """
    of_year = [_holidays_in(int(year), country) for year in np.unique(years)]
    return np.array(sorted(day for days in of_year for day in days), np.int64)


@cache
def _holidays_in(year: int, country: str) -> tuple[int, ...]:
    import holidays

    try:
        dates = holidays.country_holidays(country, years=year)
    except NotImplementedError as error:
        raise SettingsError(
            f"The holidays of {country!r} are not known.",
            fix="Set an ISO 3166 code such as US.",
            field="country",
        ) from error
    return tuple((day - date(1970, 1, 1)).days for day in dates if day.year == year)
