"""A fleet whose rows lie in a real PostgreSQL database: due, run, late rows, retries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fleetscore.models.pins import pin_version
from fleetscore.operations.due.late_data import submit_late
from fleetscore.operations.due.windows import has_input
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.plans import read_plan
from fleetscore.sources import find_inputs, read_landed
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models, telemetry
from tests.sources.postgres_server import PostgresServer, running_server

pytestmark = pytest.mark.slow
VARIABLE = "FLEETSCORE_DATABASE_VANS"
WINDOW = "2026-11-21"
VANS = [f"VAN-{n}" for n in range(3)]
PLACE = """database = "FLEETSCORE_DATABASE_VANS"
query = "SELECT * FROM telemetry WHERE recorded_at >= :start AND recorded_at < :end"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


@pytest.fixture
def fleet(store: Store, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three vans with models, two of which have rows in the database."""
    monkeypatch.setenv(VARIABLE, server.url)
    server.run("DROP TABLE IF EXISTS telemetry")
    server.run(
        "CREATE TABLE telemetry (van_id text, depot text, recorded_at timestamptz, speed float8, load_kg float8)"
    )
    store.write("settings/vans.toml", SETTINGS.replace('path = "data/telemetry/*.parquet"\n', PLACE).encode())
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    insert(server, VANS[:2])
    return store


def insert(server: PostgresServer, vans: list[str], rows: int = 4) -> None:
    """Rows of the day for the vans."""
    for row in telemetry(vans, rows).itertuples(index=False):
        values = (row.van_id, row.depot, row.recorded_at.isoformat(), row.speed, row.load_kg)
        server.run("INSERT INTO telemetry VALUES ($1, $2, $3::timestamptz, $4, $5)", values)


def published(store: Store) -> dict[str, int]:
    """How many rows each van has in what is published."""
    table = read_results(store, read_manifest(store, "vans", WINDOW))
    return {str(one["values"]): one["counts"] for one in table["van_id"].value_counts().to_pylist()}


def test_late_rows_are_landed_anew_and_scored_in_a_further_round(
    fleet: Store, server: PostgresServer
) -> None:
    """The third van's rows come after the window was published: they are found within the hour, its round lands them, and
    the first round's file stays for its retries.
    """
    assert has_input(fleet, get_workload(fleet, "vans"))
    assert run_window(fleet, "vans", WINDOW).state == "published"
    assert published(fleet) == {"VAN-0": 4, "VAN-1": 4}
    now = datetime.now(UTC)
    assert submit_late(fleet, "vans", now) is None
    insert(server, VANS[2:])
    assert submit_late(fleet, "vans", now) is None, "it was counted in this hour"
    found = submit_late(fleet, "vans", now + timedelta(hours=1))
    assert found is not None
    assert execute(fleet, found.request).state == "published"
    assert published(fleet) == {"VAN-0": 4, "VAN-1": 4, "VAN-2": 4}
    assert submit_late(fleet, "vans", now + timedelta(hours=2)) is None
    first, second = (read_plan(fleet, run).inputs for run in (f"vans-{WINDOW}", f"vans-{WINDOW}-r2"))
    landed = read_landed(fleet, "vans", WINDOW)
    assert landed is not None
    assert [file.path for file in second] == [landed.path] != [file.path for file in first]
    assert fleet.stat(first[0].path) is not None


def test_training_lands_its_span_and_another_query_lands_anew(fleet: Store, server: PostgresServer) -> None:
    """Models of a span are trained on the rows of the database and score a window of it; a window of the new query is
    not read from the landing of the query before.
    """
    line = '\n[train]\nestimator = "sklearn.linear_model.Ridge"\ntarget = "load_kg"\n'
    text = fleet.read("settings/vans.toml").decode().replace('["speed", "load_kg"]', '["speed"]') + line
    fleet.write("settings/vans.toml", text.encode())
    server.run(
        "INSERT INTO telemetry SELECT van_id, depot, recorded_at + n * interval '1 minute', speed + n, load_kg "
        "FROM telemetry, generate_series(1, 20) n"
    )
    record = run_training(fleet, "vans", WINDOW, "2026-11-22")
    assert record.counts["scored"] == 2, record.error
    pin_version(fleet, "vans", record.model_set, why="test", now=datetime.now(UTC))
    scored = run_window(fleet, "vans", WINDOW)
    assert scored.counts == {"scored": 2, "late": 1}, scored.error
    assert published(fleet) == {"VAN-0": 84, "VAN-1": 84}
    window = get_workload(fleet, "vans").parse_window(WINDOW)
    found = []
    for asked in (text, text.replace("WHERE", "WHERE van_id = 'VAN-1' AND")):
        fleet.write("settings/vans.toml", asked.encode())
        data = get_workload(fleet, "vans").source()
        assert data is not None
        files = find_inputs(fleet, data, "vans", window).files
        assert find_inputs(fleet, data, "vans", window).files == files
        found += files
    assert len({file.path for file in found}) == 2


def test_a_retry_of_all_reads_what_was_landed(fleet: Store, server: PostgresServer) -> None:
    """Rows that have changed in the database since change nothing: a retry does not read it."""
    run_window(fleet, "vans", WINDOW)
    server.run("UPDATE telemetry SET speed = speed + 100")
    before = read_results(fleet, read_manifest(fleet, "vans", WINDOW)).sort_by("van_id").to_pylist()
    server.stop()
    try:
        execute(
            fleet, submit_retry(fleet, f"vans-{WINDOW}", datetime.now(UTC), "test", only=Only.ALL).request
        )
    finally:
        server.start()
    after = read_results(fleet, read_manifest(fleet, "vans", WINDOW)).sort_by("van_id").to_pylist()
    assert [row["kwh"] for row in after] == [row["kwh"] for row in before]
