"""Sales that lie in a real PostgreSQL database: history and plans by one query, training, judging and what-ifs."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from fleetscore.errors import InputError
from fleetscore.models.pins import read_pins
from fleetscore.operations.due.late_data import land_late
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import read_landed
from fleetscore.store.local import LocalStore
from fleetscore.workload import RunContext
from fleetscore.workloads.store_sales.workload import StoreSales
from tests.sources.postgres_server import PostgresServer, running_server
from tests.store_sales.conftest import ORIGIN, SETTINGS, Chain, write_table

pytestmark = pytest.mark.slow
VARIABLE = "FLEETSCORE_DATABASE_SALES"
FIRST = dt.date(2019, 1, 7)  # the Monday of week 0
PLACE = """
[data]
database = "FLEETSCORE_DATABASE_SALES"
query = '''
SELECT store, sku, week, sales, price, deal, feat FROM sold WHERE week >= :start AND week < :end
'''
"""


def key(week: int) -> str:
    year, number, _ = (FIRST + dt.timedelta(weeks=week)).isocalendar()
    return f"{year}-W{number:02d}"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for all tests of this file."""
    with running_server() as running:
        yield running


def rows_of(columns: dict[str, Any]) -> pa.Table:
    days = [FIRST + dt.timedelta(weeks=int(week)) for week in columns["week"]]
    return pa.table({**columns, "week": pa.array(days)})


@pytest.fixture
def pair(
    tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[LocalStore, LocalStore]:
    """A store of files and one of a database with the same weeks, each with a model set of the history."""
    monkeypatch.setenv(VARIABLE, server.url)
    files, landed, chain = LocalStore(tmp_path / "files"), LocalStore(tmp_path / "landed"), Chain()
    history, future = rows_of(chain.history), rows_of(chain.future)
    write_table(files, "history.parquet", history)
    write_table(files, "future.parquet", future)
    with dbapi.connect(server.url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS sold")
        both = pa.concat_tables([history, future], promote_options="default")
        cursor.adbc_ingest("sold", both, mode="create")
    files.write("settings/store_sales.toml", SETTINGS.encode())
    landed.write("settings/store_sales.toml", (SETTINGS + PLACE).encode())
    for store in (files, landed):
        record = run_training(store, "store_sales", key(0), key(ORIGIN))
        assert record.model_set, record.error
    return files, landed


def quantiles(store: LocalStore) -> list[dict[str, Any]]:
    table = read_results(store, read_manifest(store, "store_sales", key(ORIGIN))).drop_columns("model")
    return sorted(table.to_pylist(), key=lambda row: (row["store"], row["sku"], row["step"]))


def test_one_query_of_history_and_plans_gives_the_forecasts_of_files(
    pair: tuple[LocalStore, LocalStore],
) -> None:
    """The query is given the weeks from the lookback to the last week to forecast; models and forecasts are those of the
    same weeks in files, and so are what-ifs and the judgement of forecasts.
    """
    for store in pair:
        record = run_window(store, "store_sales", key(ORIGIN))
        assert record.counts == {"scored": 6}, (record.error, record.remarks)
    assert quantiles(pair[1]) == quantiles(pair[0])
    landed = read_landed(pair[1], "store_sales", key(ORIGIN))
    assert landed is not None
    assert (landed.start.date(), landed.end.date()) == (
        FIRST + dt.timedelta(weeks=ORIGIN - 78),
        FIRST + dt.timedelta(weeks=ORIGIN + 13),
    )
    question = [{"store": "1", "sku": "2", "week": key(ORIGIN + 3), "price": 1.5}]
    answers = []
    for store in pair:
        kind = get_workload(store, "store_sales")
        assert isinstance(kind, StoreSales)
        [answer] = kind.score_rows(store, read_pins(store, "store_sales"), question)
        answers.append({name: value for name, value in answer.items() if name != "model"})
    assert answers[0] == answers[1]


def test_corrected_weeks_are_landed_anew_and_forecasts_judged_by_them(
    pair: tuple[LocalStore, LocalStore], server: PostgresServer
) -> None:
    """Rows that come after a window was landed are noticed by their number; the next window's landing has the sales that
    the forecasts of this one are judged by.
    """
    store = pair[1]
    run_window(store, "store_sales", key(ORIGIN))
    kind = get_workload(store, "store_sales")
    assert isinstance(kind, StoreSales)
    context = open_window(store, kind, key(ORIGIN))
    assert not land_late(context)
    server.run("INSERT INTO sold (store, sku, week, sales) VALUES ('1', '1', '2018-12-03', 4)")
    assert land_late(context)
    server.run("UPDATE sold SET sales = 7 WHERE week = $1::date", (str(FIRST + dt.timedelta(weeks=ORIGIN)),))
    record = run_window(store, "store_sales", key(ORIGIN + 1))
    assert record.counts.get("scored") == 6, (record.error, record.remarks)
    results = read_results(store, read_manifest(store, "store_sales", key(ORIGIN)))
    judged = kind.judge(store, kind.parse_window(key(ORIGIN)), results)
    assert judged.num_rows == 6
    assert all(cases > 0 for cases in judged["cases"].to_pylist())


def test_the_country_is_a_column_of_the_query(
    pair: tuple[LocalStore, LocalStore], server: PostgresServer
) -> None:
    """A store's country is read from the landed rows, in training, in scoring and under a name of theirs; a query that
    does not give the column is refused in training by its name.
    """
    store = pair[1]
    server.run("ALTER TABLE sold ADD COLUMN nation text")
    server.run("UPDATE sold SET nation = CASE store WHEN '3' THEN 'Atlantis' ELSE 'gb' END")
    text = f'country = "{{land}}"\n{SETTINGS}{PLACE}columns = {{land = "nation"}}\n'
    store.write("settings/store_sales.toml", text.encode())
    with pytest.raises(InputError, match="No file has the column land"):
        run_training(store, "store_sales", key(0), key(ORIGIN))
    store.write("settings/store_sales.toml", text.replace("feat FROM", "feat, nation FROM").encode())
    record = run_training(store, "store_sales", key(0), key(ORIGIN))
    assert record.model_set, record.error
    assert run_window(store, "store_sales", key(ORIGIN)).counts == {"scored": 6}
    ledger = read_ledger(store, f"store_sales-{key(ORIGIN)}").sort_by("partition")
    assert ledger["cause"].to_pylist() == ["", "", "unknown_country", "", "", ""]


def test_plain_week_numbers_need_a_date(pair: tuple[LocalStore, LocalStore]) -> None:
    """A window that is a plain number is refused by the setting that dates it; with that its span is the dated one."""
    store = pair[1]
    with pytest.raises(InputError, match="week_one"):
        run_window(store, "store_sales", "70")
    store.write("settings/store_sales.toml", f'week_one = "2019-01-16"\n{SETTINGS}{PLACE}'.encode())
    kind = get_workload(store, "store_sales")
    span = kind.landed_span(RunContext(store, kind, kind.parse_window("70")))
    assert (span.key, span.start.date(), span.end.date()) == ("70", dt.date(2019, 1, 7), dt.date(2020, 8, 10))
