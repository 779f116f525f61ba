"""A small chain in plain columns, and a store in which models were trained on it."""

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from fleetscore.pipeline.local import run_training
from fleetscore.store.local import LocalStore

STORES, SKUS, WEEKS, AHEAD = 6, 5, 70, 13
ORIGIN = WEEKS  # the first week to forecast, as a plain week number
SETTINGS = "rounds = 12\nleaves = 6\ncalibration_blocks = 1\nmax_reject_share = 0.1\n\n[run]\nerror_threshold = 1.0\n"

Columns = dict[str, np.ndarray]


class Chain:
    """History and future of stores "1" to "6" and SKUs "1" to "5", weeks 0 to 82, as columns that a test may spoil."""

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        shape = (STORES, SKUS, WEEKS + AHEAD)
        deal = random.random(shape) < 0.25
        feat = deal & (random.random(shape) < 0.5)
        regular = random.uniform(1.5, 4, (STORES, SKUS, 1))
        price = np.where(deal, 0.8, 1.0) * regular
        logs = (
            4
            + random.normal(0, 0.7, (STORES, SKUS, 1))
            + 0.5 * deal
            + 0.6 * feat
            + random.normal(0, 0.25, shape)
        )
        stores, skus, weeks = np.indices(shape)
        columns = {
            "store": (stores + 1).reshape(-1).astype(str),
            "sku": (skus + 1).reshape(-1).astype(str),
            "week": weeks.reshape(-1),
            "price": price.reshape(-1).round(2),
            "deal": deal.reshape(-1).astype(float),
            "feat": feat.reshape(-1).astype(float),
            "sales": np.exp(logs).reshape(-1).round(),
        }
        past = columns["week"] < WEEKS
        self.history: Columns = {name: column[past].copy() for name, column in columns.items()}
        self.future: Columns = {
            name: column[~past].copy() for name, column in columns.items() if name != "sales"
        }

    def rows(self, store: str, sku: str = "", week: int | None = None) -> np.ndarray:
        """Which rows of the history are of that store, SKU and week."""
        return _rows(self.history, store, sku, week)

    def rows_ahead(self, store: str, sku: str = "", week: int | None = None) -> np.ndarray:
        """Which rows of the future are."""
        return _rows(self.future, store, sku, week)

    def drop(self, rows: np.ndarray) -> None:
        """Take rows out of the history."""
        self.history = {name: column[~rows] for name, column in self.history.items()}

    def drop_ahead(self, rows: np.ndarray) -> None:
        """Take rows out of the future."""
        self.future = {name: column[~rows] for name, column in self.future.items()}

    def repeat(self, rows: np.ndarray, **changes: Any) -> None:
        """Append copies of rows of the history, with some columns changed."""
        copies = {
            n: np.full(rows.sum(), changes[n]) if n in changes else c[rows] for n, c in self.history.items()
        }
        self.history = {n: np.concatenate([c, copies[n].astype(c.dtype)]) for n, c in self.history.items()}

    def write(self, store: LocalStore) -> None:
        """Write both as Parquet."""
        write_table(store, "history.parquet", self.history)
        write_table(store, "future.parquet", self.future)


def _rows(columns: Columns, store: str, sku: str, week: int | None) -> np.ndarray:
    rows = columns["store"] == store
    rows &= (columns["sku"] == sku) if sku else True
    return np.asarray(rows & ((columns["week"] == week) if week is not None else True))


def write_table(store: LocalStore, name: str, columns: Mapping[str, Any]) -> None:
    """Write columns under data/store_sales/ as the name's ending says."""
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    buffer = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(table, buffer, row_group_size=500)
    else:
        pacsv.write_csv(table, buffer)
    store.write(f"data/store_sales/{name}", buffer.getvalue())


@pytest.fixture
def chain() -> Chain:
    """A fresh chain, to be spoilt by one test."""
    return Chain()


@pytest.fixture
def write() -> Callable[[LocalStore, str, Mapping[str, Any]], None]:
    """The writer of tables."""
    return write_table


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the sound chain and a model set trained on it."""
    folder = tmp_path_factory.mktemp("trained")
    store = LocalStore(folder)
    Chain().write(store)
    store.write("settings/store_sales.toml", SETTINGS.encode())
    record = run_training(store, "store_sales", "0", str(ORIGIN))
    assert record.model_set, record.error
    return folder


@pytest.fixture
def sound(trained_folder: Path, tmp_path: Path) -> LocalStore:
    """A copy of that store, with models and without data."""
    folder = tmp_path / "store"
    shutil.copytree(trained_folder, folder)
    shutil.rmtree(folder / "data")
    return LocalStore(folder)
