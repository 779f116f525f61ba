"""Readings aggregated over fixed intervals, as a stream processor does before a model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import SettingsError
from fleetscore.sources.patterns import Span
from fleetscore.sources.records import ColumnKind
from fleetscore.sources.settings import DataSettings
from fleetscore.sources.times import TIME


def aggregate_rows(table: pa.Table, settings: DataSettings, columns: Mapping[str, ColumnKind]) -> pa.Table:
    """One row per key and interval of `aggregate.every`, at the interval's start, sorted by them; the table
    itself without one.

    Intervals begin at multiples of their length since 1970, UTC. Other columns than keys, the time and
    those that have a statistic are dropped. Missing values are left out of a statistic; `first` and `last`
    go by the order of the times. Raises SettingsError for a statistic of a column that is not read.
    """
    if not settings.aggregate:
        return table
    statistics = {name: how for name, how in settings.aggregate.items() if name != "every"}
    unknown = sorted(statistics.keys() - columns.keys())
    stamped = [name for name, kind in columns.items() if kind is ColumnKind.TIME]
    if unknown or len(stamped) != 1:
        raise SettingsError(
            f"aggregate.{unknown[0]} is no column that is read."
            if unknown
            else "aggregate needs one column of times.",
            fix=f"Columns: {', '.join(columns)}.",
            field="aggregate",
        )
    time = stamped[0]
    keys = [name for name, kind in columns.items() if kind in (ColumnKind.KEY, ColumnKind.CODED)]
    ordered = table.sort_by(time)
    starts = _interval_starts(ordered[time], settings.every_s)
    ordered = ordered.set_column(ordered.column_names.index(time), time, starts)
    grouped = pa.TableGroupBy(ordered, [*keys, time], use_threads=False)  # first and last go by order
    found = grouped.aggregate([(name, how, _options(how)) for name, how in statistics.items()])
    found = found.rename_columns({f"{name}_{how}": name for name, how in statistics.items()})
    return found.select([*(n for n in columns if n in found.column_names)]).sort_by(
        [(n, "ascending") for n in [*keys, time]]
    )


def describe_cut_intervals(settings: DataSettings, window: Span) -> list[str]:
    """What is to be said of intervals that reach over the window's bounds: the window has a part of their
    readings.

    >>> from fleetscore.windows import Cadence, parse_window
    >>> day = parse_window("2026-03-04", Cadence.DAY, "Europe/Berlin")
    >>> describe_cut_intervals(DataSettings(aggregate={"every": "1h", "km": "sum"}), day)
    []
    """
    every_s = settings.every_s
    cut = [bound for bound in (window.start, window.end) if every_s and bound.timestamp() % every_s]
    if not cut:
        return []
    moments = " and ".join(f"{bound.astimezone(UTC):%Y-%m-%dT%H:%M}Z" for bound in cut)
    return [
        f"The window's bounds ({moments}) cut intervals of {settings.aggregate['every']}, which begin at multiples of their length "
        "since 1970, UTC: the first or last one of each key holds a part of its readings. Take an interval that "
        "divides the window in its zone, such as 1h, 15min or 1min."
    ]


def _interval_starts(times: pa.ChunkedArray, every_s: int) -> pa.Array:
    every_us = every_s * 1_000_000
    return pa.array(times.cast(pa.int64()).to_numpy() // every_us * every_us).cast(TIME)


def _options(how: str) -> pc.FunctionOptions:
    return (
        pc.CountOptions(mode="only_valid")
        if how == "count"
        else pc.ScalarAggregateOptions(skip_nulls=True, min_count=1)
    )
