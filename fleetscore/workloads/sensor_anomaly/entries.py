"""The catalogue's records: what time each piece of an input file spans, and how many readings each sensor
has in each step of the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.records import InputFile
from fleetscore.workloads.sensor_anomaly.columns import Columns
from fleetscore.workloads.sensor_anomaly.csv_input import Header
from fleetscore.workloads.sensor_anomaly.readings import Int64s, Reject, partition_keys
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

COUNTS = pa.schema(
    [("step", pa.int32()), ("device", pa.string()), ("sensor", pa.string()), ("rows", pa.int64())]
)
"""How many readings there are per step since 1970, device and sensor."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is read at once: Parquet row group `number`, or the bytes [first_byte, stop_byte) of a CSV file.

    `first_row` numbers its first row (Parquet, from 0) or line (CSV, the header is line 1); its readings span
    [first_us, last_us], microseconds since 1970 UTC.
    """

    number: int
    first_byte: int
    stop_byte: int
    first_row: int
    rows: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """The catalogue's entry of one file. `cause` is set when nothing of the file can be read; `rejected`
    rows have no window or sensor.
    """

    kind: str = ""
    columns: Columns | None = None
    header: Header | None = None
    pieces: tuple[Piece, ...] = ()
    cause: str = ""
    detail: str = ""
    rejected: int = 0
    rejects: tuple[Reject, ...] = ()
    unit: str = ""  # how a row is spoken of, where `sources` reads the file
    limits: tuple[float, ...] = ()  # read_limit_s and read_limit_mb that were exceeded
    remarks: tuple[str, ...] = ()  # what is to be said of its rows that were read
    step_us: int = HOUR_US  # length of the steps by which readings are counted
    schema: int = 1

    @property
    def row_word(self) -> str:
        """How a row of such a file is spoken of."""
        return self.unit or ("line" if self.kind == "csv" else "row")

    @property
    def span_us(self) -> tuple[int, int] | None:
        """Earliest and latest time in the file, None where it has no reading."""
        filled = [p for p in self.pieces if p.rows]
        return (min(p.first_us for p in filled), max(p.last_us for p in filled)) if filled else None


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """An input file with its entry, and its `counts` as in COUNTS."""

    input: InputFile
    entry: FileEntry
    counts: pa.Table


def overlaps(file: CatalogFile, first_us: int, stop_us: int) -> bool:
    """Whether the file concerns [first_us, stop_us): a reading lies there, or the times of its readings are
    unknown.
    """
    span = file.entry.span_us
    return span is None or (span[0] < stop_us and span[1] >= first_us)


def pieces_within(file: CatalogFile, first_us: int, stop_us: int) -> list[Piece]:
    """The pieces with readings that overlap [first_us, stop_us), in file order."""
    return [p for p in file.entry.pieces if p.rows and p.first_us < stop_us and p.last_us >= first_us]


def counts_within(file: CatalogFile, first_us: int, stop_us: int) -> pa.Table:
    """The file's counts of the steps in [first_us, stop_us)."""
    step, length = file.counts["step"], file.entry.step_us
    inside = pc.and_(pc.greater_equal(step, first_us // length), pc.less(step, stop_us // length))
    return file.counts.filter(inside)


def count_readings(files: Sequence[CatalogFile], first_us: int, stop_us: int) -> tuple[pa.Array, Int64s]:
    """The partition keys with readings in [first_us, stop_us) (whole steps), sorted, and how many each
    has.
    """
    parts = [counts_within(file, first_us, stop_us) for file in files]
    if not any(part.num_rows for part in parts):
        return pa.array([], pa.string()), np.empty(0, np.int64)
    counts = pa.concat_tables(parts).group_by(["device", "sensor"]).aggregate([("rows", "sum")])
    keys = partition_keys(counts)
    order = pc.array_sort_indices(keys)
    return keys.take(order), counts["rows_sum"].combine_chunks().take(order).to_numpy()
