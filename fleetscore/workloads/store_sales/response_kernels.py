"""The response of a series to price and promotion: a small ridge regression, compiled, float64 throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fleetscore.kernels.compiled import compiled

LONG_DECAY = 0.5 ** (1 / 26)  # of the regression and the kinds of week
_RIDGE = (
    0.1,
    0.2,
    0.2,
    1.0,
    1.0,
)  # of the response regression: intercept, own price, rival price, feature, deal


@compiled()
def or_zero(value: float) -> float:
    """0.0, which is neutral for a difference, where it is unknown."""
    return value if math.isfinite(value) else 0.0


@compiled()
def known_mean(values: Any, first: int, last: int) -> float:
    """The mean of the known values of [first, last]; NaN without one."""
    total, known = 0.0, 0
    for t in range(first, last + 1):
        if not math.isnan(values[t]):
            total += values[t]
            known += 1
    return total / known if known > 0 else np.nan


@compiled()
def set_regressors(price: float, rival: float, deal: float, feat: float, x: Any) -> None:
    """Set the five regressors of a week: intercept, own price, rival price, feature, deal."""
    x[0] = 1.0
    x[1] = or_zero(price)
    x[2] = or_zero(rival)
    x[3] = feat
    x[4] = deal * (1.0 - feat)


@compiled()
def dot(a: Any, b: Any) -> float:
    """The sum of products."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled()
def fit_response(
    y: Any, p: Any, r: Any, deal: Any, feat: Any, start: int, origin: int, level: float, price_mean: float,
    rival_mean: float, prior: Any, coefficients: Any, normal: Any, x: Any,
) -> None:  # fmt: skip
    """Ridge regression, recent weeks weighing more, of log sales on own price, mean rival price, feature
    and deal; shrunk to `prior`.
    """
    normal[:, :] = 0.0
    for i in range(5):
        coefficients[i] = _RIDGE[i] * prior[i]
    decay = 1.0
    for t in range(origin, start - 1, -1):
        if not math.isnan(y[t]):
            set_regressors(p[t] - price_mean, r[t] - rival_mean, deal[t], feat[t], x)
            for i in range(5):
                coefficients[i] += decay * x[i] * (y[t] - level)
                for j in range(i + 1):
                    normal[i, j] += decay * x[i] * x[j]
        decay *= LONG_DECAY
    for i in range(5):
        normal[i, i] += _RIDGE[i]
    _solve(normal, coefficients)


@compiled()
def fit_responses(
    log_sales: Any, log_price: Any, deal: Any, feat: Any, rivals: Any, stop: int, lookback: int, out: Any
) -> None:
    """Fill `out` (series x 5) with each series' own response in the lookback before column `stop`."""
    normal, x, none = np.empty((5, 5)), np.empty(5), np.zeros(5)
    start, origin = max(0, stop - lookback), stop - 1
    for s in range(log_sales.shape[0]):
        level = known_mean(log_sales[s], start, origin)
        if math.isnan(level):
            out[s] = 0.0
            continue
        price_mean = known_mean(log_price[s], start, origin)
        rival_mean = known_mean(rivals[0, s], start, origin)
        fit_response(
            log_sales[s], log_price[s], rivals[0, s], deal[s], feat[s], start, origin, level, price_mean,
            rival_mean, none, out[s], normal, x,
        )  # fmt: skip


@compiled()
def _solve(matrix: Any, vector: Any) -> None:
    """Solve the symmetric positive definite system (lower triangle given) by Cholesky, in place."""
    n = vector.size
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(total) if i == j else total / matrix[j, j]
    for i in range(n):
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]


@compiled()
def measure_residuals(
    y: Any, p: Any, r: Any, deal: Any, feat: Any, start: int, origin: int, level: float, price_mean: float,
    rival_mean: float, coefficients: Any, x: Any, head: Any,
) -> None:  # fmt: skip
    """Sets `spread`, `last_residual` and `mean_residual_4`."""
    squares, weight, decay, seen, last, total, recent = 0.0, 0.0, 1.0, 0, 0.0, 0.0, 0
    for t in range(origin, start - 1, -1):
        if not math.isnan(y[t]):
            set_regressors(p[t] - price_mean, r[t] - rival_mean, deal[t], feat[t], x)
            residual = y[t] - level - dot(coefficients, x)
            squares += decay * residual * residual
            weight += decay
            if seen == 0:
                last = residual
            seen += 1
            if origin - t < 4:
                total += residual
                recent += 1
        decay *= LONG_DECAY
    head[3] = math.sqrt(squares / weight) if weight > 0.0 else 0.0
    head[13] = last
    head[14] = total / recent if recent > 0 else 0.0
