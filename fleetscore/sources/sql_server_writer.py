"""A table of Azure SQL or SQL Server, written row by row in batches by its own driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fleetscore.errors import InputError, SourceError
from fleetscore.sources.databases import Connection, require_driver, sql_server_identity

_CONNECT_S = 10
_BATCH_ROWS = 5000
_PLAIN = (
    (pa.types.is_boolean, "bit"),
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_int8, "smallint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint16, "int"),
    (pa.types.is_int32, "int"),
    (pa.types.is_uint32, "bigint"),
    (pa.types.is_int64, "bigint"),
    (pa.types.is_float32, "real"),
    (pa.types.is_float64, "float"),
    (pa.types.is_date, "date"),
    (pa.types.is_string, "nvarchar(max)"),
    (pa.types.is_large_string, "nvarchar(max)"),
    (pa.types.is_null, "nvarchar(max)"),
    (pa.types.is_binary, "varbinary(max)"),
    (pa.types.is_large_binary, "varbinary(max)"),
)


@dataclass(frozen=True, slots=True)
class SqlServerTable:
    """A table within the transaction of a cursor."""

    cursor: Any
    connection: Any
    name: str
    text_types = frozenset({"nvarchar", "varchar", "nchar", "char"})

    def columns(self) -> Mapping[str, str]:
        """The table's columns with their types; none where there is no such table."""
        self.cursor.execute(
            "SELECT name, TYPE_NAME(user_type_id) FROM sys.columns WHERE object_id = OBJECT_ID(?)",
            [self.quoted],
        )
        return {row[0]: row[1] for row in self.cursor.fetchall()}

    def types_of(self, schema: pa.Schema) -> Mapping[str, str]:
        """The types that the columns would get in a new table."""
        return {field.name: _type_of(field) for field in schema}

    def create(self, schema: pa.Schema) -> None:
        """Make the table, every column without a constraint."""
        self.cursor.execute(f"CREATE TABLE {self.quoted} ({declare(schema)})")

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add columns at its end."""
        self.cursor.execute(f"ALTER TABLE {self.quoted} ADD {declare(fields)}")

    def delete(self, column: str, value: str) -> None:
        """Delete the rows with that value."""
        self.cursor.execute(f"DELETE FROM {self.quoted} WHERE {quote(column)} = ?", [value])  # noqa: S608 - quoted names

    def insert(self, rows: pa.Table) -> None:
        """Append the rows by the names of their columns."""
        names = ", ".join(quote(name) for name in rows.column_names)
        marks = ", ".join("?" * rows.num_columns)
        statement = f"INSERT INTO {self.quoted} ({names}) VALUES ({marks})"  # noqa: S608 - quoted names
        for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
            values = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            if values:
                self.cursor.executemany(statement, values)

    def commit(self) -> None:
        """End the transaction."""
        self.connection.commit()

    @property
    def quoted(self) -> str:
        """The table's name as the server takes it."""
        return ".".join(quote(part) for part in self.name.split("."))


@contextlib.contextmanager
def open_sql_server_table(connection: Connection, table: str, limit_s: float) -> Iterator[SqlServerTable]:
    """The table, which no other writer of ours has; gives up when the server does not answer, or takes too
    long over a statement.
    """
    require_driver("mssql_python", "mssql-python")
    import mssql_python

    opened = mssql_python.connect(
        connection.text, timeout=_CONNECT_S, autocommit=False, **sql_server_identity(connection.text)
    )
    with contextlib.closing(opened), contextlib.closing(opened.cursor()) as cursor:
        opened.timeout = int(limit_s)
        _lock(cursor, table, limit_s)
        yield SqlServerTable(cursor, opened, table)


def declare(fields: Sequence[pa.Field] | pa.Schema) -> str:
    """The columns as CREATE TABLE and ALTER TABLE take them; InputError names one whose type no table has.

    >>> declare(pa.schema([("device", pa.string()), ("at", pa.timestamp("us", "UTC"))]))
    '[device] nvarchar(max) NULL, [at] datetimeoffset(6) NULL'
    """
    return ", ".join(f"{quote(field.name)} {_type_of(field)} NULL" for field in fields)


def quote(name: str) -> str:
    """A name as the server takes it, whatever characters it has.

    >>> quote("a]b")
    '[a]]b]'
    """
    return "[" + name.replace("]", "]]") + "]"


def _type_of(field: pa.Field) -> str:
    kind = field.type
    if pa.types.is_timestamp(kind):
        return "datetimeoffset(6)" if kind.tz else "datetime2(6)"
    if pa.types.is_decimal(kind) and kind.precision <= 38:
        return f"decimal({kind.precision},{kind.scale})"
    for matches, name in _PLAIN:
        if matches(kind):
            return name
    raise InputError(
        f"Column {field.name} is {kind}, which a table of SQL Server cannot have.",
        fix="Write it as a number, a text or a time, or to PostgreSQL.",
        code="bad_table",
        field=field.name,
    )


def _lock(cursor: Any, table: str, limit_s: float) -> None:
    """Wait for other writers of the table, until the transaction ends."""
    cursor.execute(
        "SET NOCOUNT ON; DECLARE @got int; EXEC @got = sp_getapplock @Resource = ?, @LockMode = 'Exclusive', "
        "@LockOwner = 'Transaction', @LockTimeout = ?; SELECT @got",
        [f"fleetscore {table}"[:255], int(limit_s * 1000)],
    )
    if cursor.fetchone()[0] < 0:
        raise SourceError(
            f"Another writer kept {table} for {limit_s:.0f} s.",
            fix="The watchdog tries again.",
            code="database_failed",
        )
