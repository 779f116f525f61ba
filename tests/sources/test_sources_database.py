"""Landing from a real PostgreSQL server: the window's rows once, whole or not at all, in bounded memory,
without a secret told.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi

from fleetscore.errors import FileError, InputError, SettingsError, SourceError
from fleetscore.sources import (
    ColumnKind,
    DataSettings,
    find_inputs,
    land,
    read_files,
    read_landed,
    read_standing,
    read_table,
)
from fleetscore.store import Store
from fleetscore.windows import Cadence, Window, parse_window
from tests.sources.postgres_server import PostgresServer, running_server
from tests.sources.spans import VANS, at

pytestmark = pytest.mark.slow

VARIABLE = "FLEETSCORE_DATABASE_FLEET"
HOUR: Window = parse_window("2026-03-04T10", Cadence.HOUR)
QUERY = "SELECT ts, van, km FROM trips WHERE ts >= :start AND ts < :end ORDER BY ts;"

LOCAL = (
    "WITH local AS (SELECT ts::timestamp AS ts, van, km FROM trips) "
    "SELECT * FROM local WHERE ts >= :start AND ts < :end"
)
ENDLESS = "SELECT CASE van WHEN 'b' THEN 'MOMENT' ELSE ts END AS ts, van, km FROM trips WHERE ts >= :start AND ts < :end"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


@pytest.fixture
def trips(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server with a table of trips, a row a minute from 09:00 to 12:00, named by the environment."""
    monkeypatch.setenv(VARIABLE, server.url)
    monkeypatch.setattr("fleetscore.sources.landing.time.sleep", lambda _: None)
    server.run("DROP TABLE IF EXISTS trips")
    server.run(
        "CREATE TABLE trips AS SELECT timestamptz '2026-03-04T09:00Z' + n * interval '1 min' AS ts, "
        "CASE n % 2 WHEN 0 THEN 'NA' ELSE 'b' END AS van, n::numeric / 8 AS km FROM generate_series(0, 179) AS n"
    )
    return server


def settings(query: str = QUERY, **lines: Any) -> DataSettings:
    """A table `[data]` that lands."""
    return DataSettings(**{"database": VARIABLE, "query": query, "time": "ts", "timezone": "UTC", **lines})


def stored(store: Store) -> list[str]:
    """Everything that was landed."""
    return [entry.path for entry in store.list("landed/")]


def test_the_window_s_rows_are_landed_once(store: Store, trips: PostgresServer) -> None:
    """From start to end, exclusive; the landing is a file that is read as any other, and is found again."""
    landed = land(store, settings(), "vans", HOUR)
    assert (landed.rows, landed.newest) == (60, at("2026-03-04T10:59"))
    assert read_landed(store, "vans", HOUR.key) == landed
    rows = read_table(store, landed.file(), settings(), VANS, HOUR)
    assert rows.rejected == {}
    assert rows.table.num_rows == 60
    assert rows.table.to_pylist()[0] == {"ts": at("2026-03-04T10:00"), "van": "NA", "km": 7.5}
    assert stored(store) == [landed.path, "landed/vans/2026-03-04T10/landing.json"]


def test_every_type_of_a_column_lands(store: Store, trips: PostgresServer) -> None:
    """Numerics bit for bit, JSON, UUIDs and intervals as text, dates, arrays, nulls."""
    query = (
        "SELECT ts, '00000000-0000-0000-0000-0000000000ff'::uuid AS van, 1e300::numeric AS km, '{\"a\": 1}'::jsonb AS j, "
        "interval '1 day' AS i, date '2026-03-04' AS d, ARRAY[1, 2] AS a, true AS b, 'x'::bytea AS x, NULL::text AS n, "
        "':start' AS quoted FROM trips WHERE ts >= :start AND ts < :end -- :end"
    )
    landed = land(store, settings(query), "vans", HOUR)
    columns = VANS | {
        "j": ColumnKind.TEXT,
        "d": ColumnKind.TEXT,
        "n": ColumnKind.TEXT,
        "quoted": ColumnKind.TEXT,
    }
    [first, *_] = read_table(store, landed.file(), settings(), columns, HOUR).table.to_pylist()
    assert first["van"] == "00000000-0000-0000-0000-0000000000ff"
    assert first["km"] == 1e300
    assert (first["j"], first["d"], first["n"], first["quoted"]) == ('{"a": 1}', "2026-03-04", None, ":start")


