"""What a window's readings usually look like, cheaply: sensors that sent far fewer than their like, and those
that report too seldom to have one in each window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetscore.partition_keys import split_key

_LEAST_PEERS = 5
_LEAST_USUAL = 4
_ALIKE = 0.2  # how far a count lies from the median at the most to be alike
_LEAST_SHARE = 0.8  # so many have to be alike before anything is usual
_USUAL_SHARE = 0.9  # so many of a sensor's gaps are no longer than its usual one
Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def find_few(keys: Sequence[str], rows: Counts) -> list[tuple[str, int, float]]:
    """Key, readings and usual readings of the partitions with less than half of what is usual, fewest first.

    Usual is the median of the partitions with the same sensor name, or of all where those are fewer than
    five; only where most of them are close to it, so that sensors of different rates are not held against
    each other.

    >>> find_few(["a/t", "b/t", "c/t", "d/t", "e/t", "f/t"], np.array([12, 12, 1, 12, 12, 11]))
    [('c/t', 1, 12.0)]
    """
    there = np.flatnonzero(rows > 0)
    if not len(there) or 2 * rows[there].min() >= rows[there].max():
        return []
    names = np.array([split_key(keys[at])[-1] for at in there.tolist()])
    _, group, sizes = np.unique(names, return_inverse=True, return_counts=True)
    usual = np.full(len(there), _usual(rows[there]))
    by_group = np.argsort(group, kind="stable")
    for part in np.split(by_group, np.cumsum(sizes)[:-1]):
        if len(part) >= _LEAST_PEERS:
            usual[part] = _usual(rows[there[part]])
    few = np.flatnonzero(2 * rows[there] < usual).tolist()
    found = [(keys[there[at]], int(rows[there[at]]), float(usual[at])) for at in few]
    return sorted(found, key=lambda line: (line[1] / line[2], line[0]))


def without_slow(
    few: Sequence[tuple[str, int, float]], before: Mapping[str, int], windows: float
) -> list[tuple[str, int, float]]:
    """Those of `few` that have less than half of what they had in the mean of `windows` windows before, or
    of which nothing is known: a sensor that reports less often than others has as many as ever.

    >>> without_slow([("a/t", 1, 12.0), ("b/t", 2, 12.0), ("c/t", 1, 12.0)], {"a/t": 24, "b/t": 288}, 24)
    [('b/t', 2, 12.0), ('c/t', 1, 12.0)]
    """
    return [line for line in few if line[0] not in before or 2 * line[1] * windows < before[line[0]]]


def _usual(rows: Counts) -> float:
    """The median where most counts are close to it, else 0."""
    if len(rows) < _LEAST_PEERS:
        return 0.0
    median = float(np.median(rows))
    alike = float((np.abs(rows - median) <= _ALIKE * median).mean())
    return median if median >= _LEAST_USUAL and alike >= _LEAST_SHARE else 0.0


def find_waiting(sensor: Codes, step: Counts, sensors: int, end: int) -> Flags:
    """Which of the `sensors`, silent in a window that ends with the step before `end`, have no reading due there:
    by their usual gap the next one comes later.

    `sensor` and `step` are parallel: each says that a sensor had readings in a step before the window. The usual
    gap from one such step to the next is the one that nine in ten do not exceed; of a sensor with fewer than
    two such steps nothing is known, and it is not waiting.

    >>> find_waiting(np.array([0, 0, 0, 1, 1]), np.array([0, 4, 8, 8, 9]), 3, 11).tolist()
    [True, False, False]
    """
    order = np.lexsort((step, sensor))
    sensor, step = sensor[order], step[order]
    same = sensor[1:] == sensor[:-1]
    gap, own = np.diff(step)[same], sensor[1:][same]
    gap = gap[np.lexsort((gap, own))]  # of each sensor by length; `own` is sorted already
    count = np.bincount(own, minlength=sensors)
    place = np.cumsum(count) - count + np.maximum(np.ceil(_USUAL_SHARE * count).astype(np.int64) - 1, 0)
    known = np.flatnonzero(count)
    last = np.zeros(sensors, np.int64)
    np.maximum.at(last, sensor, step)
    waiting = np.zeros(sensors, bool)
    waiting[known] = last[known] + gap[place[known]] >= end
    return waiting
