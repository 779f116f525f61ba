"""Features: recomputed in SQL, free of leaks, and right where the reference is wrong."""

from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar

from fleetscore.errors import SettingsError
from fleetscore.workloads.server_load.calendar_features import CALENDAR, WEEKDAYS, calendar_matrix
from fleetscore.workloads.server_load.compat import build_compat_table, observed_days
from fleetscore.workloads.server_load.features import (
    DAYS_BACK,
    FEATURES,
    LAGS,
    LOOKBACK_HOURS,
    PEAKS,
    SAME_HOUR_LAGS,
    build_features,
    build_history,
)
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.peaks import HOURS

_FIRST = 406_824  # 2016-05-30T00
_DAYS = 40


def make_hours(occupied: float = 0.6, servers: int = 4, seed: int = 3) -> pa.Table:
    """Random hours of some servers over forty days, with gaps of hours and of whole days."""
    random = np.random.default_rng(seed)
    there = random.random((servers, _DAYS, 24)) < occupied
    there &= random.random((servers, _DAYS, 1)) < 0.8
    server, at = np.nonzero(there.reshape(servers, -1))
    names = pa.array([f"10.0.0.{n + 1}" for n in server], pa.string()).dictionary_encode()
    numbers = [pa.array(random.integers(1, 9_000_000, len(at))) for _ in SUMS]
    columns = [
        names,
        pa.array((_FIRST + at).astype(np.int32)),
        pa.array(np.ones(len(at), np.int64)),
        *numbers,
    ]
    return pa.Table.from_arrays(columns, schema=HOURS)


