"""Reading a query's rows from PostgreSQL or Azure SQL as Arrow batches, in bounded memory, with the
window's bounds bound.

A connection comes from the environment alone. It is never logged: what a driver says is shown without it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from fleetscore.errors import FleetscoreError, InputError, SettingsError, SourceError
from fleetscore.sources.patterns import Span
from fleetscore.sources.queries import bound_names, with_names_replaced

BATCH_BYTES = 16 << 20
_BATCH_ROWS = 1 << 16
_CONNECT_S = 20
_FORMS = "postgresql://USER@HOST/DATABASE, or Server=HOST;Database=NAME for Azure SQL"
_POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
_LOST = re.compile(r"08...|57P0.|53...|40001|40P01|55P03")
"""Connections, shutdowns, too few resources, conflicts with other sessions: another try may succeed."""

_REFUSED = re.compile(
    r"authentication|password|access token|login failed|no pg_hba.conf entry", re.IGNORECASE
)
_REACH = "Check that the server runs and that the app may reach it; a run tries again by itself."
_SIGN_IN = (
    "The server does not accept who signs in: give the connection a user, and a password that is right, or the app's "
    "identity a role in the database; a run tries again by itself, each time with a new token."
)

_SECRETS = re.compile(
    r"(?:password|pwd|accesstoken|uid|user)\s*=\s*('[^']*'|\{(?:[^}]|\}\})*\}|[^;\s&]+)", re.IGNORECASE
)
# up to the last @: a password may hold one that is not escaped
_IN_URL = re.compile(r"://[^:@]*:(.+)@", re.DOTALL)
_CUTS = re.compile(r"[@/:?#&={}']+")
_SHOWN_CHARACTERS = 3  # shorter pieces of a secret tell nothing, and stand in every sentence


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a database is: the environment variable that says so, and what it says.

    Its repr shows the variable alone.
    """

    variable: str
    text: str

    def __repr__(self) -> str:
        """The name of the variable."""
        return f"Connection({self.variable})"

    @property
    def is_postgres(self) -> bool:
        """Whether a PostgreSQL server is meant."""
        return self.text.startswith(("postgresql://", "postgres://"))

    def hidden(self, message: str) -> str:
        """The message without the connection and the secrets in it."""
        secrets = {*_SECRETS.findall(self.text), *_IN_URL.findall(self.text)}
        # as a driver takes it apart
        secrets |= {piece for secret in secrets for piece in _CUTS.split(secret)}
        secrets |= {unquote(secret) for secret in secrets}
        secrets = {secret for secret in secrets if len(secret) >= _SHOWN_CHARACTERS}
        for secret in sorted({self.text, *secrets}, key=len, reverse=True):
            message = message.replace(secret, "***")
        return message


def connection_named(variable: str) -> Connection:
    """The connection that an environment variable holds.

    Raises SettingsError where it is not set or names no PostgreSQL or Azure SQL server; the message never
    shows it.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        raise SettingsError(
            f"The environment variable {variable} is not set, which `database` names.",
            fix=f"Set it in the app's settings: {_FORMS}.",
            field="database",
        )
    connection = Connection(variable, text)
    if not connection.is_postgres and not re.search(r"(?:^|;)\s*Server\s*=", text, re.IGNORECASE):
        raise SettingsError(
            f"The environment variable {variable} names neither a PostgreSQL nor an Azure SQL server.",
            fix=f"Write {_FORMS}.",
            field="database",
        )
    return connection


@dataclass(frozen=True, slots=True)
class Batches:
    """Record batches of a query as the server sends them; iterating raises our errors for what the driver
    raises.
    """

    connection: Connection
    reader: Any

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return self.reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Each batch, once."""
        with _explained(self.connection):
            yield from self.reader


@contextlib.contextmanager
def opened_query(
    connection: Connection, query: str, span: Span, timezone: str, limit_s: float
) -> Iterator[Batches]:
    """A query's rows in [start, end), of which the driver holds no more than a batch.

    Raises InputError `bad_query` for what the server does not accept, `database_missing` without the
    driver's package, and SourceError `database_failed` where the server cannot be reached or the connection
    was lost: another try may succeed.
    """
    reader = _postgres_reader if connection.is_postgres else _sql_server_reader
    with contextlib.ExitStack() as stack:
        with _explained(connection):
            opened = stack.enter_context(reader(connection, query, span, timezone, limit_s))
        yield Batches(connection, opened)


