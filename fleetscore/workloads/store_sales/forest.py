"""Forests of small trees as plain arrays: read from LightGBM's text, stored without code, scored bit for
bit as LightGBM does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.forest_kernels import BLOCK_ROWS, encode, score_blocks

MOST_LEAVES = 16
COVARIATE = "covariate_"
"""Begins the names by which LightGBM knows the further covariates, which it would not take by names of
their own.
"""


@dataclass(frozen=True, slots=True)
class Forest:
    """Some forests over the same features. Trees of forest i are the rows [first_tree[i], first_tree[i +
    1]) of the arrays.

    A node sends a row left if its feature is at most the threshold. Leaves are numbered from left to right;
    `stays` has the bits of the leaves that remain reachable when the row goes right. Unused nodes have
    threshold +inf and all bits.
    """

    features: tuple[str, ...]
    first_tree: NDArray[np.int64]
    feature: NDArray[np.int16]  # trees x 15
    threshold: NDArray[np.float64]  # trees x 15
    stays: NDArray[np.uint16]  # trees x 15
    value: NDArray[np.float64]  # trees x 16


@dataclass(frozen=True, slots=True)
class Scorer:
    """A forest with its thresholds numbered: `cuts` are each feature's thresholds, sorted; a node compares
    a row's number of lower cuts.
    """

    forest: Forest
    cuts: NDArray[np.float64]  # all features' thresholds, one after the other
    first_cut: NDArray[np.int64]
    node_code: NDArray[np.int32]  # trees x 15
    wide: bool  # more than 255 cuts of one feature: codes need two bytes


def parse_lightgbm(text: str) -> Forest:
    """The trees of a LightGBM model text as one forest; ModelError for categories, missing values and
    links.
    """
    header, *blocks = text.split("\nTree=")
    features = tuple(_fields(header)["feature_names"].split())
    trees = [_parse_tree(_fields(block.split("\n\n")[0])) for block in blocks]
    columns = [np.stack(column) for column in zip(*trees, strict=True)]
    return Forest(features, np.array([0, len(trees)]), *columns)


def join_forests(forests: list[Forest]) -> Forest:
    """The forests, in order, as one object; ModelError unless all read the same features."""
    if any(forest.features != forests[0].features for forest in forests):
        raise ModelError(
            "The forests of a model set read different features.", fix="Train again.", code="corrupt_model"
        )
    sizes = [np.diff(forest.first_tree) for forest in forests]
    return Forest(
        forests[0].features,
        np.concatenate([[0], np.cumsum(np.concatenate(sizes))]),
        *(
            np.concatenate([getattr(f, name) for f in forests])
            for name in ("feature", "threshold", "stays", "value")
        ),
    )


def name_covariates(forest: Forest, card: Mapping[str, Any]) -> Forest:
    """The forest, which is trained with its covariates by number, with their names from the model set's
    card.
    """
    named = tuple(card.get("features", ()))
    numbered = [name.startswith(COVARIATE) for name in forest.features]
    if not any(numbered) or len(named) != len(forest.features):
        return forest
    pairs = zip(named, forest.features, numbered, strict=True)
    return replace(forest, features=tuple(name if is_number else own for name, own, is_number in pairs))


def forest_arrays(forest: Forest) -> dict[str, NDArray[Any]]:
    """The forest as named arrays for an npz file."""
    names = ("first_tree", "feature", "threshold", "stays", "value")
    return {"features": np.array(forest.features)} | {name: getattr(forest, name) for name in names}


def forest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Forest:
    """The forest of such arrays; ModelError unless shapes, types and references fit, so that scoring never
    reads out of bounds.
    """
    try:
        features = tuple(str(name) for name in arrays["features"])
        forest = Forest(
            features,
            arrays["first_tree"],
            arrays["feature"],
            arrays["threshold"],
            arrays["stays"],
            arrays["value"],
        )
    except KeyError as error:
        raise _corrupt(f"array {error} is missing") from error
    trees = len(forest.value)
    nodes = (trees, MOST_LEAVES - 1)
    shapes = {"feature": nodes, "threshold": nodes, "stays": nodes, "value": (trees, MOST_LEAVES)}
    types = {"feature": "i2", "threshold": "f8", "stays": "u2", "value": "f8", "first_tree": "i8"}
    for name, kind in types.items():
        array = getattr(forest, name)
        if array.dtype != np.dtype(kind) or array.shape != shapes.get(name, array.shape):
            raise _corrupt(f"{name} is {array.dtype} {array.shape}")
    first = forest.first_tree
    if first.ndim != 1 or first[0] != 0 or first[-1] != trees or (np.diff(first) < 0).any():
        raise _corrupt("first_tree does not divide the trees")
    if forest.feature.size and not (forest.feature.min() >= 0 and forest.feature.max() < len(features)):
        raise _corrupt("a node reads a feature that is not there")
    if (
        not np.isfinite(forest.value).all()
        or np.isnan(forest.threshold).any()
        or not (forest.stays >> 15).all()
    ):
        raise _corrupt("a value, threshold or leaf mask is impossible")
    return forest


def make_scorer(forest: Forest) -> Scorer:
    """Number the thresholds of each feature, so that rows are compared by one or two bytes instead of
    eight.
    """
    used = np.isfinite(forest.threshold)
    cuts = [np.unique(forest.threshold[used & (forest.feature == f)]) for f in range(len(forest.features))]
    first_cut = np.concatenate([[0], np.cumsum([len(c) for c in cuts])]).astype(np.int64)
    wide = max((len(c) for c in cuts), default=0) > 255
    code = np.full(forest.threshold.shape, np.iinfo(np.uint16 if wide else np.uint8).max, np.int32)
    for f, own in enumerate(cuts):
        mine = used & (forest.feature == f)
        code[mine] = np.searchsorted(own, forest.threshold[mine])
    return Scorer(forest, np.concatenate([*cuts, np.empty(0)]), first_cut, code, wide)


def predict(scorer: Scorer, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the leaf values of every forest (forests x rows) for a matrix (features x rows, no NaN),
    as LightGBM gives them.
    """
    forest, rows = scorer.forest, matrix.shape[1]
    codes = np.empty((len(forest.features), rows), np.uint16 if scorer.wide else np.uint8)
    encode(matrix, scorer.cuts, scorer.first_cut, codes)
    out = np.empty((len(forest.first_tree) - 1, rows))
    score_blocks(
        codes, forest.first_tree, forest.feature, scorer.node_code.astype(codes.dtype), forest.stays, forest.value,
        np.empty(BLOCK_ROWS, np.uint16), out,
    )  # fmt: skip
    return out


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in pairs}


