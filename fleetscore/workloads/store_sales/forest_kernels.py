"""The tree scorer, compiled: per node one vectorised compare over a block of rows, per tree one look-up by
the lowest leaf that is left.

After Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees" (SIGIR 2015).
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # whole before its parts: another thread may be in the midst of importing it
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from fleetscore.kernels.compiled import compiled

BLOCK_ROWS = 256


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit(_: Any, bits: Any) -> Any:  # noqa: ARG001  # numba matches the argument by its name
    """The place of the lowest set bit of a uint64 that is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


@compiled()
def encode(matrix: Any, cuts: Any, first_cut: Any, codes: Any) -> None:
    """Replace each value by the number of its feature's cuts that are lower; rows often repeat the value
    before, which costs nothing.
    """
    for f in range(matrix.shape[0]):
        first, stop = first_cut[f], first_cut[f + 1]
        before, code = np.nan, 0
        for row in range(matrix.shape[1]):
            value = matrix[f, row]
            if value != before:
                low, size = first, stop - first
                while size > 0:
                    half = size >> 1
                    if cuts[low + half] < value:
                        low += half + 1
                        size -= half + 1
                    else:
                        size = half
                code = low - first
                before = value
            codes[f, row] = code


@compiled()
def score_blocks(
    codes: Any, first_tree: Any, feature: Any, node_code: Any, stays: Any, value: Any, left: Any, out: Any
) -> None:
    """Fill `out` (forests x rows), adding the trees in their order."""
    rows = codes.shape[1]
    for begin in range(0, rows, BLOCK_ROWS):
        size = min(BLOCK_ROWS, rows - begin)
        for forest in range(first_tree.size - 1):
            target = out[forest, begin : begin + size]
            target[:] = 0.0
            for tree in range(first_tree[forest], first_tree[forest + 1]):
                for i in range(size):
                    left[i] = 0xFFFF
                for node in range(feature.shape[1]):
                    limit, stay = node_code[tree, node], stays[tree, node]
                    if stay == 0xFFFF:
                        continue
                    values = codes[feature[tree, node], begin : begin + size]
                    for i in range(size):
                        left[i] &= stay if values[i] > limit else np.uint16(0xFFFF)
                leaf = value[tree]
                for i in range(size):
                    target[i] += leaf[lowest_bit(np.uint64(left[i]))]
