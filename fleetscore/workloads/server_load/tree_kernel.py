"""The walk down the trees, compiled by numba; rows in blocks, so that a tree stays in the cache while many rows pass it."""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

from numba import njit

_BLOCK = 512


@njit(cache=True, nogil=True, inline="always")
def _leaf(x, node, feature, threshold, left, right, missing_left):
    while left[node] >= 0:
        value = x[feature[node]]
        at_most = value <= threshold[node] or (value != value and missing_left[node] != 0)
        node = left[node] if at_most else right[node]
    return node


@njit(cache=True, nogil=True)
def add_forest(x, feature, threshold, left, right, missing_left, value, roots, sums):
    """Add every tree's class shares to `sums` (rows, 3), tree after tree."""
    for first in range(0, len(x), _BLOCK):
        for tree in range(len(roots)):
            for row in range(first, min(first + _BLOCK, len(x))):
                node = _leaf(x[row], roots[tree], feature, threshold, left, right, missing_left)
                for k in range(sums.shape[1]):
                    sums[row, k] += value[node, k]


@njit(cache=True, nogil=True)
def add_boosting(x, feature, threshold, left, right, missing_left, value, roots, tree_class, raw):
    """Add every tree's value to its class in `raw` (rows, 3), tree after tree."""
    for first in range(0, len(x), _BLOCK):
        for tree in range(len(roots)):
            k = tree_class[tree]
            for row in range(first, min(first + _BLOCK, len(x))):
                raw[row, k] += value[
                    _leaf(x[row], roots[tree], feature, threshold, left, right, missing_left)
                ]