def _parse_tree(fields: Mapping[str, str]) -> tuple[NDArray[Any], ...]:
    leaves = int(fields["num_leaves"])
    if leaves > MOST_LEAVES or int(fields.get("num_cat", "0")) or int(fields.get("is_linear", "0")):
        raise ModelError(
            f"A tree has {leaves} leaves, categories or linear leaves; the scorer takes up to {MOST_LEAVES} plain leaves.",
            fix="Train with fewer leaves, without categorical features.",
            code="unsupported_model",
        )
    feature = np.zeros(MOST_LEAVES - 1, np.int16)
    threshold = np.full(MOST_LEAVES - 1, np.inf)
    stays = np.full(MOST_LEAVES - 1, 0xFFFF, np.uint16)
    value = np.zeros(MOST_LEAVES)
    leaf_values = np.array(fields["leaf_value"].split(), np.float64)
    if leaves == 1:
        value[0] = leaf_values[0]
        return feature, threshold, stays, value
    left, right = (np.array(fields[name].split(), np.int64) for name in ("left_child", "right_child"))
    feature[: leaves - 1] = np.array(fields["split_feature"].split(), np.int16)
    threshold[: leaves - 1] = np.array(fields["threshold"].split(), np.float64)
    _check_decisions(fields["decision_type"])
    order: list[int] = []
    _walk(0, left, right, stays, order)
    value[:leaves] = leaf_values[order]
    return feature, threshold, stays, value


def _check_decisions(text: str) -> None:
    """Decision type bit 0: category; bits 2-3: how missing values go (0: none were seen, so NaN counts as
    zero).
    """
    if any(int(kind) & 1 or (int(kind) >> 2) & 3 for kind in text.split()):
        raise ModelError(
            "A tree splits by category or treats missing values apart; features here are numbers and never missing.",
            fix="Train with use_missing=false and without categorical features.",
            code="unsupported_model",
        )


def _walk(
    node: int, left: NDArray[np.int64], right: NDArray[np.int64], stays: NDArray[np.uint16], order: list[int]
) -> None:
    """Number the leaves below the node from left to right, and note for each node which leaves its left
    side has.
    """
    first = len(order)
    for child in (left[node], right[node]):
        if child < 0:
            order.append(int(~child))
        else:
            _walk(int(child), left, right, stays, order)
        if child == left[node]:
            gone = ((1 << len(order)) - 1) ^ ((1 << first) - 1)
            stays[node] = 0xFFFF ^ gone


def _corrupt(what: str) -> ModelError:
    return ModelError(
        f"The packed forest is not usable: {what}.",
        fix="Pin another version, or train again.",
        code="corrupt_model",
    )
