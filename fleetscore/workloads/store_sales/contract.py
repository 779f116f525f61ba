"""The data contract: settings, columns, result schema, and the causes an outcome may carry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Literal

import pyarrow as pa

from fleetscore.sources import DataSettings

NAME = "store_sales"
DATA = f"data/{NAME}/"
HISTORY = "history"
FUTURE = "future"
"""Input lies in the data folder at paths that begin so: history.csv, history/2026.parquet, future-W47.csv,
...
"""

Paths = str | tuple[str, ...]

STORES_FILE = "stores.json"
"""In a model set: the names of the stores it was trained on."""

GBM_FILE = "gbm.npz"
"""In a model set: models that were imported from R."""

LOOKBACK_WEEKS = 78
"""How many weeks up to the origin the features read; what scoring keeps of the history."""

GBM_LOOKBACK_WEEKS = 520
"""How far back the history counts for imported gbm models, whose `level` is the mean of all weeks."""

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
QUANTILE_NAMES = ("q5", "q25", "q50", "q75", "q95")

RESULTS = pa.schema(
    [
        ("store", pa.string()),
        ("sku", pa.string()),
        ("week", pa.string()),
        ("step", pa.int8()),
        *((name, pa.float64()) for name in QUANTILE_NAMES),
        (
            "fallback",
            pa.bool_(),
        ),  # the row rests on a declared fallback: too little history, or assumed covariates
        ("model", pa.string()),
    ]
)
"""One row per (store, sku, week), sorted by store, sku, step; quantiles neither cross nor fall below zero."""


class Cause(StrEnum):
    """Why an outcome is what it is, or what was repaired in a scored store; the most important one stands
    in the ledger.

    The order is that of importance: the first that applies is the outcome's cause, the detail counts them
    all.
    """

    NO_MODEL = "no_model"  # skipped
    NO_DATA = "no_data"  # late: the model covers the store, the data has no row of it
    NO_FUTURE = "no_future"  # late: it sold lately, but there is no week to forecast
    DISCONTINUED = "discontinued"  # skipped: no future, and none sold lately
    STALE_HISTORY = "stale_history"  # late: the last weeks before the window are missing
    TOO_MANY_REJECTS = "too_many_rejects"  # quarantined
    NOT_FINITE = "not_finite"  # failed: a forecast overflowed
    NEW_STORE = "new_store"  # from here on: scored, with a remark
    MANY_REPEATS = "many_repeats"  # as if rows covered days
    CONFLICTING_ROWS = "conflicting_rows"
    NEGATIVE_SALES = "negative_sales"
    ODD_SALES = "odd_sales"
    ODD_DEALS = "odd_deals"
    ODD_PRICES = "odd_prices"
    UNREADABLE_CELL = "unreadable_cell"
    UNREADABLE_WEEK = "unreadable_week"
    PRICE_NOT_POSITIVE = "price_not_positive"
    MISSING_COVARIATES = "missing_covariates"
    UNKNOWN_COUNTRY = "unknown_country"
    MISSING_SALES = "missing_sales"
    REPEATED_ROWS = "repeated_rows"
    OVERLAP = "overlap"
    SHORT_HISTORY = "short_history"
    ZEROS_BEFORE_START = "zeros_before_start"
    DISCONTINUED_SKUS = "discontinued_skus"
    UNKNOWN_SKUS = "unknown_skus"


@dataclass(frozen=True, slots=True)
class SalesData(DataSettings):
    """The [data] table: `path` is the folder of history and future, or names the history's files alone."""

    future: Paths = ()  # the future's files, where `path` names the history's

    def __post_init__(self) -> None:
        DataSettings.__post_init__(self)
        if self.aggregate:
            raise ValueError(
                "aggregate is not for store_sales, which knows no interval but the week: "
                'frequency = "day" adds up days to weeks'
            )
        if self.database and self.future:
            raise ValueError(
                "future names files, and the rows are in a database: its query gives the plans too"
            )
        if self.ready and self.ready.delta and not self.future:
            raise ValueError(
                "ready.delta needs the line future in store_sales: a table of history and plans alike has weeks to "
                "come at any time"
            )
        _ = replace(DataSettings(), path=self.future).paths


