"""Medians of what is there: NaN is no value, and NaN comes out where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np


def median(values: Any) -> Any:
    """The median along the last axis of what is not NaN; NaN where nothing is.

    >>> median(np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    ordered = np.array(values, order="C")
    ordered.sort(axis=-1)  # NaN comes last
    width = ordered.shape[-1]
    count = np.count_nonzero(ordered == ordered, axis=-1)  # NaN is not itself
    begin = np.arange(count.size).reshape(count.shape) * width
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, width - 1)
    return (ordered.take(begin + low) + ordered.take(begin + high)) / 2


def order_weeks(by_week: Any) -> tuple[Any, Any, Any, Any]:
    """The least, second, third and greatest (servers, hours) of four weeks (servers, 4, hours); inf stands
    after the values where some are missing.

    Five comparisons of whole arrays, where sorting four numbers at a time costs several times as much.
    """
    a, b, c, d = np.where(np.isnan(by_week), np.inf, by_week).swapaxes(0, 1)
    low, high = np.minimum(a, b), np.maximum(a, b)
    other_low, other_high = np.minimum(c, d), np.maximum(c, d)
    inner, other_inner = np.maximum(low, other_low), np.minimum(high, other_high)
    least, greatest = np.minimum(low, other_low), np.maximum(high, other_high)
    return least, np.minimum(inner, other_inner), np.maximum(inner, other_inner), greatest


def median_of_weeks(weeks: tuple[Any, Any, Any, Any]) -> tuple[Any, Any]:
    """The median of what `order_weeks` gave, NaN where nothing is, and the number of values."""
    least, second, third, _ = weeks
    one, two, three, four = (week < np.inf for week in weeks)
    low = np.where(three, second, least)
    high = np.where(four, third, np.where(two, second, least))
    count = one.astype(np.int64) + two + three + four
    return np.where(one, (low + high) / 2, np.nan), count


def extremes_of_weeks(weeks: tuple[Any, Any, Any, Any]) -> tuple[Any, Any]:
    """The least and the greatest of what `order_weeks` gave; NaN where nothing is."""
    least, second, third, greatest = weeks
    high = np.where(
        greatest < np.inf, greatest, np.where(third < np.inf, third, np.where(second < np.inf, second, least))
    )
    return np.where(least < np.inf, least, np.nan), np.where(least < np.inf, high, np.nan)
