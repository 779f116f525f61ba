"""How sure a comparison of forecasts is: the ratio of two losses on the same rows, with its interval over
series and weeks drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DRAWS = 1_000
_SEED = 20_261_129


@dataclass(frozen=True, slots=True)
class Ratio:
    """A loss as a share of another, with its interval; NaN where the other is zero."""

    ratio: float
    low: float
    high: float


def compare_losses(
    loss: FloatArray, base: FloatArray, series: IntArray, week: IntArray, certainty: float = 0.95
) -> Ratio:
    """The ratio of the sums of `loss` and `base` (rows), with the interval that series and weeks give.

    Both are drawn again with replacement, each by itself: rows of one series are alike, and so are those
    of one week. Each draw takes both losses of the same rows, so that what moves both does not widen the
    interval.
    """
    _, series_place = np.unique(series, return_inverse=True)
    _, week_place = np.unique(week, return_inverse=True)
    shape = (int(series_place.max(initial=-1)) + 1, int(week_place.max(initial=-1)) + 1)
    if not base.sum():
        return Ratio(float("nan"), float("nan"), float("nan"))
    random = np.random.default_rng(_SEED)
    by_series = random.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), _DRAWS).astype(np.float64)
    by_week = random.multinomial(shape[1], np.full(shape[1], 1 / shape[1]), _DRAWS).astype(np.float64)
    drawn = []
    for values in (loss, base):
        table = np.zeros(shape)
        np.add.at(table, (series_place, week_place), values)
        drawn.append(((by_series @ table) * by_week).sum(axis=1))
    usable = drawn[1] > 0
    tail = (1 - certainty) / 2
    low, high = np.quantile(drawn[0][usable] / drawn[1][usable], (tail, 1 - tail))
    return Ratio(float(loss.sum() / base.sum()), float(low), float(high))
