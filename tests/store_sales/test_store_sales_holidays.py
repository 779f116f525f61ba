"""The calendar: which week of an earlier year a week is like, and what acts without dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from fleetscore.errors import SettingsError
from fleetscore.windows import Cadence, parse_window
from fleetscore.workloads.store_sales.chain import Chain, learn_season, season_of
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.holiday_weeks import (
    YEAR_WEEKS,
    Calendar,
    calendar_of,
    describe_calendar,
    like_weeks,
)
from fleetscore.workloads.store_sales.model_file import chain_arrays, chain_of_arrays

EASTERS = (date(2021, 4, 4), date(2022, 4, 17), date(2023, 4, 9), date(2024, 3, 31))


def week_of(day: date) -> int:
    year, week, _ = day.isocalendar()
    return parse_window(f"{year}-W{week:02d}", Cadence.WEEK).ordinal


@pytest.mark.parametrize("years", (1, 2))
def test_easter_is_like_easter_and_christmas_like_christmas(years: int) -> None:
    """The weeks around a holiday that moves are like those around it in earlier years; fixed days stay within their week."""
    calendar = Calendar("DE")
    for now, before in zip(EASTERS[years:], EASTERS[:-years], strict=True):
        weeks = week_of(now) + np.array([-2, -1, 0, 1])
        np.testing.assert_array_equal(
            like_weeks(weeks, years, calendar), weeks - week_of(now) + week_of(before)
        )
    christmas = np.array([week_of(date(2023, 12, 24))])
    assert like_weeks(christmas, years, calendar) == christmas - YEAR_WEEKS * years


def test_a_usual_week_is_not_like_a_holiday() -> None:
    """A week that lies 52 weeks after Easter's, without a holiday of its own, is like a usual week beside it."""
    usual = week_of(EASTERS[1]) + YEAR_WEEKS  # 2023-W15 follows Easter 2023; 52 weeks before is Easter 2022
    assert like_weeks(np.array([usual + 3]), 1, Calendar("DE"))[0] != week_of(EASTERS[1])
    claimed = like_weeks(week_of(EASTERS[2]) + np.array([0]), 1, Calendar("DE"))
    assert claimed[0] == week_of(EASTERS[1])


def test_an_answer_does_not_hang_on_what_is_asked_with_it() -> None:
    """Each week alone is like what it is like among ten years of weeks."""
    calendar, weeks = Calendar("US"), week_of(date(2018, 1, 1)) + np.arange(520)
    together = like_weeks(weeks, 1, calendar)
    alone = [int(like_weeks(weeks[n : n + 1], 1, calendar)[0]) for n in range(0, 520, 7)]
    assert alone == together[::7].tolist()
    assert (together < weeks).all()


def test_without_dates_the_lags_act_alone_and_the_card_says_so() -> None:
    """Plain week numbers have no calendar unless `week_one` dates them; then they are like their dated weeks."""
    plain, dated = StoreSalesSettings(country="DE"), StoreSalesSettings(country="DE", week_one="2021-01-06")
    assert (
        calendar_of(plain, Cadence.INDEX) is None and calendar_of(StoreSalesSettings(), Cadence.WEEK) is None
    )
    assert "week_one is not set" in describe_calendar(plain, Cadence.INDEX)
    assert "no country is set" in describe_calendar(StoreSalesSettings(), Cadence.WEEK)
    assert "holidays of DE" in describe_calendar(dated, Cadence.INDEX)
    first = week_of(date(2021, 1, 6))
    numbers = np.arange(60, 170)
    as_iso = like_weeks(numbers + first - 1, 1, calendar_of(plain, Cadence.WEEK))
    np.testing.assert_array_equal(
        like_weeks(numbers, 1, calendar_of(dated, Cadence.INDEX)), as_iso - first + 1
    )
    np.testing.assert_array_equal(like_weeks(numbers, 2, None), numbers - 104)


def test_settings_that_no_calendar_understands_are_refused() -> None:
    """A country without known holidays and a week_one that is no date are named with what is expected."""
    with pytest.raises(SettingsError, match="'Atlantis' are not known"):
        calendar_of(StoreSalesSettings(country="Atlantis"), Cadence.WEEK)
    with pytest.raises(SettingsError, match="'Atlantis' are not known"):
        calendar_of(StoreSalesSettings(country="Atlantis"), Cadence.INDEX)  # whether weeks have dates or not
    for text in ("{land", "land}", "{}", "US {land}"):
        with pytest.raises(ValueError, match="expected a code such as US, or a column"):
            StoreSalesSettings(country=text)
    for text in ("week 1", "2025-13-01", "01.02.2025"):
        with pytest.raises(ValueError, match="expected a date such as 2025-12-29"):
            StoreSalesSettings(week_one=text)


def test_a_peak_at_easter_is_forecast_at_easter() -> None:
    """With a country the season of Easter's week has the peak; without, it stands where Easter was a year before."""
    random, first = np.random.default_rng(8), week_of(date(2021, 1, 6))
    weeks = first + np.arange(160)
    easters = [week_of(day) for day in EASTERS]
    logs = 5 + np.where(np.isin(weeks, easters), 0.8, 0.0) + random.normal(0, 0.1, (60, 160))
    skus = np.array(["a", "b"] * 30, object)
    seasons = [learn_season(logs, skus, first, c) for c in (Calendar("DE"), None)]
    assert seasons[0].gain[0] > 0.8 > seasons[1].gain[0]
    ahead = season_of(seasons[0], skus, first + 160, 52)[0]  # 2024
    assert int(np.argmax(ahead)) == week_of(EASTERS[3]) - first - 160 and ahead.max() > 0.5
    kept = chain_of_arrays(chain_arrays(Chain(seasons[0], np.zeros((3, 5)))))
    assert kept is not None and kept.season.calendar == Calendar("DE")
    np.testing.assert_array_equal(season_of(kept.season, skus, first + 160, 52)[0], ahead)
    assert not season_of(replace(seasons[0], gain=np.zeros(2)), skus, first + 160, 52).any()
