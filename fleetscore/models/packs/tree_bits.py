"""Parts of scoring trees by bit vectors, compiled: tables of reachable leaves, the leaf that is left, and
adding its values.
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # whole before its parts: another thread may be in the midst of importing it
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fleetscore.models.packs.compiled import compiled

BLOCK_ROWS = 256
CHUNK_ROWS = 1024
MASK_LEAVES = 64  # trees of at most this many leaves are scored by bit vectors
MASK_ROWS = 24  # models with fewer rows are walked: building a table would cost more
TOP_ROWS = 192  # large trees of models with fewer rows are walked all the way, for the same reason
WORDS = 8  # of 8 bytes in a table's row, which is a line of the processor's cache; trees are scored in groups
MASKS_AT_ONCE = 64  # rows whose masks are kept near the processor; it divides BLOCK_ROWS
ROUND_FEATURES, ROUND_SUMS = 1, 2  # to float32
NAN_LEFT, IN_SET = 1, 2  # a node's flags: missing values go left; its test is a set of codes
CODE_BITS, PLANE_BITS = 24, 16  # of a node in a walk; the rest is the jump to its right child


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit(_: Any, bits: Any) -> Any:  # numba matches the argument by its name
    """The place of the lowest set bit of an unsigned number that is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return bits(bits) if isinstance(bits, types.Integer) else None, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def and_lines(_: Any, lines: Any, to: Any, table: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """lines[to : to + WORDS] &= table[a : a + WORDS] & ..., for four places; whole vectors, which the compiler
    does not find by itself.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = ir.VectorType(ir.IntType(64), WORDS)
        given = [
            context.make_array(signature.args[at])(context, builder, arguments[at]).data for at in (0, 2)
        ]

        def pointer(data: Any, place: Any) -> Any:
            return builder.bitcast(builder.gep(data, [place]), line.as_pointer())

        target = pointer(given[0], arguments[1])
        found = builder.load(target, align=8)
        for place in arguments[3:]:
            found = builder.and_(found, builder.load(pointer(given[1], place), align=8))
        builder.store(found, target, align=8)
        return context.get_dummy_value()

    return types.void(lines, to, table, a, b, c, d), generate


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
def place_codes(
    begin: int, end: int, feature: Any, code: Any, flags: Any, row_of: Any, place: Any, starts: Any
) -> int:
    """Fill `place` with the row of a table for each code of each feature, and `starts` with the features'
    first rows; returns the number of rows.

    Codes between which none of the nodes `begin` to `end` tells share a row, so that the table of a few
    trees stays small. `row_of` says where the features begin in `place`: their codes in order and then the
    one of missing values, whose row is their last.
    """
    place[:] = 0
    for node in range(begin, end):
        own = np.int64(feature[node])
        if flags[node] & IN_SET:
            place[row_of[own] + 1 : row_of[own + 1] - 1] = 1
        else:
            place[row_of[own] + np.int64(code[node]) + 1] = 1
    row: Any = 0
    for f in range(row_of.size - 1):
        starts[f] = row
        for at in range(row_of[f], row_of[f + 1] - 1):
            row += place[at]
            place[at] = row
        place[row_of[f + 1] - 1] = row + 1
        row += 2
    starts[row_of.size - 1] = row
    return int(row)


@compiled
def fill_table(
    tree_nodes: Any, begin: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, sets: Any, row_of: Any, first: Any,
    last: Any, bits: int, words: int, place: Any, starts: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Return the table (rows, words) of the leaves that some trees' nodes leave reachable, in `scratch`, and
    fill `place` and `starts` (see place_codes).
    """
    nodes, end = np.int64(tree_nodes[begin]), np.int64(tree_nodes[begin + trees])
    rows = place_codes(nodes, end, feature, code, flags, row_of, place, starts)
    table = scratch[: rows * words].reshape(rows, words)
    table[:] = ~np.uint64(0)
    if bits == 8:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, last, table.view(np.uint8))  # fmt: skip
    elif bits == 16:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, last, table.view(np.uint16))  # fmt: skip
    elif bits == 32:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, last, table.view(np.uint32))  # fmt: skip
    else:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, last, table)
    for f in range(starts.size - 1):  # every code excludes what the lower ones exclude
        for row in range(starts[f] + 1, starts[f + 1] - 1):
            for word in range(words):
                table[row, word] &= table[row - 1, word]
    if sets.size:
        mark_sets(tree_nodes, begin, trees, feature, code, span, flags, sets, row_of, place, first, table, bits)  # fmt: skip
    return table


@compiled
def mark_nodes(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, place: Any,
    first: Any, last: Any, table: Any,
) -> None:  # fmt: skip
    """Take from `table` (rows by feature and code, trees) the leaves that each node's own threshold and
    missing values exclude.
    """
    for t in range(trees):
        begin, end = tree_nodes[first_tree + t], tree_nodes[first_tree + t + 1]
        leaf_ranges(begin, end, span, first, last)
        for node in range(begin, end):
            f = np.int64(feature[node])
            mask = ~(((np.uint64(1) << np.uint64(span[node])) - np.uint64(1)) << np.uint64(first[node]))
            if not flags[node] & NAN_LEFT:
                table[place[row_of[f + 1] - 1], t] &= mask
            if not flags[node] & IN_SET:
                table[place[row_of[f] + np.int64(code[node]) + 1], t] &= mask


