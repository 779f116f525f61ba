"""What the trees of the load's quantiles say: loads, and the chances of the classes that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetscore.workloads.server_load.features import ALL_FEATURES
from fleetscore.workloads.server_load.labels import CLASSES

LOAD_QUANTILES = (0.5, 0.9)
_EXPECTED_LEVEL, _EXPECTED_LOAD = "expectedLevel", "expectedLoad"

_NORMAL_UPPER = 1.2815515655446004  # nine tenths of a standard normal lie below it
_LEAST_SPREAD = 1e-3
MOST_LOG = 60.0  # a load beyond e^60 is none


def expected_of(names: Sequence[str], features: Any) -> Any:
    """The column that the answers of trees are added to which were trained on the features `names`: loads are
    expected by medians, by means in models of earlier versions.
    """
    return features[:, ALL_FEATURES.index(name_of_expected(names))]


def name_of_expected(names: Sequence[str]) -> str:
    """The name of the column of `expected_of`."""
    return _EXPECTED_LEVEL if _EXPECTED_LEVEL in names else _EXPECTED_LOAD


def load_of_raw(raw: Any, expected: Any) -> Any:
    """float64 (rows, LOAD_QUANTILES) of peak load from the trees' raw answers (rows, 3)."""
    return np.expm1(np.clip(_log_quantiles(raw, expected), 0.0, MOST_LOG))


def chances_of_load(raw: Any, expected: Any, limits: tuple[float, float]) -> Any:
    """float64 (rows, 3): the chances of CLASSES where the log of the load is normal about its median, with
    the spread that its quantiles tell; equal ones where the hour has no expected load. `limits` are the
    loads above which classes begin.
    """
    median, upper = _log_quantiles(raw, expected).T
    spread = np.maximum((upper - median) / _NORMAL_UPPER, _LEAST_SPREAD)
    below = _normal((np.log1p(limits)[:, None] - median) / spread)
    chances = np.column_stack([below[0], below[1] - below[0], 1 - below[1]])
    return np.where(np.isnan(chances), 1 / len(CLASSES), chances)


def _log_quantiles(raw: Any, expected: Any) -> Any:
    return np.maximum.accumulate(raw[:, : len(LOAD_QUANTILES)] + expected[:, None], axis=1)


def _normal(value: Any) -> Any:
    """The distribution function of the standard normal, to 2e-7 (Abramowitz and Stegun, 26.2.17)."""
    t = 1 / (1 + 0.2316419 * np.abs(value))
    series = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
    tail = sum(factor * t ** (n + 1) for n, factor in enumerate(series))
    tail = tail * np.exp(-value * value / 2) / np.sqrt(2 * np.pi)
    return np.where(value >= 0, 1 - tail, tail)
