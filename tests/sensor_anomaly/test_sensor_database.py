"""Readings that lie in a real PostgreSQL database: the window, the days before it, training, retries and late rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi

from fleetscore.operations.due.late_data import submit_late
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.plans import read_plan
from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.sensor_anomaly.detector_estate import FIRST, put, readings
from tests.sources.postgres_server import PostgresServer, running_server

pytestmark = pytest.mark.slow
VARIABLE = "FLEETSCORE_DATABASE_PLANT"
SETTINGS = """train_rows_min = 20

[data]
database = "FLEETSCORE_DATABASE_PLANT"
query = "SELECT at, machine, tag, reading FROM readings WHERE at >= :start AND at < :end"
columns = { ts = "at", device = "machine", sensor = "tag", value = "reading" }
"""
WINDOW = FIRST.next(12 * 24 + 5)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


def fill(server: PostgresServer, store: Store) -> None:
    """The readings of the store's files as the table of the database."""
    tables = [pq.read_table(store.open(entry.path)) for entry in store.list("data/")]
    table = pa.concat_tables(tables).rename_columns(["at", "machine", "tag", "reading"])
    with dbapi.connect(server.url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS readings")
        cursor.adbc_ingest("readings", table, mode="create")


@pytest.fixture
def pair(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store]:
    """A store of files, and one of a database with the same readings, each with models trained on three days."""
    monkeypatch.setenv(VARIABLE, server.url)
    files, landed = (open_store(str(tmp_path / name)) for name in ("files", "landed"))
    put(files, "pump", {"flow": readings(3), "heat": readings(4)})
    fill(server, files)
    files.write("settings/sensor_anomaly.toml", b"train_rows_min = 20\n")
    landed.write("settings/sensor_anomaly.toml", SETTINGS.encode())
    for store in (files, landed):
        record = run_training(store, "sensor_anomaly", FIRST.key, FIRST.next(72).key)
        assert record.state == "published", record.error
    return files, landed


def published(store: Store, window: str) -> list[dict[str, Any]]:
    table = read_results(store, read_manifest(store, "sensor_anomaly", window)).drop_columns("model")
    return sorted(table.to_pylist(), key=lambda row: (row["sensor"], row["ts"]))


def test_windows_their_past_and_training_are_those_of_files(pair: tuple[Store, Store]) -> None:
    """Rows of a database give the models and results of the same rows in files; the days before a window are landed
    once, and the next window lands its hour alone.
    """
    files, landed = pair
    for store in pair:
        assert run_window(store, "sensor_anomaly", WINDOW.key).state == "published"
    assert published(landed, WINDOW.key) == published(files, WINDOW.key)
    assert all(row["severity"] is not None for row in published(landed, WINDOW.key))
    before = {entry.path for entry in landed.list("landed/") if entry.path.endswith(".parquet")}
    for store in pair:
        assert run_window(store, "sensor_anomaly", WINDOW.next().key).state == "published"
    assert published(landed, WINDOW.next().key) == published(files, WINDOW.next().key)
    after = {entry.path for entry in landed.list("landed/") if entry.path.endswith(".parquet")}
    [new] = after - before
    assert new.startswith(f"landed/sensor_anomaly/{WINDOW.next().key}/")


def test_a_window_between_landed_days_takes_its_rows_out_of_them(pair: tuple[Store, Store]) -> None:
    """A window that is filled in later, within a day that was landed as another window's past, gives the results of
    files, and so does the next window: no reading is read twice or lost.
    """
    for window in (WINDOW, WINDOW.next(-30), WINDOW.next()):
        for store in pair:
            assert run_window(store, "sensor_anomaly", window.key).state == "published"
        assert published(pair[1], window.key) == published(pair[0], window.key)
    assert "duplicate_reading" not in str(published(pair[1], WINDOW.next().key))


def test_a_retry_reads_what_was_landed_and_late_readings_a_round_of_their_own(
    pair: tuple[Store, Store], server: PostgresServer
) -> None:
    """A retry of all asks no database; readings of a third sensor that come later are landed with their hour and
    scored in a further round, and the retries of the first round keep their file.
    """
    store = pair[1]
    run_window(store, "sensor_anomaly", WINDOW.key)
    before, run = published(store, WINDOW.key), f"sensor_anomaly-{WINDOW.key}"
    server.stop()
    try:
        retry = submit_retry(store, run, datetime.now(UTC), "test", only=Only.ALL)
        assert execute(store, retry.request).state == "published"
    finally:
        server.start()
    assert published(store, WINDOW.key) == before
    assert submit_late(store, "sensor_anomaly", datetime.now(UTC)) is None
    moment = WINDOW.start + timedelta(minutes=7)
    server.run("INSERT INTO readings VALUES ($1::timestamptz, 'pump', 'flow', 51.5)", (moment.isoformat(),))
    found = submit_late(store, "sensor_anomaly", datetime.now(UTC) + timedelta(hours=1))
    assert found is not None
    assert execute(store, found.request).state == "published"
    assert len(published(store, WINDOW.key)) == len(before) + 1
    first = read_plan(store, run).inputs
    assert all(store.stat(file.path) is not None for file in first)


def test_a_server_that_is_down_fails_the_run_by_name_and_lands_nothing(
    pair: tuple[Store, Store], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run while the server is down names the variable, and leaves no file; the next one publishes."""
    monkeypatch.setattr("fleetscore.sources.landing.time.sleep", lambda _: None)
    store = pair[1]
    known = [entry.path for entry in store.list("landed/")]
    server.stop()
    try:
        with pytest.raises(Exception, match=VARIABLE):
            run_window(store, "sensor_anomaly", WINDOW.key)
    finally:
        server.start()
    assert [entry.path for entry in store.list("landed/")] == known