def all_features(hours: pa.Table) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Server and hour of every row, and its features."""
    names = sorted(set(hours["server"].to_pylist()))
    history = build_history(hours, names, _FIRST - LOOKBACK_HOURS, _FIRST + _DAYS * 24)
    server = np.array([names.index(name) for name in hours["server"].to_pylist()])
    hour = hours["hour"].to_numpy()
    keys = list(zip(hours["server"].to_pylist(), hour.tolist(), strict=True))
    return keys, build_features(history, server, hour, "US")


def _as_relation(hours: pa.Table) -> pa.Table:
    return hours.set_column(0, "server", hours["server"].cast(pa.string()))


def test_features_agree_with_sql() -> None:
    """Every feature of every server-hour is what DuckDB computes from the hours by joins on real hours and days."""
    hours = make_hours()
    keys, ours = all_features(hours)
    peaks = _as_relation(hours)  # noqa: F841 - read by the query
    lag = ", ".join(
        f"(SELECT p.load / 10000 FROM peaks p WHERE p.server = h.server AND p.hour = h.hour - {n}) AS peakLoadLag{n}"  # noqa: S608 - from names above
        for n in LAGS
    )
    days = f"h.hour // 24 - {max(DAYS_BACK)} AND h.hour // 24 - {min(DAYS_BACK)}"
    windows = ", ".join(
        f"(SELECT avg(d.{name}) FROM days d WHERE d.server = h.server AND d.day BETWEEN {days}) AS {peak}DailyLag2Win7"  # noqa: S608
        for name, peak in zip(SUMS, PEAKS, strict=True)
    )
    back = ", ".join(map(str, SAME_HOUR_LAGS))
    daily = ", ".join(f"avg({name} / 10000) AS {name}" for name in SUMS)
    table = duckdb.sql(f"""
        WITH days AS (SELECT server, hour // 24 AS day, {daily} FROM peaks GROUP BY ALL),
             dated AS (SELECT *, to_timestamp(hour * 3600::BIGINT) AT TIME ZONE 'UTC' AS ts FROM peaks)
        SELECT h.server, h.hour, year(ts) AS year, month(ts) AS month, weekofyear(ts) AS weekofyear, day(ts) AS dayofmonth,
            hour(ts) AS hourofday, isodow(ts) - 1 AS dayofweek,
            (ts::DATE IN (DATE '2016-05-30', DATE '2016-07-04'))::INT AS Holiday,
            (hour(ts) BETWEEN 8 AND 18)::INT AS BusinessHour, (hour(ts) BETWEEN 6 AND 9)::INT AS Morning,
            (epoch(ts) - epoch(TIMESTAMP '2009-01-01')) / 3600 / 24 / 365.25 AS linearTrend,
            {lag}, {windows},
            (SELECT avg(p.load / 10000) FROM peaks p WHERE p.server = h.server AND h.hour - p.hour IN ({back})) AS peakLoadSameHour7
        FROM dated h
    """).df()  # noqa: S608 - built from the names above
    theirs = table.set_index(["server", "hour"]).loc[keys]
    assert list(theirs.columns) == list(FEATURES)
    np.testing.assert_allclose(ours, theirs.to_numpy(dtype=float, na_value=np.nan), rtol=1e-12)
    assert np.isnan(ours).any()
    assert not np.isnan(ours).all(axis=0).any()


def test_nothing_within_48_hours_is_looked_at() -> None:
    """Changing every number from 47 hours before an hour on leaves all its features as they were."""
    hours = make_hours()
    target = _FIRST + 35 * 24 + 13
    cut = hours.filter(pa.array(hours["hour"].to_numpy() <= target - 48))
    names = sorted(set(hours["server"].to_pylist()))

    def of(table: pa.Table) -> np.ndarray:
        history = build_history(table, names, target - LOOKBACK_HOURS, target)
        return build_features(history, np.arange(len(names)), np.full(len(names), target), "US")

    np.testing.assert_array_equal(of(hours), of(cut))


def test_lookback_is_enough() -> None:
    """What lies before the lookback of an hour's day plays no part in its features."""
    hours = make_hours()
    names = sorted(set(hours["server"].to_pylist()))
    day = _FIRST + 36 * 24
    targets = np.tile(np.arange(day, day + 48), len(names))
    server = np.repeat(np.arange(len(names)), 48)
    near = build_history(hours, names, day - LOOKBACK_HOURS, day)
    far = build_history(hours, names, day - 2 * LOOKBACK_HOURS, day)
    np.testing.assert_array_equal(
        build_features(near, server, targets, "US"), build_features(far, server, targets, "US")
    )


def _column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURES.index(name)]


def test_trend_rises() -> None:
    """linearTrend grows with the hours (the reference's is a constant 0)."""
    trend = _column(all_features(make_hours())[1], "linearTrend")
    assert np.unique(trend).size > 500
    assert 7.0 < trend.min() < trend.max() < 8.0


def test_day_of_month_is_the_day() -> None:
    """dayofmonth is the day, not the hour, in every path that builds features."""
    (row,) = calendar_matrix([_FIRST + 30 * 24 + 1], "US")
    assert row[CALENDAR.index("dayofmonth")] == 29
    assert row[CALENDAR.index("hourofday")] == 1


def test_lags_are_hours_not_rows() -> None:
    """With idle hours between, the lag of 168 is the load a week back, or missing; never 168 rows back."""
    hours = make_hours(0.35)
    load = dict(
        zip(
            zip(hours["server"].to_pylist(), hours["hour"].to_pylist(), strict=True),
            hours["load"].to_pylist(),
            strict=True,
        )
    )
    keys, features = all_features(hours)
    for (server, hour), value in zip(keys, _column(features, "peakLoadLag168"), strict=True):
        expected = load.get((server, hour - 168))
        assert np.isnan(value) if expected is None else value == expected / 10_000


def test_missing_is_not_zero() -> None:
    """An hour without sessions leaves its lag missing: only loads that were there are numbers."""
    lag = _column(all_features(make_hours(0.35))[1], "peakLoadLag48")
    assert np.isnan(lag).mean() > 0.3
    assert (lag[~np.isnan(lag)] > 0).all()


