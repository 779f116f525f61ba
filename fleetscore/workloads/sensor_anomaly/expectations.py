"""What a window's readings usually look like, cheaply: sensors that sent far fewer than their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fleetscore.partition_keys import split_key

_LEAST_PEERS = 5
_LEAST_USUAL = 4
_ALIKE = 0.2  # how far a count lies from the median at the most to be alike
_LEAST_SHARE = 0.8  # so many have to be alike before anything is usual
Counts = npt.NDArray[np.int64]


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