def test_times_without_a_zone_are_of_the_zone_of_the_settings(store: Store, trips: PostgresServer) -> None:
    """`:start` is compared with local times as the settings' zone has them, and they are read so."""
    query = (
        "SELECT ts AT TIME ZONE 'Europe/Berlin' AS ts, van, km FROM trips "
        "WHERE ts AT TIME ZONE 'Europe/Berlin' >= :start AND ts AT TIME ZONE 'Europe/Berlin' < :end"
    )
    local = settings(query, timezone="Europe/Berlin")
    landed = land(store, local, "vans", HOUR)
    assert landed.rows == 60
    assert read_table(store, landed.file(), local, VANS, HOUR).table.num_rows == 60


def test_a_window_without_rows_lands_empty(store: Store, trips: PostgresServer) -> None:
    """No rows is a landing without rows, not a missing one."""
    trips.run("DELETE FROM trips")
    landed = land(store, settings(), "vans", HOUR)
    assert (landed.rows, landed.newest) == (0, None)
    assert read_files(store, [landed.file()], settings(), VANS, HOUR).table.num_rows == 0


@pytest.mark.parametrize("ts", ["ts + interval '1 day'", "(ts + interval '1 day')::text"])
def test_rows_that_all_lie_outside_the_window_are_told(store: Store, trips: PostgresServer, ts: str) -> None:
    """A query that gives rows, none of the window, needs attention: how many, from when to when; one without rows does not."""
    shifted = settings(QUERY.replace("SELECT ts", f"SELECT {ts} AS ts"))
    [told] = find_inputs(store, shifted, "vans", HOUR).remarks()
    for part in (
        "60 rows, none of",
        "2026-03-05T10:00:00Z to 2026-03-05T10:59:00Z",
        HOUR.key,
        "2026-03-04T11:00:00Z",
    ):
        assert part in told
    assert find_inputs(store, shifted, "vans", HOUR).remarks() == (told,)
    partly = settings("SELECT ts, van, km FROM trips WHERE ts >= :start OR ts < :end")
    assert find_inputs(store, partly, "vans", HOUR).remarks() == ()
    none = settings(QUERY.replace("WHERE", "WHERE km < 0 AND"))
    assert find_inputs(store, none, "vans", HOUR).remarks() == ()


def test_rows_without_a_time_are_told(store: Store, trips: PostgresServer) -> None:
    """A query that gives nulls in the time: rejected by row when the landing is read."""
    query = "SELECT NULLIF(ts, timestamptz '2026-03-04T10:01Z') AS ts, van, km FROM trips WHERE ts >= :start AND ts < :end"
    landed = land(store, settings(query), "vans", HOUR)
    rows = read_table(store, landed.file(), settings(query), VANS, HOUR)
    assert (rows.table.num_rows, rows.rejected) == (59, {"bad_time": 1})


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nothing WHERE ts >= :start AND ts < :end", "nothing"),
        ("SELECT ts, kilometres FROM trips WHERE ts >= :start AND ts < :end", "kilometres"),
        ("SELECT ts FROM trips WHERE ts >= :start AND ts < :end; DROP TABLE trips", "multiple commands"),
        ("DELETE FROM trips WHERE ts >= :start AND ts < :end RETURNING *", "read-only"),
        ("SELECT van, km FROM trips WHERE ts >= :start AND ts < :end", "'ts'"),
        ("SELECT ts, ts FROM trips WHERE ts >= :start AND ts < :end", "two columns"),
        ("SELECT ts, van, 1 / (extract(minute FROM ts)::int - 59) AS km FROM trips, generate_series(1, 20000) "
         "WHERE ts >= :start AND ts < :end ORDER BY ts", "division by zero"),
    ],
)  # fmt: skip
def test_a_query_at_fault_lands_nothing(store: Store, trips: PostgresServer, query: str, said: str) -> None:
    """Also one that fails after it has given rows: its error says what the server said, and nothing is
    stored or changed.
    """
    with pytest.raises(InputError) as caught:
        land(store, settings(query), "vans", HOUR)
    assert caught.value.code == "bad_query"
    assert said in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert stored(store) == []
    assert trips.run("SELECT count(*) FROM trips") == [(180,)]


SLOW = (
    "SELECT ts, van, km FROM trips, LATERAL (SELECT pg_sleep(0.02 + 0 * extract(minute FROM ts))) AS nap "
    "WHERE ts >= :start AND ts < :end AND nap IS NOT NULL"
)


def test_a_connection_that_breaks_is_made_anew(store: Store, trips: PostgresServer) -> None:
    """The landing begins again, and its rows are there once."""
    killed: list[Any] = []

    def kill_once() -> None:
        deadline = time.monotonic() + 20
        while not killed and time.monotonic() < deadline:
            killed.extend(
                trips.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.02%' "
                    "AND pid <> pg_backend_pid() AND state = 'active'"
                )
            )

    killer = threading.Thread(target=kill_once)
    killer.start()
    landed = land(store, settings(SLOW), "vans", HOUR)
    killer.join()
    assert killed == [(True,)]
    assert landed.rows == 60
    assert len(stored(store)) == 2