def test_new_year_and_new_server_have_features() -> None:
    """A year and a server that were never seen get a full row, with their history missing."""
    hours = make_hours(servers=1)
    history = build_history(hours, ["10.0.0.1", "10.9.9.9"], _FIRST, _FIRST + 24)
    features = build_features(history, [1], [_FIRST + 366 * 24], "US")
    assert features.shape == (1, len(FEATURES))
    assert _column(features, "year")[0] == 2017
    assert np.isnan(features[0, len(CALENDAR) :]).all()


def test_calendar_agrees_with_datetime() -> None:
    """Date parts are those of Python's calendar for every day of twelve years, leap days and ISO weeks among them."""
    days = [date(2009, 1, 1) + timedelta(n) for n in range(12 * 365)]
    hours = [(day - date(1970, 1, 1)).days * 24 + 7 for day in days]
    expected = [[d.year, d.month, d.isocalendar().week, d.day, 7, d.weekday()] for d in days]
    assert calendar_matrix(hours, "US")[:, :6].tolist() == expected
    assert WEEKDAYS[0] == "Monday"


def test_observed_holidays_are_those_of_pandas() -> None:
    """In compat mode a day is a holiday exactly when pandas' calendar of US federal holidays has it."""
    expected = USFederalHolidayCalendar().holidays("2009-01-01", "2016-06-30").to_pydatetime()
    ours = [date(1970, 1, 1) + timedelta(int(day)) for day in observed_days(np.arange(2009, 2017))]
    assert [day for day in ours if day <= date(2016, 6, 30)] == [day.date() for day in expected]


def test_unknown_country_is_named() -> None:
    """A country without known holidays is refused with the setting's name."""
    with pytest.raises(SettingsError, match="XX") as caught:
        calendar_matrix([0], "XX")
    assert caught.value.field == "country"


def test_compat_table_agrees_with_sql() -> None:
    """The compat table has the reference's windows over rows, zeros for what is missing, and a trend of 0."""
    hours = make_hours(0.5)
    ours = build_compat_table(hours).to_pandas().sort_values(["ServerIP", "SessionStartHourTime"])
    peaks = _as_relation(hours)  # noqa: F841 - read by the query
    lag = ", ".join(f"coalesce(lag(load, {n}) OVER w / 10000, 0) AS peakLoadLag{n}" for n in LAGS)
    windows = ", ".join(
        f"coalesce(avg({name}) OVER (PARTITION BY server ORDER BY day ROWS BETWEEN 9 PRECEDING AND 3 PRECEDING), 0) AS {peak}DailyLag2Win7"
        for name, peak in zip(SUMS, PEAKS, strict=True)
    )
    daily = ", ".join(f"avg({name} / 10000) AS {name}" for name in SUMS)
    table = duckdb.sql(f"""
        WITH days AS (SELECT server, hour // 24 AS day, {daily} FROM peaks GROUP BY ALL),
             rolled AS (SELECT server, day, {windows} FROM days),
             lagged AS (SELECT server, hour, {lag} FROM peaks WINDOW w AS (PARTITION BY server ORDER BY hour))
        SELECT l.*, r.* EXCLUDE (server, day) FROM lagged l JOIN rolled r ON r.server = l.server AND r.day = l.hour // 24
        ORDER BY l.server, l.hour
    """).df()  # noqa: S608 - built from the names above
    names = [name for name in table.columns if "Lag" in name]
    np.testing.assert_allclose(ours[names].to_numpy(float), table[names].to_numpy(float), rtol=1e-12)
    assert (ours["linearTrend"] == 0).all()
    moment = pd.to_datetime(ours["SessionStartHourTime"])
    assert (ours["dayofweek"] == moment.dt.day_name()).all()
    assert (ours["key"] == ours["ServerIP"] + "_" + moment.dt.strftime("%Y-%m-%d %H:%M:%S")).all()
