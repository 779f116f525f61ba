"""Input as users have it: their names, formats, zones and layouts, weeks as they write them, and columns that are not there."""

import datetime as dt
import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fleetscore.errors import InputError, SettingsError
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.sources import check_ready
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, StoreSalesSettings

ORIGIN = 70
FIRST = dt.date(2019, 1, 7)  # the Monday of week 0 where weeks are dates


def quantiles(store: LocalStore, window: str = str(ORIGIN)) -> np.ndarray:
    record = run_window(store, "store_sales", window)
    assert record.counts == {"scored": 6}, (record.error, record.remarks)
    results = read_results(store, read_manifest(store, "store_sales", window)).to_pandas()
    return np.asarray(results[list(QUANTILE_NAMES)])


def spare(trained_folder: Path, tmp_path: Path) -> LocalStore:
    """Another copy of the store with models and without data."""
    shutil.copytree(trained_folder, tmp_path / "spare")
    shutil.rmtree(tmp_path / "spare" / "data")
    return LocalStore(tmp_path / "spare")


def configure(store: LocalStore, text: str) -> None:
    store.write("settings/store_sales.toml", f"min_history_weeks = 8\n{text}".encode())


@pytest.fixture
def plain(chain: Any, trained_folder: Path, tmp_path: Path) -> np.ndarray:
    """The forecasts of the sound chain in plain Parquet."""
    store = spare(trained_folder, tmp_path)
    chain.write(store)
    return quantiles(store)


def as_csv(columns: Any, names: dict[str, str], **options: Any) -> bytes:
    frame = pd.DataFrame(columns).rename(columns=names)
    return str(frame.to_csv(index=False, **options)).encode()


def test_other_names_separators_decimals_and_compression(chain: Any, sound: LocalStore, plain: Any) -> None:
    """Files with other columns' names, semicolons, decimal commas and gzip give the same numbers as plain Parquet."""
    theirs = {"store": "Filiale", "sku": "Artikel", "week": "KW", "price": "Preis", "sales": "Absatz"}
    for name in ("history", "future"):
        text = as_csv(getattr(chain, name), theirs, sep=";", decimal=",")
        sound.write(f"exports/chain/{name}-1.csv.gz", gzip.compress(text))
    pairs = ", ".join(f'{ours} = "{name}"' for ours, name in theirs.items())
    configure(
        sound,
        f'[data]\npath = "exports/chain/"\nseparator = ";"\ndecimal = ","\ncolumns = {{ {pairs} }}\n',
    )
    assert np.array_equal(quantiles(sound), plain)


@pytest.mark.parametrize("form", ["tsv", "jsonl", "avro"])
def test_other_formats_give_the_same_numbers(form: str, chain: Any, sound: LocalStore, plain: Any) -> None:
    """Tabs, JSON lines and Avro are read as CSV and Parquet are."""
    for name in ("history", "future"):
        frame = pd.DataFrame(getattr(chain, name))
        sound.write(f"data/store_sales/{name}.{form}", written(frame, form))
    assert np.array_equal(quantiles(sound), plain)


def written(frame: pd.DataFrame, form: str) -> bytes:
    if form == "tsv":
        return str(frame.to_csv(index=False, sep="\t")).encode()
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    if form == "jsonl":
        return "\n".join(map(json.dumps, rows)).encode()
    import fastavro

    kinds = {"store": "string", "sku": "string", "week": "long"}
    fields = [{"name": name, "type": kinds.get(name, "double")} for name in frame.columns]
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "sale", "fields": fields}, rows)
    return sink.getvalue()


def test_a_delta_table_of_past_and_future_is_read(
    chain: Any, sound: LocalStore, plain: Any, tmp_path: Path
) -> None:
    """One Delta table holds the weeks sold and the weeks to come, which have no sales."""
    deltalake = pytest.importorskip("deltalake")
    frame = pd.concat([pd.DataFrame(chain.history), pd.DataFrame(chain.future)])
    deltalake.write_deltalake(
        Path(sound.url.removeprefix("file://")) / "lake" / "sales",
        pa.Table.from_pandas(frame, preserve_index=False),
    )
    configure(sound, '[data]\npath = "lake/sales"\nformat = "delta"\n')
    assert np.array_equal(quantiles(sound), plain)


