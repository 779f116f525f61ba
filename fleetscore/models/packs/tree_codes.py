"""Rows' values as codes, compiled: the number of a feature's thresholds below each value.

A value's place among the thresholds is guessed from equal steps between the lowest and the highest, and a
search among the few that share the step finds it. The guess rises with the value, rounding included, so
the code is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled

BLOCK_ROWS = 256
CHUNK_ROWS = 1024
GUIDED_ROWS = 128
"""Fewer rows are searched among all thresholds: it would not pay to count those of each step."""


@compiled
def step_of(value: float, low: float, scale: float, steps: int) -> Any:
    """The step, 0 to steps - 1, that a value lies in; 0 for a missing value."""
    place = (value - low) * scale
    place = place if place > 0.0 else 0.0
    return np.int32(place if place < steps - 1.0 else steps - 1.0)


@compiled
def count_steps(cuts: Any, low: float, scale: float, steps: int, guide: Any) -> int:
    """Fill `guide` with the number of ascending cuts in the steps below each; returns the most of one
    step.
    """
    guide[: steps + 1] = 0
    for cut in cuts:
        guide[np.int64(step_of(cut, low, scale, steps)) + 1] += 1
    largest = np.int32(0)
    total = np.int32(0)
    for step in range(1, steps + 1):
        own = guide[step]
        largest = max(largest, own)
        total += own
        guide[step] = total
    return int(largest)


@compiled
def make_guide(cuts: Any, rows: int, guide: Any) -> Any:
    """Fill `guide` (see count_steps) for so many rows; returns low, scale and number of the steps, and
    the most cuts of one.
    """
    count = cuts.size
    if count > 2 and rows >= GUIDED_ROWS:
        steps = 1
        while steps < count:
            steps *= 2
        low = cuts[0]
        scale = steps / (cuts[count - 1] - low)
        if 0.0 < scale < np.inf and -np.inf < low:
            return low, scale, steps, count_steps(cuts, low, scale, steps, guide)
    guide[:2] = 0
    return 0.0, 0.0, 1, count


@compiled
def rank_values(values: Any, starts: Any, padded: Any, levels: int, rows: int, ranks: Any) -> None:
    """Fill `ranks` with the number of ascending `padded` numbers below each value: four searches at a time,
    without a branch, each among the 2 ** levels - 1 numbers from its start on.
    """
    for begin in range(0, rows, 4):
        i = np.uint64(begin)
        j, k, m = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3)
        u, v, w, x = values[i], values[j], values[k], values[m]
        a, b, c, d = np.uint64(starts[i]), np.uint64(starts[j]), np.uint64(starts[k]), np.uint64(starts[m])
        for level in range(levels - 1, -1, -1):
            shift = np.uint64(level)
            last = (np.uint64(1) << shift) - np.uint64(1)
            a += np.uint64(padded[a + last] < u) << shift  # a comparison that is multiplied makes a branch
            b += np.uint64(padded[b + last] < v) << shift
            c += np.uint64(padded[c + last] < w) << shift
            d += np.uint64(padded[d + last] < x) << shift
        ranks[i], ranks[j], ranks[k], ranks[m] = a, b, c, d


@compiled
def encode(x: Any, single: Any, cut_bounds: Any, cuts: Any, padded: Any, guide: Any, codes: Any) -> bool:
    """Fill `codes` (blocks, 2 x features, 256) for rows `x`; returns whether a value is missing.

    A missing value's code is one above the largest; the second half of the planes differs in that it is 0
    there. `padded` has room for three times a feature's cuts and 4, `guide` for twice and 2.
    """
    features, rows = cut_bounds.size - 1, x.shape[0]
    missing = False
    values, starts = np.empty(BLOCK_ROWS), np.empty(BLOCK_ROWS, np.int32)
    for f in range(features):
        own = cuts[cut_bounds[f] : cut_bounds[f + 1]]
        count = own.size
        low, scale, steps, largest = make_guide(own, rows, guide)
        levels = 0
        while 1 << levels <= largest:
            levels += 1
        padded[:count] = own
        padded[count : count + (1 << levels)] = np.inf
        for begin in range(0, rows, BLOCK_ROWS):
            size = min(BLOCK_ROWS, rows - begin)
            right, left = codes[begin // BLOCK_ROWS, f], codes[begin // BLOCK_ROWS, features + f]
            for i in range(size):
                values[i] = np.float64(np.float32(x[begin + i, f])) if single else x[begin + i, f]
            values[size:] = 0.0
            for i in range(BLOCK_ROWS):
                starts[i] = step_of(values[i], low, scale, steps)
            for i in range(BLOCK_ROWS):
                starts[i] = guide[np.uint64(starts[i])]
            rank_values(values, starts, padded, levels, size, right)
            for i in range(size):
                left[i] = right[i]
                if values[i] != values[i]:
                    right[i] = count + 1
                    missing = True
    return missing


@compiled
def place_rows(codes: Any, rows: int, used: Any, row_of: Any, positions: Any) -> None:
    """Fill `positions` (blocks, planes, 256) with each used feature's codes counted from row_of[feature]
    on; the last feature fills the planes that are left.
    """
    for begin in range(0, rows, BLOCK_ROWS):
        block = begin // BLOCK_ROWS
        for plane in range(positions.shape[1]):
            f = used[min(plane, used.size - 1)]
            first = np.uint32(row_of[f])
            for i in range(BLOCK_ROWS):
                positions[block, plane, i] = np.uint32(codes[block, f, i]) + first
