"""Trees behind scalers of single features: the scaling is folded into the thresholds, so that scoring does
not scale at all.

A scaler is a non-decreasing function of each feature, in floating point as well. So the scaled value is at
most a threshold exactly where the value is at most the largest number whose scaled value is; that number
takes the threshold's place.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.models.importers.boosters import wrapped_booster_ways
from fleetscore.models.importers.estimators import describe, split_pipeline
from fleetscore.models.importers.preparation import Unsupported
from fleetscore.models.importers.sklearn_trees import compile_sklearn_trees
from fleetscore.models.packs.base import CompiledModel, Floats
from fleetscore.models.packs.tree_bits import IN_SET

_SCALERS = frozenset({"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"})
_BITS = 64


def compile_scaled_trees(estimator: Any) -> CompiledModel | None:
    """The trees at the end of a pipeline of scalers, with thresholds of unscaled values; None for any other
    estimator.

    Unsupported where a tree tests sets of categories, which no scaler leaves as they are.
    """
    steps, model = split_pipeline(estimator)
    if not steps or not all(_is_scaler(step) for step in steps):
        return None
    compiled = compile_sklearn_trees(model)
    for way in [] if compiled else wrapped_booster_ways(model):
        compiled = way()
    if compiled is None or compiled.family != "trees":
        return None
    if np.any(compiled.arrays["flags"] & IN_SET):
        raise Unsupported("its trees test categories behind a scaler")
    facts = replace(compiled.facts, compute="float64", feature_names=describe(estimator).feature_names)
    return CompiledModel(compiled.family, _with_cuts(compiled, _unscaled(compiled, steps)), facts)


def _with_cuts(compiled: CompiledModel, cuts: Floats) -> dict[str, NDArray[Any]]:
    """The model's arrays with other thresholds in the same order; those that have become equal are one."""
    bounds = compiled.arrays["cut_bounds"].astype(np.int64)
    owner = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    is_new = np.ones(len(cuts), bool)
    is_new[1:] = (cuts[1:] != cuts[:-1]) | (owner[1:] != owner[:-1])
    kept = np.concatenate([[0], np.cumsum(np.bincount(owner[is_new], minlength=len(bounds) - 1))]).astype(
        np.int64
    )
    feature = compiled.arrays["feature"].astype(np.int64)
    place = np.cumsum(is_new) - 1
    code = (
        place[bounds[feature] + compiled.arrays["code"]] - kept[feature]
        if len(feature)
        else compiled.arrays["code"]
    )
    return {
        **compiled.arrays,
        "cuts": cuts[is_new],
        "cut_bounds": kept.astype(np.int32),
        "code": code.astype(np.uint32),
    }


def _is_scaler(step: Any) -> bool:
    return type(step).__name__ in _SCALERS and type(step).__module__.startswith("sklearn.")


def _unscaled(compiled: CompiledModel, steps: list[Any]) -> Floats:
    """For each threshold the largest number whose scaled value, as the trees round it, is at most the
    threshold; float64.
    """
    bounds, cuts = compiled.arrays["cut_bounds"].astype(np.int64), compiled.arrays["cuts"]
    feature = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    place = np.arange(len(cuts)) - bounds[feature]
    single = compiled.facts.compute == "float32"

    def scaled(values: Floats) -> Floats:
        matrix = np.zeros((int(place.max(initial=0)) + 1, len(bounds) - 1))
        matrix[place, feature] = values
        for step in steps:
            matrix = step.transform(matrix)
        found = matrix[place, feature]
        return np.asarray(found.astype(np.float32) if single else found, np.float64)

    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        return _largest_at_most(scaled, cuts)


def _largest_at_most(scaled: Any, cuts: Floats) -> Floats:
    """Bisection over all finite numbers in their order; -inf where even the least one is scaled above the
    threshold.
    """
    limit = np.finfo(np.float64).max
    low, high = (np.full(len(cuts), _ordered(np.array([value]))[0]) for value in (-limit, limit))
    all_below, none_below = scaled(_number(high)) <= cuts, scaled(_number(low)) > cuts
    for _ in range(_BITS):
        middle = low + ((high - low) >> np.uint64(1))
        below = scaled(_number(middle)) <= cuts
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = np.where(all_below, limit, _number(low))
    return np.asarray(np.where(none_below, -np.inf, found), np.float64)


def _ordered(values: Floats) -> NDArray[np.uint64]:
    """Whole numbers in the order of the float64 values."""
    bits = values.view(np.uint64)
    sign = np.uint64(1) << np.uint64(63)
    return np.where(bits & sign, ~bits, bits | sign)


def _number(ordered: NDArray[np.uint64]) -> Floats:
    """The float64 values of `_ordered`."""
    sign = np.uint64(1) << np.uint64(63)
    return np.where(ordered & sign, ordered & ~sign, ~ordered).view(np.float64)
