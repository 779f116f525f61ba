"""Series that sell whole pieces: their quantiles are the smallest number of pieces that sales reach with that
chance.

A few pieces a week jump over most chances, so that no band of whole pieces covers just 90 %. Models therefore
learn each number of pieces spread evenly over half a piece to both sides (Machado and Silva, 2005, "Quantiles
for counts"): of what is spread, a quantile exists for every chance, and rounded to the next whole piece it is
the smallest number of pieces that sales are at most with that chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

FEW_PIECES = 50.0
"""Larger sales are not spread: half a piece is one percent of them."""

_SEED = 20_261_130


def count_series(sales: FloatArray) -> NDArray[np.bool_]:
    """Which series have sold whole pieces only, and some: all known sales (series x weeks) are whole
    numbers.
    """
    known = np.nan_to_num(sales)
    return np.asarray((known == np.floor(known)).all(axis=1) & known.any(axis=1))


def round_counts(quantiles: FloatArray, counts: NDArray[np.bool_]) -> None:
    """Round the quantiles of these series or rows (first axis) to whole pieces, in place.

    A quantile of a count is a whole number; one between zero and one would miss every zero.
    """
    quantiles[counts] = np.rint(quantiles[counts])


def spread_pieces(log_sales: FloatArray, counts: NDArray[np.bool_]) -> FloatArray:
    """The log1p of sales (of any shape, NaN where not known), where few whole pieces (`counts`) are spread
    over half a piece to both sides; the same for the same sales.
    """
    pieces = np.rint(np.expm1(log_sales))
    few = counts & (pieces <= FEW_PIECES)
    aside = np.random.default_rng(_SEED).random(log_sales.shape) - 0.5
    return np.where(few, np.log1p(pieces + aside), log_sales)


def spread_coverage(truth: FloatArray, spread: FloatArray, counts: NDArray[np.bool_]) -> dict[str, float]:
    """The shares of sales, few whole pieces spread, inside the 90 % and the 50 % band of quantiles that are
    not rounded (rows x quantiles): the coverage by randomised ranks, free of ties and exact in expectation.
    """
    few = counts & (truth <= FEW_PIECES)
    bands = {"spread_coverage_90": (0, 4), "spread_coverage_50": (1, 3)}
    return {
        name: float(_share_inside(truth, spread[:, low], spread[:, high], few).mean().round(4))
        for name, (low, high) in bands.items()
    }


def _share_inside(truth: FloatArray, low: FloatArray, high: FloatArray, few: NDArray[np.bool_]) -> FloatArray:
    """Of each row the share of what its sales are spread over that lies between."""
    inside = np.minimum(high, truth + 0.5) - np.maximum(low, truth - 0.5)
    return np.where(few, np.clip(inside, 0.0, 1.0), (truth >= low) & (truth <= high))
