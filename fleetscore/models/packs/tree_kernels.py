"""Trees scored for many models at once, compiled.

Thresholds are ranked, and a row's values become codes: the number of its feature's thresholds below the
value. Trees of up to 64 leaves are scored by bit vectors: a table holds, for each feature and code, the
leaves of every tree that remain reachable, and the lowest bit that all features leave is the row's leaf
(after Lucchese et al., "QuickScorer", SIGIR 2015). Larger trees are walked, all rows of a block one level
at a time and without a branch. Values are added tree after tree, as the libraries do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled
from fleetscore.models.packs.tree_bits import (
    BLOCK_ROWS,
    CHUNK_ROWS,
    CODE_BITS,
    IN_SET,
    MASK_LEAVES,
    MASK_ROWS,
    NAN_LEFT,
    PLANE_BITS,
    ROUND_FEATURES,
    ROUND_SUMS,
    TABLE_WORDS,
    WORDS_AT_ONCE,
    add_to_one_output,
    add_values,
    in_set,
    leaf_ranges,
    mark_nodes,
    mark_sets,
    reach,
    spread_marks,
    take_leaves,
)


@compiled
def encode(x: Any, single: Any, cut_bounds: Any, cuts: Any, padded: Any, codes: Any) -> bool:
    """Fill `codes` (blocks, 2 x features, 256) for rows `x`; returns whether a value is missing.

    A missing value's code is one above the largest; the second half of the planes differs in that it is 0
    there.
    """
    features, rows = cut_bounds.size - 1, x.shape[0]
    missing = False
    values = np.empty(BLOCK_ROWS)
    for f in range(features):
        count = cut_bounds[f + 1] - cut_bounds[f]
        half = 1
        while half <= count:
            half <<= 1
        for i in range(half):
            padded[i] = cuts[cut_bounds[f] + i] if i < count else np.inf
        half >>= 1
        for begin in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - begin)
            right, left = codes[begin // BLOCK_ROWS, f], codes[begin // BLOCK_ROWS, features + f]
            for i in range(size):
                values[i] = np.float64(np.float32(x[begin + i, f])) if single else x[begin + i, f]
                right[i] = 0
            step = half
            while step > 0:
                for i in range(size):
                    at = right[i]
                    right[i] = at + (step if padded[at + step - 1] < values[i] else 0)
                step >>= 1
            for i in range(size):
                left[i] = right[i]
                if values[i] != values[i]:
                    right[i] = count + 1
                    missing = True
    return missing


@compiled
def score_by_table(
    codes: Any, rows: int, bits: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any, table: Any, used: Any, sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs) by bit vectors, as many trees at a time as `table`
    (words) has room for.
    """
    step = table.shape[1] * 64 // bits
    masks = np.empty((BLOCK_ROWS, table.shape[1]), np.uint64)
    leaves = np.empty((BLOCK_ROWS, step), np.uint8)
    for begin in range(0, tree_output.size, step):
        trees = min(step, tree_output.size - begin)
        table[:] = ~np.uint64(0)
        if bits == 8:
            mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, first, last, table.view(np.uint8))  # fmt: skip
        elif bits == 16:
            mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, first, last, table.view(np.uint16))  # fmt: skip
        elif bits == 32:
            mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, first, last, table.view(np.uint32))  # fmt: skip
        else:
            mark_nodes(tree_nodes, begin, trees, feature, code, span, flags, row_of, first, last, table)
        spread_marks(row_of, table)
        if sets.size:
            mark_sets(tree_nodes, begin, trees, feature, code, span, flags, sets, row_of, first, table, bits)
        for row in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - row)
            reach(table, used, row_of, codes[row // BLOCK_ROWS], size, masks)
            if bits == 8:
                take_leaves(masks.view(np.uint8), trees, size, leaves)
            elif bits == 16:
                take_leaves(masks.view(np.uint16), trees, size, leaves)
            elif bits == 32:
                take_leaves(masks.view(np.uint32), trees, size, leaves)
            else:
                take_leaves(masks, trees, size, leaves)
            if sums.shape[1] == 1:
                bases = tree_nodes[begin : begin + trees] + np.arange(begin, begin + trees)
                add_to_one_output(leaves, bases, size, values, single, sums[row:])
            else:
                add_values(
                    leaves, begin, trees, size, tree_nodes, tree_output, values, width, single, sums[row:]
                )


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
    """Take a block's rows down one tree to its leaves, given by their place among `nodes`."""
    low, middle = np.uint64((1 << CODE_BITS) - 1), np.uint64((1 << PLANE_BITS) - 1)
    for i in range(rows):
        at[i] = 0
    for _ in range(depth):
        for i in range(rows):
            node = nodes[at[i]]
            plane = (node >> np.uint64(CODE_BITS)) & middle
            left = np.uint64(codes[plane * np.uint64(BLOCK_ROWS) + np.uint64(i)]) < (node & low)
            jump = np.uint32(node >> np.uint64(CODE_BITS + PLANE_BITS))
            at[i] += np.uint32(node != np.uint64(0)) if left else jump


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


@compiled
def check_tree_model(
    features: int, cut_bounds: Any, cuts: Any, tree_nodes: Any, tree_output: Any, outputs: int, feature: Any, code: Any, span: Any,
    flags: Any, sets: Any,
) -> int:  # fmt: skip
    """Return 0 if every index of a model keeps within its arrays, otherwise the number of what does not
    (see `trees`).
    """
    if cut_bounds[0] != 0 or cut_bounds[features] != cuts.size or tree_nodes[0] != 0:
        return 1
    if tree_nodes[tree_output.size] != feature.size:
        return 2
    for f in range(features):
        if cut_bounds[f + 1] < cut_bounds[f]:
            return 1
        for i in range(cut_bounds[f] + 1, cut_bounds[f + 1]):
            if not cuts[i - 1] < cuts[i]:
                return 3
    for t in range(tree_output.size):
        if tree_nodes[t + 1] < tree_nodes[t] or tree_output[t] >= outputs:
            return 2
    for node in range(feature.size):
        own = np.int64(feature[node])
        if own >= features:
            return 4
        count = np.int64(cut_bounds[own + 1]) - np.int64(cut_bounds[own])
        if flags[node] & IN_SET:
            if np.int64(code[node]) + (count >> 6) >= sets.size:
                return 5
        elif np.int64(code[node]) >= count:
            return 5
    first, last = np.zeros(feature.size + 1, np.int64), np.zeros(feature.size + 1, np.int64)
    for t in range(tree_output.size):
        begin, end = np.int64(tree_nodes[t]), np.int64(tree_nodes[t + 1])
        if end > begin and not leaf_ranges(begin, end, span, first, last):
            return 6
    return 0


@compiled
def score_models(
    offsets: Any, x: Any, rounding: Any, widths: Any, outputs: Any, bounds: Any, cut_bounds: Any, cuts: Any, tree_nodes: Any,
    tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any, values: Any, base: Any, raw: Any,
) -> None:  # fmt: skip
    """Fill `raw` (rows, outputs) with the sums of every model's trees for its rows, rows offsets[m] to
    offsets[m + 1] (end).

    `bounds` [arrays, models + 1] cuts the arrays in the order of the arguments; `rounding` says what a
    model rounds to float32: its features (ROUND_FEATURES), its sums (ROUND_SUMS).
    """
    room = _room(offsets, bounds, cut_bounds)
    codes = np.empty(CHUNK_ROWS * 2 * room[0], np.int32)
    padded = np.empty(2 * room[1] + 2)
    first, last = np.empty(room[2] + 1, np.int64), np.empty(room[2] + 1, np.int64)
    nodes, leaf_of = np.empty(2 * room[2] + 1, np.uint64), np.empty(2 * room[2] + 1, np.uint32)
    scratch = np.empty(TABLE_WORDS + room[3] * WORDS_AT_ONCE, np.uint64)
    row_of = np.zeros(room[0] + 1, np.int64)
    for m in range(offsets.size - 1):
        if offsets[m + 1] == offsets[m]:
            continue
        cb = cut_bounds[bounds[0, m] : bounds[0, m + 1]]
        cu = cuts[bounds[1, m] : bounds[1, m + 1]]
        tn = tree_nodes[bounds[2, m] : bounds[2, m + 1]]
        to = tree_output[bounds[3, m] : bounds[3, m + 1]]
        fe = feature[bounds[4, m] : bounds[4, m + 1]]
        co = code[bounds[5, m] : bounds[5, m + 1]]
        sp = span[bounds[6, m] : bounds[6, m + 1]]
        fl = flags[bounds[7, m] : bounds[7, m + 1]]
        se = sets[bounds[8, m] : bounds[8, m + 1]]
        va = values[bounds[9, m] : bounds[9, m + 1]]
        features = cb.size - 1
        leaves = np.int64(1)
        for t in range(to.size):
            leaves = max(leaves, np.int64(tn[t + 1]) - np.int64(tn[t]) + 1)
        for f in range(features):
            row_of[f + 1] = row_of[f] + cb[f + 1] - cb[f] + 2
        rows_of = row_of[: features + 1]
        used = _used(features, fe)
        for begin in range(offsets[m], offsets[m + 1], CHUNK_ROWS):
            rows = min(CHUNK_ROWS, offsets[m + 1] - begin)
            own = codes[: CHUNK_ROWS * 2 * features].reshape(
                CHUNK_ROWS // BLOCK_ROWS, 2 * features, BLOCK_ROWS
            )
            encode(x[begin : begin + rows], rounding[m] & ROUND_FEATURES != 0, cb, cu, padded, own)
            sums = raw[begin : begin + rows, : outputs[m]]
            for k in range(outputs[m]):
                sums[:, k] = base[bounds[10, m] + k]
            _score(
                own, rows, leaves, tn, to, fe, co, sp, fl, se, cb, va, widths[m], rounding[m] & ROUND_SUMS != 0, rows_of, first, last,
                scratch, used, nodes, leaf_of, sums,
            )  # fmt: skip


@compiled
def _room(offsets: Any, bounds: Any, cut_bounds: Any) -> Any:
    """The largest number of features, cuts of a feature, nodes, and rows of a table among the models with
    rows.
    """
    room = np.ones(4, np.int64)
    for m in range(offsets.size - 1):
        if offsets[m + 1] == offsets[m]:
            continue
        features = bounds[0, m + 1] - bounds[0, m] - 1
        room[0] = max(room[0], features)
        for f in range(bounds[0, m], bounds[0, m + 1] - 1):
            room[1] = max(room[1], np.int64(cut_bounds[f + 1] - cut_bounds[f]))
        room[2] = max(room[2], bounds[4, m + 1] - bounds[4, m])
        room[3] = max(room[3], bounds[1, m + 1] - bounds[1, m] + 2 * features)
    return room


@compiled
def _used(features: int, feature: Any) -> Any:
    """The features that any node tests, at least one."""
    seen = np.zeros(features, np.bool_)
    for node in range(feature.size):
        seen[feature[node]] = True
    if feature.size == 0:
        seen[0] = True
    return np.flatnonzero(seen)


@compiled
def _score(
    codes: Any, rows: int, leaves: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    cut_bounds: Any, values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any, scratch: Any, used: Any,
    nodes: Any, leaf_of: Any, sums: Any,
) -> None:  # fmt: skip
    """Add a model's trees to `sums`, in the way that suits their size and the number of rows."""
    features = cut_bounds.size - 1
    if leaves <= MASK_LEAVES and (rows >= MASK_ROWS or sets.size > 0):
        bits = 8 if leaves <= 8 else (16 if leaves <= 16 else (32 if leaves <= 32 else 64))
        table_rows = row_of[features]
        columns = max(1, min((tree_output.size * bits + 63) // 64, TABLE_WORDS // table_rows))
        if columns > WORDS_AT_ONCE // 2:  # whole vectors, where they do not double the work
            columns = (columns + WORDS_AT_ONCE - 1) // WORDS_AT_ONCE * WORDS_AT_ONCE
        score_by_table(
            codes, rows, bits, tree_nodes, tree_output, feature, code, span, flags, sets, values, width, single, row_of, first,
            last, scratch[: table_rows * columns].reshape(table_rows, columns), used, sums,
        )  # fmt: skip
    elif sets.size:
        score_by_branches(
            codes, rows, tree_nodes, tree_output, feature, code, span, flags, sets, cut_bounds, values, width, single, sums,
        )  # fmt: skip
    else:
        score_by_walking(
            codes, rows, features, tree_nodes, tree_output, feature, code, span, flags, values, width, single, first, last, nodes,
            leaf_of, sums,
        )  # fmt: skip
