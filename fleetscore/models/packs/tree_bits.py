"""Parts of scoring trees by bit vectors, compiled: tables of reachable leaves, the leaf that is left, and
adding its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from fleetscore.models.packs.compiled import compiled

BLOCK_ROWS = 256
CHUNK_ROWS = 1024
MASK_LEAVES = 64  # trees of at most this many leaves are scored by bit vectors
MASK_ROWS = 24  # models with fewer rows are walked: building a table would cost more
WORDS_AT_ONCE = 8
TABLE_WORDS = 1 << 16  # words of 8 bytes of a bit-vector table; more trees than fit are scored in groups
ROUND_FEATURES, ROUND_SUMS = 1, 2  # to float32
NAN_LEFT, IN_SET = 1, 2  # a node's flags: missing values go left; its test is a set of codes
CODE_BITS, PLANE_BITS = 24, 16  # of a node in a walk; the rest is the jump to its right child


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit(_: Any, bits: Any) -> Any:  # numba matches the argument by its name
    """The place of the lowest set bit of an unsigned number that is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return bits(bits) if isinstance(bits, types.Integer) else None, generate


@compiled
def leaf_ranges(begin: int, end: int, span: Any, first: Any, last: Any) -> bool:
    """Fill `first` and `last` (end) with the leaves below each node of a tree in preorder; False where its
    spans fit no tree.

    A node's left child follows it, its right child follows the left child's nodes; `span` is the number of
    leaves on its left.
    """
    first[begin], last[begin] = 0, end - begin + 1
    for node in range(begin, end):
        here, size = np.int64(span[node]), last[node] - first[node]
        if here < 1 or here >= size:
            return False
        if here > 1:
            first[node + 1], last[node + 1] = first[node], first[node] + here
        if size - here > 1:
            first[node + here], last[node + here] = first[node] + here, last[node]
    return True


@compiled
def mark_nodes(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, first: Any,
    last: Any, table: Any,
) -> None:  # fmt: skip
    """Take from `table` (rows of codes by feature, trees) the leaves that each node's own threshold and
    missing values exclude.

    The rows of a feature are its codes in order and then the one of missing values; `row_of` says where
    they begin.
    """
    for t in range(trees):
        begin, end = tree_nodes[first_tree + t], tree_nodes[first_tree + t + 1]
        leaf_ranges(begin, end, span, first, last)
        for node in range(begin, end):
            f = np.int64(feature[node])
            mask = ~(((np.uint64(1) << np.uint64(span[node])) - np.uint64(1)) << np.uint64(first[node]))
            if not flags[node] & NAN_LEFT:
                table[row_of[f + 1] - 1, t] &= mask
            if not flags[node] & IN_SET:
                table[row_of[f] + np.int64(code[node]) + 1, t] &= mask


@compiled
def spread_marks(row_of: Any, table_words: Any) -> None:
    """Let every code of a feature exclude what the lower ones exclude."""
    for f in range(row_of.size - 1):
        for row in range(row_of[f] + 1, row_of[f + 1] - 1):
            for word in range(table_words.shape[1]):
                table_words[row, word] &= table_words[row - 1, word]


@compiled
def mark_sets(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, sets: Any, row_of: Any,
    first: Any, table_words: Any, bits: int,
) -> None:  # fmt: skip
    """Take from the table the leaves that tests by sets exclude; `first` holds all trees' first leaves."""
    for t in range(trees):
        word, shift = t * bits // 64, np.uint64(t * bits % 64)
        for node in range(tree_nodes[first_tree + t], tree_nodes[first_tree + t + 1]):
            if flags[node] & IN_SET:
                f = np.int64(feature[node])
                below = ((np.uint64(1) << np.uint64(span[node])) - np.uint64(1)) << np.uint64(first[node])
                mask = ~(below << shift)
                for row in range(row_of[f], row_of[f + 1] - 1):
                    if not in_set(sets, np.int64(code[node]), row - row_of[f]):
                        table_words[row, word] &= mask


@compiled
def in_set(sets: Any, begin: int, code: int) -> bool:
    """Whether a code is in the set of bits that begins at a word."""
    return bool((sets[begin + (code >> 6)] >> np.uint64(code & 63)) & np.uint64(1))


@compiled
def reach(table_words: Any, used: Any, row_of: Any, codes: Any, rows: int, masks: Any) -> None:
    """Fill `masks` (rows, words) with what all used features leave reachable for a block's rows."""
    words = masks.shape[1]
    count = used.size
    for i in range(rows):
        mask = masks[i]
        for w in range(words):
            mask[w] = ~np.uint64(0)
        at = 0
        while at + 3 < count:
            f, g, h, j = used[at], used[at + 1], used[at + 2], used[at + 3]
            a, b = table_words[row_of[f] + codes[f, i]], table_words[row_of[g] + codes[g, i]]
            c, d = table_words[row_of[h] + codes[h, i]], table_words[row_of[j] + codes[j, i]]
            for w in range(words):
                mask[w] &= (a[w] & b[w]) & (c[w] & d[w])
            at += 4
        while at < count:
            a = table_words[row_of[used[at]] + codes[used[at], i]]
            for w in range(words):
                mask[w] &= a[w]
            at += 1


@compiled
def take_leaves(masks: Any, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the lowest leaf that each mask leaves."""
    for i in range(rows):
        for t in range(trees):
            leaves[i, t] = lowest_bit(masks[i, t])


@compiled
def add_values(
    leaves: Any, first_tree: int, trees: int, rows: int, tree_nodes: Any, tree_output: Any, values: Any, width: int, single: bool,
    sums: Any,
) -> None:  # fmt: skip
    """Add each row's leaf values to `sums` (rows, outputs), tree after tree; float32 sums are rounded after
    each addition.
    """
    for t in range(trees):
        base = tree_nodes[first_tree + t] + first_tree + t
        k = tree_output[first_tree + t]
        if single:
            for i in range(rows):
                sums[i, k] = np.float64(np.float32(sums[i, k] + values[base + leaves[i, t]]))
        elif width == 1:
            for i in range(rows):
                sums[i, k] += values[base + leaves[i, t]]
        else:
            for i in range(rows):
                at = (base + leaves[i, t]) * width
                for j in range(width):
                    sums[i, j] += values[at + j]


@compiled
def add_to_one_output(leaves: Any, bases: Any, rows: int, values: Any, single: bool, sums: Any) -> None:
    """The same for a single output: four rows at a time, whose sums do not wait for each other."""
    for begin in range(0, rows, 4):
        i, j, k, m = begin, min(begin + 1, rows - 1), min(begin + 2, rows - 1), min(begin + 3, rows - 1)
        a, b, c, d = sums[i, 0], sums[j, 0], sums[k, 0], sums[m, 0]
        if single:
            e, f, g, h = np.float32(a), np.float32(b), np.float32(c), np.float32(d)
            for t in range(bases.size):
                base = bases[t]
                e += np.float32(values[base + leaves[i, t]])
                f += np.float32(values[base + leaves[j, t]])
                g += np.float32(values[base + leaves[k, t]])
                h += np.float32(values[base + leaves[m, t]])
            a, b, c, d = np.float64(e), np.float64(f), np.float64(g), np.float64(h)
        else:
            for t in range(bases.size):
                base = bases[t]
                a += values[base + leaves[i, t]]
                b += values[base + leaves[j, t]]
                c += values[base + leaves[k, t]]
                d += values[base + leaves[m, t]]
        sums[m, 0], sums[k, 0], sums[j, 0], sums[i, 0] = d, c, b, a
