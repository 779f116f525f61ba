"""What-ifs: many distinct ones in one mini-batch, each answered as if it were the only one, and as a run would have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleetscore.models.pins import read_pins
from fleetscore.pipeline.local import run_window
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.settings import read_workload_settings
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales import loading, what_ifs
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, StoreSalesSettings
from fleetscore.workloads.store_sales.workload import StoreSales

ORIGIN = 70
Row = dict[str, Any]


def answer(store: LocalStore, rows: list[Row]) -> list[Row]:
    """The mini-batch's answers."""
    settings = read_workload_settings(store, "store_sales", StoreSalesSettings)
    return StoreSales(settings=settings).score_rows(store, read_pins(store, "store_sales"), rows)


def distinct_rows(count: int) -> list[Row]:
    """What-ifs of all stores, SKUs and weeks, no two alike, some of them without a change."""
    random = np.random.default_rng(11)
    rows: list[Row] = []
    for number in range(count):
        row = {
            "store": str(1 + number % 6), "sku": str(1 + number % 5), "week": ORIGIN + number % 13, "window": ORIGIN,
            "price": 1.0 + number / 50, "deal": int(random.integers(2)), "feat": float(random.random()),
        }  # fmt: skip
        left_out = ("price", "deal", "feat")[: number % 4]
        rows.append({name: value for name, value in row.items() if name not in left_out})
    return rows


@pytest.fixture
def fed(sound: LocalStore, chain: Any) -> LocalStore:
    """The trained store with its data, in which one series has no history to speak of and a price ahead is missing."""
    chain.drop(chain.rows("2", "3") & (chain.history["week"] < ORIGIN - 3))
    chain.drop_ahead(chain.rows_ahead("4", "2", ORIGIN + 5))
    chain.write(sound)
    return sound


def test_a_hundred_distinct_what_ifs_are_answered_as_one_by_one(
    fed: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers to the last bit, whatever else is asked, in whatever order and however many are forecast together."""
    rows = distinct_rows(100)
    alone = [answer(fed, [row])[0] for row in rows]
    assert answer(fed, rows) == alone
    assert answer(fed, rows[::-1]) == alone[::-1]
    monkeypatch.setattr(what_ifs, "PIECE_SERIES", 12)
    assert answer(fed, rows) == alone
    assert {told["fallback"] for told in alone} == {True, False}
    assert len({tuple(told[name] for name in QUANTILE_NAMES) for told in alone}) > 80


def published(store: LocalStore, changes: Mapping[str, Any]) -> list[float]:
    """The quantiles that a run has published for the row."""
    assert run_window(store, "store_sales", str(ORIGIN)).manifest
    frame = read_results(store, read_manifest(store, "store_sales", str(ORIGIN))).to_pandas()
    same = (frame["store"] == changes["store"]) & (frame["sku"] == changes["sku"])
    row = frame[same & (frame["week"] == str(changes["week"]))].iloc[0]
    return [row[name] for name in QUANTILE_NAMES]


@pytest.mark.parametrize("number", [0, 21, 42])
def test_a_what_if_is_what_a_run_of_changed_data_publishes(
    sound: LocalStore, chain: Any, number: int
) -> None:
    """The answer among a hundred is that of a run whose future has the changed price, deal and feature."""
    rows = [{**row, "price": row.get("price", 2.5)} for row in distinct_rows(100)]
    asked = rows[number]
    chain.write(sound)
    told = answer(sound, rows)[number]
    place = chain.rows_ahead(asked["store"], asked["sku"], asked["week"])
    assert place.sum() == 1
    for name in ("price", "deal", "feat"):
        if name in asked:
            chain.future[name][place] = asked[name]
    chain.write(sound)
    assert [told[name] for name in QUANTILE_NAMES] == published(sound, asked)


def test_a_store_is_read_once_until_its_data_changes(
    fed: LocalStore, chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second mini-batch reads no data; after a change of the data, or for other weeks, the answer is the new one."""
    rows = [{"store": "1", "sku": "1", "week": ORIGIN, "window": ORIGIN}]
    before = answer(fed, rows)
    with monkeypatch.context() as patched:
        patched.setattr(loading, "load_panel", pytest.fail)
        assert answer(fed, rows) == before
    chain.future["price"][chain.rows_ahead("1", "1", ORIGIN)] *= 0.5
    chain.write(fed)
    assert answer(fed, rows)[0]["q50"] > before[0]["q50"]
    later = [{**rows[0], "week": ORIGIN + 1, "window": ORIGIN + 1}]
    assert answer(fed, later)[0]["week"] == str(ORIGIN + 1)


def test_kept_panels_stay_within_their_budget(fed: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the longest unused goes, and is read again when it is asked for."""
    rows = [{"store": str(store), "sku": "1", "week": ORIGIN, "window": ORIGIN} for store in range(1, 7)]
    answers = answer(fed, rows)
    monkeypatch.setattr(loading, "_KEPT_BYTES", 1)
    assert [answer(fed, [row])[0] for row in rows] == answers
    assert len(loading._kept) == 1


def test_a_what_if_changes_no_other_answer(fed: LocalStore) -> None:
    """The kept panel is not touched by a change: asking plainly again gives the plain answer."""
    plain = {"store": "3", "sku": "2", "week": ORIGIN + 2, "window": ORIGIN}
    before = answer(fed, [plain])
    assert answer(fed, [{**plain, "price": 0.5, "deal": 1, "feat": 1}, plain])[1] == before[0]
    assert answer(fed, [plain]) == before
    settings = replace(read_workload_settings(fed, "store_sales", StoreSalesSettings), steps=5)
    shorter = StoreSales(settings=settings).score_rows(fed, read_pins(fed, "store_sales"), [plain])
    assert [shorter[0][name] for name in QUANTILE_NAMES] == [before[0][name] for name in QUANTILE_NAMES]
