"""Values that are taken as they are, and are so far from what a store had before that somebody should look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_ODD_SALES = 8.0  # in logs, 3,000 times the series' mean; real promotions reach 6
_FEWEST_ZEROS, _CHANCE = 6, 1e-6  # weeks of zero before the first sale, and how likely they may be at least
_LARGEST_DEAL = 100.0  # as a share in percent; what is more means nothing
_ODD_PRICE = 10.0  # times beyond all prices before: another unit or currency, or a slipped point


def has_odd_sales(sales: FloatArray) -> NDArray[np.bool_]:
    """Which series have a week far above what they sell else, as a wrong unit or a code in place of a number
    gives.
    """
    logs = np.log1p(np.nan_to_num(sales))
    known = np.maximum((~np.isnan(sales)).sum(axis=1), 1)
    return np.asarray(logs.max(axis=1) - logs.sum(axis=1) / known > _ODD_SALES)


def has_zeros_before_start(sales: FloatArray) -> NDArray[np.bool_]:
    """Which series have sales of zero only up to their first sale, for so long as chance does not give by what they
    sell since: rows of weeks in which they were not on the shelves.
    """
    sold = sales > 0
    first = np.argmax(sold, axis=1)
    rows = np.flatnonzero(sold.any(axis=1) & (first >= _FEWEST_ZEROS))
    before = np.arange(sales.shape[1]) < first[rows, None]
    known, zero = ~np.isnan(sales[rows]), sales[rows] == 0
    since = (known & ~before).sum(axis=1)
    rate = ((zero & ~before).sum(axis=1) + 1) / (since + 2)  # of zero, a little above what was seen
    found = np.zeros(len(sales), bool)
    found[rows] = rate ** (zero & before).sum(axis=1) < _CHANCE
    return found


def odd_deals(values: FloatArray, store_of: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Per series the weeks whose deal or feature is below zero or above 100, or, in the `steps` weeks to forecast,
    above 1 where the store's history knows shares up to 1 only: percent beside shares.
    """
    odd = ((values < 0) | (values > _LARGEST_DEAL)).sum(axis=1)
    past, ahead = values[:, : values.shape[1] - steps], values[:, values.shape[1] - steps :]
    above = ((ahead > 1) & (ahead <= _LARGEST_DEAL)).sum(axis=1)
    if above.any():  # hardly ever: only then the history is looked at
        highest = _highest_by_store(past, store_of)
        odd += np.where((highest > 0) & (highest <= 1), above, 0)
    return np.asarray(odd, np.int64)


def odd_prices(price: FloatArray, steps: int) -> NDArray[np.int64]:
    """Per series the weeks to forecast whose price is more than ten times above or below all that it had before."""
    past, ahead = price[:, : price.shape[1] - steps], price[:, price.shape[1] - steps :]
    odd = np.zeros(len(price), np.int64)
    if past.shape[1]:
        last = past[:, -1:]  # what is near it is near the history: few rows are left to look at
        near = (ahead <= _ODD_PRICE * last) & (_ODD_PRICE * ahead >= last)
        rows = np.flatnonzero(~near.all(axis=1))
        high, low = np.fmax.reduce(past[rows], axis=1), np.fmin.reduce(past[rows], axis=1)
        far = (ahead[rows] > _ODD_PRICE * high[:, None]) | (_ODD_PRICE * ahead[rows] < low[:, None])
        odd[rows] = far.sum(axis=1)
    return odd


def _highest_by_store(values: FloatArray, store_of: NDArray[np.int64]) -> FloatArray:
    """Per series the highest value that any series of its store has, 0.0 where none is known."""
    if not values.size:
        return np.zeros(len(values))
    highest = np.zeros(int(store_of[-1]) + 1)
    np.maximum.at(highest, store_of, np.nan_to_num(np.fmax.reduce(values, axis=1)))
    return np.asarray(highest[store_of])