def test_a_server_that_stops_under_a_landing_leaves_nothing(
    store: Store, trips: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again with limits, then the cause names the variable; nothing is landed, and no secret is
    told.
    """
    caplog.set_level(logging.DEBUG)
    stopper = threading.Timer(0.5, trips.stop)
    stopper.start()
    try:
        with pytest.raises(SourceError) as caught:
            land(store, settings(SLOW), "vans", HOUR)
    finally:
        stopper.join()
        trips.start()
    assert caught.value.code == "database_failed"
    assert caught.value.retry
    assert VARIABLE in str(caught.value)
    assert "geheim" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    assert stored(store) == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", SettingsError),
        ("mysql://fleet:geheim@127.0.0.1/x", SettingsError),
        ("postgresql://fleet:geheim@127.0.0.1:1/x", SourceError),
        ("postgresql://fleet:falsch-geheim@127.0.0.1:{port}/postgres", SourceError),
        ("postgresql://fleet:geheim@127.0.0.1:{port}/postgres?geheim=1", SourceError),
        ("Server=tcp:127.0.0.1,1;Database=x;UID=sa;PWD=geheim", SourceError),
    ],
)
def test_a_connection_at_fault_is_told_without_its_secret(
    store: Store, trips: PostgresServer, monkeypatch: pytest.MonkeyPatch, text: str, error: type[Exception]
) -> None:
    """The variable is named, what it holds is not; a password that is refused has other advice than a server that is down."""
    monkeypatch.setenv(VARIABLE, text.format(port=trips.port))
    with pytest.raises(error) as caught:
        land(store, settings(), "vans", HOUR)
    assert VARIABLE in str(caught.value)
    assert ("who signs in" in caught.value.fix) == ("falsch" in text)
    assert "geheim" not in str(caught.value)
    assert stored(store) == []


def test_a_token_that_expired_is_got_anew(
    store: Store, trips: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try to connect requests a token of its own: one that the server refuses costs a try, no landing."""
    tokens = iter(["expired", "geheim"])
    named = f"postgresql://fleet@127.0.0.1:{trips.port}/postgres"
    monkeypatch.setenv(VARIABLE, named)
    monkeypatch.setattr(
        "fleetscore.sources.databases.with_token",
        lambda connection: connection.text.replace("@", f":{next(tokens)}@", 1),
    )
    assert land(store, settings(), "vans", HOUR).rows == 60
    assert list(tokens) == []


def test_late_rows_are_noticed_and_landed_anew(store: Store, trips: PostgresServer) -> None:
    """The database is asked how many rows it has now; a second landing is another file, and the first stays
    readable.
    """
    first = land(store, settings(), "vans", HOUR)
    assert read_standing(settings(), HOUR).rows == first.rows
    trips.run("INSERT INTO trips VALUES ('2026-03-04T10:59:30Z', 'late', 1)")
    standing = read_standing(settings(), HOUR)
    assert (standing.rows, standing.newest) == (61, at("2026-03-04T10:59:30"))
    second = land(store, settings(), "vans", HOUR)
    assert read_landed(store, "vans", HOUR.key) == second
    counts = [read_table(store, one.file(), settings(), VANS).table.num_rows for one in (first, second)]
    assert counts == [60, 61]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_times_without_a_zone_are_late_only_where_rows_are_new(
    store: Store, trips: PostgresServer, zone: str
) -> None:
    """What was landed of a column without a zone is what the database has: it is not landed again every hour."""
    naive = settings(LOCAL, timezone=zone)
    landed = land(store, naive, "vans", HOUR)
    standing = read_standing(naive, HOUR)
    assert landed.rows == 60
    assert landed.newest is not None
    assert (standing.rows, standing.newest) == (landed.rows, landed.newest)


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC"])
def test_a_time_beyond_all_years_costs_its_own_row(store: Store, trips: PostgresServer, moment: str) -> None:
    """A query whose time is `infinity` in some rows: these are rejected by name, and the others are landed."""
    query = ENDLESS.replace("MOMENT", moment)
    landed = land(store, settings(query), "vans", HOUR)
    rows = read_table(store, landed.file(), settings(query), VANS, HOUR)
    assert (rows.table.num_rows, rows.rejected) == (30, {"bad_time": 30})
    assert read_standing(settings(query), HOUR).is_that_of(landed)


def test_endless_times_between_batches_make_no_row_late(store: Store, trips: PostgresServer) -> None:
    """A landing of several batches, with `infinity` in each, is what the database has: it is not landed every hour."""
    query = (
        "SELECT CASE n % 2 WHEN 0 THEN timestamptz 'infinity' ELSE timestamptz '2026-03-04T10:00Z' END AS ts, "
        "repeat('x', 200) AS van, n AS km FROM generate_series(0, 200000) AS n WHERE :start < :end"
    )
    landed = land(store, settings(query), "vans", HOUR)
    assert landed.newest == at("2026-03-04T10:00")
    assert read_standing(settings(query), HOUR).is_that_of(landed)
    fewer = settings(query.replace("200000", "199999"))
    assert not read_standing(fewer, HOUR).is_that_of(landed)


@pytest.mark.parametrize("column", ["ROW(van, km)", "ARRAY[ROW(van, km)]"])
def test_a_column_of_rows_is_refused_by_name(store: Store, trips: PostgresServer, column: str) -> None:
    """What the driver cannot read is the query's fault, told with column and type at the first try."""
    query = f"SELECT ts, van, km, {column} AS both FROM trips WHERE ts >= :start AND ts < :end"  # noqa: S608 # of the test's own
    with pytest.raises(InputError, match=r"'both' .* type _?record") as caught:
        land(store, settings(query), "vans", HOUR)
    assert caught.value.code == "bad_query"
    assert stored(store) == []


@pytest.mark.parametrize(
    ("van", "km", "told"),
    [("inet '10.0.0.1'", "km", "'van': It holds inet"), ("van", "money '12.5'", "'km': It holds money")],
)
def test_types_that_only_the_database_knows_are_neither_names_nor_numbers(
    store: Store, trips: PostgresServer, van: str, km: str, told: str
) -> None:
    """The driver's bytes of an address are no key, its cents no number; where no one reads the column it does no harm."""
    query = f"SELECT ts, {van} AS van, {km} AS km FROM trips WHERE ts >= :start AND ts < :end"  # noqa: S608 # of the test's own
    landed = land(store, settings(query), "vans", HOUR)
    with pytest.raises(FileError, match=told) as caught:
        read_table(store, landed.file(), settings(query), VANS, HOUR)
    assert caught.value.code == "bad_column_type"
    assert (
        read_table(store, landed.file(), settings(query), {"ts": ColumnKind.TIME}, HOUR).table.num_rows == 60
    )
    assert read_table(store, landed.file(), settings(query), None, HOUR).table.num_rows == 60


def test_a_table_that_is_locked_is_tried_again(store: Store, trips: PostgresServer) -> None:
    """Where the role gives up on locks, as many tries are made as where the server is away."""
    trips.run("ALTER ROLE fleet SET lock_timeout = '100ms'")
    try:
        with dbapi.connect(trips.url) as other, other.cursor() as cursor:
            cursor.execute("LOCK TABLE trips IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(SourceError, match="lock timeout"):
                land(store, settings(), "vans", HOUR)
            other.rollback()
    finally:
        trips.run("ALTER ROLE fleet RESET lock_timeout")
    assert stored(store) == []
    assert land(store, settings(), "vans", HOUR).rows == 60


def test_a_landing_beyond_its_limit_leaves_nothing(store: Store, trips: PostgresServer) -> None:
    """More megabytes than read_limit_mb are refused by name while they come."""
    query = "SELECT ts, repeat('x', 1000) AS van, km FROM trips, generate_series(1, 1000) WHERE ts >= :start AND ts < :end"
    with pytest.raises(FileError) as caught:
        land(store, settings(query, read_limit_mb=20.0), "vans", HOUR)
    assert caught.value.code == "too_large"
    assert stored(store) == []


def test_a_large_landing_stays_within_little_memory(tmp_path: Path, trips: PostgresServer) -> None:
    """A gigabyte of rows is landed in a quarter of it; the driver itself and its batches took 145 MB when measured."""
    query = "SELECT ts, repeat('x', 1000) || n AS van, km FROM trips, generate_series(1, 17000) AS n WHERE ts >= :start AND ts < :end"
    script = f"""
from fleetscore.sources import DataSettings, land
from fleetscore.store import open_store
from fleetscore.windows import Cadence, parse_window
settings = DataSettings(database={VARIABLE!r}, query={query!r}, time="ts", timezone="UTC")
def peak_kb():  # ru_maxrss is inherited from the process that started this one
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
before = peak_kb()
landed = land(open_store({str(tmp_path)!r}), settings, "vans", parse_window("2026-03-04T10", Cadence.HOUR))
print(landed.rows, (peak_kb() - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    rows, grown_mb = map(int, done.stdout.split())
    assert rows == 60 * 17000
    assert grown_mb < 256
