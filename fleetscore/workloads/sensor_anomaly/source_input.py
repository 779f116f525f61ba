"""Readings from files that `sources` reads: every format and dialect that the [data] table can say, each
file as one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.records import InputFile
from fleetscore.sources import ColumnKind, Reject, RejectTally, Rows, TimeRange, our_names, read_batches
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.columns import Columns, recognise_columns
from fleetscore.workloads.sensor_anomaly.readings import Readings, encode_sensors
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW_CAUSES = {"missing_key": "no_sensor", "bad_encoding": "bad_row"}
UNITS = {"csv": "line", "tsv": "line", "jsonl": "line", "capture": "event"}


def is_read_by_pieces(file: InputFile, settings: SensorSettings) -> bool:
    """Whether the file is plain CSV or Parquet of the store, whose pieces are read alone where they overlap
    a window.
    """
    is_here = "://" not in file.path and not file.columns
    return (
        is_here
        and settings.source.is_plain
        and file.path.lower().endswith((".csv", ".parquet"))
        and file.format != "delta"
    )


def span_of(first_us: int, stop_us: int) -> TimeRange:
    """The span of microseconds since 1970 UTC."""
    return TimeRange(*(_EPOCH + timedelta(microseconds=us) for us in (first_us, stop_us)))


def find_columns(store: Store, file: InputFile, settings: SensorSettings) -> Columns:
    """Our names of the four columns; InputError where one is missing."""
    return recognise_columns(our_names(store, file, settings.source), settings)


def read_rows(
    store: Store, file: InputFile, settings: SensorSettings, columns: Columns, span: TimeRange | None,
    tally: RejectTally | None = None, *, with_values: bool = True,
) -> Iterator[Readings]:  # fmt: skip
    """The file's readings, of the span where the times tell it without their order; rejected rows are
    counted in `tally`.
    """
    kinds = {columns.time: ColumnKind.TIME} | dict.fromkeys(
        (columns.device, columns.sensor), ColumnKind.CODED
    )
    if with_values:
        kinds[columns.value] = ColumnKind.NUMBER
    wanted = span if settings.source.timezone == "UTC" else None
    for rows in read_batches(store, file, settings.source, kinds, wanted):
        if tally is not None:
            tally.add(rows)
        yield _readings(rows, columns)


def row_cause(reject: Reject) -> str:
    """The code by which the ledger knows a row that is no reading."""
    return _ROW_CAUSES.get(reject.cause, reject.cause)


def _readings(rows: Rows, columns: Columns) -> Readings:
    table = rows.table
    code, sensors = encode_sensors(_one(table, columns.device), _one(table, columns.sensor))
    value = np.full(table.num_rows, np.nan)
    if columns.value in table.column_names:
        value = pc.fill_null(_one(table, columns.value), float("nan")).to_numpy(zero_copy_only=False)
    times = _one(table, columns.time).cast(pa.int64()).to_numpy()
    texts = {int(rows.places[row]): text for row, text in rows.texts.items()}
    return Readings(times, code, sensors, value, rows.places, texts)


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
