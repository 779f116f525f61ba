"""The sample chain: stores with ten SKUs, promotions known ahead, two years of weeks, and what is wrong
with some stores.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fleetscore.capabilities import SampleReport
from fleetscore.records import Outcome
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_window
from fleetscore.workloads.store_sales.contract import NAME, Cause

TRUTH = f"samples/{NAME}/truth.parquet"
PLANTED = f"samples/{NAME}/planted.json"

_SKUS = 10
_HISTORY_WEEKS = 96
_AHEAD_WEEKS = 13
_WINDOWS = 3  # 2026-W45 to 2026-W47
_SPLIT_WEEK = 60  # the history lies in two files, cut here
_ISSUE_WEEK = 80  # where single rows are spoilt
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Planted:
    """A store whose data is spoilt in some way, and the outcome and cause that it must get in every
    window.
    """

    store: str
    kind: str
    outcome: str
    cause: str


@dataclass(frozen=True, slots=True)
class _Chain:
    """Stores x SKUs x weeks; the last _AHEAD_WEEKS are the future, whose sales only the truth has."""

    stores: list[str]
    sales: FloatArray
    price: FloatArray
    deal: FloatArray
    feat: FloatArray


def write_samples(store: Store, folder: str, scale: float, seed: int) -> SampleReport:
    """Write into `folder` history (two Parquet files and one CSV), future (CSV), and the truth; the same
    seed gives the same bytes.
    """
    last = parse_window("2026-W47", Cadence.WEEK)
    first_week = last.next(-_HISTORY_WEEKS)
    chain = _imagine(max(14, round(16 * scale)), np.random.default_rng(seed))
    history, future, truth = _tables(chain, first_week)
    planted, history, future, by_hand = _spoil(chain, history, future)
    early = history["at"] < _SPLIT_WEEK
    rows = _write(store, f"{folder}history/until-2026.parquet", _without(history, ~early))
    rows += _write(store, f"{folder}history/since-2026.parquet", _without(history, early))
    rows += _write(store, f"{folder}history/by-hand.csv", by_hand)
    rows += _write(store, f"{folder}future.csv", _without(future, np.zeros(len(future["at"]), bool)))
    _write_parquet(store, TRUTH, pa.table({name: truth[name] for name in ("store", "sku", "week", "sales")}))
    store.write(PLANTED, msgspec.json.encode(planted))
    return SampleReport(
        first=last.next(1 - _WINDOWS),
        stop=last.next(),
        partitions=len(chain.stores),
        rows=rows,
        remarks=tuple(f"{p.store}: {p.kind}, so {p.outcome} ({p.cause})" for p in planted),
        facts={"train_from": first_week.key, "train_to": last.next(1 - _WINDOWS).key, "skus": _SKUS},
    )


def _imagine(stores: int, random: np.random.Generator) -> _Chain:
    weeks = _HISTORY_WEEKS + _AHEAD_WEEKS
    shape = (stores, _SKUS, weeks)
    regular = random.uniform(1.5, 4.0, (1, _SKUS, 1)) * random.uniform(0.95, 1.05, (stores, 1, 1))
    chainwide = random.random((1, _SKUS, weeks)) < 0.22  # most promotions are the whole chain's
    deal = chainwide & (random.random((stores, _SKUS, 1)) < 0.9) | (random.random(shape) < 0.04)
    feat = deal & (random.random((1, _SKUS, weeks)) < 0.5)
    price = regular * np.where(deal, random.uniform(0.7, 0.92, (1, _SKUS, weeks)), 1.0)
    relative = np.log(price / regular)
    rivals = (relative.sum(axis=1, keepdims=True) - relative) / (_SKUS - 1)
    season = 0.15 * np.sin(2 * np.pi * (np.arange(weeks) / 52 + random.uniform(0, 1, (1, _SKUS, 1))))
    size = (
        random.normal(4.5, 0.7, (stores, 1, 1))
        + random.normal(0, 0.8, (1, _SKUS, 1))
        + random.normal(0, 0.3, (stores, _SKUS, 1))
    )
    drift = np.cumsum(random.normal(0, 0.03, shape), axis=2)
    logs = size + season + drift - 2.2 * relative + 0.9 * rivals + 0.6 * feat + random.normal(0, 0.25, shape)
    names = [f"S{n:03d}" for n in range(1, stores + 1)]
    return _Chain(names, np.floor(np.exp(logs)), price.round(2), deal.astype(float), feat.astype(float))


Columns = dict[str, NDArray[Any]]


def _tables(chain: _Chain, first_week: Window) -> tuple[Columns, Columns, Columns]:
    """History, future and truth as columns, with the week's place in `at`."""
    stores, skus, weeks = chain.sales.shape
    keys = np.array([first_week.next(n).key for n in range(weeks)])
    at = np.broadcast_to(np.arange(weeks), chain.sales.shape).reshape(-1)
    all_rows: Columns = {
        "store": np.repeat(np.array(chain.stores), skus * weeks),
        "sku": np.tile(np.repeat([f"sku-{n:02d}" for n in range(1, skus + 1)], weeks), stores),
        "week": keys[at],
        "price": chain.price.reshape(-1),
        "deal": chain.deal.reshape(-1),
        "feat": chain.feat.reshape(-1),
        "sales": chain.sales.reshape(-1),
        "at": at,
    }
    history = _chosen(all_rows, at < _HISTORY_WEEKS)
    future = _chosen(all_rows, at >= _HISTORY_WEEKS)
    truth = _chosen(all_rows, at >= _HISTORY_WEEKS - _WINDOWS + 1)
    del future["sales"]
    return history, future, truth


