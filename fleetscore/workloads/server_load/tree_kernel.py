"""The walk down the trees, compiled by numba: all rows of a block go down one level at a time, without a
branch to mispredict.

A node is a threshold and a link: right child << 16 | column << 1 | whether NaN goes left. The left child is
the next node. A leaf is its own right child and has the threshold -inf, so a row that has arrived stays.
"""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

import numpy as np

from fleetscore.kernels.compiled import compiled

_BLOCK = 256


@compiled(inline="always")
def _descend(x, first, stop, root, depth, threshold, link, at):
    for row in range(stop - first):
        at[row] = root
    for _ in range(depth):
        for row in range(stop - first):
            node = at[row]
            way = link[node]
            value = x[first + row, (way >> 1) & 0x7FFF]
            left = (value <= threshold[node]) | ((value != value) & ((way & 1) != 0))  # NaN is not itself
            at[row] = node + 1 if left else way >> 16


@compiled()
def add_forest(x, threshold, link, value, roots, depths, sums):
    """Add every tree's class shares to `sums` (rows, 3), tree after tree."""
    at = np.empty(_BLOCK, np.int64)
    for first in range(0, len(x), _BLOCK):
        stop = min(first + _BLOCK, len(x))
        for tree in range(len(roots)):
            _descend(x, first, stop, roots[tree], depths[tree], threshold, link, at)
            for row in range(first, stop):
                for k in range(sums.shape[1]):
                    sums[row, k] += value[at[row - first], k]


@compiled()
def add_boosting(x, threshold, link, value, roots, depths, tree_class, raw):
    """Add every tree's value to its class in `raw` (rows, 3), tree after tree."""
    at = np.empty(_BLOCK, np.int64)
    for first in range(0, len(x), _BLOCK):
        stop = min(first + _BLOCK, len(x))
        for tree in range(len(roots)):
            _descend(x, first, stop, roots[tree], depths[tree], threshold, link, at)
            k = tree_class[tree]
            for row in range(first, stop):
                raw[row, k] += value[at[row - first], 0]


@compiled()
def find_depths(threshold, link, roots, columns):
    """The depth of every tree (int64); empty when links leave their tree, run in circles, or name a column
    that is not there.
    """
    count = len(link)
    depths = np.zeros(len(roots), np.int64)
    level = np.zeros(count, np.int64)
    for tree in range(len(roots)):
        stop = roots[tree + 1] if tree + 1 < len(roots) else count
        if roots[tree] < 0 or roots[tree] >= stop:
            return depths[:0]
        level[roots[tree]] = 0
        for node in range(roots[tree], stop):
            right = link[node] >> 16
            if right == node:
                if threshold[node] != -np.inf or link[node] & 1:
                    return depths[:0]
                depths[tree] = max(depths[tree], level[node])
                continue
            if right <= node + 1 or right >= stop or ((link[node] >> 1) & 0x7FFF) >= columns:
                return depths[:0]
            level[node + 1] = level[node] + 1
            level[right] = level[node] + 1
    return depths