@compiled
def mark_sets(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, sets: Any, row_of: Any,
    place: Any, first: Any, table_words: Any, bits: int,
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
                        table_words[place[row], word] &= mask


@compiled
def in_set(sets: Any, begin: int, code: int) -> bool:
    """Whether a code is in the set of bits that begins at a word."""
    return bool((sets[begin + (code >> 6)] >> np.uint64(code & 63)) & np.uint64(1))


@compiled
def reach(
    table: Any, used: Any, row_of: Any, place: Any, codes: Any, begin: int, rows: int, masks: Any
) -> None:
    """Fill `masks` (rows, words) with what all used features leave reachable for rows that begin there."""
    own, skip = codes[begin // BLOCK_ROWS], begin % BLOCK_ROWS
    if masks.shape[1] == WORDS:
        reach_line(table.reshape(-1), used, row_of, place, own, skip, rows, masks.reshape(-1))
        return
    for i in range(rows):
        masks[i] = ~np.uint64(0)
        for f in used:
            row = place[row_of[f] + own[f, skip + i]]
            for word in range(masks.shape[1]):
                masks[i, word] &= table[row, word]


@compiled
def reach_line(
    table: Any, used: Any, row_of: Any, place: Any, codes: Any, skip: int, rows: int, masks: Any
) -> None:
    """The same for rows of WORDS words, four features at a time; the last is repeated to fill four."""
    masks[:] = ~np.uint64(0)
    end, words = used.size - 1, np.uint64(WORDS)
    for begin in range(0, used.size, 4):
        f, g = used[begin], used[min(begin + 1, end)]
        h, j = used[min(begin + 2, end)], used[min(begin + 3, end)]
        of_f, of_g, of_h, of_j = place[row_of[f] :], place[row_of[g] :], place[row_of[h] :], place[row_of[j] :]  # fmt: skip
        own_f, own_g, own_h, own_j = codes[f, skip:], codes[g, skip:], codes[h, skip:], codes[j, skip:]
        for row in range(rows):
            i = np.uint64(row)
            a, b = np.uint64(of_f[np.uint64(own_f[i])]), np.uint64(of_g[np.uint64(own_g[i])])
            c, d = np.uint64(of_h[np.uint64(own_h[i])]), np.uint64(of_j[np.uint64(own_j[i])])
            and_lines(masks, i * words, table, a * words, b * words, c * words, d * words)


@compiled
def take_leaves(masks: Any, bits: int, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the lowest leaf that each mask of so many bits leaves."""
    if bits == 8:
        take_lowest(masks.view(np.uint8), trees, rows, leaves)
    elif bits == 16:
        take_lowest(masks.view(np.uint16), trees, rows, leaves)
    elif bits == 32:
        take_lowest(masks.view(np.uint32), trees, rows, leaves)
    else:
        take_lowest(masks, trees, rows, leaves)


@compiled
def take_lowest(masks: Any, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the place of the lowest bit of each mask."""
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
def add_reached(masks: Any, bases: Any, rows: int, values: Any, single: bool, sums: Any) -> None:
    """The same for a single output and for the lowest leaf of each mask (rows, trees): four rows at a time,
    whose sums do not wait for each other.
    """
    for begin in range(0, rows, 4):
        i, j, k, m = begin, min(begin + 1, rows - 1), min(begin + 2, rows - 1), min(begin + 3, rows - 1)
        a, b, c, d = sums[i, 0], sums[j, 0], sums[k, 0], sums[m, 0]
        if single:
            e, f, g, h = np.float32(a), np.float32(b), np.float32(c), np.float32(d)
            for t in range(bases.size):
                base = bases[t]
                e += np.float32(values[base + np.uint64(lowest_bit(masks[i, t]))])
                f += np.float32(values[base + np.uint64(lowest_bit(masks[j, t]))])
                g += np.float32(values[base + np.uint64(lowest_bit(masks[k, t]))])
                h += np.float32(values[base + np.uint64(lowest_bit(masks[m, t]))])
            a, b, c, d = np.float64(e), np.float64(f), np.float64(g), np.float64(h)
        else:
            for t in range(bases.size):
                base = bases[t]
                a += values[base + np.uint64(lowest_bit(masks[i, t]))]
                b += values[base + np.uint64(lowest_bit(masks[j, t]))]
                c += values[base + np.uint64(lowest_bit(masks[k, t]))]
                d += values[base + np.uint64(lowest_bit(masks[m, t]))]
        sums[m, 0], sums[k, 0], sums[j, 0], sums[i, 0] = d, c, b, a
