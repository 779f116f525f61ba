"""Two simple forecasts beside the forests, from the same features: the offset as it is, and moved by the last
weeks; both with the quantiles of what they missed in training.

The offset is the level with what response and season say of the week. A forest that was trained on few weeks
follows their noise; a mean of it and a simple forecast may lose less (`blends.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.contract import QUANTILES
from fleetscore.workloads.store_sales.features import feature_names

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WEEK_KINDS = ("plain", "deal", "feature")
"""Weeks without promotion, on deal only, and on feature: what blends and widths are chosen by."""

SIMPLE = ("offset", "last weeks")
"""The simple forecasts, in the order of `SimpleForecasts.slope`."""

_FEWEST_ROWS = 200  # of a kind of week, for quantiles of its own
_ROW = {name: row for row, name in enumerate(feature_names())}


@dataclass(frozen=True, slots=True)
class SimpleForecasts:
    """What the simple forecasts say, in logs relative to the offset."""

    slope: FloatArray  # per forecast, of what the response regression left of the last four weeks
    quantiles: FloatArray  # forecasts x kinds of week x quantiles: what each missed in training


def week_kinds(matrix: FloatArray) -> IntArray:
    """Of each row of a feature matrix (features x rows) its place in WEEK_KINDS."""
    on_deal, on_feature = matrix[_ROW["deal"]] > 0.5, matrix[_ROW["feat"]] > 0.5
    return np.where(on_feature, 2, np.where(on_deal, 1, 0))


def fit_simple(matrix: FloatArray, target: FloatArray) -> SimpleForecasts:
    """The simple forecasts of training rows: a feature matrix, and log sales relative to the offset."""
    last, kinds = matrix[_ROW["mean_residual_4"]], week_kinds(matrix)
    square = float(last @ last)
    slope = np.array([0.0, max(0.0, float(last @ target) / square) if square > 0 else 0.0])
    quantiles = np.empty((len(SIMPLE), len(WEEK_KINDS), len(QUANTILES)))
    for number in range(len(SIMPLE)):
        missed = target - slope[number] * last
        for kind in range(len(WEEK_KINDS)):
            of_kind = missed[kinds == kind]
            quantiles[number, kind] = np.quantile(
                of_kind if len(of_kind) >= _FEWEST_ROWS else missed, QUANTILES
            )
    return SimpleForecasts(slope, quantiles)


def forecast_simply(simple: SimpleForecasts, number: int, matrix: FloatArray, kinds: IntArray) -> FloatArray:
    """What the simple forecast of that number says (quantiles x rows), log relative to the offset."""
    said = simple.quantiles[number].T[:, kinds]
    return np.asarray(said + simple.slope[number] * matrix[_ROW["mean_residual_4"]])


def simple_arrays(simple: SimpleForecasts) -> dict[str, NDArray[Any]]:
    """The simple forecasts as named arrays for an npz file."""
    return {"simple_slope": simple.slope, "simple_quantiles": simple.quantiles}


def simple_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> SimpleForecasts:
    """The simple forecasts of such arrays; ModelError unless their shapes fit and all numbers are finite."""
    shape = (len(SIMPLE), len(WEEK_KINDS), len(QUANTILES))
    return SimpleForecasts(
        finite_array(arrays, "simple_slope", shape[:1]), finite_array(arrays, "simple_quantiles", shape)
    )


def finite_array(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> FloatArray:
    """The float64 array of that name; ModelError unless it is there, of that shape and finite."""
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelError(
            f"The model file's {name} is missing or no array of {shape} finite numbers.",
            fix="Train again.",
            code="corrupt_model",
        )
    return array
