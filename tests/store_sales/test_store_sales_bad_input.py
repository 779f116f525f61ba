"""Bad input: every defect has a rule, an outcome and a cause, and costs no other store its forecast."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fleetscore.cli.explain import format_story
from fleetscore.errors import InputError
from fleetscore.models.model_sets import read_model_file, read_model_set, write_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.operations.explain import explain
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import RunState
from fleetscore.registry import read_warnings
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES
from fleetscore.workloads.store_sales.model_file import FILE, pack_arrays, unpack_arrays

SPOILT = "3"
ORIGIN = 70


def run(store: LocalStore) -> tuple[dict[str, dict[str, Any]], Any]:
    record = run_window(store, "store_sales", str(ORIGIN))
    assert record.state is RunState.PUBLISHED, record.error
    ledger = {row["partition"]: row for row in read_ledger(store, record.request.run).to_pylist()}
    return ledger, read_results(store, read_manifest(store, "store_sales", str(ORIGIN))).to_pandas()


@pytest.fixture(scope="module")
def undisturbed(trained_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The forecasts of the sound chain."""
    import shutil

    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(trained_folder, folder / "store")
    return run(LocalStore(folder / "store"))[1]


def negative_sales(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1", 60)] = -5.0


def negative_deal(chain: Any) -> None:
    chain.history["deal"][chain.rows(SPOILT, "1", 60)] = -5.0


def endless_feature(chain: Any) -> None:
    chain.history["feat"][chain.rows(SPOILT, "1", 60)] = 1e300


def missing_sales(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1", 60)] = np.nan


def infinite_sales(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1", 60)] = np.inf


def repeated_rows(chain: Any) -> None:
    chain.repeat(chain.rows(SPOILT, "1", 60))


def conflicting_rows(chain: Any) -> None:
    chain.repeat(chain.rows(SPOILT, "1", 60), sales=1.0)


def zero_price(chain: Any) -> None:
    chain.history["price"][chain.rows(SPOILT, "1", 60)] = 0.0


def negative_future_price(chain: Any) -> None:
    chain.future["price"][chain.rows_ahead(SPOILT, "1", 75)] = -1.0


def overlap(chain: Any) -> None:
    """The history already has the first week to forecast, with another price than the future says."""
    rows = chain.rows_ahead(SPOILT, "1", ORIGIN)
    more = {n: c[rows] for n, c in chain.future.items()} | {
        "sales": np.array([1e9]),
        "price": np.array([99.0]),
    }
    chain.history = {n: np.concatenate([c, more[n]]) for n, c in chain.history.items()}


def missing_future_week(chain: Any) -> None:
    chain.drop_ahead(chain.rows_ahead(SPOILT, "1", 75))


def missing_future_cell(chain: Any) -> None:
    chain.future["feat"][chain.rows_ahead(SPOILT, "1", 75)] = np.nan


def new_sku(chain: Any) -> None:
    chain.drop(chain.rows(SPOILT, "1") & (chain.history["week"] < 67))


def unknown_sku(chain: Any) -> None:
    for columns in (chain.history, chain.future):
        columns["sku"] = columns["sku"].astype("U9")
        columns["sku"][(columns["store"] == SPOILT) & (columns["sku"] == "1")] = "brand-new"


def discontinued_sku(chain: Any) -> None:
    chain.drop_ahead(chain.rows_ahead(SPOILT, "1"))


def gap(chain: Any) -> None:
    chain.drop(chain.rows(SPOILT, "1", 60))


def zero_sales(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1")] = 0.0


def new_store(chain: Any) -> None:
    chain.drop(chain.rows(SPOILT))


def no_future(chain: Any) -> None:
    chain.drop_ahead(chain.rows_ahead(SPOILT))


def closed(chain: Any) -> None:
    chain.drop_ahead(chain.rows_ahead(SPOILT))
    chain.drop(chain.rows(SPOILT) & (chain.history["week"] > 50))


def stale(chain: Any) -> None:
    chain.drop(chain.rows(SPOILT) & (chain.history["week"] > 60))


def gone(chain: Any) -> None:
    chain.drop_ahead(chain.rows_ahead(SPOILT))
    chain.drop(chain.rows(SPOILT))


def mostly_negative(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT)] *= -1.0


def daily(chain: Any) -> None:
    rows = np.flatnonzero(chain.rows(SPOILT))
    days = {name: np.repeat(column[rows], 7) for name, column in chain.history.items()}
    days["sales"] = days["sales"] / 7 * np.tile(1 + 0.05 * np.arange(7), len(rows))
    chain.drop(chain.rows(SPOILT))
    chain.history = {name: np.concatenate([column, days[name]]) for name, column in chain.history.items()}


def equal_days(chain: Any) -> None:
    rows = np.flatnonzero(chain.rows(SPOILT))
    days = {name: np.repeat(column[rows], 6) for name, column in chain.history.items()}
    chain.history = {name: np.concatenate([column, days[name]]) for name, column in chain.history.items()}


def sales_beyond_numbers(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1")] = 1.7e308


def sales_of_a_code(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1", 60)] = 99_999_999.0


def nameless_skus(chain: Any) -> None:
    chain.history["sku"][chain.rows(SPOILT, "1", 60)] = ""


def deal_in_percent(chain: Any) -> None:
    chain.future["deal"][_rows_ahead(chain, "1")] = 50.0


def zeros_before_it_opened(chain: Any) -> None:
    chain.history["sales"][chain.rows(SPOILT, "1") & (chain.history["week"] < 58)] = 0.0


def few_pieces_after_zeros(chain: Any) -> None:
    sales = (np.arange(70) % 3 == 0) & (np.arange(70) > 8)  # slow, and by chance nothing in the first weeks
    rows = np.flatnonzero(chain.rows(SPOILT, "1"))
    chain.history["sales"][rows] = sales[chain.history["week"][rows]].astype(float)


def price_in_cents(chain: Any) -> None:
    chain.future["price"][_rows_ahead(chain, "1")] *= 100


def price_with_a_slipped_point(chain: Any) -> None:
    chain.future["price"][_rows_ahead(chain, "1")[:1]] /= 100


def price_cut_by_half(chain: Any) -> None:
    chain.future["price"][_rows_ahead(chain, "1")] /= 2


def _rows_ahead(chain: Any, sku: str) -> Any:
    return np.flatnonzero((chain.future["store"] == SPOILT) & (chain.future["sku"] == sku))


SCORED = [
    (negative_sales, "negative_sales"), (missing_sales, "missing_sales"), (infinite_sales, "unreadable_cell"),
    (repeated_rows, "repeated_rows"), (conflicting_rows, "conflicting_rows"), (zero_price, "price_not_positive"),
    (negative_future_price, "price_not_positive"), (overlap, "overlap"), (missing_future_week, "missing_covariates"),
    (missing_future_cell, "missing_covariates"), (new_sku, "short_history"), (unknown_sku, "unknown_skus"),
    (discontinued_sku, "discontinued_skus"), (gap, ""), (zero_sales, ""), (new_store, "new_store"),
    (nameless_skus, "unreadable_week"), (negative_deal, "odd_deals"), (endless_feature, "odd_deals"),
    (equal_days, "many_repeats"), (sales_of_a_code, "odd_sales"), (deal_in_percent, "odd_deals"),
    (zeros_before_it_opened, "zeros_before_start"), (few_pieces_after_zeros, ""),
    (price_in_cents, "odd_prices"), (price_with_a_slipped_point, "odd_prices"), (price_cut_by_half, ""),
]  # fmt: skip
UNSCORED = [
    (no_future, "late", "no_future"), (closed, "skipped", "discontinued"), (stale, "late", "stale_history"),
    (gone, "late", "no_data"), (mostly_negative, "quarantined", "too_many_rejects"),
    (daily, "quarantined", "too_many_rejects"), (sales_beyond_numbers, "failed", "not_finite"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "cause"), SCORED, ids=lambda v: getattr(v, "__name__", v))
def test_a_repairable_defect_is_repaired_and_said(
    spoil: Callable[[Any], None], cause: str, chain: Any, sound: LocalStore, undisturbed: Any
) -> None:
    """The store is scored with the stated cause; all its quantiles are in order and finite; no other store's number changes."""
    spoil(chain)
    chain.write(sound)
    ledger, results = run(sound)
    assert (ledger[SPOILT]["outcome"], ledger[SPOILT]["cause"]) == ("scored", cause)
    values = results[list(QUANTILE_NAMES)].to_numpy()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(values, axis=1) >= 0).all()
    assert_others_equal(results, undisturbed)


@pytest.mark.parametrize(("spoil", "outcome", "cause"), UNSCORED, ids=lambda v: getattr(v, "__name__", v))
def test_a_store_that_cannot_be_forecast_is_settled(
    spoil: Callable[[Any], None], outcome: str, cause: str, chain: Any, sound: LocalStore, undisturbed: Any
) -> None:
    """The store gets its outcome and cause and no rows, and every other store its forecast."""
    spoil(chain)
    chain.write(sound)
    ledger, results = run(sound)
    assert (ledger[SPOILT]["outcome"], ledger[SPOILT]["cause"]) == (outcome, cause)
    assert ledger[SPOILT]["detail"]
    assert SPOILT not in set(results["store"])
    assert_others_equal(results, undisturbed)


def assert_others_equal(results: Any, undisturbed: Any) -> None:
    columns = ["store", "sku", "week", *QUANTILE_NAMES]
    others = results[results["store"] != SPOILT][columns].reset_index(drop=True)
    expected = undisturbed[undisturbed["store"] != SPOILT][columns].reset_index(drop=True)
    assert others.equals(expected)


def test_overlap_reads_no_sale_of_the_window(chain: Any, sound: LocalStore, undisturbed: Any) -> None:
    """Where both files have a week of the window, the future's covariates stand and the sale is not read: nothing changes."""
    overlap(chain)
    chain.write(sound)
    _, results = run(sound)
    assert results[list(QUANTILE_NAMES)].equals(undisturbed[list(QUANTILE_NAMES)])


def test_repeated_rows_count_once(chain: Any, sound: LocalStore, undisturbed: Any) -> None:
    """A row that is there twice changes no number."""
    repeated_rows(chain)
    chain.write(sound)
    _, results = run(sound)
    assert results[list(QUANTILE_NAMES)].equals(undisturbed[list(QUANTILE_NAMES)])


def test_daily_rows_conflict_one_and_all(chain: Any, sound: LocalStore) -> None:
    """Of a store with a row a day every row is counted as conflicting, none as repeated, and the setting is named."""
    daily(chain)
    chain.write(sound)
    ledger, _ = run(sound)
    rows = int(chain.rows(SPOILT).sum())
    assert f"{rows} rows that contradict another" in ledger[SPOILT]["detail"]
    assert "repeated" not in ledger[SPOILT]["detail"]
    assert 'frequency = "day"' in ledger[SPOILT]["detail"]


def test_equal_days_of_a_week_number_need_attention(chain: Any, sound: LocalStore) -> None:
    """Seven equal rows for each plain week number are said as what may be days; each row twice is not."""
    equal_days(chain)
    twice = np.flatnonzero(chain.rows("4"))
    chain.history = {n: np.concatenate([c, c[twice]]) for n, c in chain.history.items()}
    chain.write(sound)
    ledger, _ = run(sound)
    assert 'set frequency = "day"' in ledger[SPOILT]["detail"]
    assert ledger["4"]["cause"] == "repeated_rows"
    assert "many_repeats" in read_warnings(sound, "store_sales")


def test_conflicting_rows_are_a_gap(chain: Any, sound: LocalStore) -> None:
    """A week whose rows contradict each other is not known, as if its sales were missing and its price, deal and feature with it."""
    conflicting_rows(chain)
    chain.write(sound)
    _, conflict = run(sound)
    assert conflict["fallback"].sum() == 0


def test_fallback_rows_are_flagged_and_only_they(chain: Any, sound: LocalStore) -> None:
    """A SKU with too little history, and a week without covariates, are flagged; all other rows are not."""
    new_sku(chain)
    chain.drop_ahead(chain.rows_ahead("4", "2", 75))
    chain.write(sound)
    _, results = run(sound)
    flagged = results[results["fallback"]]
    assert {(r.store, r.sku) for r in flagged.itertuples()} == {(SPOILT, "1"), ("4", "2")}
    assert len(flagged) == 13 + 1
    assert flagged[flagged["store"] == "4"]["week"].tolist() == ["75"]


def test_a_file_without_a_column_costs_its_own_rows(chain: Any, sound: LocalStore, write: Any) -> None:
    """Stores of a file that cannot be used are late and name the file; the others are scored."""
    in_one = chain.history["store"] == SPOILT
    ahead_in_one = chain.future["store"] == SPOILT
    write(sound, "history-3.parquet", {n: c[in_one] for n, c in chain.history.items() if n != "sku"})
    write(sound, "future-3.parquet", {n: c[ahead_in_one] for n, c in chain.future.items() if n != "sku"})
    chain.drop(in_one)
    chain.drop_ahead(ahead_in_one)
    chain.write(sound)
    ledger, _ = run(sound)
    assert (ledger[SPOILT]["outcome"], ledger[SPOILT]["cause"]) == ("late", "no_data")
    assert (
        "history-3.parquet has no column sku" in ledger[SPOILT]["detail"]
        or "future-3" in ledger[SPOILT]["detail"]
    )
    assert sum(row["outcome"] == "scored" for row in ledger.values()) == 5


def test_unreadable_cells_of_csv_are_counted(chain: Any, sound: LocalStore, write: Any) -> None:
    """Text where a number is expected is not known, counted, and never guessed."""
    texts = {n: c.astype("U12") for n, c in chain.history.items()}
    texts["sales"][chain.rows(SPOILT, "1", 60)] = "12 pcs"
    texts["price"][chain.rows("4", "1", 60)] = "1,5"
    texts["week"][chain.rows("5", "1", 60)] = "week 60"
    write(sound, "history.csv", texts)
    write(sound, "future.csv", chain.future)
    ledger, _ = run(sound)
    causes = {store: ledger[store]["cause"] for store in ("3", "4", "5")}
    assert causes == {"3": "unreadable_cell", "4": "unreadable_cell", "5": "unreadable_week"}


def test_weeks_of_another_form_than_the_window_are_an_error(chain: Any, sound: LocalStore) -> None:
    """A window written as an ISO week, over data that counts its weeks, says how to write it."""
    chain.write(sound)
    with pytest.raises(InputError, match="108 for plain numbers"):
        run_window(sound, "store_sales", "2026-W47")


def test_rows_without_a_store_are_said(chain: Any, sound: LocalStore) -> None:
    """Rows that name no store belong to no partition; the run record says how many there were."""
    chain.history["store"] = chain.history["store"].astype("U5")
    chain.history["store"][chain.rows(SPOILT, "1", 60)] = " "
    chain.write(sound)
    record = run_window(sound, "store_sales", str(ORIGIN))
    assert any("1 rows have no store" in remark for remark in record.remarks)


def test_torn_lines_are_said(chain: Any, sound: LocalStore, write: Any) -> None:
    """Lines with too few or too many fields are left out; the run record says how many and where."""
    write(sound, "history.csv", chain.history)
    write(sound, "future.parquet", chain.future)
    path = "data/store_sales/history.csv"
    sound.write(path, sound.read(path) + b"3,1,60\n3,1,60,1,0,0,5,6,7,8\n")
    record = run_window(sound, "store_sales", str(ORIGIN))
    assert record.counts == {"scored": 6}
    assert any("history.csv: 2 rows rejected (bad_row)" in remark for remark in record.remarks)


def test_a_file_that_breaks_in_the_middle_fails_its_run_by_name(chain: Any, sound: LocalStore) -> None:
    """A Parquet file whose pages are torn is found when it is read; no forecast is made of half of it, and the file is named."""
    chain.write(sound)
    path = "data/store_sales/history.parquet"
    data = bytearray(sound.read(path))
    data[200:1200] = b"\xff" * 1000
    sound.write(path, bytes(data))
    try:
        record = run_window(sound, "store_sales", str(ORIGIN))
    except InputError as error:
        assert "history.parquet" in str(error)
    else:
        assert record.counts == {"failed": 6}
        assert {cause.cause for cause in record.causes} == {"unreadable_file"}


def test_a_future_that_names_no_sku_is_none(chain: Any, sound: LocalStore) -> None:
    """A store all of whose future rows lack a SKU has no week to forecast: it is late, not scored with nothing."""
    chain.future["sku"][chain.rows_ahead(SPOILT)] = ""
    sound.write("settings/store_sales.toml", sound.read("settings/store_sales.toml").replace(b"0.1", b"0.9"))
    chain.write(sound)
    ledger, _ = run(sound)
    assert (ledger[SPOILT]["outcome"], ledger[SPOILT]["cause"]) == ("late", "no_future")


def test_without_a_model_stores_are_skipped(chain: Any, tmp_path: Any) -> None:
    """Before the first training every store is skipped as no_model; nothing is published."""
    store = LocalStore(tmp_path)
    chain.write(store)
    record = run_window(store, "store_sales", str(ORIGIN))
    assert record.counts == {"skipped": 6}
    assert {cause.cause for cause in record.causes} == {"no_model"}


def test_a_damaged_model_fails_its_stores(chain: Any, sound: LocalStore) -> None:
    """A model file that was altered is refused by its hash; its stores fail with the cause."""
    chain.write(sound)
    path = next(
        entry.path for entry in sound.list("models/store_sales/") if entry.path.endswith("quantile_trees.npz")
    )
    sound.write(path, sound.read(path)[:-1] + b"x")
    from fleetscore.workloads.store_sales.scoring import _load_model

    _load_model.cache_clear()
    record = run_window(sound, "store_sales", str(ORIGIN))
    assert record.counts == {"failed": 6}
    assert {cause.cause for cause in record.causes} == {"corrupt_model"}


@pytest.mark.parametrize(
    ("name", "spoil", "cause"),
    [
        ("features", lambda names: np.array([*names[:-2], "fuel", "fuel_change"]), "feature_mismatch"),
        ("features", lambda names: np.array([*names, "fuel", "fuel_change"]), "feature_mismatch"),
        ("widening", lambda values: values.astype(complex), "corrupt_model"),
    ],
    ids=["another covariate", "a covariate that is not set any more", "complex numbers"],
)
def test_a_model_of_other_features_or_types_fails_its_stores(
    chain: Any, sound: LocalStore, name: str, spoil: Any, cause: str
) -> None:
    """A forest is never given other features than it was trained on, nor its stores an error without a name."""
    chain.write(sound)
    model_set = read_model_set(sound, "store_sales", str(read_pins(sound, "store_sales").current))
    files = {file: read_model_file(sound, model_set, file) for file in model_set.files}
    arrays = unpack_arrays(files[FILE])
    files[FILE] = pack_arrays(arrays | {name: spoil(arrays[name])})
    version = write_model_set(sound, "store_sales", files, model_set.card).version
    pin_version(sound, "store_sales", version, requested_by="test", why="", now=datetime.now(UTC))
    record = run_window(sound, "store_sales", str(ORIGIN))
    assert record.counts == {"failed": 6}
    assert {each.cause for each in record.causes} == {cause}


def test_every_cause_is_documented() -> None:
    """docs/workloads/store_sales.md names every cause that an outcome may carry."""
    from pathlib import Path

    from fleetscore.workloads.store_sales.contract import Cause

    text = (Path(__file__).parents[2] / "docs" / "workloads" / "store_sales.md").read_text()
    assert [cause for cause in Cause if f"`{cause}`" not in text] == []


def test_results_are_readable_as_plain_columns(chain: Any, sound: LocalStore) -> None:
    """The published Parquet has the stated columns and types."""
    from fleetscore.workloads.store_sales.contract import RESULTS

    chain.write(sound)
    run(sound)
    file = read_manifest(sound, "store_sales", str(ORIGIN)).files[0]
    with sound.open(file.path) as source:
        assert pq.read_schema(source).remove_metadata().equals(RESULTS)


def test_a_training_that_failed_knows_its_rows_by_the_plan_only(tmp_path: Path) -> None:
    """Rows that were estimated from the size of files are called so, and what comes next is to train again, not to retry."""
    store = LocalStore(tmp_path / "store")
    rows = [f"S1,A,{day:02d}.02.2019,5,1.0,0,0" for day in range(1, 28)]
    lines = "\n".join(["store,sku,week,sales,price,deal,feat", *rows])
    store.write("data/store_sales/history.csv", lines.encode())
    record = run_training(store, "store_sales", "2021-W01", "2021-W04")
    assert record.counts == {"failed": len(QUANTILE_NAMES)}
    story = explain(store, record.request.run, "q50")
    told = dict(format_story(story))
    assert story.input.is_estimate
    assert told["input"].startswith(f"about {story.input.rows:,} rows")
    assert story.advice == (
        "Fix what the cause names, then: fleetscore train store_sales --from 2021-W01 --to 2021-W04"
    )
