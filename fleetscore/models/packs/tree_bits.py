"""Parts of scoring trees by bit vectors, compiled: tables of reachable leaves, the leaf that is left, and
adding its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled
from fleetscore.models.packs.tree_codes import BLOCK_ROWS
from fleetscore.models.packs.tree_lines import (
    LINES_AT_ONCE,
    RUN,
    WORDS,
    and_bits,
    and_down,
    and_lines,
    lowest_bit,
    lowest_bit_from,
    lowest_bit_of_four,
    set_lines,
    set_run,
)

MASKS_AT_ONCE = 64  # rows whose masks are kept near the processor; it divides BLOCK_ROWS
LINE_BITS = 64 * WORDS  # leaves that a line of the table tells apart
LINE_TREES = 64  # trees of a line at most
NARROW_LEAVES = 64  # a tree of at most so many lies anywhere in a line, a larger one begins at a word
NAN_LEFT, IN_SET = 1, 2  # a node's flags: missing values go left; its test is a set of codes


@compiled
def leaf_ranges(begin: int, end: int, span: Any, first: Any, last: Any) -> bool:
    """Fill `first` and `last` (end) with the leaves below each node of a tree in preorder; False where its
    spans fit no tree.

    A node's left child follows it, its right child follows the left child's nodes; `span` is the number of
    leaves on its left. The last places of `first` and `last`, which no node has, take what belongs to leaves.
    """
    nowhere = first.size - 1
    first[begin], last[begin] = 0, end - begin + 1
    for node in range(begin, end):
        here, size = np.int64(span[node]), last[node] - first[node]
        if here < 1 or here >= size:
            return False
        low, middle, high = first[node], first[node] + here, last[node]
        left = nowhere + ((node + 1 - nowhere) & ((1 - here) >> 63))  # a condition makes a branch
        right = nowhere + ((node + here - nowhere) & ((1 + here - size) >> 63))
        first[left], last[left] = low, middle
        first[right], last[right] = middle, high
    return True


@compiled
def place_codes(
    begin: int, end: int, feature: Any, code: Any, flags: Any, row_of: Any, place: Any, starts: Any, marks: Any,
) -> int:  # fmt: skip
    """Fill `place` with the row of a table for each code of each feature, and `starts` with the features'
    first rows; returns the number of rows.

    Codes between which none of the nodes `begin` to `end` tells share a row, so that the table of a few
    trees stays small. `row_of` says where the features begin in `place`: their codes in order and then the
    one of missing values, whose row is their last. A bit of `marks` says where a row begins.
    """
    marks[:] = 0
    for f in range(row_of.size - 1):
        mark(marks, row_of[f])
        mark(marks, row_of[f + 1] - 1)
    for node in range(begin, end):
        own = np.int64(feature[node])
        if flags[node] & IN_SET:
            for at in range(row_of[own] + 1, row_of[own + 1] - 1):
                mark(marks, at)
        else:
            mark(marks, row_of[own] + np.int64(code[node]) + 1)
    rows = fill_places(marks, row_of[row_of.size - 1], place)
    for f in range(row_of.size - 1):
        starts[f] = place[row_of[f]]
    starts[row_of.size - 1] = rows
    return int(rows)


@compiled
def mark(marks: Any, at: int) -> None:
    """Set a bit."""
    marks[at >> 6] |= np.uint64(1) << np.uint64(at & 63)


@compiled
def fill_places(marks: Any, size: int, place: Any) -> int:
    """Fill `place` with the number of marks up to each of its `size` places, less one; returns the number of
    marks. What lies up to three runs behind is written too.
    """
    row, before = np.int64(-1), np.int64(0)
    for word in range(marks.size):
        left = marks[word]
        while left != 0:
            at = 64 * word + np.int64(lowest_bit(left))
            left &= left - np.uint64(1)
            fill_run(place, before, at, row)
            row, before = row + 1, at
    fill_run(place, before, size, row)
    return int(row + 1)


@compiled
def fill_run(place: Any, begin: int, end: int, row: int) -> None:
    """Write a row at the places from `begin` to `end`, and behind them, where later runs follow."""
    set_run(place, begin, row)
    set_run(place, begin + RUN, row)  # mostly too much, which is cheaper than to ask
    for at in range(begin + 2 * RUN, end, RUN):
        set_run(place, at, row)


@compiled
def place_trees(tree_nodes: Any, begin: int, fields: Any, wide: Any) -> int:
    """Fill `fields` with the first bit of each tree in a line, from tree `begin` on, and `wide` with
    whether it has more than NARROW_LEAVES leaves; returns the number of trees that the line takes.

    A narrow tree's bits lie within the eight bytes that begin with its first one.
    """
    bit, trees = np.int64(0), np.int64(0)
    while trees < LINE_TREES and begin + trees < tree_nodes.size - 1:
        leaves = np.int64(tree_nodes[begin + trees + 1]) - np.int64(tree_nodes[begin + trees]) + 1
        if leaves > NARROW_LEAVES:
            bit = (bit + 63) & ~np.int64(63)
        elif (bit & 7) + leaves > 64:
            bit = (bit + 7) & ~np.int64(7)
        if bit + leaves > LINE_BITS:
            break
        fields[trees], wide[trees] = bit, leaves > NARROW_LEAVES
        bit += leaves
        trees += 1
    return int(trees)


@compiled
def fill_table(
    tree_nodes: Any, begin: int, trees: int, fields: Any, wide: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    row_of: Any, first: Any, missing: bool, place: Any, starts: Any, marks: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Return the table, a line of WORDS words a row, of the leaves that some trees' nodes leave
    reachable, in `scratch`, and fill `place` and `starts` (see place_codes); rows of missing values are
    right where there are any.

    `scratch` has room for a word behind the last line.
    """
    nodes, end = np.int64(tree_nodes[begin]), np.int64(tree_nodes[begin + trees])
    rows = place_codes(nodes, end, feature, code, flags, row_of, place, starts, marks)
    table = scratch[: rows * WORDS + 1]
    table[:] = ~np.uint64(0)
    for t in range(trees):
        own, until = np.uint64(tree_nodes[begin + t]), np.uint64(tree_nodes[begin + t + 1])
        first[own : until + np.uint64(1)] = 0
        if wide[t]:
            mark_wide(own, until, fields[t], feature, code, span, flags, row_of, place, first, missing, table)
        else:
            mark_narrow(
                own, until, fields[t], feature, code, span, flags, row_of, place, first, missing, table
            )
    for f in range(starts.size - 1):  # every code excludes what the lower ones exclude
        and_down(table, starts[f], starts[f + 1] - 1)
    if sets.size:
        mark_sets(
            tree_nodes, begin, trees, fields, feature, code, span, flags, sets, row_of, place, first, table
        )
    return table


