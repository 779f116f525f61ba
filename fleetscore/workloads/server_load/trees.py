"""Packed trees: a scikit-learn forest or boosting as plain arrays, and a scorer whose answers equal
scikit-learn's.

The file is an .npz of numbers and one JSON text; loading it executes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from fleetscore.errors import BugError, ModelError
from fleetscore.models.archive_errors import ARCHIVE_ERRORS
from fleetscore.typed_json import decode_json
from fleetscore.workloads.server_load.features import ALL_FEATURES, FEATURES, WEEKLY_FEATURES
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.load_answers import chances_of_load, expected_of

_STORED = ("threshold", "link", "value", "roots", "tree_class", "baseline")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model must be used with."""

    kind: Literal["forest", "boosting", "load"]
    features: tuple[str, ...]
    medium_above: float
    high_above: float
    country: str
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Trees:
    """All trees' nodes one after the other, each before its children, the left child next to it (see
    `tree_kernel`).
    """

    facts: ModelFacts
    threshold: Any  # float64 per node: at most goes left; -inf for a leaf
    link: Any  # int64 per node: right child << 16 | column << 1 | whether NaN goes left; a leaf is its own right child
    value: Any  # float64 (nodes, 3) shares of the classes in a forest, (nodes, 1) in boosting
    roots: Any  # int64 per tree, ascending
    tree_class: Any  # int64 per tree: the class it adds to (boosting)
    baseline: Any  # float64 (3,): where boosting starts
    depths: Any  # int64 per tree; found when packed or loaded, never stored


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The nodes of some trees as scikit-learn has them, children numbered within their tree."""

    sizes: Sequence[int]
    leaf: Any  # bool
    feature: Any
    threshold: Any
    left: Any
    right: Any
    missing_left: Any


def pack_forest(model: Any, facts: ModelFacts) -> Trees:
    """Pack a fitted RandomForestClassifier whose classes are class numbers; a class it never saw gets
    probability 0.
    """
    parts = [estimator.tree_ for estimator in model.estimators_]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(tree, name) for tree in parts])

    left = joined("children_left")
    nodes = _Nodes(
        [tree.node_count for tree in parts],
        left < 0,
        joined("feature"),
        joined("threshold"),
        left,
        joined("children_right"),
        joined("missing_go_to_left"),
    )
    value = np.zeros((len(left), len(CLASSES)))
    value[:, [int(c) for c in model.classes_]] = joined("value")[:, 0, :]
    return _packed(facts, nodes, value, np.zeros(len(parts), np.int64), np.zeros(len(CLASSES)))


def pack_boosting(model: Any, facts: ModelFacts) -> Trees:
    """Pack a fitted HistGradientBoostingClassifier that saw all three classes."""
    # scikit-learn shows its trees nowhere else; a test holds this against its predictions
    parts = [tree.nodes for iteration in model._predictors for tree in iteration]
    classes = np.tile(np.arange(len(CLASSES), dtype=np.int64), len(model._predictors))
    return _packed_boosting(facts, parts, classes, np.asarray(model._baseline_prediction))


def pack_load(models: Sequence[Any], facts: ModelFacts) -> Trees:
    """Pack fitted HistGradientBoostingRegressors, at most three, whose predictions `predict_raw` gives side
    by side.
    """
    parts = [tree.nodes for model in models for iteration in model._predictors for tree in iteration]
    lengths = [len(model._predictors) for model in models]
    baseline = np.zeros(len(CLASSES))
    baseline[: len(models)] = [float(np.ravel(model._baseline_prediction)[0]) for model in models]
    return _packed_boosting(facts, parts, np.repeat(np.arange(len(models)), lengths), baseline)


def _packed_boosting(facts: ModelFacts, parts: Sequence[Any], tree_class: Any, baseline: Any) -> Trees:
    joined = np.concatenate(parts)
    nodes = _Nodes(
        [len(part) for part in parts],
        joined["is_leaf"].astype(bool),
        joined["feature_idx"],
        joined["num_threshold"],
        joined["left"],
        joined["right"],
        joined["missing_go_to_left"],
    )
    value = joined["value"].astype(np.float64)[:, None]
    return _packed(facts, nodes, value, tree_class.astype(np.int64), baseline.astype(np.float64).reshape(-1))


def _packed(facts: ModelFacts, nodes: _Nodes, value: Any, tree_class: Any, baseline: Any) -> Trees:
    roots = np.cumsum([0, *nodes.sizes[:-1]]).astype(np.int64)
    own = np.arange(len(nodes.leaf), dtype=np.int64)
    offset = np.repeat(roots, nodes.sizes)
    if not np.array_equal((nodes.left + offset)[~nodes.leaf], own[~nodes.leaf] + 1):
        raise BugError(
            "scikit-learn no longer puts a left child next to its parent; the packer must reorder nodes."
        )
    right = np.where(nodes.leaf, own, nodes.right + offset).astype(np.int64)
    inner = right << 16 | nodes.feature.astype(np.int64) << 1 | nodes.missing_left.astype(np.int64)
    link = np.where(nodes.leaf, right << 16, inner)
    threshold = np.where(nodes.leaf, -np.inf, nodes.threshold)
    return _with_depths(facts, threshold, link, value, roots, tree_class, baseline)


def _with_depths(
    facts: ModelFacts, threshold: Any, link: Any, value: Any, roots: Any, tree_class: Any, baseline: Any
) -> Trees:
    """The trees, after a check that walking them ends and stays inside the arrays; ModelError otherwise."""
    from fleetscore.workloads.server_load.tree_kernel import find_depths

    arrays = (threshold, link, value, roots, tree_class, baseline)
    kinds = (np.float64, np.int64, np.float64, np.int64, np.int64, np.float64)
    width = len(CLASSES) if facts.kind == "forest" else 1
    sound = all(array.dtype == kind for array, kind in zip(arrays, kinds, strict=True))
    sound = sound and threshold.shape == link.shape == value.shape[:1] and value.shape[1:] == (width,)
    sound = sound and roots.shape == tree_class.shape and baseline.shape == (len(CLASSES),) and roots.size > 0
    sound = sound and bool(((tree_class >= 0) & (tree_class < len(CLASSES))).all())
    depths = find_depths(threshold, link, roots, len(facts.features)) if sound else ()
    if not len(depths):
        raise ModelError("model.npz holds trees that do not hang together.", code="corrupt_model")
    return Trees(facts, threshold, link, value, roots, tree_class, baseline, depths)


def predict(trees: Trees, features: Any) -> Any:
    """float64 (rows, 3): the probabilities of CLASSES, equal to scikit-learn's."""
    from fleetscore.workloads.server_load.tree_kernel import add_forest

    if trees.facts.kind == "load":
        limits = (trees.facts.medium_above, trees.facts.high_above)
        return chances_of_load(
            predict_raw(trees, features), expected_of(trees.facts.features, features), limits
        )
    if trees.facts.kind == "forest":
        rounded = np.ascontiguousarray(features, np.float32)  # as the forest does
        sums = np.zeros((len(rounded), len(CLASSES)))
        add_forest(rounded, trees.threshold, trees.link, trees.value, trees.roots, trees.depths, sums)
        return sums / len(trees.roots)
    raw = predict_raw(trees, features)
    raw -= raw.max(axis=1, keepdims=True)
    odds = np.exp(raw)
    return odds / odds.sum(axis=1, keepdims=True)


