"""What the rows of the table of packed models are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.models.importers.estimators import compile_estimator
from fleetscore.models.packs.base import CompiledModel

Fit = Callable[[NDArray[np.float64], Any, int], Any]


def call_method(model: Any, x: NDArray[np.float64], method: str) -> Any:
    """What an estimator's own method gives."""
    return getattr(model, method)(x)


def estimator(make: Callable[[int], Any]) -> Fit:
    """How an estimator of scikit-learn's interface, made for a seed, is trained."""
    return lambda x, y, seed: make(seed).fit(x, y)


@dataclass(frozen=True)
class Family:
    """What a row of the table measures: models of one kind, and the ratios that they should reach at least."""

    name: str
    fit: Fit
    target: str  # what it learns: "value", "class" or "nothing"
    scored: float
    loaded: float = 20.0  # 0: no aim
    method: str = "predict"
    training_rows: int = 300
    curved: bool = False  # whether the target bends, so that trees find something to split
    group: str = ""
    compiled: Callable[[Any], CompiledModel] = compile_estimator
    predict: Callable[[Any, NDArray[np.float64], str], Any] = call_method
