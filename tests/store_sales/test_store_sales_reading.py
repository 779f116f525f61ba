"""Reading: CSV and Parquet, every form of week, store and number, in any order of rows."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import InputError
from fleetscore.store.local import LocalStore
from fleetscore.windows import Cadence, parse_window
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.input_files import find_files, list_files
from fleetscore.workloads.store_sales.loading import Span, load_panel
from fleetscore.workloads.store_sales.panel import FINDINGS, Filled, PanelFiller, natural_key
from fleetscore.workloads.store_sales.reading import Labels, RowBatch

SPAN = Span(Cadence.INDEX, 0, 70, 83)


def load(
    store: LocalStore, span: Span = SPAN, stores: tuple[str, ...] = ("1", "2", "3", "4", "5", "6")
) -> Filled:
    return load_panel(find_files(store, StoreSalesSettings(), "store_sales"), span, stores, ())


def assert_same(a: Filled, b: Filled) -> None:
    for name in ("sales", "price", "deal", "feat"):
        assert np.array_equal(getattr(a.panel, name), getattr(b.panel, name), equal_nan=True), name
    assert a.panel.skus.tolist() == b.panel.skus.tolist()
    assert np.array_equal(a.findings, b.findings)
    assert np.array_equal(a.planned, b.planned)


@pytest.fixture
def plain(tmp_path: Path, chain: Any) -> Filled:
    store = LocalStore(tmp_path / "plain")
    chain.write(store)
    return load(store)


def test_a_panel_holds_every_row_at_its_place(plain: Filled, chain: Any) -> None:
    """Each sale, price, deal and feature stands at its series and week; from the window on no sale is known."""
    series = {
        (plain.panel.stores[s], k): i
        for i, (s, k) in enumerate(zip(plain.panel.store_of, plain.panel.skus, strict=True))
    }
    assert len(series) == 30
    h = chain.history
    at = [series[key] for key in zip(h["store"], h["sku"], strict=True)]
    for name in ("sales", "price", "deal", "feat"):
        assert np.array_equal(getattr(plain.panel, name)[at, h["week"]], h[name])
    assert np.isnan(plain.panel.sales[:, 70:]).all()
    assert not np.isnan(plain.panel.price).any()
    assert plain.planned.all()


@pytest.mark.parametrize(
    "form", ["csv", "numbers", "dictionary", "floats", "many files", "price columns", "spaces"]
)
def test_every_form_of_the_same_rows_gives_the_same_panel(
    form: str, plain: Filled, chain: Any, write: Any, tmp_path: Path
) -> None:
    """CSV, Parquet with numbers, dictionaries or floats, many files, prices as price<sku>: the same panel."""
    store = LocalStore(tmp_path / "other")
    h, f = chain.history, chain.future
    if form == "csv":
        write(store, "history.csv", h)
        write(store, "future.csv", f)
    elif form == "many files":
        for n in range(3):
            write(
                store,
                f"history/part-{n}.{'csv' if n == 1 else 'parquet'}",
                {k: v[n::3] for k, v in h.items()},
            )
        write(store, "future-a.parquet", {k: v[:50] for k, v in f.items()})
        write(store, "future-b.csv", {k: v[50:] for k, v in f.items()})
    elif form == "price columns":
        for name, columns in (("history.parquet", h), ("future.parquet", f)):
            write(store, name, wide_prices(columns))
    else:
        change: Any = {
            "numbers": lambda c: {k: v.astype(int) if k in ("store", "sku") else v for k, v in c.items()},
            "floats": lambda c: {
                k: v.astype(float) if k in ("store", "sku", "week") else v for k, v in c.items()
            },
            "dictionary": lambda c: {
                k: pa.array(v).dictionary_encode() if k in ("store", "sku") else v for k, v in c.items()
            },
            "spaces": lambda c: {
                k: np.char.add(np.char.add(" ", v), " ") if k in ("store", "sku") else v for k, v in c.items()
            },
        }[form]
        write(store, "history.parquet", change(h))
        write(store, "future.parquet", change(f))
    assert_same(load(store), plain)


def wide_prices(columns: Any) -> dict[str, Any]:
    """The same rows with the prices of all five SKUs of the store and week in price1 to price5."""
    price = {
        (s, k, w): p
        for s, k, w, p in zip(*(columns[n] for n in ("store", "sku", "week", "price")), strict=True)
    }
    wide = {n: c for n, c in columns.items() if n != "price"}
    for sku in "12345":
        wide[f"price{sku}"] = np.array(
            [price[s, sku, w] for s, w in zip(columns["store"], columns["week"], strict=True)]
        )
    return wide


NAMES_LIKE_NULL = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")


@pytest.mark.parametrize("name", ["history.csv", "history.parquet"])
def test_names_that_look_like_null_are_names(name: str, write: Any, tmp_path: Path) -> None:
    """Stores and SKUs called NA, NaN, None or null keep every row, in CSV as in Parquet; only numbers may be missing so."""
    store = LocalStore(tmp_path)
    names = np.repeat(NAMES_LIKE_NULL, 2)
    count = len(names)
    columns = {
        "store": names, "sku": names, "week": np.tile([60, 61], count // 2), "sales": np.tile(["7", "NA"], count // 2),
        "price": np.full(count, "1.5"), "deal": np.zeros(count), "feat": np.zeros(count),
    }  # fmt: skip
    write(store, name, columns)
    filled = load(store, stores=NAMES_LIKE_NULL)
    assert filled.findings[:, FINDINGS.index("rows")].tolist() == [2] * len(NAMES_LIKE_NULL)
    assert filled.findings[:, FINDINGS.index("missing_sales")].tolist() == [1] * len(NAMES_LIKE_NULL)
    assert filled.findings[:, FINDINGS.index("unreadable_cell")].sum() == 0
    assert sorted(filled.panel.skus) == sorted(NAMES_LIKE_NULL)
    files = find_files(store, StoreSalesSettings(), "store_sales")
    batches = files.reader.keys(files.history[0][0], Cadence.INDEX)
    seen = {batch.store.values[code] for batch in batches for code in batch.store.codes}
    assert seen == set(NAMES_LIKE_NULL)


@pytest.mark.parametrize("form", ["iso", "monday", "sunday", "date", "timestamp"])
def test_every_form_of_week_gives_the_same_panel(
    form: str, plain: Filled, chain: Any, write: Any, tmp_path: Path
) -> None:
    """ISO weeks, dates as text, and date or timestamp columns name the ISO week that holds them."""
    first = parse_window("2026-W47", Cadence.WEEK)
    zero = first.ordinal - 70
    store = LocalStore(tmp_path / "weeks")
    for name, columns in (("history.parquet", chain.history), ("future.parquet", chain.future)):
        mondays = [dt.date(1969, 12, 29) + dt.timedelta(weeks=int(zero + w)) for w in columns["week"]]
        forms: dict[str, Any] = {
            "iso": [f"{d.isocalendar().year}-W{d.isocalendar().week:02d}" for d in mondays],
            "monday": [d.isoformat() for d in mondays],
            "sunday": [(d + dt.timedelta(days=6)).isoformat() for d in mondays],
            "date": pa.array(mondays, pa.date32()),
            "timestamp": pa.array(mondays, pa.date32()).cast(pa.timestamp("us")),
        }
        write(store, name, columns | {"week": forms[form]})
    filled = load(store, Span(Cadence.WEEK, zero, first.ordinal, first.ordinal + 13))
    assert_same(filled, plain)


def test_daily_rows_add_up_to_their_weeks(plain: Filled, chain: Any, write: Any, tmp_path: Path) -> None:
    """With `frequency = "day"` a row a day gives the panel of the weeks: sales are added, all else is the mean."""
    first = parse_window("2026-W47", Cadence.WEEK)
    zero = first.ordinal - 70
    store = LocalStore(tmp_path / "days")
    for name, columns in (("history.csv", chain.history), ("future.parquet", chain.future)):
        days = {n: np.repeat(c, 7) for n, c in columns.items()}
        offsets = np.tile(np.arange(7), len(columns["week"]))
        monday = dt.date(1969, 12, 29)
        dates = [
            monday + dt.timedelta(weeks=int(zero + w), days=int(d))
            for w, d in zip(days["week"], offsets, strict=True)
        ]
        days["week"] = np.array([date.isoformat() for date in dates])
        if "sales" in days:
            days["sales"] = days["sales"] + offsets - 3
        write(store, name, days)
    options = StoreSalesSettings(frequency="day")
    files = find_files(store, options, "store_sales")
    span = Span(Cadence.WEEK, zero, first.ordinal, first.ordinal + 13)
    filled = load_panel(files, span, ("1", "2", "3", "4", "5", "6"), ())
    assert np.allclose(filled.panel.sales, 7 * plain.panel.sales, equal_nan=True)
    for name in ("price", "deal", "feat"):
        assert np.allclose(getattr(filled.panel, name), getattr(plain.panel, name)), name
    assert filled.findings[:, FINDINGS.index("conflicting_rows")].sum() == 0
    assert np.array_equal(filled.planned, plain.planned)
    with pytest.raises(InputError, match="need dates"):
        load_panel(files, SPAN, ("1",), ())


DATES = [  # of rows that are equal in all else, and whether they repeat
    (["2026-11-16", "2026-11-16"], True),
    (["2026-11-16", "2026-W47", "2026-11-16", "202647"], True),
    (["2026-11-16", "2026-11-16T00:00:00"], True),
    (["2026-11-16", "2026-11-17"], False),
    (["2026-W47", "2026-11-22", "2026-11-16"], False),
    (["2026-11-16T08:00:00", "2026-11-16T09:00:00"], False),
]


@pytest.mark.parametrize(("dates", "repeat"), DATES, ids=[" ".join(dates) for dates, _ in DATES])
def test_equal_rows_of_several_dates_of_a_week_conflict(
    dates: list[str], repeat: bool, write: Any, tmp_path: Path
) -> None:
    """Rows of one date are repeats; days or hours of a week are parts of it also where their numbers are equal, so none stands for it."""
    store, count = LocalStore(tmp_path), len(dates)
    ones = np.ones(count)
    columns = {"store": ["1"] * count, "sku": ["a"] * count, "week": dates}
    write(store, "history.csv", {**columns, "sales": 5 * ones, "price": ones, "deal": ones, "feat": ones})
    week = parse_window("2026-W47", Cadence.WEEK).ordinal
    filled = load(store, Span(Cadence.WEEK, week - 2, week + 1, week + 2), ("1",))
    found = dict(zip(FINDINGS, filled.findings[0].tolist(), strict=True))
    told = (count - 1, 0) if repeat else (0, count)
    assert (found["repeated_rows"], found["conflicting_rows"]) == told
    assert np.array_equal(filled.panel.sales[0, 2], 5.0 if repeat else np.nan, equal_nan=True)


def test_equal_days_are_added_up(write: Any, tmp_path: Path) -> None:
    """With `frequency = "day"` seven equal days are a week of seven times their sales."""
    store, ones = LocalStore(tmp_path), np.ones(7)
    days = [f"2026-11-{day}" for day in range(16, 23)]
    columns = {"store": ["1"] * 7, "sku": ["a"] * 7, "week": days}
    write(store, "history.csv", {**columns, "sales": 5 * ones, "price": ones, "deal": ones, "feat": ones})
    week = parse_window("2026-W47", Cadence.WEEK).ordinal
    files = find_files(store, StoreSalesSettings(frequency="day"), "store_sales")
    filled = load_panel(files, Span(Cadence.WEEK, week - 1, week + 1, week + 2), ("1",), ())
    assert (filled.panel.sales[0, 1], filled.findings[0, FINDINGS.index("conflicting_rows")]) == (35.0, 0)


def test_stores_that_are_not_asked_for_are_not_read(chain: Any, plain: Filled, tmp_path: Path) -> None:
    """A shard's panel has its own stores only, with the same numbers as among all."""
    store = LocalStore(tmp_path / "some")
    chain.write(store)
    some = load(store, stores=("5", "2"))
    assert some.panel.stores == ("2", "5")
    for at, name in enumerate(some.panel.stores):
        whole = plain.panel.of_stores(int(name) - 1, int(name))
        assert np.array_equal(some.panel.of_stores(at, at + 1).sales, whole.sales, equal_nan=True)