def predict_raw(trees: Trees, features: Any) -> Any:
    """float64 (rows, 3): what boosted trees add up to, by class or by regressor."""
    from fleetscore.workloads.server_load.tree_kernel import add_boosting

    walk = (trees.threshold, trees.link, trees.value, trees.roots, trees.depths)
    raw = np.tile(trees.baseline, (len(features), 1))
    add_boosting(np.ascontiguousarray(features), *walk, trees.tree_class, raw)
    return raw


def dump_trees(trees: Trees) -> bytes:
    """The file of a packed model; equal trees give equal bytes."""
    buffer = io.BytesIO()
    facts = np.frombuffer(msgspec.json.encode(trees.facts), np.uint8)
    np.savez_compressed(buffer, facts=facts, **{name: getattr(trees, name) for name in _STORED})
    return buffer.getvalue()


def load_trees(data: bytes) -> Trees:
    """Read a packed model; ModelError when it is not one, or made for other features than this version's."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            facts = decode_json(file["facts"].tobytes(), ModelFacts)
            arrays = [file[name] for name in _STORED]
    except (*ARCHIVE_ERRORS, msgspec.DecodeError) as error:
        raise ModelError(f"model.npz is not a packed model: {error}", code="corrupt_model") from error
    if facts.features not in (FEATURES, WEEKLY_FEATURES, ALL_FEATURES):
        raise ModelError(
            "The model was trained on other features than this version computes.",
            fix="Train again.",
            code="feature_mismatch",
        )
    return _with_depths(facts, *arrays)
