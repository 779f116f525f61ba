"""A table of a PostgreSQL server, written by the driver's COPY of Arrow batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.sources.databases import Connection, require_driver, with_token

_CONNECT_S = 10
_NAME_BYTES = 63
_SHAPE = "fleetscore_shape"
"""A temporary table without rows, by which the driver says what type a column gets."""

_LOCKABLE = frozenset({"r", "p"})
"""Tables and partitioned tables, as the catalogue names them."""


@dataclass(frozen=True, slots=True)
class PostgresTable:
    """A table within the transaction of a cursor."""

    cursor: Any
    connection: Any
    name: str
    text_types = frozenset({"text", "character varying", "character"})

    def columns(self) -> Mapping[str, str]:
        """The table's columns with their types, which nobody changes before the transaction ends; none where
        there is no such table.
        """
        self.cursor.execute("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", (self._quoted,))
        kinds = {kind for (kind,) in self.cursor.fetchall()}
        if kinds & _LOCKABLE:  # else a change of type under way is seen only where the rows are there already
            self.cursor.execute(f"LOCK TABLE {self._quoted} IN ROW EXCLUSIVE MODE")
        return self._described(self._quoted)

    def types_of(self, schema: pa.Schema) -> Mapping[str, str]:
        """The types that the driver would give the columns in a new table."""
        self._require_short(schema)
        self.cursor.adbc_ingest(_SHAPE, schema.empty_table(), mode="replace", temporary=True)
        return self._described(_SHAPE)

    def create(self, schema: pa.Schema) -> None:
        """Make the table with the driver's types."""
        self._require_short(schema)
        self._ingest(schema.empty_table(), "create")

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add columns of the types that the driver would give them in a new table."""
        for name, kind in self.types_of(pa.schema(fields)).items():
            self.cursor.execute(f"ALTER TABLE {self._quoted} ADD COLUMN IF NOT EXISTS {quote(name)} {kind}")

    def delete(self, column: str, value: str) -> None:
        """Delete the rows with that value."""
        self.cursor.execute(f"DELETE FROM {self._quoted} WHERE {quote(column)} = $1", (value,))  # noqa: S608 - quoted names

    def insert(self, rows: pa.Table) -> None:
        """Append the rows by the names of their columns."""
        self._ingest(rows, "append")

    def commit(self) -> None:
        """End the transaction."""
        self.connection.commit()

    @property
    def _quoted(self) -> str:
        return ".".join(quote(part) for part in self.name.split("."))

    def _require_short(self, schema: pa.Schema) -> None:
        for name in schema.names:
            require_short(name, f"Column {name} of {self.name}")

    def _ingest(self, rows: pa.Table, mode: str) -> None:
        schema, _, name = self.name.rpartition(".")
        place = {"db_schema_name": schema} if schema else {}
        self.cursor.adbc_ingest(name, rows, mode=mode, **place)

    def _described(self, quoted: str) -> dict[str, str]:
        """The columns of a table with their types, as the server writes them; none where it is missing."""
        self.cursor.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (quoted,),
        )
        return dict(self.cursor.fetchall())


@contextlib.contextmanager
def open_postgres_table(connection: Connection, table: str, limit_s: float) -> Iterator[PostgresTable]:
    """The table, which no other writer of ours has; gives up when the server does not answer, or takes too
    long over a statement.
    """
    require_driver("adbc_driver_postgresql", "adbc-driver-postgresql")
    from adbc_driver_postgresql import dbapi

    for name in table.split("."):
        require_short(name, f"The name of {table}")
    parts = urlsplit(with_token(connection))
    query = {"connect_timeout": str(_CONNECT_S), **dict(parse_qsl(parts.query))}
    url = parts._replace(query=urlencode(query)).geturl()
    with dbapi.connect(url) as opened, opened.cursor() as cursor:
        limits = ("lock_timeout", f"{limit_s:.0f}s", "statement_timeout", f"{limit_s:.0f}s")
        cursor.execute("SELECT set_config($1, $2, true), set_config($3, $4, true)", limits)
        cursor.fetchall()
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (table,))
        cursor.fetchall()
        yield PostgresTable(cursor, opened, table)


def require_short(name: str, what: str) -> None:
    """InputError for a name that the server would cut off, and so take for another that begins alike."""
    size = len(name.encode())
    if size > _NAME_BYTES:
        raise InputError(
            f"{what} is {size} bytes long, of which PostgreSQL keeps {_NAME_BYTES}.",
            fix="Give it a shorter name.",
            field="table",
            code="bad_table",
        )


def quote(name: str) -> str:
    """A name as the server takes it, whatever characters it has.

    >>> quote('an "odd" name')
    '"an ""odd"" name"'
    """
    return '"' + name.replace('"', '""') + '"'