def test_the_store_comes_from_the_path(chain: Any, sound: LocalStore, plain: Any) -> None:
    """A file without a store column takes it from its folder; `future` names the files of the weeks to come."""
    for role in ("history", "future"):
        for store, frame in pd.DataFrame(getattr(chain, role)).groupby("store"):
            text = str(frame.drop(columns="store").to_csv(index=False)).encode()
            sound.write(f"exports/{store}/{'sold' if role == 'history' else 'plan'}.csv", text)
    configure(sound, '[data]\npath = "exports/{store}/sold.csv"\nfuture = "exports/{store}/plan.csv"\n')
    assert np.array_equal(quantiles(sound), plain)
    assert get_workload(sound, "store_sales").data_prefixes() == ("exports/",)


def iso(week: int, form: str) -> str:
    year, number, _ = (FIRST + dt.timedelta(weeks=int(week))).isocalendar()
    return form.format(year=year, week=number)


@pytest.mark.parametrize("form", ["{year}{week:02d}", "{year}-W{week}", "{year}W{week:02d}"])
def test_weeks_of_a_year_are_iso_weeks(form: str, chain: Any, sound: LocalStore, plain: Any) -> None:
    """201906, 2019-W6 and 2019W06 are the ISO week 2019-W06, also across a new year; as a plain number they are refused."""
    for name in ("history", "future"):
        columns = dict(getattr(chain, name))
        columns["week"] = np.array([iso(week, form) for week in columns["week"]])
        sound.write(f"data/store_sales/{name}.csv", as_csv(columns, {}))
    window = iso(ORIGIN, "{year}-W{week:02d}")
    assert np.array_equal(quantiles(sound, window), plain)
    with pytest.raises(InputError, match="is of the form of window") as caught:
        run_window(sound, "store_sales", iso(ORIGIN, "{year}{week:02d}"))
    if form == "{year}{week:02d}":
        assert "201902 is a year and a week: name the window 2019-W02." in caught.value.fix


@pytest.mark.parametrize(
    ("lines", "stamp"),
    [
        ('timezone = "America/New_York"\n', lambda monday: f"{monday.isoformat()}T02:00:00Z"),
        ('[data]\ntime_format = "%d.%m.%Y"\n', lambda monday: monday.strftime("%d.%m.%Y")),
        (
            '[data]\ntime_format = "epoch_s"\n',
            lambda monday: str(1 + (monday - dt.date(1970, 1, 1)).days * 86400),
        ),
    ],
    ids=["zone", "format", "epoch"],
)
def test_weeks_are_dates_of_the_workloads_zone(
    lines: str, stamp: Any, chain: Any, sound: LocalStore, plain: Any
) -> None:
    """Stamps name the week of their day in the workload's zone; dates and stamps may have a declared format."""
    moved = 7 if "New_York" in lines else 0  # 02:00 UTC of a Monday is Sunday evening, of the week before
    for name in ("history", "future"):
        columns = dict(getattr(chain, name))
        days = [FIRST + dt.timedelta(days=7 * int(week) + moved) for week in columns["week"]]
        columns["week"] = np.array([stamp(day) for day in days])
        sound.write(f"data/store_sales/{name}.csv", as_csv(columns, {}))
    configure(sound, lines)
    assert np.array_equal(quantiles(sound, iso(ORIGIN, "{year}-W{week:02d}")), plain)


@pytest.mark.parametrize("missing", [("deal",), ("feat", "deal"), ("price",), ("price", "deal", "feat")])
def test_price_deal_and_feat_may_be_missing(
    missing: Any, chain: Any, sound: LocalStore, trained_folder: Path, tmp_path: Path
) -> None:
    """Columns that no file has count as equal prices, no deal and no feature, and nothing is said of it."""
    for name in ("history", "future"):
        columns = {n: c for n, c in getattr(chain, name).items() if n not in missing}
        sound.write(f"data/store_sales/{name}.csv", as_csv(columns, {}))
    without = quantiles(sound)
    assert np.isfinite(without).all()
    ledger = read_ledger(sound, f"store_sales-{ORIGIN}").to_pylist()
    assert {row["cause"] for row in ledger} == {""}
    for columns in (chain.history, chain.future):
        for column in missing:
            columns[column][:] = 1.0 if column == "price" else 0.0
    other = spare(trained_folder, tmp_path)
    for name in ("history", "future"):
        other.write(f"data/store_sales/{name}.csv", as_csv(getattr(chain, name), {}))
    assert np.array_equal(quantiles(other), without)


