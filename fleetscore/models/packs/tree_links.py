"""The links of boosting libraries written in C++, compiled so that they call the C library's functions as
those do.

numpy's own exponential differs from the C library's in last bits, so it would not reproduce LightGBM,
XGBoost or CatBoost.
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


EXP_BITS = (
    11  # CatBoost's softmax takes an exponential from a table of 2048 powers and a cubic (herumi's fmath)
)
EXP_TABLE = np.array(
    [
        np.float64(2.0 ** (i / (1 << EXP_BITS))).view(np.uint64) & np.uint64((1 << 52) - 1)
        for i in range(1 << EXP_BITS)
    ],
    np.uint64,
)
EXP_LOWEST = -708.39641853226408  # at and below, the exponential is zero


@compiled
def table_exponential(x: Any) -> Any:
    """exp(x) for x <= 0 as CatBoost's softmax computes it."""
    if x <= EXP_LOWEST:
        return 0.0
    size = np.float64(1 << EXP_BITS)
    shift = np.float64(3 << 51)
    place = x * (size / math.log(2.0)) + shift
    bits = np.array([place]).view(np.uint64)[0]
    fraction = EXP_TABLE[bits & np.uint64((1 << EXP_BITS) - 1)]
    t = (place - shift) * (math.log(2.0) / size) - x
    raised = bits + np.uint64((1 << (EXP_BITS + 10)) - (1 << EXP_BITS))
    power = (raised >> np.uint64(EXP_BITS)) << np.uint64(52)
    cubic = (3.0000000027955394 - t) * (t * t) * 0.16666666685227835064 - t + 1.0
    return cubic * np.array([power | fraction]).view(np.float64)[0]


@compiled
def table_softmax(sums: Any) -> Any:
    """exp(x - largest) over their sum, with CatBoost's exponential."""
    found = np.empty_like(sums)
    for i in range(sums.shape[0]):
        highest, total = sums[i, 0], 0.0
        for k in range(1, sums.shape[1]):
            highest = max(highest, sums[i, k])
        for k in range(sums.shape[1]):
            found[i, k] = table_exponential(sums[i, k] - highest)
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
