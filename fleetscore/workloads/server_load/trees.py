"""Packed trees: a scikit-learn forest or boosting as plain arrays, and a scorer whose answers equal scikit-learn's.

The file is an .npz of numbers and one JSON text; loading it executes nothing.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any, Literal
from zipfile import BadZipFile

import msgspec
import numpy as np

from fleetscore.errors import ModelError
from fleetscore.workloads.server_load.features import FEATURES
from fleetscore.workloads.server_load.labels import CLASSES

_ARRAYS = (
    "feature",
    "threshold",
    "left",
    "right",
    "missing_left",
    "value",
    "roots",
    "tree_class",
    "baseline",
)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model must be used with."""

    kind: Literal["forest", "boosting"]
    features: tuple[str, ...]
    medium_above: float
    high_above: float
    country: str
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Trees:
    """All trees' nodes one after the other; a leaf has left = -1. Forest: value is (nodes, 3); boosting: (nodes, 1)."""

    facts: ModelFacts
    feature: Any  # int32
    threshold: Any  # float64: at most goes left
    left: Any  # int32, node numbers over all trees
    right: Any  # int32
    missing_left: Any  # uint8: whether NaN goes left
    value: Any  # float64
    roots: Any  # int32 per tree
    tree_class: Any  # int32 per tree: the class it adds to (boosting)
    baseline: Any  # float64 (3,)


def pack_forest(model: Any, facts: ModelFacts) -> Trees:
    """Pack a fitted RandomForestClassifier whose classes are class numbers; a class it never saw gets probability 0."""
    parts = [estimator.tree_ for estimator in model.estimators_]
    columns = [int(c) for c in model.classes_]
    roots = np.cumsum([0] + [tree.node_count for tree in parts[:-1]]).astype(np.int32)
    value = np.zeros((sum(tree.node_count for tree in parts), len(CLASSES)))
    value[:, columns] = np.concatenate([tree.value[:, 0, :] for tree in parts])

    def joined(name: str, dtype: Any) -> Any:
        return np.concatenate([getattr(tree, name) for tree in parts]).astype(dtype)

    offset = np.repeat(roots, [tree.node_count for tree in parts])
    left, right = joined("children_left", np.int32), joined("children_right", np.int32)
    return Trees(
        facts,
        joined("feature", np.int32),
        joined("threshold", np.float64),
        np.where(left < 0, -1, left + offset).astype(np.int32),
        np.where(right < 0, -1, right + offset).astype(np.int32),
        joined("missing_go_to_left", np.uint8),
        value,
        roots,
        np.zeros(len(parts), np.int32),
        np.zeros(len(CLASSES)),
    )


def pack_boosting(model: Any, facts: ModelFacts) -> Trees:
    """Pack a fitted HistGradientBoostingClassifier that saw all three classes."""
    iterations = (
        model._predictors
    )  # scikit-learn offers no public view of the trees; a test holds this against its predictions
    parts = [tree.nodes for iteration in iterations for tree in iteration]
    roots = np.cumsum([0] + [len(nodes) for nodes in parts[:-1]]).astype(np.int32)
    nodes = np.concatenate(parts)
    offset = np.repeat(roots, [len(part) for part in parts])
    leaf = nodes["is_leaf"].astype(bool)
    return Trees(
        facts,
        np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32),
        nodes["num_threshold"].astype(np.float64),
        np.where(leaf, -1, nodes["left"] + offset).astype(np.int32),
        np.where(leaf, -1, nodes["right"] + offset).astype(np.int32),
        nodes["missing_go_to_left"].astype(np.uint8),
        nodes["value"].astype(np.float64)[:, None],
        roots,
        np.tile(np.arange(len(CLASSES), dtype=np.int32), len(iterations)),
        np.asarray(model._baseline_prediction, np.float64).reshape(-1),
    )


def predict(trees: Trees, features: Any) -> Any:
    """float64 (rows, 3): the probabilities of CLASSES, equal to scikit-learn's."""
    from fleetscore.workloads.server_load.tree_kernel import add_boosting, add_forest

    if trees.facts.kind == "forest":
        rounded = np.ascontiguousarray(features, np.float32)  # as the forest does
        sums = np.zeros((len(rounded), len(CLASSES)))
        add_forest(rounded, *_nodes(trees), trees.value, trees.roots, sums)
        return sums / len(trees.roots)
    raw = np.tile(trees.baseline, (len(features), 1))
    values = trees.value[:, 0]
    add_boosting(np.ascontiguousarray(features), *_nodes(trees), values, trees.roots, trees.tree_class, raw)
    raw -= raw.max(axis=1, keepdims=True)
    odds = np.exp(raw)
    return odds / odds.sum(axis=1, keepdims=True)


def _nodes(trees: Trees) -> tuple[Any, ...]:
    return trees.feature, trees.threshold, trees.left, trees.right, trees.missing_left


def dump_trees(trees: Trees) -> bytes:
    """The file of a packed model; equal trees give equal bytes."""
    buffer = io.BytesIO()
    facts = np.frombuffer(msgspec.json.encode(trees.facts), np.uint8)
    np.savez_compressed(buffer, facts=facts, **{name: getattr(trees, name) for name in _ARRAYS})
    return buffer.getvalue()


def load_trees(data: bytes) -> Trees:
    """Read a packed model; ModelError when it is not one, or made for other features than this version's."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            facts = msgspec.json.decode(file["facts"].tobytes(), type=ModelFacts)
            trees = Trees(facts, *(file[name] for name in _ARRAYS))
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error, msgspec.DecodeError) as error:
        raise ModelError(f"model.npz is not a packed model: {error}", code="corrupt_model") from error
    if facts.features != FEATURES:
        raise ModelError(
            "The model was trained on other features than this version computes.",
            fix="Train again.",
            code="feature_mismatch",
        )
    _check_nodes(trees)
    return trees


def _check_nodes(trees: Trees) -> None:
    """Every child lies behind its parent and every column exists, so that the scorer ends and stays inside its arrays."""
    count = len(trees.feature)
    inner = trees.left >= 0
    at = np.arange(count)[inner]
    children = np.stack([trees.left[inner], trees.right[inner]])
    sound = (
        all(len(a) == count for a in (*_nodes(trees), trees.value))
        and bool((children > at).all() and (children < count).all())
        and bool(((trees.feature[inner] >= 0) & (trees.feature[inner] < len(FEATURES))).all())
        and bool(((trees.roots >= 0) & (trees.roots < count)).all())
        and bool(((trees.tree_class >= 0) & (trees.tree_class < len(CLASSES))).all())
        and len(trees.tree_class) == len(trees.roots)
        and trees.baseline.shape == (len(CLASSES),)
    )
    if not sound:
        raise ModelError("model.npz holds trees that do not hang together.", code="corrupt_model")
