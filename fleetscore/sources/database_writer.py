"""Writing a window's rows into a table of a database: what was there of the window is replaced, in one
transaction. Which server it is decides only how the few statements are made.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from fleetscore.errors import FleetscoreError, InputError, SourceError
from fleetscore.sources.databases import Connection, is_lost, shown

_SIZE = re.compile(r"\([^)]*\)")  # of a type: numeric(9,2), timestamp(6) with time zone
_TOO_LONG = re.compile(r"due to (?:statement|lock) timeout|SQLSTATE: (?:57014|55P03)")


class OpenTable(Protocol):
    """A table within a transaction, which one writer at a time has."""

    @property
    def name(self) -> str:
        """The table as settings name it."""
        ...

    @property
    def text_types(self) -> frozenset[str]:
        """Of the server's types, those that take texts."""
        ...

    def columns(self) -> Mapping[str, str]:
        """The table's columns with the server's types; none where there is no such table."""
        ...

    def types_of(self, schema: pa.Schema) -> Mapping[str, str]:
        """The server's types that the columns of a schema would get in a new table."""
        ...

    def create(self, schema: pa.Schema) -> None:
        """Make the table."""
        ...

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add columns at its end, without a value in the rows that are there."""
        ...

    def delete(self, column: str, value: str) -> None:
        """Delete the rows with that value."""
        ...

    def insert(self, rows: pa.Table) -> None:
        """Append the rows by the names of their columns."""
        ...

    def commit(self) -> None:
        """Make all of it happen."""
        ...


def replace_window(
    connection: Connection, table: str, column: str, window: str, pieces: Iterable[pa.Table], *, limit_s: float
) -> int:  # fmt: skip
    """Replace the rows whose `column` is `window` by the pieces, which get that column; returns how many
    there are now.

    The table is made where it is missing, and gets the columns of the pieces that it lacks. Either all of it
    happens or nothing. SourceError `database_failed` where the server does not answer, or another session
    keeps the table for `limit_s`: another try may succeed; InputError `bad_table` for rows that the table
    does not take, and for a table without the column.
    """
    with _explained(connection, table, limit_s), _opened(connection, table, limit_s) as opened:
        rows = _replace(opened, column, window, pieces)
        opened.commit()
    return rows


def _opened(connection: Connection, table: str, limit_s: float) -> AbstractContextManager[OpenTable]:
    """The table in a transaction; the writers' modules import their drivers' types only."""
    if connection.is_postgres:
        from fleetscore.sources.postgres_writer import open_postgres_table

        return open_postgres_table(connection, table, limit_s)
    from fleetscore.sources.sql_server_writer import open_sql_server_table

    return open_sql_server_table(connection, table, limit_s)


def _replace(opened: OpenTable, column: str, window: str, pieces: Iterable[pa.Table]) -> int:
    rows, fitted = 0, None
    for piece in pieces:
        marked = _plain(piece).append_column(column, pa.repeat(pa.scalar(window), piece.num_rows))
        if marked.schema != fitted:
            _fit(opened, marked.schema, column)
        if fitted is None:
            opened.delete(column, window)
        fitted = marked.schema
        opened.insert(marked)
        rows += marked.num_rows
    return rows


def _fit(opened: OpenTable, schema: pa.Schema, column: str) -> None:
    """Make the table, or add to it what it lacks.

    InputError for a column of another type: servers would read the bytes of one number as another, or
    round it. Also for a table without the column by which rows are replaced: those in it would stay
    beside the new ones.
    """
    there = opened.columns()
    if not there:
        opened.create(schema)
        return
    if column not in there:
        raise InputError(
            f"{opened.name} has no column {column}, by which the rows of a window are found.",
            fix="Add it as text, with the window's key in the rows that are there, or write to another table.",
            field="table",
            code="bad_table",
        )
    wanted = opened.types_of(schema)
    for name in wanted.keys() & there.keys():
        has, gets = (_SIZE.sub("", kind).strip() for kind in (there[name], wanted[name]))
        if has != gets and not {has, gets} <= opened.text_types:
            raise InputError(
                f"Column {name} of {opened.name} is {there[name]}, and {wanted[name]} in the results.",
                fix="Change the type of the table's column, or write to another table; the watchdog tries again.",
                field="table",
                code="bad_table",
            )
    if lacking := [field for field in schema if field.name not in there]:
        opened.add_columns(lacking)


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionary columns as what they stand for."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


@contextlib.contextmanager
def _explained(connection: Connection, table: str, limit_s: float) -> Iterator[None]:
    """Turn the drivers' errors into ours, without the connection in them."""
    try:
        yield
    except FleetscoreError:
        raise
    except Exception as error:
        if _TOO_LONG.search(str(error)):
            raise SourceError(
                f"Another session kept {table} of {connection.variable} for {limit_s:.0f} s, or its rows took "
                f"longer: {shown(connection, error)}",
                fix="Look for sessions that lock the table; the watchdog tries again.",
                field="database",
                code="database_failed",
            ) from None
        if is_lost(error):
            raise SourceError(
                f"The database of {connection.variable} cannot be written: {shown(connection, error)}",
                fix="Check that the server runs and that the app may reach it; the watchdog tries again.",
                field="database",
                code="database_failed",
            ) from None
        raise InputError(
            f"{table} of {connection.variable} does not take the rows: {shown(connection, error)}",
            fix="Give its role the right to write, to create and to alter, or make the table's columns those of "
            "the results.",
            field="table",
            code="bad_table",
        ) from None
