"""Load classes: low up to the first threshold, medium up to the second, high above."""

from __future__ import annotations

from typing import Any

import numpy as np

CLASSES = ("low", "medium", "high")
"""In the order of every class number and probability column."""


def classify(load: Any, medium_above: float, high_above: float) -> Any:
    """Class numbers (int8) of peak loads; a load at a threshold belongs to the class below.

    >>> classify(np.array([100.0, 100.0001, 500.0, 500.5]), 100.0, 500.0).tolist()
    [0, 1, 1, 2]
    """
    load = np.asarray(load)
    return (load > medium_above).astype(np.int8) + (load > high_above).astype(np.int8)
