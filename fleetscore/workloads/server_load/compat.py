"""The reference's hourly table, defects and all, for comparison: the same columns, names and values from
our hours.

What it does otherwise than `features`: lags and windows count rows, so that with idle hours "168" is not a
week back; what is missing is 0; linearTrend is always 0; the weekday is a name. Sums are ours: exact, where
the reference's depend on their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fleetscore.workloads.server_load.calendar_features import (
    CALENDAR,
    WEEKDAYS,
    calendar_matrix,
    holiday_days,
)
from fleetscore.workloads.server_load.features import DAYS_BACK, LAGS, PEAKS
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.layouts import SUMS

if TYPE_CHECKING:
    import polars as pl

_DATES = ("year", "month", "weekofyear", "dayofmonth", "hourofday", "dayofweek")
_FLAGS = ("Holiday", "BusinessHour", "Morning")


def build_compat_table(hours: pa.Table) -> pl.DataFrame:
    """The table of all hours (HOURS, each once), by server and hour, as the reference has it before
    indexing and scaling.
    """
    import polars as pl

    frame = pl.DataFrame(
        {"ServerIP": hours["server"].cast(pa.string()).to_pylist(), "hour": hours["hour"].to_numpy()}
        | {peak: hours[name].to_numpy() / UNITS for peak, name in zip(PEAKS, SUMS, strict=True)},
        schema_overrides={"ServerIP": pl.String},
    ).sort("ServerIP", "hour")
    frame = frame.with_columns(_calendar_columns(frame["hour"]))
    frame = frame.join(_daily(frame), on=["ServerIP", "SessionStartDay"], how="left", maintain_order="left")
    lags = [
        pl.col("peakLoad").shift(lag).over("ServerIP").fill_null(0.0).alias(f"peakLoadLag{lag}")
        for lag in LAGS
    ]
    key = pl.concat_str(
        "ServerIP", pl.lit("_"), pl.col("SessionStartHourTime").dt.to_string("%Y-%m-%d %H:%M:%S")
    )
    frame = frame.with_columns(*lags, key=key, linearTrend=pl.lit(0, pl.Int32))
    return frame.drop("hour")


def _calendar_columns(hours: pl.Series) -> list[pl.Series]:
    import polars as pl

    hour = hours.to_numpy().astype(np.int64)
    matrix = calendar_matrix(hour, "US")
    column = {name: matrix[:, n].astype(np.int64) for n, name in enumerate(CALENDAR)}
    days = hour // 24
    column["Holiday"] = np.isin(days, observed_days(column["year"])).astype(np.int64)
    moment = pl.Series("SessionStartHourTime", hour * 3_600_000).cast(pl.Datetime("ms"))
    day = pl.Series("SessionStartDay", days * 86_400_000).cast(pl.Datetime("ms"))
    numbers = [pl.Series(name, column[name].astype(np.int32)) for name in (*_DATES[:-1], *_FLAGS)]
    weekday = pl.Series("dayofweek", [WEEKDAYS[n] for n in column["dayofweek"]], pl.String)
    return [moment, day, *numbers, weekday, day.dt.to_string("%Y-%m-%d").alias("date")]


def observed_days(years: Any) -> Any:
    """US federal holidays on the working day they are observed on; a weekend's own date does not count, as
    in pandas.
    """
    days = holiday_days(years, "US")
    return days[(days + 3) % 7 < 5]


def _daily(frame: pl.DataFrame) -> pl.DataFrame:
    """Per server and day that has rows: the mean over the 3rd to 9th row before of each peak's daily mean;
    0 without one.
    """
    import polars as pl

    days = (
        frame.group_by("ServerIP", "SessionStartDay")
        .agg(pl.col(*PEAKS).mean())
        .sort("ServerIP", "SessionStartDay")
    )
    windows = [
        pl.mean_horizontal(*(pl.col(peak).shift(back).over("ServerIP") for back in DAYS_BACK))
        .fill_null(0.0)
        .alias(f"{peak}DailyLag2Win7")
        for peak in PEAKS
    ]
    return days.select("ServerIP", "SessionStartDay", *windows)