@compiled
def mark_narrow(
    begin: int, end: int, field: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, place: Any, first: Any,
    missing: bool, table: Any,
) -> None:  # fmt: skip
    """Take from `table` the leaves that each node's own threshold excludes, of the tree whose bits begin at
    `field`, and missing values where there are any; `first` gets the nodes' first leaves.
    """
    one, line = np.uint64(1), np.uint64(8 * WORDS)
    byte, shift = field >> np.uint64(3), field & np.uint64(7)
    low = np.int64(0)
    for node in range(begin, end):
        low = next_leaf(first, node, low, np.int64(span[node]))
        f = np.uint64(feature[node])
        mask = ~(((one << np.uint64(span[node])) - one) << (np.uint64(low) + shift))
        if missing:
            spared = np.uint64(0) - np.uint64(flags[node] & NAN_LEFT)  # a condition makes a branch
            and_bits(table, np.uint64(place[np.uint64(row_of[f + one]) - one]) * line + byte, mask | spared)
        if not flags[node] & IN_SET:
            row = place[np.uint64(row_of[f]) + np.uint64(code[node]) + one]
            and_bits(table, np.uint64(row) * line + byte, mask)


@compiled
def mark_wide(
    begin: int, end: int, field: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, place: Any, first: Any,
    missing: bool, table: Any,
) -> None:  # fmt: skip
    """The same for a tree of more than NARROW_LEAVES leaves, without sets."""
    one, full = np.uint64(1), ~np.uint64(0)
    begun = np.int64(field) >> 6
    low = np.int64(0)
    for node in range(begin, end):
        low = next_leaf(first, node, low, np.int64(span[node]))
        high = low + np.int64(span[node])
        f = np.uint64(feature[node])
        row = np.int64(place[np.uint64(row_of[f]) + np.uint64(code[node]) + one])
        of_missing = np.int64(place[np.uint64(row_of[f + one]) - one])
        spared = np.uint64(0) - np.uint64(flags[node] & NAN_LEFT)
        for word in range(low >> 6, ((high - 1) >> 6) + 1):
            above = full << np.uint64(max(low - 64 * word, 0))
            mask = ~(above & (full >> np.uint64(64 - min(high - 64 * word, 64))))
            table[row * WORDS + begun + word] &= mask
            if missing:
                table[of_missing * WORDS + begun + word] &= mask | spared


