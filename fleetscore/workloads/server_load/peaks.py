"""Hourly peaks: of each server's hour, the five-minute slot with the largest load, and that slot's eight sums.

Of equal slots the earliest counts. All sums are whole numbers (1/10,000), so the peaks are the same however the logs were split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from fleetscore.stores.base import Store
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.months import Month
from fleetscore.workloads.server_load.partials import ROOT, read_bucket, write_bucketed

if TYPE_CHECKING:
    import polars as pl

HOURS = pa.schema(
    [("server", pa.dictionary(pa.int32(), pa.string())), ("hour", pa.int32()), ("sessions", pa.int64())]
    + [(name, pa.int64()) for name in SUMS]
)
"""Peak sums per server and hour (since 1970, UTC) in 1/10,000, and all sessions of the hour; hours without sessions have no row."""

_READERS = 8


def hours_path(month: Month, sums: Sequence[str], buckets: int) -> str:
    """Where the hours of the month made from these sums lie; the same sums in another order give the same path."""
    digest = hashlib.sha256("\n".join([str(buckets), *sorted(sums)]).encode()).hexdigest()[:40]
    return f"{ROOT}/hours/{month.key}-{digest}.parquet"


def write_hours(store: Store, path: str, month: Month, sums: Sequence[str], buckets: int) -> int:
    """Reduce the sums to the month's hours, bucket by bucket, and write them; returns the number of hours."""
    with ThreadPoolExecutor(_READERS) as pool:
        parts = [
            find_peaks(list(pool.map(lambda path, b=bucket: read_bucket(store, path, b), sums)), month)
            for bucket in range(buckets)
        ]
    hours = pa.concat_tables(parts).unify_dictionaries()
    write_bucketed(store, path, hours, buckets, {})
    return int(hours.num_rows)


def find_peaks(parts: Sequence[pa.Table], month: Month | None = None) -> pa.Table:
    """The hours (HOURS, by server and hour) of partial sums (SLOTS), in any order and number; of one month, or of all."""
    import polars as pl

    tables = [_as_frame(part) for part in parts]
    slots = (
        pl.concat(tables)
        if tables
        else _as_frame(pa.schema(list(HOURS)).empty_table()).rename({"hour": "slot"})
    )
    if month is not None:
        first, stop = month.first_hour * SLOTS_PER_HOUR, month.stop_hour * SLOTS_PER_HOUR
        slots = slots.filter(pl.col("slot").is_between(first, stop - 1))
    slots = slots.group_by("server", "slot").agg(pl.col("sessions", *SUMS).sum())
    slots = slots.with_columns(hour=pl.col("slot") // SLOTS_PER_HOUR)
    slots = slots.sort("server", "hour", "load", "slot", descending=[False, False, True, False])
    hours = slots.group_by("server", "hour", maintain_order=True).agg(
        pl.col("sessions").sum(), pl.col(*SUMS).first()
    )
    return _as_hours(hours)


def _as_frame(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    index = table.schema.get_field_index("server")
    frame = pl.from_arrow(table.set_column(index, "server", table["server"].cast(pa.string())))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is a frame, never a series
    return frame


def _as_hours(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    server = table["server"].cast(pa.string()).dictionary_encode()
    return table.set_column(0, "server", server).cast(HOURS)
