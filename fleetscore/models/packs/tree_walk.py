"""Trees that are walked: all rows of a block one level at a time and without a branch, or row by row where
tests are by sets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled
from fleetscore.models.packs.tree_bits import IN_SET, NAN_LEFT, add_values, in_set, leaf_ranges
from fleetscore.models.packs.tree_codes import BLOCK_ROWS

CODE_BITS, PLANE_BITS = 24, 16  # of a node in a walk; the rest is the jump to its right child


@compiled
def fill_nodes(
    begin: int, end: int, feature: Any, code: Any, span: Any, flags: Any, first: Any, last: Any, features: int, nodes: Any,
    leaf_of: Any,
) -> Any:  # fmt: skip
    """Fill `nodes` (words of code, plane and jump; leaves stay where they are) for one tree's walk; returns
    its depth.
    """
    leaf_ranges(begin, end, span, first, last)
    depth = np.int64(0)
    leaf_of[0] = 0
    nodes[0] = 0
    for node in range(begin, end):
        f, size = np.uint64(feature[node]), np.int64(span[node])
        plane = f + np.uint64(features) if flags[node] & NAN_LEFT else f
        at = node - begin + first[node]
        level = np.int64(leaf_of[at]) + 1
        depth = max(depth, level)
        jump = np.uint64(2 * size) << np.uint64(CODE_BITS + PLANE_BITS)
        nodes[at] = jump | (plane << np.uint64(CODE_BITS)) | (np.uint64(code[node]) + np.uint64(1))
        leaf_of[at + 1] = leaf_of[at + 2 * size] = level  # until they are reached, their depth
        if size == 1:
            nodes[at + 1], leaf_of[at + 1] = 0, first[node]
        if last[node] - first[node] - size == 1:
            nodes[at + 2 * size], leaf_of[at + 2 * size] = 0, first[node] + size
    return depth


@compiled
def walk(nodes: Any, depth: int, codes: Any, rows: int, at: Any) -> None:
    """Take a block's rows from their places `at` among a tree's `nodes` to their leaves' places."""
    low, middle = np.uint64((1 << CODE_BITS) - 1), np.uint64((1 << PLANE_BITS) - 1)
    one = np.uint64(1)
    for _ in range(depth):
        for i in range(rows):
            node = nodes[at[i]]
            plane = (node >> np.uint64(CODE_BITS)) & middle
            own = np.uint64(codes[plane * np.uint64(BLOCK_ROWS) + np.uint64(i)])
            right = np.uint64(own >= (node & low)) << np.uint64(5)  # shifted: a condition makes a branch
            jump = node >> np.uint64(CODE_BITS + PLANE_BITS)  # a leaf's is 0, and no row goes left there
            at[i] += np.uint32(((jump << np.uint64(32)) | one) >> right)


@compiled
def score_by_walking(
    codes: Any, rows: int, features: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any,
    values: Any, width: int, single: bool, first: Any, last: Any, nodes: Any, leaf_of: Any, sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs), walking down each tree."""
    at = np.empty(BLOCK_ROWS, np.uint32)
    leaves = np.empty((BLOCK_ROWS, 1), np.uint32)
    for t in range(tree_output.size):
        begin, end = np.int64(tree_nodes[t]), np.int64(tree_nodes[t + 1])
        depth = fill_nodes(begin, end, feature, code, span, flags, first, last, features, nodes, leaf_of)
        for row in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - row)
            at[:size] = 0
            walk(nodes, depth, codes[row // BLOCK_ROWS].reshape(-1), size, at)
            for i in range(size):
                leaves[i, 0] = leaf_of[at[i]]
            add_values(leaves, t, 1, size, tree_nodes, tree_output, values, width, single, sums[row:])


@compiled
def score_by_branches(
    codes: Any, rows: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any,
    sets: Any, cut_bounds: Any, values: Any, width: int, single: bool, sums: Any,
) -> None:  # fmt: skip
    """The same row by row, for large trees with tests by sets."""
    leaves = np.empty((1, 1), np.uint32)
    for t in range(tree_output.size):
        begin, end = np.int64(tree_nodes[t]), np.int64(tree_nodes[t + 1])
        for row in range(rows):
            node: Any = begin
            leaf, size = begin - begin, end - begin + 1
            while size > 1:
                f, here = np.int64(feature[node]), np.int64(span[node])
                own = np.int64(codes[row // BLOCK_ROWS, f, row % BLOCK_ROWS])
                if own > cut_bounds[f + 1] - cut_bounds[f]:
                    left = flags[node] & NAN_LEFT != 0
                elif flags[node] & IN_SET:
                    left = in_set(sets, np.int64(code[node]), own)
                else:
                    left = own <= np.int64(code[node])
                if left:
                    node, size = node + 1, here
                else:
                    node, leaf, size = node + here, leaf + here, size - here
            leaves[0, 0] = leaf
            add_values(leaves, t, 1, 1, tree_nodes, tree_output, values, width, single, sums[row:])
