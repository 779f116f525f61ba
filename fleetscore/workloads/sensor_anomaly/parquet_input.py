"""Readings from Parquet files, row group by row group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError
from fleetscore.sources.times import to_microseconds
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.columns import Columns, recognise_columns
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s, Readings, Reject, encode_sensors
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.text import numbers_of_texts, times_of_texts

_MICROSECONDS = pa.timestamp("us", tz="UTC")

_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What Arrow raises for a damaged file: a flipped byte in a name is a UnicodeDecodeError, which is a
ValueError.
"""


def read_layout(store: Store, path: str, settings: SensorSettings) -> tuple[Columns, pq.FileMetaData]:
    """The file's four columns, their types checked, and its footer, which lists the row groups; InputError
    otherwise.
    """
    file = _open(store, path, None)
    columns = recognise_columns(file.schema_arrow.names, settings)
    _check_types(file.schema_arrow, columns)
    return columns, file.metadata


def open_parquet(store: Store, path: str, columns: Columns) -> pq.ParquetFile:
    """Open the file so that its names stay dictionaries; InputError `unreadable_file` when it is no whole
    Parquet file.
    """
    return _open(store, path, [columns.device, columns.sensor])


def _open(store: Store, path: str, dictionaries: list[str] | None) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            store.open(path), read_dictionary=dictionaries, pre_buffer=True, coerce_int96_timestamp_unit="us"
        )
    except _DAMAGE as error:
        raise InputError(
            f"{path} is not a whole Parquet file: {error}.", code="unreadable_file", field=path
        ) from error


def column_places(footer: pq.FileMetaData, columns: Columns) -> list[int]:
    """Where the four columns stand among the file's."""
    names = {columns.time, columns.device, columns.sensor, columns.value}
    return [place for place in range(footer.num_columns) if footer.schema.column(place).path in names]


def unpacked_bytes(footer: pq.FileMetaData, group: int, places: Sequence[int]) -> int:
    """What the columns at these places of a row group unpack to, as the footer says."""
    row_group = footer.row_group(group)
    return sum(row_group.column(place).total_uncompressed_size for place in places)


def read_row_group(
    file: pq.ParquetFile, group: int, first_row: int, columns: Columns, *, with_values: bool = True
) -> tuple[Readings, list[Reject]]:
    """The readings of one row group, and its rows without a time or a sensor; `first_row` is the number of
    its first row in the file.

    `with_values=False` leaves the values unread (NaN). Raises InputError `unreadable_file`.
    """
    names = [columns.time, columns.device, columns.sensor] + ([columns.value] if with_values else [])
    try:
        return _decode(file.read_row_group(group, columns=names), first_row, columns)
    except _DAMAGE as error:
        raise InputError(f"row group {group} cannot be read: {error}.", code="unreadable_file") from error


def _decode(table: pa.Table, first_row: int, columns: Columns) -> tuple[Readings, list[Reject]]:
    times = _times(_one(table, columns.time))
    code, sensors = encode_sensors(_one(table, columns.device), _one(table, columns.sensor))
    sensors.validate(full=True)  # a file may claim that any bytes are UTF-8
    texts: dict[int, str] = {}
    value = np.full(len(times), np.nan)
    if columns.value in table.column_names:
        value = _values(_one(table, columns.value), texts)
    return _placed(times, code, sensors, value, first_row, texts)


def _placed(
    times: pa.Array, code: Any, sensors: pa.Table, value: Floats, first_row: int, texts: dict[int, str]
) -> tuple[Readings, list[Reject]]:
    rows = range(first_row, first_row + len(times))
    untimed = pc.is_null(times).to_numpy(zero_copy_only=False) if times.null_count else None
    time_us: Int64s = times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    texts = {first_row + index: text for index, text in texts.items()}
    if untimed is None and (code >= 0).all():
        return Readings(time_us, code, sensors, value, rows, texts), []
    lost = code < 0 if untimed is None else (code < 0) | untimed
    rejects = [
        Reject("bad_time" if untimed is not None and untimed[i] else "no_sensor", f"row {first_row + i}", "")
        for i in np.flatnonzero(lost).tolist()
    ]
    kept = np.flatnonzero(~lost)
    return Readings(time_us[kept], code[kept], sensors, value[kept], kept + first_row, texts), rejects


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.unify_dictionaries().combine_chunks() if column.num_chunks else pa.array([], column.type)


def _times(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return to_microseconds(column).cast(_MICROSECONDS)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(_MICROSECONDS)
    return times_of_texts(column.cast(pa.string()))


def _values(column: pa.Array, texts: dict[int, str]) -> Floats:
    if _is_text(column.type):
        numbers, bad = numbers_of_texts(column.cast(pa.string()))
        texts |= bad
        return numbers
    numbers = column.cast(pa.float64(), safe=False)
    if numbers.null_count:
        numbers = numbers.fill_null(float("nan"))
    values: Floats = numbers.to_numpy(zero_copy_only=False)
    return values


def _check_types(schema: pa.Schema, columns: Columns) -> None:
    """Raise InputError `bad_column_type` for a column whose type cannot hold what it should."""
    for name, fits, expected in (
        (columns.time, _is_time, "timestamps"),
        (columns.device, _is_name, "strings or whole numbers"),
        (columns.sensor, _is_name, "strings or whole numbers"),
        (columns.value, _is_number, "numbers"),
    ):
        kind = schema.field(name).type
        if not fits(kind.value_type if pa.types.is_dictionary(kind) and fits is _is_name else kind):
            raise _bad_type(name, kind, expected)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind)) or _is_text(kind)


def _is_name(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) or _is_text(kind)


def _is_number(kind: pa.DataType) -> bool:
    plain = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return bool(plain) or _is_text(kind)


def _bad_type(name: str, kind: pa.DataType, expected: str) -> InputError:
    return InputError(
        f"Column {name!r} holds {kind}; {expected} were expected.",
        fix="Write the file again with that type, or map another column.",
        field=name,
        code="bad_column_type",
    )
