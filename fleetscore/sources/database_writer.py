"""Writing a window's rows into a table of a PostgreSQL server: what was there of the window is replaced, in
one transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pyarrow as pa

from fleetscore.errors import FleetscoreError, InputError, SettingsError, SourceError
from fleetscore.sources.databases import Connection, is_lost, require_driver, shown, with_token

_CONNECT_S = 10


def replace_window(
    connection: Connection, table: str, column: str, window: str, pieces: Iterable[pa.Table], *, limit_s: float
) -> int:  # fmt: skip
    """Replace the rows whose `column` is `window` by the pieces, which get that column; returns how many
    there are now.

    The table is made where it is missing. Either all of it happens or nothing. SourceError `database_failed`
    where the server does not answer: another try may succeed; InputError `bad_table` for rows that the table
    does not take.
    """
    if not connection.is_postgres:
        raise SettingsError(
            f"{connection.variable} is no PostgreSQL server.",
            fix="Results are written to PostgreSQL only.",
            field="database",
        )
    require_driver("adbc_driver_postgresql", "adbc-driver-postgresql")
    with _explained(connection, table), _opened(connection, limit_s) as opened, opened.cursor() as cursor:
        rows = _replace(cursor, table, column, window, pieces)
        opened.commit()
    return rows


def _replace(cursor: Any, table: str, column: str, window: str, pieces: Iterable[pa.Table]) -> int:
    """One writer of a table at a time: else two rounds of a window could both insert."""
    schema, _, name = table.rpartition(".")
    place = {"db_schema_name": schema} if schema else {}
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (table,))
    cursor.fetchall()
    rows, made = 0, False
    for piece in pieces:
        marked = _plain(piece).append_column(column, pa.repeat(pa.scalar(window), piece.num_rows))
        if not made:
            cursor.adbc_ingest(name, marked.slice(0, 0), mode="create_append", **place)
            quoted = ".".join(f'"{part}"' for part in (schema, name) if part)
            cursor.execute(f'DELETE FROM {quoted} WHERE "{column}" = $1', (window,))  # noqa: S608 - checked names
            made = True
        cursor.adbc_ingest(name, marked, mode="append", **place)
        rows += marked.num_rows
    return rows


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionary columns as what they stand for."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


@contextlib.contextmanager
def _opened(connection: Connection, limit_s: float) -> Iterator[Any]:
    """A connection that gives up when the server does not answer, or takes too long over a statement."""
    from adbc_driver_postgresql import dbapi

    parts = urlsplit(with_token(connection))
    query = {"connect_timeout": str(_CONNECT_S), **dict(parse_qsl(parts.query))}
    with dbapi.connect(parts._replace(query=urlencode(query)).geturl()) as opened:
        with opened.cursor() as cursor:
            limits = ("lock_timeout", f"{limit_s:.0f}s", "statement_timeout", f"{limit_s:.0f}s")
            cursor.execute("SELECT set_config($1, $2, true), set_config($3, $4, true)", limits)
            cursor.fetchall()
        yield opened


@contextlib.contextmanager
def _explained(connection: Connection, table: str) -> Iterator[None]:
    """Turn the driver's errors into ours, without the connection in them."""
    try:
        yield
    except FleetscoreError:
        raise
    except Exception as error:
        if is_lost(error):
            raise SourceError(
                f"The database of {connection.variable} cannot be written: {shown(connection, error)}",
                fix="Check that the server runs and that the app may reach it; the watchdog tries again.",
                field="database",
                code="database_failed",
            ) from None
        raise InputError(
            f"{table} of {connection.variable} does not take the rows: {shown(connection, error)}",
            fix="Give its role the right to write and to create, or make the table's columns those of the results.",
            field="table",
            code="bad_table",
        ) from None
