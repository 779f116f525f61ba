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
    IN_SET,
    LINE_BITS,
    LINE_TREES,
    MASKS_AT_ONCE,
    NARROW_LEAVES,
    add_reached,
    add_values,
    fill_table,
    leaf_ranges,
    place_trees,
    reach,
    take_leaves,
)
from fleetscore.models.packs.tree_codes import BLOCK_ROWS, CHUNK_ROWS, encode, place_rows
from fleetscore.models.packs.tree_lines import LINES_AT_ONCE, RUN, WORDS
from fleetscore.models.packs.tree_tops import upper_nodes
from fleetscore.models.packs.tree_walk import fill_nodes, score_by_branches, score_by_walking, walk

TABLE_LEAVES = 256  # trees of at most this many leaves are scored by bit vectors
TABLE_ROWS, SMALL_ROWS = 96, 24  # models with fewer rows are walked: building a table would cost more
TOP_ROWS = 192  # large trees of models with fewer rows are walked all the way, for the same reason
PLACES = 1 << 16  # rows of a table that two bytes can name
ROUND_FEATURES, ROUND_SUMS = 1, 2  # to float32


@compiled
def score_by_table(
    positions: Any, rows: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any,
    values: Any, width: int, single: bool, row_of: Any, first: Any, missing: bool, scratch: Any, sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs) by bit vectors, as many trees at a time as a line
    holds.
    """
    masks, fields, wide = _room_of_masks()
    leaves = np.empty((MASKS_AT_ONCE, LINE_TREES), np.uint8)
    place, marks, starts = _room_of_places(row_of)
    singles = values.astype(np.float32) if single else np.empty(0, np.float32)
    begin = 0
    while begin < tree_output.size:
        trees = place_trees(tree_nodes, begin, fields, wide)
        table = fill_table(
            tree_nodes, begin, trees, fields, wide, feature, code, span, flags, sets, row_of, first, missing, place, starts, marks,
            scratch,
        )  # fmt: skip
        bases = (tree_nodes[begin : begin + trees] + np.arange(begin, begin + trees)).astype(np.uint64)
        for row in range(0, rows, MASKS_AT_ONCE):
            size = min(MASKS_AT_ONCE, rows - row)
            reach(table, place, positions, row, size, masks)
            if sums.shape[1] > 1:
                take_leaves(masks, fields, wide, trees, size, leaves)
                add_values(leaves, begin, trees, size, tree_nodes, tree_output, values, width, single, sums[row:])  # fmt: skip
            elif single:
                add_reached(masks, fields, wide, bases, size, singles, sums[row:])
            else:
                add_reached(masks, fields, wide, bases, size, values, sums[row:])
        begin += trees


@compiled
def _room_of_masks() -> Any:
    """Arrays for the masks of rows, with a line behind the last that is read and not used, and for the
    places of trees in a line (see tree_bits.place_trees).
    """
    masks = np.empty((MASKS_AT_ONCE + 1) * WORDS, np.uint64)
    return masks, np.empty(LINE_TREES, np.uint64), np.empty(LINE_TREES, np.bool_)


@compiled
def _room_of_places(row_of: Any) -> Any:
    """Arrays for the rows of codes, for the marks where rows begin, and for features' first rows (see
    tree_bits.place_codes).
    """
    size = row_of[row_of.size - 1]
    return np.empty(size + 3 * RUN, np.uint16), np.empty((size >> 6) + 1, np.uint64), np.empty(row_of.size, np.int64)  # fmt: skip


@compiled
def score_from_tops(
    codes: Any, positions: Any, rows: int, features: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any,
    flags: Any, values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any, missing: bool, nodes: Any,
    leaf_of: Any, scratch: Any, sums: Any,
) -> None:  # fmt: skip
    """Add all trees' values to `sums` (rows, outputs): bit vectors for the upper nodes of large trees, and a
    walk from where they end.
    """
    tops = upper_nodes(tree_nodes, feature, code, span, flags)
    top_nodes, top_feature, top_code, top_span, top_flags, exits, levels = tops
    masks, fields, wide = _room_of_masks()
    reached, no_sets = np.empty((rows, LINE_TREES), np.uint8), np.empty(0, np.uint64)
    at, leaves = np.empty(BLOCK_ROWS, np.uint32), np.empty((BLOCK_ROWS, 1), np.uint32)
    place, marks, starts = _room_of_places(row_of)
    begin = 0
    while begin < tree_output.size:
        trees = place_trees(top_nodes, begin, fields, wide)
        table = fill_table(
            top_nodes, begin, trees, fields, wide, top_feature, top_code, top_span, top_flags, no_sets, row_of, first, missing,
            place, starts, marks, scratch,
        )  # fmt: skip
        for row in range(0, rows, MASKS_AT_ONCE):
            size = min(MASKS_AT_ONCE, rows - row)
            reach(table, place, positions, row, size, masks)
            take_leaves(masks, fields, wide, trees, size, reached[row:])
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
        begin += trees


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
    offsets: Any, x: Any, rounding: Any, widths: Any, outputs: Any, bounds: Any, sizes: Any, cut_bounds: Any, cuts: Any,
    tree_nodes: Any, tree_output: Any, feature: Any, code: Any, span: Any, flags: Any, sets: Any, values: Any, base: Any, raw: Any,
) -> None:  # fmt: skip
    """Fill `raw` (rows, outputs) with the sums of every model's trees for its rows, rows offsets[m] to
    offsets[m + 1] (end).

    `bounds` [arrays, models + 1] cuts the arrays in the order of the arguments; `rounding` says what a
    model rounds to float32: its features (ROUND_FEATURES), its sums (ROUND_SUMS). `cuts`, `feature`, `code`,
    `span` and `values` are the bytes of numbers of sizes[array] bytes each.
    """
    room = _room(offsets, bounds, cut_bounds)
    codes = np.empty(CHUNK_ROWS * 2 * room[0], np.int32)
    positions = np.empty((CHUNK_ROWS // BLOCK_ROWS) * (room[0] + LINES_AT_ONCE) * BLOCK_ROWS, np.uint32)
    padded, guide = np.empty(3 * room[1] + 4), np.empty(2 * room[1] + 2, np.int32)
    first, last = np.empty(room[2] + 1, np.int64), np.empty(room[2] + 1, np.int64)
    nodes, leaf_of = np.empty(2 * room[2] + 1, np.uint64), np.empty(2 * room[2] + 1, np.uint32)
    scratch = np.empty(room[3] * WORDS + 1, np.uint64)
    row_of = np.zeros(room[0] + 1, np.int64)
    whole, real = np.empty((3, room[2]), np.uint32), np.empty((2, max(room[4], room[5])))
    for m in range(offsets.size - 1):
        if offsets[m + 1] == offsets[m]:
            continue
        cb = cut_bounds[bounds[0, m] : bounds[0, m + 1]]
        cu = widen_reals(cuts, sizes[1], bounds[1, m], bounds[1, m + 1], real[0])
        tn = tree_nodes[
            bounds[2, m] : bounds[2, m + 1]
        ].copy()  # of the types of upper nodes, for one compilation
        to = tree_output[bounds[3, m] : bounds[3, m + 1]]
        fe = widen_whole(feature, sizes[4], bounds[4, m], bounds[4, m + 1], whole[0])
        co = widen_whole(code, sizes[5], bounds[5, m], bounds[5, m + 1], whole[1])
        sp = widen_whole(span, sizes[6], bounds[6, m], bounds[6, m + 1], whole[2])
        fl = flags[bounds[7, m] : bounds[7, m + 1]].copy()
        se = sets[bounds[8, m] : bounds[8, m + 1]].copy()
        va = widen_reals(values, sizes[9], bounds[9, m], bounds[9, m + 1], real[1])
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
            rounded = rounding[m] & ROUND_FEATURES != 0
            missing = encode(x[begin : begin + rows], rounded, cb, cu, padded, guide, own)
            sums = raw[begin : begin + rows, : outputs[m]]
            for k in range(outputs[m]):
                sums[:, k] = base[bounds[10, m] + k]
            _score(
                own, positions, rows, leaves, tn, to, fe, co, sp, fl, se, cb, va, widths[m], rounding[m] & ROUND_SUMS != 0,
                rows_of, first, last, missing, scratch, used, nodes, leaf_of, sums,
            )  # fmt: skip


@compiled
def widen_whole(raw: Any, size: int, begin: int, end: int, out: Any) -> Any:
    """Return numbers `begin` to `end` of 1, 2 or 4 bytes each, in `out`."""
    found = out[: end - begin]
    if size == 1:
        for i in range(end - begin):
            found[i] = raw[begin + i]
    elif size == 2:
        twos = raw.view(np.uint16)
        for i in range(end - begin):
            found[i] = twos[begin + i]
    else:
        fours = raw.view(np.uint32)
        for i in range(end - begin):
            found[i] = fours[begin + i]
    return found


@compiled
def widen_reals(raw: Any, size: int, begin: int, end: int, out: Any) -> Any:
    """Return numbers `begin` to `end` of 4 or 8 bytes each, in `out`."""
    found = out[: end - begin]
    if size == 4:
        fours = raw.view(np.float32)
        for i in range(end - begin):
            found[i] = fours[begin + i]
    else:
        eights = raw.view(np.float64)
        for i in range(end - begin):
            found[i] = eights[begin + i]
    return found


@compiled
def _room(offsets: Any, bounds: Any, cut_bounds: Any) -> Any:
    """The largest number of features, cuts of a feature, nodes, rows of a table, cuts and values among the
    models with rows.
    """
    room = np.ones(6, np.int64)
    for m in range(offsets.size - 1):
        if offsets[m + 1] == offsets[m]:
            continue
        features = bounds[0, m + 1] - bounds[0, m] - 1
        room[0] = max(room[0], features)
        for f in range(bounds[0, m], bounds[0, m + 1] - 1):
            room[1] = max(room[1], np.int64(cut_bounds[f + 1] - cut_bounds[f]))
        room[2] = max(room[2], bounds[4, m + 1] - bounds[4, m])
        room[3] = max(room[3], bounds[1, m + 1] - bounds[1, m] + 2 * features)
        room[4] = max(room[4], bounds[1, m + 1] - bounds[1, m])
        room[5] = max(room[5], bounds[9, m + 1] - bounds[9, m])
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
    codes: Any, room_of_positions: Any, rows: int, leaves: int, tree_nodes: Any, tree_output: Any, feature: Any, code: Any,
    span: Any, flags: Any, sets: Any, cut_bounds: Any, values: Any, width: int, single: bool, row_of: Any, first: Any, last: Any,
    missing: bool, scratch: Any, used: Any, nodes: Any, leaf_of: Any, sums: Any,
) -> None:  # fmt: skip
    """Add a model's trees to `sums`, in the way that suits their size and the number of rows."""
    features = cut_bounds.size - 1
    planes = (used.size + LINES_AT_ONCE - 1) // LINES_AT_ONCE * LINES_AT_ONCE
    blocks = CHUNK_ROWS // BLOCK_ROWS
    positions = room_of_positions[: blocks * planes * BLOCK_ROWS].reshape(blocks, planes, BLOCK_ROWS)
    is_narrow = leaves <= NARROW_LEAVES
    enough = rows >= (SMALL_ROWS if is_narrow else TABLE_ROWS) or sets.size > 0
    named = (row_of[features] if sets.size else 2 * features + LINE_BITS) < PLACES
    if enough and named and leaves <= TABLE_LEAVES and (is_narrow or not sets.size):
        place_rows(codes, rows, used, row_of, positions)
        score_by_table(
            positions, rows, tree_nodes, tree_output, feature, code, span, flags, sets, values, width, single, row_of, first,
            missing, scratch, sums,
        )  # fmt: skip
    elif rows >= TOP_ROWS and named and not sets.size:
        place_rows(codes, rows, used, row_of, positions)
        score_from_tops(
            codes, positions, rows, features, tree_nodes, tree_output, feature, code, span, flags, values, width, single, row_of,
            first, last, missing, nodes, leaf_of, scratch, sums,
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
