"""Trees scored for many models at once, compiled.

Thresholds are ranked, and a row's values become codes: the number of its feature's thresholds below the
value. Trees of up to 64 leaves are scored by bit vectors: a table holds, for each feature and code, the
leaves of every tree that remain reachable, and the lowest bit that all features leave is the row's leaf
(after Lucchese et al., "QuickScorer", SIGIR 2015). The upper nodes of larger trees are scored so too, and the
rest is walked. Values are added tree after tree, as the libraries do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled
from fleetscore.models.packs.tree_bits import (
    BLOCK_ROWS,
    CHUNK_ROWS,
    IN_SET,
    MASK_LEAVES,
    MASK_ROWS,
    MASKS_AT_ONCE,
    ROUND_FEATURES,
    ROUND_SUMS,
    TOP_ROWS,
    WORDS,
    add_reached,
    add_values,
    fill_table,
    leaf_ranges,
    reach,
    take_leaves,
)
from fleetscore.models.packs.tree_tops import upper_nodes
from fleetscore.models.packs.tree_walk import fill_nodes, score_by_branches, score_by_walking, walk


@compiled
def rank_values(values: Any, padded: Any, levels: int, rows: int, ranks: Any) -> None:
    """Fill `ranks` with the number of ascending `padded` numbers below each value: four searches at a time,
    without a branch.

    There are 2 ** levels - 1 numbers; a missing value is above none.
    """
    for begin in range(0, rows, 4):
        i = np.uint64(begin)
        j, k, m = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3)
        u, v, w, x = values[i], values[j], values[k], values[m]
        a = b = c = d = np.uint64(0)
        for level in range(levels - 1, -1, -1):
            shift = np.uint64(level)
            last = (np.uint64(1) << shift) - np.uint64(1)
            a += np.uint64(padded[a + last] < u) << shift  # a comparison that is multiplied makes a branch
            b += np.uint64(padded[b + last] < v) << shift
            c += np.uint64(padded[c + last] < w) << shift
            d += np.uint64(padded[d + last] < x) << shift
        ranks[i], ranks[j], ranks[k], ranks[m] = a, b, c, d


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
        levels = 0
        while 1 << levels <= count:
            levels += 1
        for i in range(1 << levels):
            padded[i] = cuts[cut_bounds[f] + i] if i < count else np.inf
        for begin in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - begin)
            right, left = codes[begin // BLOCK_ROWS, f], codes[begin // BLOCK_ROWS, features + f]
            for i in range(size):
                values[i] = np.float64(np.float32(x[begin + i, f])) if single else x[begin + i, f]
            rank_values(values, padded, levels, size, right)
            for i in range(size):
                left[i] = right[i]
                if values[i] != values[i]:
                    right[i] = count + 1
                    missing = True
    return missing


@compiled
def score_by_table(
    codes: Any, rows: int, bits: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any, words: int, scratch: Any, used: Any, sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs) by bit vectors, as many trees at a time as `words` of
    8 bytes hold.
    """
    step = words * 64 // bits
    masks = np.empty((MASKS_AT_ONCE, words), np.uint64)
    leaves = np.empty((MASKS_AT_ONCE, step), np.uint8)
    place, starts = np.empty(row_of[-1], np.uint32), np.empty(row_of.size, np.int64)
    for begin in range(0, tree_output.size, step):
        trees = min(step, tree_output.size - begin)
        table = fill_table(
            tree_nodes, begin, trees, feature, code, span, flags, sets, row_of, first, last, bits, words, place, starts, scratch
        )  # fmt: skip
        bases = (tree_nodes[begin : begin + trees] + np.arange(begin, begin + trees)).astype(np.uint64)
        for row in range(0, rows, MASKS_AT_ONCE):
            size = min(MASKS_AT_ONCE, rows - row)
            reach(table, used, row_of, place, codes, row, size, masks)
            if sums.shape[1] == 1:
                if bits == 8:
                    add_reached(masks.view(np.uint8), bases, size, values, single, sums[row:])
                elif bits == 16:
                    add_reached(masks.view(np.uint16), bases, size, values, single, sums[row:])
                elif bits == 32:
                    add_reached(masks.view(np.uint32), bases, size, values, single, sums[row:])
                else:
                    add_reached(masks, bases, size, values, single, sums[row:])
            else:
                take_leaves(masks, bits, trees, size, leaves)
                add_values(
                    leaves, begin, trees, size, tree_nodes, tree_output, values, width, single, sums[row:]
                )


@compiled
def score_from_tops(
    codes: Any, rows: int, features: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any,
    values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any, nodes: Any, leaf_of: Any, scratch: Any, used: Any,
    sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs): bit vectors for the upper nodes of large trees, and a
    walk from where they end.
    """
    tops = upper_nodes(tree_nodes, feature, code, span, flags)
    top_nodes, top_feature, top_code, top_span, top_flags, exits, levels = tops
    masks = np.empty((MASKS_AT_ONCE, WORDS), np.uint64)
    reached, no_sets = np.empty((rows, WORDS), np.uint8), np.empty(0, np.uint64)
    at, leaves = np.empty(BLOCK_ROWS, np.uint32), np.empty((BLOCK_ROWS, 1), np.uint32)
    place, starts = np.empty(row_of[-1], np.uint32), np.empty(row_of.size, np.int64)
    for begin in range(0, tree_output.size, WORDS):
        trees = min(WORDS, tree_output.size - begin)
        table = fill_table(
            top_nodes, begin, trees, top_feature, top_code, top_span, top_flags, no_sets, row_of, first, last, 64, WORDS, place,
            starts, scratch,
        )  # fmt: skip
        for row in range(0, rows, MASKS_AT_ONCE):
            size = min(MASKS_AT_ONCE, rows - row)
            reach(table, used, row_of, place, codes, row, size, masks)
            take_leaves(masks, 64, trees, size, reached[row:])
        for t in range(begin, begin + trees):
            own = exits[top_nodes[t] + t : top_nodes[t + 1] + t + 1]
            depth = fill_nodes(
                np.int64(tree_nodes[t]), np.int64(tree_nodes[t + 1]), feature, code, span, flags, first, last, features, nodes,
                leaf_of,
            )  # fmt: skip
            for row in range(0, rows, BLOCK_ROWS):
                size = min(BLOCK_ROWS, rows - row)
                for i in range(size):
                    at[i] = own[reached[row + i, t - begin]]
                walk(nodes, depth - levels[t], codes[row // BLOCK_ROWS].reshape(-1), size, at)
                for i in range(size):
                    leaves[i, 0] = leaf_of[at[i]]
                add_values(leaves, t, 1, size, tree_nodes, tree_output, values, width, single, sums[row:])


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
    scratch = np.empty(room[3] * WORDS, np.uint64)
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
        words = (tree_output.size * bits + 63) // 64
        if words > WORDS // 2:  # a whole line of the processor's cache
            words = WORDS
        score_by_table(
            codes, rows, bits, tree_nodes, tree_output, feature, code, span, flags, sets, values, width, single, row_of, first,
            last, max(words, 1), scratch, used, sums,
        )  # fmt: skip
    elif rows >= TOP_ROWS and not sets.size:
        score_from_tops(
            codes, rows, features, tree_nodes, tree_output, feature, code, span, flags, values, width, single, row_of, first, last,
            nodes, leaf_of, scratch, used, sums,
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
