"""Rows of Parquet files: the wanted columns of the row groups that may hold rows of the window."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import InputError
from fleetscore.sources.numbers import is_text
from fleetscore.sources.patterns import Span
from fleetscore.sources.request import RawRows, Request

_BATCH_ROWS = 1 << 17
_WHOLE_BYTES = 64 << 20
_CODED_ROWS = 1000
_ZONE_SLACK = timedelta(days=1)  # statistics of times without a zone are local


def read_parquet_rows(request: Request, names: Sequence[str] = ()) -> Iterator[RawRows]:
    """The wanted columns, or those named, batch by batch; row groups that by their statistics hold no row
    of the span are not read.
    """
    with request.store.open(request.path) as source:
        file = _opened(source, request.key_columns())
        names = names or request.theirs(_top_names(file.schema_arrow))
        for groups, first_row in _runs(file.metadata, request, len(names)):
            yield from _read_groups(request, file, groups, names, first_row)


def _unpacked_bytes(group: Any, columns: int) -> int:
    """What a row group takes in memory: its pages, or eight bytes a cell where these repeat what they hold."""
    return max(int(group.total_byte_size), int(group.num_rows) * columns * 8)


def _runs(footer: pq.FileMetaData, request: Request, columns: int) -> Iterator[tuple[list[int], int]]:
    """Neighbouring row groups that may hold rows of the span, some at a time, and how many rows of the file
    lie before them.
    """
    place = _place_of(footer, request.time_column()) if request.span else None
    made = (request.settings.melt.names,) if request.settings.melt else ()  # of no column of the file
    keys = [
        (_place_of(footer, request.settings.theirs(name)), wanted)
        for name, wanted in request.only.items()
        if name not in made
    ]
    first_row, run, run_rows, run_bytes = 0, list[int](), 0, 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        is_wanted = place is None or may_hold(group, place, request.span)
        is_wanted = is_wanted and all(at is None or _may_have(group, at, wanted) for at, wanted in keys)
        size_bytes = _unpacked_bytes(group, columns)
        is_full = run_rows + group.num_rows > _BATCH_ROWS or run_bytes + size_bytes > _WHOLE_BYTES
        if run and (is_full or not is_wanted):
            yield run, first_row - run_rows
            run, run_rows, run_bytes = [], 0, 0
        if is_wanted:
            run.append(number)
            run_rows += group.num_rows
            run_bytes += size_bytes
        first_row += group.num_rows
    if run:
        yield run, first_row - run_rows


def _place_of(footer: pq.FileMetaData, column: str) -> int | None:
    paths = [footer.schema.column(place).path for place in range(footer.num_columns)] if column else []
    return paths.index(column) if column in paths else None


def _opened(source: pa.NativeFile, keys: set[str]) -> pq.ParquetFile:
    """The file, so that keys written as text come dictionary-encoded: they are few, and each stands there
    often.
    """
    file = pq.ParquetFile(source, pre_buffer=True, coerce_int96_timestamp_unit="us")
    if file.metadata.num_rows < _CODED_ROWS * file.num_row_groups:
        return file  # a dictionary of its own for each of many small row groups costs more than it saves
    coded = [field.name for field in file.schema_arrow if field.name in keys and is_text(field.type)]
    return (
        pq.ParquetFile(
            source,
            metadata=file.metadata,
            pre_buffer=True,
            read_dictionary=coded,
            coerce_int96_timestamp_unit="us",
        )
        if coded
        else file
    )


def read_parquet_names(request: Request) -> tuple[str, ...]:
    """The column names of the file."""
    with request.store.open(request.path) as source:
        return _top_names(pq.read_schema(source))


def may_hold(group: Any, place: int, span: Span | None) -> bool:
    """Whether a row group can hold rows of the span, by the statistics of the column at this place."""
    statistics = group.column(place).statistics if span is not None and place < group.num_columns else None
    return span is None or statistics is None or _overlaps(statistics, span)


def _may_have(group: Any, place: int, wanted: Sequence[str]) -> bool:
    """Whether a row group can hold one of the wanted names (sorted), by the statistics of its column."""
    statistics = group.column(place).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    if isinstance(low, int) and not isinstance(low, bool):
        return any(low <= int(name) <= high for name in wanted if name.lstrip("-").isdecimal())
    if not isinstance(low, str) or low != low.strip():
        return True
    at = bisect.bisect_left(wanted, low)
    return at < len(wanted) and wanted[at] <= high


def _overlaps(statistics: Any, span: Span) -> bool:
    try:
        least, largest = statistics.min, statistics.max
    except (ValueError, OverflowError, pa.ArrowException):
        return True  # not representable here: read it and see
    if not statistics.has_min_max or not (isinstance(least, datetime) and isinstance(largest, datetime)):
        return True
    slack = _ZONE_SLACK if least.tzinfo is None else timedelta()
    aware = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (least, largest)]
    return aware[0] - slack < span.end and aware[1] + slack >= span.start


def _read_groups(
    request: Request, file: pq.ParquetFile, groups: list[int], names: Sequence[str], first_row: int
) -> Iterator[RawRows]:
    first = first_row + 1  # people count rows from 1
    for table in _tables(file, groups, list(names)):
        request.budget.spend(table.nbytes)
        _check_text(table)
        yield RawRows(table, np.arange(first, first + table.num_rows))
        first += table.num_rows


def _tables(file: pq.ParquetFile, groups: list[int], names: list[str]) -> Iterator[pa.Table]:
    """The row groups at once where they are small, which decodes faster, else batch by batch."""
    footers = [file.metadata.row_group(number) for number in groups]
    size_bytes = sum(_unpacked_bytes(group, len(names)) for group in footers)
    if size_bytes <= _WHOLE_BYTES:
        yield file.read_row_groups(groups, columns=names)
        return
    rows = sum(group.num_rows for group in footers) * _WHOLE_BYTES // size_bytes  # wide rows: fewer at once
    for batch in file.iter_batches(min(_BATCH_ROWS, max(rows, 1)), row_groups=groups, columns=names):
        yield pa.Table.from_batches([batch])


def _check_text(table: pa.Table) -> None:
    """Refuse bytes that claim to be text: a file may say so of any bytes."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_primitive(column.type):
            continue
        parts = (
            [chunk.dictionary for chunk in column.chunks] if pa.types.is_dictionary(column.type) else [column]
        )
        try:
            for part in parts:
                part.validate(full=True)
        except pa.ArrowException as error:
            raise InputError(
                f"Column {name!r} holds no valid values: {error}.", code="unreadable_file"
            ) from error


def _top_names(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(schema.names)
