"""Rows of a Delta table at the version that its listing pinned: its live files, and those only that may
hold rows of the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.sources.delta_tables import Snapshot, open_snapshot
from fleetscore.sources.parquet_reader import read_parquet_rows
from fleetscore.sources.patterns import Span
from fleetscore.sources.request import RawRows, Request

# statistics may be cut to milliseconds, and local where times have no zone
_SLACK = timedelta(days=1, seconds=1)


def read_delta_rows(request: Request) -> Iterator[RawRows]:
    """The wanted columns of the live files, those of the partitioning included, file by file in the order
    of their names.
    """
    snapshot = open_snapshot(request.store, request.path, int(request.file.etag))
    wanted = request.theirs(snapshot.columns)
    for action in sorted(snapshot.actions.to_pylist(), key=lambda action: str(action["path"])):
        if request.span is None or _may_hold(action, request.time_column(), request.span):
            yield from _read_file(request, snapshot, wanted, action)


def _read_file(
    request: Request, snapshot: Snapshot, wanted: list[str], action: Mapping[str, Any]
) -> Iterator[RawRows]:
    name = unquote(str(action["path"]))
    if "://" in name or name.startswith("/"):
        raise InputError(
            f"It refers to the file {name}, outside of the table (a shallow clone).",
            fix="Copy the table with its files.",
            code="delta_feature",
        )
    part = replace(request, path=f"{request.path}/{name}")
    inside = _names_inside(request, part.path)
    there = [column for column in wanted if column in inside]
    for raw in read_parquet_rows(part, there or inside[:1]):
        columns = {
            column: raw.table[column]
            if column in there
            else _constant(snapshot, action, column, raw.table.num_rows)
            for column in wanted
        }
        yield replace(raw, table=pa.table(columns))


def _names_inside(request: Request, path: str) -> list[str]:
    try:
        with request.store.open(path) as source:
            return list(pq.read_schema(source).names)
    except MissingBlobError as error:
        raise InputError(
            f"Version {request.file.etag} of the Delta table {request.path} has the file {path}, which is not there.",
            fix="It was taken by a vacuum, or by hand: run the window again, which reads the newest version.",
            code="missing_file",
        ) from error


def _constant(snapshot: Snapshot, action: Mapping[str, Any], column: str, rows: int) -> pa.Array:
    """The file's value of a column of the partitioning; null for a column that the table got later."""
    if column not in snapshot.partitioned_by:
        return pa.nulls(rows)
    field = snapshot.actions.schema.field(f"partition.{column}")
    return pa.repeat(pa.scalar(action[field.name], field.type), rows)


def _may_hold(action: Mapping[str, Any], time_column: str, span: Span) -> bool:
    """Whether a file can hold rows of the span, by the statistics in the log."""
    least, largest = action.get(f"min.{time_column}"), action.get(f"max.{time_column}")
    if not (isinstance(least, datetime) and isinstance(largest, datetime)):
        return True
    aware = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (least, largest)]
    return aware[0] - _SLACK < span.end and aware[1] + _SLACK >= span.start
