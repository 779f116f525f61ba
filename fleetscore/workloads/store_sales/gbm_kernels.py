"""gbm's trees, compiled: leaf masks over blocks of rows as for other forests, and a plain walk for trees of
more than 64 leaves.

Trees are added in R's order, so that the sums are R's own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fleetscore.kernels.compiled import compiled
from fleetscore.workloads.store_sales.forest_kernels import BLOCK_ROWS, lowest_bit

MOST_LEAVES = 64


@compiled()
def number_leaves(
    roots: Any,
    stop: int,
    variable: Any,
    left: Any,
    right: Any,
    missing: Any,
    leaf: Any,
    below: Any,
    leaves: Any,
) -> None:
    """Number each tree's leaves in the order left, right, missing; `below` gets per node the bits of the
    leaves under it.

    `leaf` (per leaf node) gets its number, `leaves` (per tree) how many there are; trees of more than 64
    leaves get no bits.
    """
    stack = np.empty(variable.size, np.int64)
    for tree in range(roots.size):
        last = roots[tree + 1] if tree + 1 < roots.size else stop
        size, count = 1, 0
        stack[0] = roots[tree]
        while size > 0:
            size -= 1
            node = stack[size]
            if variable[node] < 0:
                leaf[node] = count
                count += 1
            else:
                stack[size] = missing[node]
                stack[size + 1] = right[node]
                stack[size + 2] = left[node]
                size += 3
        leaves[tree] = count
        if count > MOST_LEAVES:
            continue
        for node in range(last - 1, roots[tree] - 1, -1):  # children come after their parents
            if variable[node] < 0:
                below[node] = np.uint64(1) << np.uint64(leaf[node])
            else:
                below[node] = below[left[node]] | below[right[node]] | below[missing[node]]


@compiled()
def add_by_masks(
    matrix: Any, is_factor: Any, has_gaps: Any, roots: Any, stop: int, variable: Any, code: Any, left: Any, right: Any,
    directions: Any, leaf: Any, below: Any, out: Any,
) -> None:  # fmt: skip
    """Add to `out` (rows) the leaf values of every tree for `matrix` (variables x rows), block by block."""
    reach = np.empty(BLOCK_ROWS, np.uint64)
    values = np.empty(MOST_LEAVES)
    everything = ~np.uint64(0)
    for begin in range(0, out.size, BLOCK_ROWS):
        size = min(BLOCK_ROWS, out.size - begin)
        target = out[begin : begin + size]
        for tree in range(roots.size):
            last = roots[tree + 1] if tree + 1 < roots.size else stop
            for i in range(size):
                reach[i] = everything
            for node in range(roots[tree], last):
                v = variable[node]
                if v < 0:
                    values[leaf[node]] = code[node]
                    continue
                row = matrix[v, begin : begin + size]
                off_left = ~below[left[node]]
                if is_factor[v]:
                    off_both = off_left & ~below[right[node]]
                    of_level = directions[int(code[node])]
                    for i in range(size):
                        direction = 0 if math.isnan(row[i]) else of_level[int(row[i])]
                        if direction >= 0:
                            reach[i] &= off_left if direction > 0 else off_both
                    continue
                limit = code[node]
                for i in range(size):
                    reach[i] &= everything if row[i] < limit else off_left
                if has_gaps[v]:
                    off_right = ~below[right[node]]
                    for i in range(size):
                        if math.isnan(row[i]):
                            reach[i] &= off_right
            for i in range(size):
                target[i] += values[lowest_bit(reach[i])]


@compiled()
def add_by_walking(
    matrix: Any, is_factor: Any, roots: Any, variable: Any, code: Any, left: Any, right: Any, missing: Any,
    directions: Any, out: Any,
) -> None:  # fmt: skip
    """The same for trees of any size, row by row: strictly below the threshold goes left."""
    for tree in range(roots.size):
        for row in range(out.size):
            node = roots[tree]
            while variable[node] >= 0:
                value = matrix[variable[node], row]
                if math.isnan(value):
                    node = missing[node]
                elif is_factor[variable[node]]:
                    direction = directions[int(code[node]), int(value)]
                    node = left[node] if direction < 0 else (right[node] if direction > 0 else missing[node])
                else:
                    node = left[node] if value < code[node] else right[node]
            out[row] += code[node]