def _spoil(
    chain: _Chain, history: Columns, future: Columns
) -> tuple[list[Planted], Columns, Columns, Columns]:
    """Plant one defect per store, from the second store on; gives what was planted, history, future, and
    rows written by hand.
    """
    names, planted = chain.stores, []
    h_store, f_store, at, sku = history["store"], future["store"], history["at"], history["sku"]

    def plant(number: int, kind: str, outcome: Outcome, cause: Cause) -> str:
        planted.append(Planted(names[number], kind, str(outcome), str(cause)))
        return names[number]

    name = plant(1, "three weeks with negative sales", Outcome.SCORED, Cause.NEGATIVE_SALES)
    history["sales"][
        (h_store == name) & (sku == "sku-03") & (at >= _ISSUE_WEEK) & (at < _ISSUE_WEEK + 3)
    ] *= -1
    name = plant(2, "prices of zero", Outcome.SCORED, Cause.PRICE_NOT_POSITIVE)
    history["price"][(h_store == name) & (sku == "sku-05") & (at == _ISSUE_WEEK)] = 0.0
    name = plant(3, "a SKU with three weeks of history", Outcome.SCORED, Cause.SHORT_HISTORY)
    gone = (h_store == name) & (sku == "sku-07") & (at < _HISTORY_WEEKS - 3)
    name = plant(4, "two weeks without covariates", Outcome.SCORED, Cause.MISSING_COVARIATES)
    gone_ahead = (f_store == name) & (future["at"] < _HISTORY_WEEKS + 2)
    name = plant(5, "the last eight weeks are not there", Outcome.LATE, Cause.STALE_HISTORY)
    gone |= (h_store == name) & (at >= _HISTORY_WEEKS - 8)
    name = plant(6, "no week to forecast", Outcome.LATE, Cause.NO_FUTURE)
    gone_ahead |= f_store == name
    gone |= (h_store == name) & (at >= _HISTORY_WEEKS - _WINDOWS + 1)
    name = plant(7, "closed half a year ago", Outcome.SKIPPED, Cause.DISCONTINUED)
    gone |= (h_store == name) & (at >= _HISTORY_WEEKS - 26)
    gone_ahead |= f_store == name
    name = plant(8, "opens with the first week to forecast", Outcome.SCORED, Cause.NEW_STORE)
    gone |= h_store == name
    name = plant(9, "a third of its sales negative", Outcome.QUARANTINED, Cause.TOO_MANY_REJECTS)
    history["sales"][(h_store == name) & (at % 3 == 0)] *= -1.0
    history["sales"][(h_store == name) & (at % 3 == 0)] -= 1.0
    name = plant(10, "a SKU that is taken off the shelves", Outcome.SCORED, Cause.DISCONTINUED_SKUS)
    gone_ahead |= (f_store == name) & (future["sku"] == "sku-02")
    gone |= (h_store == name) & (sku == "sku-02") & (at >= _HISTORY_WEEKS - _WINDOWS + 1)
    kept = _chosen(history, ~gone)
    name = plant(11, "rows that contradict each other", Outcome.SCORED, Cause.CONFLICTING_ROWS)
    by_hand = _texts(_chosen(history, (h_store == name) & (sku == "sku-01") & (at == _ISSUE_WEEK)))
    by_hand["sales"] = np.array(["12345"])
    name = plant(12, "a cell that is no number", Outcome.SCORED, Cause.UNREADABLE_CELL)
    spoilt = (h_store == name) & (sku == "sku-04") & (at == _ISSUE_WEEK)
    one = _texts(_chosen(history, spoilt))
    one["sales"] = np.array(["a lot"])
    kept = _chosen(history, ~(gone | spoilt))
    by_hand = {column: np.concatenate([by_hand[column], one[column]]) for column in by_hand}
    return planted, kept, _chosen(future, ~gone_ahead), by_hand


def _chosen(columns: Columns, mask: NDArray[np.bool_]) -> Columns:
    return {name: column[mask].copy() for name, column in columns.items()}


def _texts(columns: Columns) -> Columns:
    return {name: column.astype(str) for name, column in columns.items() if name != "at"}


def _without(columns: Columns, mask: NDArray[np.bool_]) -> Columns:
    return {name: column[~mask] for name, column in columns.items() if name != "at"}


def _write(store: Store, path: str, columns: Columns) -> int:
    table = pa.table(columns)
    if path.endswith(".parquet"):
        _write_parquet(store, path, table)
    else:
        buffer = io.BytesIO()
        pacsv.write_csv(table, buffer)
        store.write(path, buffer.getvalue())
    return int(table.num_rows)


def _write_parquet(store: Store, path: str, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=65_536)
    store.write(path, buffer.getvalue())