@compiled
def next_leaf(first: Any, node: int, before: int, here: int) -> int:
    """Return the first leaf below a node, given that of the node before it in preorder, and note it in
    `first`; there the right children's are noted ahead, and larger ones are those of nodes farther up.
    """
    low = max(first[node], before)
    first[node] = low
    right = node + np.uint64(here)
    first[right] = max(first[right], low + here)
    return int(low)


@compiled
def mark_sets(
    tree_nodes: Any, first_tree: int, trees: int, fields: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    row_of: Any, place: Any, first: Any, table: Any,
) -> None:  # fmt: skip
    """Take from the table the leaves that tests by sets exclude; `first` holds all trees' first leaves."""
    one, line = np.uint64(1), np.uint64(8 * WORDS)
    for t in range(trees):
        byte, shift = fields[t] >> np.uint64(3), fields[t] & np.uint64(7)
        for node in range(tree_nodes[first_tree + t], tree_nodes[first_tree + t + 1]):
            if flags[node] & IN_SET:
                f = np.int64(feature[node])
                mask = ~(((one << np.uint64(span[node])) - one) << (np.uint64(first[node]) + shift))
                for row in range(row_of[f], row_of[f + 1] - 1):
                    if not in_set(sets, np.int64(code[node]), row - row_of[f]):
                        and_bits(table, np.uint64(place[row]) * line + byte, mask)


@compiled
def in_set(sets: Any, begin: int, code: int) -> bool:
    """Whether a code is in the set of bits that begins at a word."""
    return bool((sets[begin + (code >> 6)] >> np.uint64(code & 63)) & np.uint64(1))


