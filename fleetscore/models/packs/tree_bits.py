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
    and_down,
    and_lines,
    lowest_bit,
    lowest_bit_of_four,
    lowest_bit_of_two,
    set_lines,
    set_run,
)

MASKS_AT_ONCE = 64  # rows whose masks are kept near the processor; it divides BLOCK_ROWS
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
def fill_table(
    tree_nodes: Any, begin: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, sets: Any, row_of: Any, first: Any,
    missing: bool, bits: int, words: int, place: Any, starts: Any, marks: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Return the table (rows, words) of the leaves that some trees' nodes leave reachable, in `scratch`, and
    fill `place` and `starts` (see place_codes); rows of missing values are right where there are any.
    """
    nodes, end = np.int64(tree_nodes[begin]), np.int64(tree_nodes[begin + trees])
    rows = place_codes(nodes, end, feature, code, flags, row_of, place, starts, marks)
    table = scratch[: rows * words].reshape(rows, words)
    table[:] = ~np.uint64(0)
    if bits == 8:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, missing, table.view(np.uint8))  # fmt: skip
    elif bits == 16:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, missing, table.view(np.uint16))  # fmt: skip
    elif bits == 32:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, missing, table.view(np.uint32))  # fmt: skip
    elif bits == 64:
        mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, missing, table)
    else:
        mark_wide(tree_nodes, begin, trees, feature, code, span, flags, row_of, place, first, missing, bits // 64, table)  # fmt: skip
    for f in range(starts.size - 1):  # every code excludes what the lower ones exclude
        if words == WORDS:
            and_down(table.reshape(-1), starts[f], starts[f + 1] - 1)
            continue
        for row in range(starts[f] + 1, starts[f + 1] - 1):
            for word in range(words):
                table[row, word] &= table[row - 1, word]
    if sets.size:
        mark_sets(tree_nodes, begin, trees, feature, code, span, flags, sets, row_of, place, first, table, bits)  # fmt: skip
    return table


@compiled
def mark_nodes(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, place: Any,
    first: Any, missing: bool, table: Any,
) -> None:  # fmt: skip
    """Take from `table` (rows by feature and code, trees) the leaves that each node's own threshold excludes,
    and missing values where there are any; `first` gets the nodes' first leaves.
    """
    one = np.uint64(1)
    for t in range(trees):
        begin, end = np.uint64(tree_nodes[first_tree + t]), np.uint64(tree_nodes[first_tree + t + 1])
        first[begin : end + one] = 0
        low = np.int64(0)
        for node in range(begin, end):
            low = next_leaf(first, node, low, np.int64(span[node]))
            f = np.uint64(feature[node])
            mask = ~(((one << np.uint64(span[node])) - one) << np.uint64(low))
            if missing:
                spared = np.uint64(0) - np.uint64(flags[node] & NAN_LEFT)  # a condition makes a branch
                table[place[np.uint64(row_of[f + one]) - one], t] &= mask | spared
            if not flags[node] & IN_SET:
                table[place[np.uint64(row_of[f]) + np.uint64(code[node]) + one], t] &= mask


@compiled
def mark_wide(
    tree_nodes: Any, first_tree: int, trees: int, feature: Any, code: Any, span: Any, flags: Any, row_of: Any, place: Any,
    first: Any, missing: bool, width: int, table: Any,
) -> None:  # fmt: skip
    """The same for trees of `width` words of the table each, without sets."""
    one, full = np.uint64(1), ~np.uint64(0)
    for t in range(trees):
        begin, end = np.uint64(tree_nodes[first_tree + t]), np.uint64(tree_nodes[first_tree + t + 1])
        first[begin : end + one] = 0
        low = np.int64(0)
        for node in range(begin, end):
            low = next_leaf(first, node, low, np.int64(span[node]))
            high = low + np.int64(span[node])
            f = np.uint64(feature[node])
            row = place[np.uint64(row_of[f]) + np.uint64(code[node]) + one]
            of_missing = place[np.uint64(row_of[f + one]) - one]
            spared = np.uint64(0) - np.uint64(flags[node] & NAN_LEFT)
            for word in range(low >> 6, ((high - 1) >> 6) + 1):
                above = full << np.uint64(max(low - 64 * word, 0))
                mask = ~(above & (full >> np.uint64(64 - min(high - 64 * word, 64))))
                table[row, t * width + word] &= mask
                if missing:
                    table[of_missing, t * width + word] &= mask | spared


@compiled
def next_leaf(first: Any, node: int, before: int, here: int) -> int:
    """Return the first leaf below a node, given that of the node before it in preorder, and note it in `first`;
    there the right children's are noted ahead, and larger ones are those of nodes farther up.
    """
    low = max(first[node], before)
    first[node] = low
    right = node + np.uint64(here)
    first[right] = max(first[right], low + here)
    return int(low)


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
def reach(table: Any, place: Any, positions: Any, begin: int, rows: int, masks: Any) -> None:
    """Fill `masks` (rows, words) with what all planes of positions leave reachable for rows that begin there."""
    own, skip = positions[begin // BLOCK_ROWS], begin % BLOCK_ROWS
    if masks.shape[1] == WORDS:
        for plane in range(0, own.shape[0], LINES_AT_ONCE):
            flat = own.reshape(-1)[plane * BLOCK_ROWS + skip :]
            reach_lines(table.reshape(-1), place, flat, rows, masks.reshape(-1), plane > 0)
        return
    for i in range(rows):
        masks[i] = ~np.uint64(0)
        for plane in range(own.shape[0]):
            row = place[own[plane, skip + i]]
            for word in range(masks.shape[1]):
                masks[i, word] &= table[row, word]


@compiled
def reach_lines(table: Any, place: Any, positions: Any, rows: int, masks: Any, begun: bool) -> None:
    """The same for rows of WORDS words and four planes; masks that are begun keep what they exclude."""
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
def take_leaves(masks: Any, bits: int, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the lowest leaf that each mask of so many bits leaves."""
    if bits == 8:
        take_lowest(masks.view(np.uint8), trees, rows, leaves)
    elif bits == 16:
        take_lowest(masks.view(np.uint16), trees, rows, leaves)
    elif bits == 32:
        take_lowest(masks.view(np.uint32), trees, rows, leaves)
    elif bits == 64:
        take_lowest(masks, trees, rows, leaves)
    elif bits == 128:
        take_of_two(masks.reshape(-1), trees, rows, leaves)
    else:
        take_of_four(masks.reshape(-1), trees, rows, leaves)


@compiled
def take_lowest(masks: Any, trees: int, rows: int, leaves: Any) -> None:
    """Fill `leaves` (rows, trees) with the place of the lowest bit of each mask."""
    for i in range(rows):
        for t in range(trees):
            leaves[i, t] = lowest_bit(masks[i, t])


@compiled
def take_of_two(masks: Any, trees: int, rows: int, leaves: Any) -> None:
    """The same for masks of two words; `masks` are lines of WORDS words."""
    for i in range(rows):
        for t in range(trees):
            leaves[i, t] = lowest_bit_of_two(masks, np.uint64(i * WORDS + 2 * t))


@compiled
def take_of_four(masks: Any, trees: int, rows: int, leaves: Any) -> None:
    """The same for masks of four words."""
    for i in range(rows):
        for t in range(trees):
            leaves[i, t] = lowest_bit_of_four(masks, np.uint64(i * WORDS + 4 * t))


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
def add_reached(masks: Any, bases: Any, rows: int, values: Any, sums: Any) -> None:
    """The same for a single output and for the lowest leaf of each mask (rows, trees): four rows at a time,
    whose sums do not wait for each other. They are rounded to the type of `values` after each addition.
    """
    real = values.dtype.type
    for begin in range(0, rows, 4):
        i, j, k, m = begin, min(begin + 1, rows - 1), min(begin + 2, rows - 1), min(begin + 3, rows - 1)
        a, b, c, d = real(sums[i, 0]), real(sums[j, 0]), real(sums[k, 0]), real(sums[m, 0])
        for t in range(bases.size):
            base = bases[t]
            a += values[base + np.uint64(lowest_bit(masks[i, t]))]
            b += values[base + np.uint64(lowest_bit(masks[j, t]))]
            c += values[base + np.uint64(lowest_bit(masks[k, t]))]
            d += values[base + np.uint64(lowest_bit(masks[m, t]))]
        sums[m, 0], sums[k, 0], sums[j, 0], sums[i, 0] = d, c, b, a


@compiled
def add_by_bits(masks: Any, bits: int, bases: Any, rows: int, values: Any, sums: Any) -> None:
    """Add what is reached (see add_reached) where masks have so many bits, 8 to 64."""
    if bits == 8:
        add_reached(masks.view(np.uint8), bases, rows, values, sums)
    elif bits == 16:
        add_reached(masks.view(np.uint16), bases, rows, values, sums)
    elif bits == 32:
        add_reached(masks.view(np.uint32), bases, rows, values, sums)
    else:
        add_reached(masks, bases, rows, values, sums)
