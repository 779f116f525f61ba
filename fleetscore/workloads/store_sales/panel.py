"""The panel: dense series x week arrays of one or many stores, filled from rows in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.kernels.compiled import compiled
from fleetscore.workloads.store_sales.reading import RowBatch

FloatArray = NDArray[np.float64]

FINDINGS = (
    "rows",  # rows of the store that were read
    "unreadable_week",  # rows whose SKU or week cannot be read
    "unreadable_cell",  # rows with a cell that is no number
    "negative_sales",
    "missing_sales",
    "price_not_positive",
    "overlap",  # history rows of a (SKU, week) that the future has too
    "repeated_rows",  # rows of a (SKU, week) after its first in the same role, where none contradicts another
    "conflicting_rows",  # rows of a (SKU, week) whose rows contradict each other, or are of several dates
)
"""What is counted per store while filling; the order of Filled.findings' columns."""

_FUTURE, _HISTORY, _CONFLICT = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Panel:
    """Series sorted by store and SKU; weeks are consecutive columns from `first_week` (a window ordinal).
    NaN is not known.
    """

    stores: tuple[str, ...]
    store_of: NDArray[np.int64]  # per series, index into stores; not decreasing
    skus: NDArray[np.object_]  # per series
    first_week: int
    sales: FloatArray  # NaN from the window on
    price: FloatArray  # positive
    deal: FloatArray
    feat: FloatArray
    extras: FloatArray  # further covariates x series x weeks
    countries: tuple[str, ...] = ()  # per store, "" where not known; () where no column holds countries

    def of_stores(self, first: int, stop: int) -> Panel:
        """The same for the stores [first, stop), without copying."""
        begin, end = np.searchsorted(self.store_of, [first, stop])
        cut = slice(int(begin), int(end))
        return Panel(
            self.stores[first:stop], self.store_of[cut] - first, self.skus[cut], self.first_week, self.sales[cut],
            self.price[cut], self.deal[cut], self.feat[cut], self.extras[:, cut], self.countries[first:stop],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """A panel and what was found while filling it."""

    panel: Panel
    planned: NDArray[np.bool_]  # per series: has a row in the weeks to forecast
    findings: NDArray[np.int64]  # stores x FINDINGS


class PanelFiller:
    """Takes batches of rows, first those of the future, then those of the history, and gives the panel.

    The weeks [first_week, stop_week) are kept. Sales are read before `origin_week` only; from it on, the
    future's covariates stand and the history's fill what the future does not have. Rows of one (store, SKU,
    week) in the same role that contradict each other make that week unknown, whatever their order; so do rows
    of several dates or times, also where they are equal: they are parts of the week, not repeats.
    """

    def __init__(
        self, stores: Sequence[str], covariates: int, first_week: int, origin_week: int, stop_week: int
    ) -> None:
        self._stores = tuple(stores)
        self._store_index = {name: i for i, name in enumerate(stores)}
        self._sku_index: dict[str, int] = {}
        self._first_week, self._origin, self._weeks = (
            first_week,
            origin_week - first_week,
            stop_week - first_week,
        )
        self._slots = np.full((len(stores), 0), -1, np.int64)
        self._cells = np.empty((4 + covariates, 0, self._weeks))  # sales, price, deal, feat, covariates
        self._seen = np.empty((0, self._weeks), np.uint8)
        self._rows = np.empty((0, self._weeks), np.int32)  # rows that stand for the cell
        self._since_s = np.empty((0, self._weeks), np.int32)  # of the first of them that has a date
        self._keys = np.empty((0, 2), np.int64)  # store and SKU of each series
        self._count = 0
        self._findings = np.zeros((len(stores), len(FINDINGS)), np.int64)

    def add_future(self, batch: RowBatch, price_columns: Sequence[str]) -> None:
        """Take rows of the future; all of them come before those of the history."""
        self._add(batch, price_columns, _FUTURE)

    def add_history(self, batch: RowBatch, price_columns: Sequence[str]) -> None:
        """Take rows of the history."""
        self._add(batch, price_columns, _HISTORY)

    def panel(self) -> Filled:
        """The panel of all rows taken."""
        order = np.lexsort((self._sku_ranks()[self._keys[: self._count, 1]], self._keys[: self._count, 0]))
        seen = self._seen[order]
        store_of = self._keys[order, 0]
        cells = [_in_order(block, order) for block in self._cells]
        conflict = (seen & _CONFLICT) > 0
        for block in cells:
            block[conflict] = np.nan
        findings = self._findings.copy()
        distinct = ((seen & _FUTURE) > 0).sum(axis=1) + ((seen & _HISTORY) > 0).sum(axis=1)
        conflicting = (self._rows[order] * conflict).sum(axis=1)
        repeats = distinct + conflicting - conflict.sum(axis=1)
        findings[:, 7] -= np.bincount(store_of, repeats, len(self._stores)).astype(np.int64)
        findings[:, 8] = np.bincount(store_of, conflicting, len(self._stores))
        names = np.array([*self._sku_index, ""], object)
        extras = np.stack(cells[4:]) if len(cells) > 4 else np.empty((0, len(order), self._weeks))
        sales, price, deal, feat = cells[:4]
        skus = names[self._keys[order, 1]]
        panel = Panel(self._stores, store_of, skus, self._first_week, sales, price, deal, feat, extras)
        planned = np.asarray((seen[:, self._origin :] > 0).any(axis=1))
        return Filled(panel, planned, findings)

    def _add(self, batch: RowBatch, price_columns: Sequence[str], role: int) -> None:
        store = self._codes(batch.store.codes, [self._store_index.get(v, -1) for v in batch.store.values])
        sku = self._codes(batch.sku.codes, [self._sku(v) for v in batch.sku.values])
        price_row = self._price_rows(price_columns)
        row = 0
        while row < len(store):
            self._make_room()
            row, self._count = _scatter(
                row, self._count, role, self._origin, self._first_week, store, sku, batch.week, batch.sales, batch.deal,
                batch.feat, batch.prices, price_row, batch.covariates, batch.unreadable, batch.since_s, self._slots,
                self._keys, self._cells, self._seen, self._rows, self._since_s, self._findings,
            )  # fmt: skip

    def _codes(self, codes: NDArray[np.int32], targets: list[int]) -> NDArray[np.int64]:
        return np.array([*targets, -1], np.int64)[codes]

    def _sku(self, name: str) -> int:
        if not name:
            return -1
        return self._sku_index.setdefault(name, len(self._sku_index))

    def _price_rows(self, price_columns: Sequence[str]) -> NDArray[np.int64]:
        """For each SKU the row of `prices` with its own price: the only one, or price<sku>; -1 where there
        is none.
        """
        if tuple(price_columns) == ("price",):
            return np.zeros(len(self._sku_index), np.int64)
        rows = {name: row for row, name in enumerate(price_columns)}
        return np.array([rows.get(f"price{sku}", -1) for sku in self._sku_index], np.int64)

    def _make_room(self) -> None:
        if self._slots.shape[1] < len(self._sku_index):
            wider = np.full((len(self._stores), max(16, 2 * len(self._sku_index))), -1, np.int64)
            wider[:, : self._slots.shape[1]] = self._slots
            self._slots = wider
        if self._count == len(self._seen):
            capacity = max(1024, 2 * self._count)
            self._cells = _longer(self._cells, 1, self._count, capacity)
            self._seen = _longer(self._seen, 0, self._count, capacity)
            self._rows = _longer(self._rows, 0, self._count, capacity)
            self._since_s = _longer(self._since_s, 0, self._count, capacity)
            self._keys = _longer(self._keys, 0, self._count, capacity)

    def _sku_ranks(self) -> NDArray[np.int64]:
        """The place of each SKU in natural order: numbers by value before names by letters."""
        names = list(self._sku_index)
        ranks = np.empty(len(names), np.int64)
        ranks[sorted(range(len(names)), key=lambda i: natural_key(names[i]))] = np.arange(len(names))
        return ranks


def fold_days(panel: Panel, first_week: int) -> Panel:
    """The panel of weeks of a panel of days that begins with a Monday.

    A week's sales are the sum of its days', its price, deal, feature and covariates their mean; days that
    are not known are left out, and a week without a known day is not known.
    """
    sales = _folded(panel.sales, np.nansum)
    price, deal, feat, extras = (
        _folded(block, np.nanmean) for block in (panel.price, panel.deal, panel.feat, panel.extras)
    )
    return Panel(panel.stores, panel.store_of, panel.skus, first_week, sales, price, deal, feat, extras)


def _folded(days: FloatArray, reduce: Callable[..., Any]) -> FloatArray:
    weeks = days.reshape(*days.shape[:-1], days.shape[-1] // 7, 7)
    known = ~np.isnan(weeks).all(axis=-1)
    out = np.full(weeks.shape[:-1], np.nan)
    out[known] = reduce(weeks[known], axis=-1)
    return out


def natural_key(name: str) -> tuple[int, int, str]:
    """Sorts numbers by value, before names by letters.

    >>> sorted(["10", "9", "b", "a"], key=natural_key)
    ['9', '10', 'a', 'b']
    """
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _longer(array: NDArray[Any], axis: int, used: int, capacity: int) -> NDArray[Any]:
    """The array with room for `capacity` along the axis; only what is used is copied, so fresh memory is
    not touched yet.
    """
    shape = list(array.shape)
    shape[axis] = capacity
    longer = np.empty(shape, array.dtype)
    cut = (slice(None),) * axis + (slice(0, used),)
    longer[cut] = array[cut]
    return longer


def _in_order(block: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    if np.array_equal(order, np.arange(len(order))):
        return block[: len(order)]
    return block[order]


@compiled()
def _differs(a: float, b: float) -> bool:
    return a != b and not (np.isnan(a) and np.isnan(b))


@compiled()
def _scatter(
    row: int, count: int, role: int, origin: int, first_week: int, store: Any, sku: Any, week: Any, sales: Any,
    deal: Any, feat: Any, prices: Any, price_row: Any, covariates: Any, unreadable: Any, since_s: Any, slots: Any,
    keys: Any, cells: Any, seen: Any, rows: Any, cell_since_s: Any, findings: Any,
) -> tuple[int, int]:  # fmt: skip
    """Write rows from `row` on until all are written or a new series finds no room; gives the next row and
    the number of series.
    """
    values = np.empty(cells.shape[0])
    for r in range(row, store.size):
        i, k, w = store[r], sku[r], week[r] - first_week
        if i < 0:
            continue
        if k < 0 or week[r] < 0:
            findings[i, 0] += 1
            findings[i, 1] += 1
            continue
        if w < 0 or w >= cells.shape[2]:
            continue
        if slots[i, k] < 0:
            if count == seen.shape[0]:
                return r, count
            _open_series(count, i, k, slots, keys, cells, seen, rows)
            cell_since_s[count, :] = 0
            count += 1
        findings[i, 0] += 1
        findings[i, 2] += 1 if unreadable[r] > 0 else 0
        findings[i, 7] += 1
        values[0] = np.nan
        if role == _HISTORY and w < origin:
            values[0] = _usable_sales(sales[r], unreadable[r], findings[i])
        values[1] = _usable_price(prices, price_row[k], r, findings[i])
        values[2], values[3] = deal[r], feat[r]
        for c in range(covariates.shape[0]):
            values[4 + c] = covariates[c, r]
        stands = _settle_cell(values, slots[i, k], w, role, origin, cells, seen, findings[i])
        rows[slots[i, k], w] += stands
        if stands > 0 and since_s[r] > 0:
            _settle_time(since_s[r], slots[i, k], w, cell_since_s, seen)
    return store.size, count


@compiled()
def _open_series(
    slot: int, store: int, sku: int, slots: Any, keys: Any, cells: Any, seen: Any, rows: Any
) -> None:
    slots[store, sku] = slot
    keys[slot, 0] = store
    keys[slot, 1] = sku
    seen[slot, :] = 0
    rows[slot, :] = 0
    for c in range(cells.shape[0]):
        cells[c, slot, :] = np.nan


@compiled()
def _usable_sales(sales: float, unreadable: int, found: Any) -> float:
    if sales < 0.0:
        found[3] += 1
        return np.nan
    if np.isnan(sales) and unreadable == 0:
        found[4] += 1
    return sales


@compiled()
def _usable_price(prices: Any, price_row: int, row: int, found: Any) -> float:
    price = prices[price_row, row] if price_row >= 0 else np.nan
    if price <= 0.0:
        found[5] += 1
        return np.nan
    return float(price)


@compiled()
def _settle_cell(
    values: Any, slot: int, week: int, role: int, origin: int, cells: Any, seen: Any, found: Any
) -> int:
    """Write the values where nothing of this role is yet; mark a conflict where they differ from what is.

    Returns 1 when rows of this role stand for the cell, else 0.
    """
    mark = seen[slot, week]
    if role == _HISTORY and mark & _FUTURE:
        found[6] += 1
        if week >= origin:  # the future's covariates stand
            seen[slot, week] = mark | _HISTORY
            return 0
    seen[slot, week] = mark | role
    if role == _FUTURE and week < origin:
        return 0  # the history stands
    for c in range(values.size):
        if not mark & role:
            cells[c, slot, week] = values[c]
        elif _differs(cells[c, slot, week], values[c]):
            seen[slot, week] = mark | _CONFLICT
    return 1


@compiled()
def _settle_time(since_s: int, slot: int, week: int, cell_since_s: Any, seen: Any) -> None:
    """Take the first date or time of the cell; mark a conflict where a further row has another."""
    if cell_since_s[slot, week] == 0:
        cell_since_s[slot, week] = since_s
    elif cell_since_s[slot, week] != since_s:
        seen[slot, week] |= _CONFLICT