def test_a_column_that_the_future_alone_lacks_is_assumed(chain: Any, sound: LocalStore) -> None:
    """Where the history has prices and the future has none, the last known price is assumed and the rows are flagged."""
    chain.future.pop("price")
    chain.write(sound)
    record = run_window(sound, "store_sales", str(ORIGIN))
    ledger = read_ledger(sound, record.request.run).to_pylist()
    assert {row["cause"] for row in ledger} == {"missing_covariates"}


def test_files_that_are_passed_over_are_remarks(chain: Any, sound: LocalStore) -> None:
    """What looks like data and is not read is named with the reason: another name, a format that is not read, no byte."""
    chain.write(sound)
    for name in ("sales_2025.csv", "history/a.parquet.snappy", "future-2.csv", "readme.md"):
        sound.write(f"data/store_sales/{name}", b"" if name == "future-2.csv" else b"x")
    remarks = run_window(sound, "store_sales", str(ORIGIN)).remarks
    told = {
        name: [r for r in remarks if name in r]
        for name in ("sales_2025", "a.parquet.snappy", "future-2", "readme")
    }
    assert "does not match" in told["sales_2025"][0]
    assert "names no format" in told["a.parquet.snappy"][0]
    assert "no byte" in told["future-2"][0]
    assert told["readme"] == []


def test_lines_that_no_weekly_workload_can_mean_are_refused(sound: LocalStore) -> None:
    """Intervals, and a Delta table of history and plans alike as a sign of readiness, are refused by name."""
    for line in (
        'aggregate = { every = "1d", sales = "sum" }',
        'format = "delta"\ntime = "week"\nready = { delta = true }',
    ):
        configure(sound, f"[data]\n{line}\n")
        with pytest.raises(SettingsError, match="store_sales"):
            get_workload(sound, "store_sales")


def test_sources_of_the_default_folder() -> None:
    """Without settings, paths that begin with history and future below data/store_sales/ are read."""
    settings = StoreSalesSettings()
    assert settings.source.paths == ("data/store_sales/future**", "data/store_sales/history**")
    assert settings.folder == "data/store_sales/"


@pytest.mark.parametrize(
    ("frequency", "theirs", "before", "last"),
    [
        ("week", "Woche", "2026-W45", "2026-W46"),
        ("week", "Woche", dt.date(2026, 11, 2), dt.date(2026, 11, 9)),
        (
            "day",
            "Woche",
            dt.datetime(2026, 11, 14, 12, tzinfo=dt.UTC),
            dt.datetime(2026, 11, 15, 1, tzinfo=dt.UTC),
        ),
    ],
)
@pytest.mark.parametrize("partitioned", [False, True])
def test_a_week_is_ready_when_its_history_holds_the_week_before(
    frequency: str, theirs: str, before: Any, last: Any, partitioned: bool, sound: LocalStore
) -> None:
    """By weeks, dates or days, as statistics or partitions of the history's Delta table; plans of weeks to come lie in another
    table and count for nothing.
    """
    deltalake = pytest.importorskip("deltalake")
    configure(
        sound,
        f'frequency = "{frequency}"\n[data]\npath = "lake/sold"\nfuture = "lake/plans"\nformat = "delta"\n'
        f'time = "week"\ncolumns = {{ week = "{theirs}" }}\nready = {{ delta = true }}\n',
    )
    kind = get_workload(sound, "store_sales")
    window = kind.parse_window("2026-W47")
    by = [theirs] if partitioned else None
    deltalake.write_deltalake(str(sound.root / "lake/plans"), pa.table({theirs: [dt.date(2027, 1, 4)]}))
    for value, is_ready in ((before, False), (last, True)):
        table = pa.table({theirs: [value], "store": ["1"]})
        deltalake.write_deltalake(str(sound.root / "lake/sold"), table, mode="append", partition_by=by)
        data, cover = kind.source(), kind.table_cover(window)
        assert data is not None
        found = check_ready(sound, data, window, lambda: 0.0, cover)
        assert found.is_ready is is_ready, found.detail