def _check_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"week_one is {text!r}, expected a date such as 2025-12-29") from error


@dataclass(frozen=True, slots=True)
class StoreSalesSettings:
    """settings/store_sales.toml, without its [run] table."""

    data: SalesData = field(default_factory=SalesData)
    timezone: str = "UTC"  # in which weeks begin
    frequency: Literal["week", "day"] = "week"  # what a row covers; days are added up to their ISO weeks
    country: str = ""  # whose holidays move weeks (ISO 3166 code), or the column that holds it: "{country}"
    week_one: str = ""  # the date of a day in the plain week number 1; "": plain numbers have no dates
    covariates: tuple[str, ...] = ()  # further numeric columns of history and future
    steps: int = 13  # weeks to forecast
    min_history_weeks: int = 8  # fewer known weeks of sales in the lookback: the fallback
    max_stale_weeks: int = 4  # so many weeks before the window may be missing
    max_reject_share: float = 0.2  # of a store's rows; beyond it the store is quarantined
    training_rows: int = 150_000  # most rows that a model is trained on, drawn evenly
    training_stores: int = 400  # most stores that it is trained on, drawn evenly
    training_span_weeks: int = 104  # how far back of the last week targets are drawn
    rounds: int = 100
    leaves: int = 8
    learning_rate: float = 0.1
    calibration_blocks: int = 3  # blocks of `steps` weeks before the origin that the widening is learned on

    def __post_init__(self) -> None:
        ranges = {
            "steps": (1, 52),
            "min_history_weeks": (2, 78),
            "max_stale_weeks": (0, 26),
            "max_reject_share": (0.0, 1.0),
            "training_rows": (1_000, 10_000_000),
            "training_stores": (1, 100_000),
            "training_span_weeks": (13, 520),
            "rounds": (1, 2_000),
            "leaves": (2, 16),
            "learning_rate": (0.001, 1.0),
            "calibration_blocks": (0, 4),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} to {most}")
        if self.week_one:
            _check_date(self.week_one)
        if ("{" in self.country or "}" in self.country) and not self.country_column:
            raise ValueError(
                f"country is {self.country!r}, expected a code such as US, or a column as {{land}}"
            )
        taken = {"store", "sku", "week", "sales", "deal", "feat"}
        for name in self.covariates:
            if name in taken or name.startswith("price"):
                raise ValueError(f"covariates names {name!r}, which is a column of the contract already")

    @property
    def country_column(self) -> str:
        """The column that holds each store's country; "" where the setting is a country, or none."""
        return self.country[1:-1] if self.country.startswith("{") and self.country.endswith("}") else ""

    @property
    def folder(self) -> str:
        """The first folder of the input."""
        return self._located.prefixes(DATA)[0]

    @property
    def source(self) -> DataSettings:
        """How input is listed and read: the future's patterns, then the history's."""
        return replace(self._located, path=(*self.future_paths, *self.history_paths))

    @property
    def future_paths(self) -> tuple[str, ...]:
        """The patterns of the future's files; files of no such pattern are history."""
        if self.data.future:
            return replace(self.data, path=self.data.future).paths
        return tuple(f"{path[:-2]}{FUTURE}**" for path in self._located.paths if path.endswith("/**"))

    @property
    def history_paths(self) -> tuple[str, ...]:
        paths = self._located.paths
        if self.data.future:
            return paths
        return tuple(f"{path[:-2]}{HISTORY}**" if path.endswith("/**") else path for path in paths)

    @property
    def _located(self) -> SalesData:
        return self.data.with_defaults(DATA, self.timezone)
