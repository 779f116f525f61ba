"""Losses of two versions compared: by partition, and whether the new one is to be promoted. Pure
decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MARGIN = 0.01
"""Losses that differ by less than this share are taken for the same."""

_LEAST_CASES = 30

_LEAST_WINDOWS = 3
_DEGREES = (1, 2, 3, 4, 5, 7, 10, 20, 1e9)
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.365, 2.228, 2.086, 1.960)
"""Student's t by degrees of freedom: what a difference over windows has to exceed in its own errors, 95 %
two-sided.
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the challenger is to be promoted, and why."""

    promote: bool
    reason: str


def compare(champion: Floats, challenger: Floats) -> npt.NDArray[np.str_]:
    """champion, challenger or same, by whose loss is less; differences within MARGIN are none.

    >>> compare(np.array([1.0, 1.0, 0.0]), np.array([0.5, 1.001, 0.1])).tolist()
    ['challenger', 'same', 'champion']
    """
    slack = MARGIN * np.maximum(champion, challenger)
    return np.select(
        [challenger < champion - slack, champion < challenger - slack], ["challenger", "champion"], "same"
    )


def are_certain(mean: Floats, deviation: Floats, windows: Floats) -> npt.NDArray[np.bool_]:
    """Whether each mean difference over windows is beyond their noise; never with fewer than three windows.

    >>> are_certain(np.array([1.0, 1.0, 1.0]), np.array([0.2, 2.0, 0.0]), np.array([4.0, 4.0, 2.0])).tolist()
    [True, False, False]
    """
    degrees = np.maximum(windows - 1, 1)
    limit = np.interp(-1 / degrees, [-1 / d for d in _DEGREES], _STUDENT)
    error = np.nan_to_num(deviation) / np.sqrt(np.maximum(windows, 1))
    certain: npt.NDArray[np.bool_] = (windows >= _LEAST_WINDOWS) & (np.abs(mean) > limit * error)
    return certain


def decide(champion_loss: float, challenger_loss: float, cases: int, wins: Mapping[str, int]) -> Decision:
    """Promote a challenger that is better in all, and for more partitions than it is worse, over 30 cases
    at least.

    >>> decide(2.0, 1.5, 100, {"challenger": 6, "champion": 2, "same": 2}).promote
    True
    >>> decide(2.0, 1.5, 100, {"challenger": 2, "champion": 6}).reason
    'It is better in all, but worse for 6 partitions and better for 2.'
    """
    better, worse = wins.get("challenger", 0), wins.get("champion", 0)
    if cases < _LEAST_CASES:
        return Decision(False, f"{cases} cases are too few to tell; it takes {_LEAST_CASES}.")
    if not challenger_loss < champion_loss * (1 - MARGIN):
        return Decision(False, "It is not better in all.")
    if better <= worse:
        return Decision(
            False, f"It is better in all, but worse for {worse} partitions and better for {better}."
        )
    return Decision(True, f"It is better in all, and for {better} partitions against {worse}.")
