"""Sessions that lie in a real PostgreSQL database: days that are landed once, training, late rows, and a preview."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError
from fleetscore.operations.due.late_data import submit_late
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.preview import preview_run
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.local import LocalStore
from tests.sources.postgres_server import PostgresServer, running_server

pytestmark = pytest.mark.slow
VARIABLE = "FLEETSCORE_DATABASE_LOGS"
WINDOW, NEXT = "2016-06-09", "2016-06-10"
SETTINGS = 'test_days = 1\ncandidates = ["forest"]\nforest_trees = 5\n'
PLACE = """
[data]
database = "FLEETSCORE_DATABASE_LOGS"
query = "SELECT began AS time, host AS server, load, mb AS bytes FROM sessions WHERE began >= :start AND began < :end"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


@pytest.fixture
def pair(
    tmp_path: Path, logs: Callable[..., bytes], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[LocalStore, LocalStore]:
    """A store with a log, and one of a database with the same sessions, each with a model of six days."""
    monkeypatch.setenv(VARIABLE, server.url)
    files, landed = LocalStore(tmp_path / "files"), LocalStore(tmp_path / "landed")
    log = logs(["10.0.0.1", "10.0.0.2"], 1, 12)
    files.write("data/server_load/a.csv", log)
    rows = [line.split(",") for line in log.decode().splitlines()]
    table = pa.table(
        {
            "began": pa.array([datetime.fromisoformat(row[1]).replace(tzinfo=UTC) for row in rows]),
            "host": [row[15] for row in rows],
            "load": [float(row[14]) for row in rows],
            "mb": [float(row[4]) for row in rows],
        }
    )
    with dbapi.connect(server.url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS sessions")
        cursor.adbc_ingest("sessions", table, mode="create")
    files.write("settings/server_load.toml", SETTINGS.encode())
    landed.write("settings/server_load.toml", (SETTINGS + PLACE).encode())
    for store in (files, landed):
        record = run_training(store, "server_load", "2016-06-02", "2016-06-08")
        assert record.state == "published", record.error
    return files, landed


def published(store: LocalStore, window: str) -> list[dict[str, Any]]:
    table = read_results(store, read_manifest(store, "server_load", window)).drop_columns("model")
    return sorted(table.to_pylist(), key=lambda row: (row["server"], row["hour"]))


def landed_days(store: LocalStore) -> set[str]:
    return {entry.path.split("/")[2] for entry in store.list("landed/server_load/")}


def test_classes_are_those_of_the_log_and_each_day_is_landed_once(
    pair: tuple[LocalStore, LocalStore],
) -> None:
    """Sessions of a database give the model and the classes of the same log; the second window lands its day alone."""
    for store in pair:
        assert run_window(store, "server_load", WINDOW).state == "published"
    assert published(pair[1], WINDOW) == published(pair[0], WINDOW)
    before = landed_days(pair[1])
    for store in pair:
        assert run_window(store, "server_load", NEXT).state == "published"
    assert published(pair[1], NEXT) == published(pair[0], NEXT)
    assert landed_days(pair[1]) - before == {NEXT}


def test_a_query_that_takes_no_heed_of_its_bounds_counts_no_session_twice(
    pair: tuple[LocalStore, LocalStore],
) -> None:
    """Sessions of other days than the one that is landed are left to the landing of their own day; a record of another
    day that cannot be read has that day landed anew.
    """
    files, store = pair
    text = store.read("settings/server_load.toml").decode()
    store.write("settings/server_load.toml", text.replace("AND began < :end", "AND :start < :end").encode())
    store.write("landed/server_load/2016-06-05/landing.json", b"{oops")
    for one in pair:
        assert run_window(one, "server_load", WINDOW).state == "published"
    assert published(store, WINDOW) == published(files, WINDOW)


def test_late_sessions_are_landed_anew_and_scored_in_a_further_round(
    pair: tuple[LocalStore, LocalStore], server: PostgresServer
) -> None:
    """A server whose sessions come after the window was published gets its classes in a further round."""
    store, now = pair[1], datetime.now(UTC)
    run_window(store, "server_load", WINDOW)
    assert submit_late(store, "server_load", now) is None
    for hour in range(24):
        server.run(
            "INSERT INTO sessions VALUES ($1::timestamptz, 'web-7', 20.0, 1.0)", (f"{WINDOW}T{hour:02}:05Z",)
        )
    found = submit_late(store, "server_load", now + timedelta(hours=1))
    assert found is not None
    assert execute(store, found.request).state == "published"
    assert {row["server"] for row in published(store, WINDOW)} == {"10.0.0.1", "10.0.0.2", "web-7"}


def test_a_preview_lands_nothing_and_says_so(pair: tuple[LocalStore, LocalStore]) -> None:
    """The plan of a window that was not landed is an error that says what to do, and leaves no file behind."""
    store = pair[1]
    known = landed_days(store)
    with pytest.raises(InputError, match="a preview lands none"):
        preview_run(store, AppSettings(), datetime.now(UTC), "server_load", NEXT)
    assert landed_days(store) == known