@compiled
def reach(table: Any, place: Any, positions: Any, begin: int, rows: int, masks: Any) -> None:
    """Fill `masks`, a line a row, with what all planes of positions leave reachable for rows that begin
    there.
    """
    own, skip = positions[begin // BLOCK_ROWS], begin % BLOCK_ROWS
    for plane in range(0, own.shape[0], LINES_AT_ONCE):
        flat = own.reshape(-1)[plane * BLOCK_ROWS + skip :]
        reach_lines(table, place, flat, rows, masks, plane > 0)


@compiled
def reach_lines(table: Any, place: Any, positions: Any, rows: int, masks: Any, begun: bool) -> None:
    """The same for four planes; masks that are begun keep what they exclude."""
    words, block = np.uint64(WORDS), np.uint64(BLOCK_ROWS)
    for row in range(rows):
        i = np.uint64(row)
        a, b = np.uint64(place[positions[i]]), np.uint64(place[positions[i + block]])
        c, d = np.uint64(place[positions[i + block + block]]), np.uint64(place[positions[i + block + block + block]])  # fmt: skip
        if begun:
            and_lines(masks, i * words, table, a * words, b * words, c * words, d * words)
        else:
            set_lines(masks, i * words, table, a * words, b * words, c * words, d * words)


@compiled
def leaf_of_narrow(masks: Any, line: int, field: int) -> Any:
    """The lowest leaf that a line leaves to the tree whose bits begin at `field`; bits behind them do not
    matter.
    """
    byte = line * np.uint64(8 * WORDS) + (field >> np.uint64(3))
    return np.uint64(lowest_bit_from(masks, byte, field & np.uint64(7)))


@compiled
def leaf_of_wide(masks: Any, line: int, field: int) -> Any:
    """The same of a tree of more than NARROW_LEAVES leaves."""
    return np.uint64(lowest_bit_of_four(masks, line * np.uint64(WORDS) + (field >> np.uint64(6))))


@compiled
def take_leaves(masks: Any, fields: Any, wide: Any, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the lowest leaf that each tree has left."""
    for t in range(trees):
        field = fields[t]
        if wide[t]:
            for i in range(rows):
                leaves[i, t] = leaf_of_wide(masks, np.uint64(i), field)
        else:
            for i in range(rows):
                leaves[i, t] = leaf_of_narrow(masks, np.uint64(i), field)


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
        elif width == 2:
            for i in range(rows):
                at = (base + leaves[i, t]) * 2
                sums[i, 0] += values[at]
                sums[i, 1] += values[at + 1]
        else:
            for i in range(rows):
                at = (base + leaves[i, t]) * width
                for j in range(width):
                    sums[i, j] += values[at + j]


@compiled
def add_reached(masks: Any, fields: Any, wide: Any, bases: Any, rows: int, values: Any, sums: Any) -> None:
    """The same for a single output and for the lowest leaf that each tree has left. Sums are rounded to
    the type of `values` after each addition.
    """
    real, begin = values.dtype.type, 0
    if not np.any(wide[: bases.size]):
        begin = rows & ~7
        add_reached_narrow(masks, fields, bases, begin, values, sums)
    for row in range(begin, rows):
        total, line = real(sums[row, 0]), np.uint64(row)
        for t in range(bases.size):
            if wide[t]:
                total += values[bases[t] + leaf_of_wide(masks, line, fields[t])]
            else:
                total += values[bases[t] + leaf_of_narrow(masks, line, fields[t])]
        sums[row, 0] = total


@compiled
def add_reached_narrow(masks: Any, fields: Any, bases: Any, rows: int, values: Any, sums: Any) -> None:
    """The same for narrow trees and a multiple of eight rows, eight at a time, whose sums do not wait for
    each other.
    """
    real, line = values.dtype.type, np.uint64(8 * WORDS)
    for row in range(0, rows, 8):
        first = np.uint64(row) * line
        a, b, c, d = (
            real(sums[row, 0]),
            real(sums[row + 1, 0]),
            real(sums[row + 2, 0]),
            real(sums[row + 3, 0]),
        )
        e, f, g, h = (
            real(sums[row + 4, 0]),
            real(sums[row + 5, 0]),
            real(sums[row + 6, 0]),
            real(sums[row + 7, 0]),
        )
        for t in range(bases.size):
            base, at, shift = bases[t], first + (fields[t] >> np.uint64(3)), fields[t] & np.uint64(7)
            a += values[base + np.uint64(lowest_bit_from(masks, at, shift))]
            b += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(1) * line, shift))]
            c += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(2) * line, shift))]
            d += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(3) * line, shift))]
            e += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(4) * line, shift))]
            f += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(5) * line, shift))]
            g += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(6) * line, shift))]
            h += values[base + np.uint64(lowest_bit_from(masks, at + np.uint64(7) * line, shift))]
        sums[row, 0], sums[row + 1, 0], sums[row + 2, 0], sums[row + 3, 0] = a, b, c, d
        sums[row + 4, 0], sums[row + 5, 0], sums[row + 6, 0], sums[row + 7, 0] = e, f, g, h