def test_keys_are_read_alone(chain: Any, tmp_path: Path) -> None:
    """Discovery reads stores and weeks, and sees every row."""
    store = LocalStore(tmp_path / "keys")
    chain.write(store)
    files = find_files(store, StoreSalesSettings(), "store_sales")
    batches = list(files.reader.keys(files.history[0][0], Cadence.INDEX))
    assert sum(len(batch.week) for batch in batches) == len(chain.history["week"])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("history.csv", b"", "no byte"),
        ("history.csv", b"\n", "no line of column names"),
        ("history.parquet", b"PAR1 no", "cannot be read"),
        ("history.csv", b"\xff\xfe\x00store", "no text of the declared encoding"),
    ],
)
def test_a_file_that_is_none_says_so(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    """An empty, torn or foreign file is left out, named with what is wrong."""
    store = LocalStore(tmp_path)
    store.write(f"data/store_sales/{name}", content)
    files = find_files(store, StoreSalesSettings(), "store_sales")
    told = (*list_files(store, StoreSalesSettings(), "store_sales").remarks(), *files.faults)
    assert files.inputs() == ()
    assert [f"data/store_sales/{name}" in one and says in one for one in told] == [True]


def test_natural_order_sorts_numbers_by_value() -> None:
    """SKU 10 comes after SKU 9."""
    assert sorted(["10", "9", "b", "a", "1"], key=natural_key) == ["1", "9", "10", "a", "b"]


ROW = st.tuples(
    st.integers(0, 2), st.integers(0, 1), st.integers(0, 9), st.sampled_from([np.nan, -1.0, 0.0, 5.0, 6.0]),
    st.sampled_from([np.nan, 0.0, 1.5, 2.0]), st.sampled_from([0, 0, 1, 86_401]),
)  # fmt: skip


def fill(history: list[Any], future: list[Any]) -> Filled:
    filler = PanelFiller(("a", "b"), 0, 0, 6, 10)
    filler.add_future(batch(future), ("price",))
    half = len(history) // 2
    filler.add_history(batch(history[:half]), ("price",))
    filler.add_history(batch(history[half:]), ("price",))
    return filler.panel()


def batch(rows: list[Any]) -> RowBatch:
    columns = np.array(rows, float).reshape(-1, 6).T
    codes = columns[:2].astype(np.int32)
    return RowBatch(
        Labels(codes[0], ("a", "b", "elsewhere")), Labels(codes[1], ("x", "y")), columns[2].astype(np.int64), columns[3],
        np.zeros(len(rows)), np.zeros(len(rows)), columns[4][None], np.empty((0, len(rows))), np.zeros(len(rows), np.uint8),
        columns[5].astype(np.int32),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, max_size=24), st.lists(ROW, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(history: list[Any], future: list[Any], random: Any) -> None:
    """Rows in any order, repeated or contradicting each other, give the same panel and the same findings."""
    filled = fill(history, future)
    random.shuffle(history)
    random.shuffle(future)
    assert_same(fill(history, future), filled)
    assert filled.findings[:, FINDINGS.index("repeated_rows")].min(initial=0) >= 0
