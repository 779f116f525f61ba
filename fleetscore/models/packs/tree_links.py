"""The links of boosting libraries written in C++, compiled so that they call the C library's functions as those do.

numpy's own exponential differs from the C library's in last bits, so it would not reproduce LightGBM, XGBoost or CatBoost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fleetscore.models.packs.base import Floats
from fleetscore.models.packs.compiled import compiled


@compiled
def logistic(sums: Any, factor: Any) -> Any:
    """1 / (1 + exp(-factor x)), a factor per row."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            found[i, k] = 1.0 / (1.0 + math.exp(-factor[i] * sums[i, k]))
    return found


@compiled
def softmax(sums: Any) -> Any:
    """exp(x - largest) over their sum, in float64."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        highest, total = sums[i, 0], 0.0
        for k in range(1, sums.shape[1]):
            highest = max(highest, sums[i, k])
        for k in range(sums.shape[1]):
            found[i, k] = math.exp(sums[i, k] - highest)
            total += found[i, k]
        for k in range(sums.shape[1]):
            found[i, k] /= total
    return found


@compiled
def exponential(sums: Any) -> Any:
    """exp(x), in float64."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            found[i, k] = math.exp(sums[i, k])
    return found


@compiled
def log_one_plus(sums: Any) -> Any:
    """log(1 + exp(x)), in float64."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            found[i, k] = math.log1p(math.exp(sums[i, k]))
    return found


@compiled
def logistic_single(sums: Any) -> Any:
    """XGBoost's logistic function in float32."""
    found = np.empty_like(sums)
    one, tiny, high = np.float32(1.0), np.float32(1e-16), np.float32(88.7)
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            x = min(-np.float32(sums[i, k]), high)
            found[i, k] = one / (math.exp(x) + one + tiny)
    return found


@compiled
def softmax_single(sums: Any) -> Any:
    """XGBoost's softmax: exponentials in float32, their sum in float64."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        highest, total = np.float32(sums[i, 0]), 0.0
        for k in range(1, sums.shape[1]):
            highest = max(highest, np.float32(sums[i, k]))
        for k in range(sums.shape[1]):
            share = math.exp(np.float32(sums[i, k]) - highest)
            found[i, k] = share
            total += share
        for k in range(sums.shape[1]):
            found[i, k] = np.float32(found[i, k]) / np.float32(total)
    return found


@compiled
def exponential_single(sums: Any) -> Any:
    """exp(x), in float32."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            found[i, k] = math.exp(np.float32(sums[i, k]))
    return found


@compiled
def logarithm_single(value: Any) -> Any:
    """log(x), in float32."""
    return math.log(np.float32(value))


def _signed_square(sums: Floats, _: Floats) -> Floats:
    """The inverse of LightGBM's square root of targets."""
    found: Floats = np.sign(sums) * sums * sums
    return found


LIGHTGBM: dict[str, Callable[[Floats, Floats], Floats]] = {
    "identity": lambda sums, _: sums,
    "square": _signed_square,
    "exponential": lambda sums, _: exponential(sums),
    "logistic": logistic,
    "softmax": lambda sums, _: softmax(sums),
    "log_one_plus": lambda sums, _: log_one_plus(sums),
}
