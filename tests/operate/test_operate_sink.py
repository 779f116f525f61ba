"""Published rows in a real PostgreSQL database: a window is replaced whole, a server that is down costs no
run anything.
"""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from toy_workload import write_lines

from fleetscore.errors import InputError, SettingsError, SourceError
from fleetscore.operations.result_sink import sink_behind, sink_window, try_sink, windows_behind
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.settings import ResultsPolicy
from fleetscore.sources.database_writer import _replace, replace_window
from fleetscore.sources.databases import connection_named
from fleetscore.sources.sql_server_writer import SqlServerTable, declare
from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.sources.postgres_server import PostgresServer, running_server

VARIABLE = "FLEETSCORE_DATABASE_RESULTS"
NOW = datetime.now(UTC)
WINDOWS = ["2026-01-01T00", "2026-01-01T01"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


@pytest.fixture
def sunk(store: Store, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two published windows of a workload whose results go to the server; nothing is there yet."""
    monkeypatch.setenv(VARIABLE, server.url)
    server.run("DROP TABLE IF EXISTS forecasts")
    store.write("settings/toy.toml", f'[results]\ndatabase = "{VARIABLE}"\ntable = "forecasts"\n'.encode())
    for window in WINDOWS:
        write_lines(store, window, [(f"p{n}", n, "ok") for n in range(4)])
        run_window(store, "toy", window)
    return store


def rows(server: PostgresServer) -> list[tuple[str, str, int]]:
    """What the database has, in order."""
    found = server.run('SELECT "window", partition, doubled FROM forecasts ORDER BY 1, 2')
    return [tuple(row) for row in found]


def expected(window: str, factor: int = 2) -> list[tuple[str, str, int]]:
    """The rows of a window."""
    return [(window, f"p{n}", factor * n) for n in range(4)]


@pytest.mark.slow
def test_a_window_is_replaced_whole_and_only_when_a_round_is_new(sunk: Store, server: PostgresServer) -> None:
    """The table is made with the first window; a retry replaces its window's rows and no other's; again
    changes nothing.
    """
    for window in WINDOWS:
        assert sink_window(sunk, "toy", window, NOW) is not None
    assert rows(server) == expected(WINDOWS[0]) + expected(WINDOWS[1])
    write_lines(sunk, WINDOWS[0], [(f"p{n}", 10 * n, "ok") for n in range(4)])
    execute(sunk, submit_retry(sunk, f"toy-{WINDOWS[0]}", NOW, "test", only=Only.ALL).request)
    assert windows_behind(sunk, "toy", NOW) == [WINDOWS[0]]
    done = sink_window(sunk, "toy", WINDOWS[0], NOW)
    assert done is not None
    assert (done.round, done.rows) == (2, 4)
    assert rows(server) == expected(WINDOWS[0], 20) + expected(WINDOWS[1])
    server.run("DELETE FROM forecasts")
    assert sink_window(sunk, "toy", WINDOWS[0], NOW) == done
    assert rows(server) == []


@pytest.mark.slow
def test_a_server_that_is_down_costs_nothing_and_gets_the_windows_later(
    sunk: Store, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why without the password; the watchdog writes both windows once it runs again."""
    server.stop()
    try:
        with caplog.at_level(logging.ERROR):
            assert not try_sink(sunk, "toy", WINDOWS[0], NOW)
        with pytest.raises(SourceError):
            sink_window(sunk, "toy", WINDOWS[0], NOW)
    finally:
        server.start()
    assert f"sink_behind workload=toy window={WINDOWS[0]}" in caplog.text
    assert "geheim" not in caplog.text
    sink_behind(sunk, NOW)
    assert rows(server) == expected(WINDOWS[0]) + expected(WINDOWS[1])
    assert windows_behind(sunk, "toy", NOW) == []


@pytest.mark.slow
def test_writers_of_the_same_window_leave_its_rows_once(sunk: Store, server: PostgresServer) -> None:
    """Eight at once, before there is a table: no row twice, none missing."""

    def write() -> None:
        own = open_store(sunk.url)
        own.delete(f"sinks/toy/{WINDOWS[0]}.json")
        sink_window(own, "toy", WINDOWS[0], NOW)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(server) == expected(WINDOWS[0])


@pytest.mark.slow
def test_a_writer_that_waited_writes_the_round_that_is_published_then(
    sunk: Store, server: PostgresServer
) -> None:
    """While it waits for another writer a new round is published: its rows are written, and noted as that round."""
    with dbapi.connect(server.url) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('forecasts', 0))")
        cursor.fetchall()
        found: list[Any] = []
        writer = threading.Thread(target=lambda: found.append(sink_window(sunk, "toy", WINDOWS[0], NOW)))
        writer.start()
        while not server.run("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert writer.is_alive()
        write_lines(sunk, WINDOWS[0], [(f"p{n}", 10 * n, "ok") for n in range(4)])
        execute(sunk, submit_retry(sunk, f"toy-{WINDOWS[0]}", NOW, "test", only=Only.ALL).request)
        other.rollback()
        writer.join()
    assert [sunk_round.round for sunk_round in found] == [2]
    assert rows(server) == expected(WINDOWS[0], 20)
    assert windows_behind(sunk, "toy", NOW) == [WINDOWS[1]]


@pytest.mark.slow
def test_names_that_the_server_would_cut_off_are_refused(sunk: Store, server: PostgresServer) -> None:
    """A table or column of more than 63 bytes is named with its length, before anything is written; 63 fit."""
    connection, piece = connection_named(VARIABLE), pa.table({"partition": ["a"], "doubled": [1]})
    for name in ("t" * 64, "public." + "ü" * 32):
        with pytest.raises(InputError, match="is 64 bytes long, of which PostgreSQL keeps 63"):
            replace_window(connection, name, "window", "w", [piece], limit_s=60.0)
    wide = piece.append_column("ü" * 32, [[1]])
    for _ in range(2):  # a new table, and one that is there
        with pytest.raises(InputError, match=r"Column ü.* of forecasts is 64 bytes long"):
            replace_window(connection, "forecasts", "window", "w", [wide], limit_s=60.0)
        replace_window(
            connection, "forecasts", "window", "w", [piece.append_column("x" * 63, [[1]])], limit_s=60.0
        )
    assert (
        server.run("SELECT tablename FROM pg_tables WHERE tablename LIKE 't%t' OR tablename LIKE 'ü%'") == []
    )


@pytest.mark.slow
def test_rows_that_the_table_does_not_take_leave_it_as_it_was(sunk: Store, server: PostgresServer) -> None:
    """A table of other columns: the error names table and variable, and nothing of the window is written or
    lost.
    """
    server.run('CREATE TABLE forecasts ("window" text, partition text, doubled bigint CHECK (doubled < 5))')
    server.run("INSERT INTO forecasts VALUES ($1, 'old', 1)", (WINDOWS[0],))
    with pytest.raises(InputError, match="forecasts of FLEETSCORE_DATABASE_RESULTS does not take") as raised:
        sink_window(sunk, "toy", WINDOWS[0], NOW)
    assert raised.value.code == "bad_table"
    assert rows(server) == [(WINDOWS[0], "old", 1)]


@pytest.mark.slow
def test_a_table_that_another_session_keeps_is_tried_again(sunk: Store, server: PostgresServer) -> None:
    """A lock costs no more than the limit, and the error says that it is no fault of the rows; then the rows are there."""
    connection, piece = connection_named(VARIABLE), pa.table({"partition": ["a"], "doubled": [1]})
    replace_window(connection, "forecasts", "window", "w", [piece], limit_s=60.0)
    with dbapi.connect(server.url) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE forecasts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(
            SourceError, match="Another session kept forecasts of FLEETSCORE_DATABASE_RESULTS"
        ):
            replace_window(connection, "forecasts", "window", "w", [piece], limit_s=1.0)
        other.rollback()
    assert replace_window(connection, "forecasts", "window", "w", [piece], limit_s=60.0) == 1
    assert rows(server) == [("w", "a", 1)]


@pytest.mark.slow
def test_a_type_that_another_session_is_changing_is_seen(sunk: Store, server: PostgresServer) -> None:
    """The table's columns are those that it has when the writer gets it: no number is read as another's bytes."""
    server.run('CREATE TABLE forecasts ("window" text, km double precision)')
    piece = pa.table({"km": [1.5, 2.5]})
    found: list[Exception] = []

    def write() -> None:
        try:
            replace_window(
                connection_named(VARIABLE), "forecasts", "window", WINDOWS[0], [piece], limit_s=60.0
            )
        except InputError as error:
            found.append(error)

    with dbapi.connect(server.url) as other, other.cursor() as cursor:
        cursor.execute("ALTER TABLE forecasts ALTER km TYPE bigint")
        writer = threading.Thread(target=write)
        writer.start()
        while not server.run("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert writer.is_alive()
        other.commit()
        writer.join()
    assert "Column km of forecasts is bigint" in str(found)
    assert server.run("SELECT count(*) FROM forecasts") == [(0,)]


@pytest.mark.slow
def test_a_table_without_the_window_s_column_is_refused(sunk: Store, server: PostgresServer) -> None:
    """Rows could not be replaced in it: they would stay beside the new ones; what was there stays as it was."""
    sink_window(sunk, "toy", WINDOWS[0], NOW)
    server.run('ALTER TABLE forecasts DROP COLUMN "window"')
    with pytest.raises(InputError, match="forecasts has no column window") as raised:
        sink_window(sunk, "toy", WINDOWS[1], NOW)
    assert raised.value.code == "bad_table"
    assert len(server.run("SELECT * FROM forecasts")) == 4


@pytest.mark.slow
def test_a_window_that_the_table_refuses_costs_no_other(sunk: Store, server: PostgresServer) -> None:
    """The watchdog writes the windows after it, and keeps the one that was refused for its next try."""
    server.run(
        'CREATE TABLE forecasts ("window" text, partition text, doubled bigint, '
        f"CHECK (\"window\" <> '{WINDOWS[0]}'))"
    )
    sink_behind(sunk, NOW)
    assert rows(server) == expected(WINDOWS[1])
    assert windows_behind(sunk, "toy", NOW) == [WINDOWS[0]]


@pytest.mark.slow
def test_new_columns_are_added_and_rows_of_another_type_refused(sunk: Store, server: PostgresServer) -> None:
    """Older rows have no value in an added column, whatever its type and name; a changed type is refused by name, and what was
    there stays.
    """
    connection = connection_named(VARIABLE)

    def write(window: str, piece: pa.Table) -> int:
        return replace_window(connection, "forecasts", "window", window, [piece], limit_s=10.0)

    write("w1", pa.table({"partition": ["a"], "doubled": [1]}))
    grown = pa.table(
        {
            "partition": ["b"], "doubled": [2], 'sum "é"': [0.5], "at": [NOW], "flag": [True],
            "cost": pa.array([None], pa.decimal128(9, 2)), "kind": pa.array(["x"]).dictionary_encode(),
        }
    )  # fmt: skip
    assert write("w2", grown) == 1
    assert write("w2", grown) == 1
    assert write("w1", pa.table({"doubled": [3], "partition": ["a"]})) == 1
    found = server.run(
        'SELECT "window", partition, doubled, "sum ""é""", at IS NULL, flag, kind FROM forecasts ORDER BY 1'
    )
    assert [tuple(row) for row in found] == [
        ("w1", "a", 3, None, True, None, None),
        ("w2", "b", 2, 0.5, False, True, "x"),
    ]
    for other in (["text"], [0.5], [True], pa.array([1], pa.int32())):
        with pytest.raises(InputError, match="Column doubled of forecasts is bigint, and ") as raised:
            write("w1", pa.table({"partition": ["a"], "doubled": other}))
        assert raised.value.code == "bad_table"
    assert len(server.run("SELECT * FROM forecasts")) == 2


@pytest.mark.slow
def test_pieces_of_one_window_may_have_grown_between_files(sunk: Store, server: PostgresServer) -> None:
    """A retry copies old rows beside new ones: both files' rows are there; a window without rows empties it."""
    connection = connection_named(VARIABLE)
    pieces = [pa.table({"partition": ["a"]}), pa.table({"partition": ["b"], "doubled": [2]})]
    assert replace_window(connection, "forecasts", "window", "w", pieces, limit_s=10.0) == 2
    assert server.run("SELECT partition, doubled FROM forecasts ORDER BY 1") == [("a", None), ("b", 2)]
    assert replace_window(connection, "forecasts", "window", "w", [pieces[1].slice(0, 0)], limit_s=10.0) == 0
    assert server.run("SELECT * FROM forecasts") == []


def test_statements_for_sql_server_name_every_type_or_refuse_the_column() -> None:
    """Each Arrow type of results has one of the server's; a list is refused with the column's name. No server was at hand."""
    schema = pa.schema(
        [
            ("a", pa.int64()),
            ("b", pa.float64()),
            ("c", pa.bool_()),
            ("d", pa.date32()),
            ("e]", pa.timestamp("us")),
        ]
    )
    wanted = "[a] bigint NULL, [b] float NULL, [c] bit NULL, [d] date NULL, [e]]] datetime2(6) NULL"
    assert declare(schema) == wanted
    with pytest.raises(InputError, match="Column many is list"):
        declare(pa.schema([("many", pa.list_(pa.int64()))]))


class SqlServerCursor:
    """What the writer says to a server that has the table with two columns."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def execute(self, statement: str, values: Any = None) -> None:
        self.said.append((statement.partition("(")[0].strip(), values))

    executemany = execute

    def fetchall(self) -> list[tuple[str, str]]:
        return [("partition", "varchar"), ("window", "nvarchar")]


def test_the_steps_on_sql_server_are_those_on_postgresql() -> None:
    """The table's columns are read, lacking ones added, the window's rows deleted, the new ones inserted in batches."""
    cursor = SqlServerCursor()
    table = SqlServerTable(cursor, None, "dbo.t")
    piece = pa.table({"partition": [f"p{n}" for n in range(5001)], "doubled": list(range(5001))})
    assert _replace(table, "window", "w", [piece]) == 5001
    said = [statement for statement, _ in cursor.said]
    assert said == [
        "SELECT name, TYPE_NAME",
        "ALTER TABLE [dbo].[t] ADD [doubled] bigint NULL",
        "DELETE FROM [dbo].[t] WHERE [window] = ?",
        "INSERT INTO [dbo].[t]",
        "INSERT INTO [dbo].[t]",
    ]
    assert cursor.said[2][1] == ["w"]
    assert [len(values) for _, values in cursor.said[3:]] == [5000, 1]
    assert cursor.said[4][1] == [("p5000", 5000, "w")]


@pytest.mark.parametrize(
    ("database", "table", "field"),
    [
        (VARIABLE, "", "database"),
        ("", "t", "database"),
        ("postgresql://u:p@h/d", "t", "database"),
        ("PATH", "t", "database"),
        (VARIABLE, 't"; DROP TABLE x', "table"),
        (VARIABLE, "a.b.c", "table"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(database: str, table: str, field: str) -> None:
    """Half of them, a connection in the file, another variable, a table that is no name."""
    with pytest.raises(SettingsError) as raised:
        ResultsPolicy(database, table)
    assert raised.value.field == field


def test_a_workload_without_a_database_has_nothing_to_do(store: Store) -> None:
    """No connection, no file, no finding."""
    write_lines(store, WINDOWS[0], [("a", 1, "ok")])
    run_window(store, "toy", WINDOWS[0])
    assert sink_window(store, "toy", WINDOWS[0], NOW) is None
    assert windows_behind(store, "toy", NOW) == []
    assert list(store.list("sinks/")) == []