@contextlib.contextmanager
def _postgres_reader(
    connection: Connection, query: str, span: Span, timezone: str, limit_s: float
) -> Iterator[pa.RecordBatchReader]:
    """The driver reads by COPY, which streams but takes no parameters: the bounds are bound to settings of
    the session.

    Parameters of the query itself would make the driver hold the whole result. As subqueries the bounds are
    read once, not once per row.
    """
    require_driver("adbc_driver_postgresql", "adbc-driver-postgresql")
    from adbc_driver_postgresql import StatementOptions, dbapi

    bounds = (
        "transaction_read_only",
        "on",
        "TimeZone",
        timezone or "UTC",
        "statement_timeout",
        f"{limit_s:.0f}s",
    )
    named = ("fleetscore.start", _text(span.start), "fleetscore.end", _text(span.end))
    with dbapi.connect(with_token(connection)) as opened, opened.cursor() as cursor:
        pairs = ", ".join(f"set_config(${n}, ${n + 1}, true)" for n in range(1, len(bounds + named), 2))
        cursor.execute(f"SELECT {pairs}", bounds + named)  # numbers of parameters, no values
        cursor.fetchall()
        cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)})
        cursor.execute(
            with_names_replaced(
                query, lambda name: f"(SELECT current_setting('fleetscore.{name}')::timestamptz)"
            )
        )
        yield cursor.fetch_record_batch()


@contextlib.contextmanager
def _sql_server_reader(
    connection: Connection, query: str, span: Span, timezone: str, limit_s: float
) -> Iterator[Any]:
    """Azure SQL by its own driver, which takes parameters and streams."""
    del timezone  # times without a zone are compared as they stand; datetimeoffset carries its own
    require_driver("mssql_python", "mssql-python")
    import mssql_python

    opened = mssql_python.connect(connection.text, timeout=_CONNECT_S, **sql_server_identity(connection.text))
    with contextlib.closing(opened), contextlib.closing(opened.cursor()) as cursor:
        opened.timeout = int(limit_s)
        values = [getattr(span, name).astimezone(UTC) for name in bound_names(query)]
        cursor.execute(with_names_replaced(query, lambda _: "?"), values)
        with contextlib.closing(cursor.arrow_reader(_BATCH_ROWS)) as reader:
            yield reader


def sql_server_identity(text: str) -> dict[str, Any]:
    """The app's identity, where the connection brings none of its own."""
    if re.search(r"(?:^|;)\s*(?:UID|User Id|Authentication|Trusted_Connection)\s*=", text, re.IGNORECASE):
        return {}
    return {"token_provider": _Tokens()}


class _Tokens:
    """Tokens of the app's identity, as the SQL Server driver requests them."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """A token for the first scope."""
        from fleetscore.store.access_tokens import access_token  # its SDK is needed for databases only

        return access_token(scopes[0])


def with_token(connection: Connection) -> str:
    """The connection with a token of the app's identity as its password, on Azure's servers where it has
    none.
    """
    parts = urlsplit(connection.text)
    if parts.password or not (parts.hostname or "").endswith(".postgres.database.azure.com"):
        return connection.text
    from fleetscore.store.access_tokens import access_token  # its SDK is needed for databases only

    token = access_token(_POSTGRES_SCOPE).token
    return parts._replace(netloc=parts.netloc.replace("@", f":{token}@", 1)).geturl()


@contextlib.contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    """Turn the drivers' errors into ours, without the connection in them."""
    try:
        yield
    except (FleetscoreError, GeneratorExit):
        raise
    except Exception as error:
        if is_lost(error):
            raise SourceError(
                f"The database of {connection.variable} cannot be read: {shown(connection, error)}",
                fix=_SIGN_IN if _REFUSED.search(str(error)) else _REACH,
                field="database",
                code="database_failed",
            ) from None
        if "statement timeout" in str(error):
            raise InputError(
                f"The query of {connection.variable} takes longer than read_limit_s: {shown(connection, error)}",
                fix="Give the table an index on its time, or raise read_limit_s in [data].",
                field="query",
                code="too_slow",
            ) from None
        raise InputError(
            f"The database of {connection.variable} does not accept the query: {shown(connection, error)}",
            fix="Correct `query` in [data], or give the connection's role the right to read the table.",
            field="query",
            code="bad_query",
        ) from None


def is_lost(error: Exception) -> bool:
    """Whether the connection is at fault and not the query: by the server's code, or by what kind of error
    it is without one.

    Errors that come with a batch have no code; of those, what the server said itself and stayed connected
    is the query's.
    """
    found = re.search(r"SQLSTATE:? ?\[?([0-9A-Z]{5})", str(error))
    state = getattr(error, "sqlstate", "") or (found[1] if found else "")
    if state:
        return _LOST.fullmatch(state) is not None
    if isinstance(error, (OSError, pa.ArrowException)):
        return "ERROR:" not in str(error)
    return any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)


def shown(connection: Connection, error: BaseException) -> str:
    """What the driver said in a line, without the connection and the query."""
    lines = [
        line.strip()
        for line in connection.hidden(str(error)).partition("Query was:")[0].splitlines()
        if line.strip()
    ]
    return " ".join(lines)[:400]


def require_driver(module: str, package: str) -> None:
    """InputError `database_missing` that says how to get the package, where it is not installed."""
    if find_spec(module) is None:
        raise InputError(
            f"Reading this database needs the package {package}.",
            fix=f"Add the line of {package} in requirements-sources.txt to fleets/requirements.txt, and run `make lock`.",
            code="database_missing",
            field="database",
        )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
