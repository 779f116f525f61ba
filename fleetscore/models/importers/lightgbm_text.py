"""LightGBM's text models, compiled without LightGBM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.models.importers.tree_building import (
    FEATURES_LIMIT,
    NODES_LIMIT,
    OUTPUTS_LIMIT,
    Nodes,
    compile_trees,
    corrupt,
    unsupported,
)
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts

ZERO = float(np.float32(1e-35))  # LightGBM takes values up to this magnitude as zero
BELOW_ZERO = float(np.nextafter(-ZERO, -np.inf))
CATEGORICAL, DEFAULT_LEFT = 1, 2  # of a node's decision type; the next two bits say what counts as missing
MISSING_NONE, MISSING_ZERO = 0, 1
TREES_LIMIT = 1 << 20
CATEGORIES_LIMIT = 1 << 20
WORD_LIMIT = 64  # characters of a number

LINKS = {
    "regression": "identity",
    "regression_l2": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "lambdarank": "identity",
    "rank_xendcg": "identity",
    "custom": "identity",
    "poisson": "exponential",
    "gamma": "exponential",
    "tweedie": "exponential",
    "binary": "binary",
    "multiclass": "softmax",
    "multiclassova": "logistic",
    "cross_entropy": "logistic",
    "cross_entropy_lambda": "log_one_plus",
}


def compile_lightgbm(text: str | bytes) -> CompiledModel:
    """Return a model of LightGBM's text format compiled; it answers as `Booster.predict` does with all
    iterations.

    `predict` is what the objective gives (a probability for `binary`), `predict_proba` a column per class,
    `decision_function` the raw score. ModelError `corrupt_model` where the text makes no model,
    `unsupported_model` for linear trees and objectives that are not known.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise corrupt("it is not text") from error
    header, blocks = _sections(text)
    features = _integer(header, "max_feature_idx", FEATURES_LIMIT - 1) + 1
    outputs = _integer(header, "num_tree_per_iteration", OUTPUTS_LIMIT)
    if outputs < 1:
        raise corrupt("it has no output")
    trees = [_Tree(block, features) for block in blocks]
    if len(trees) % outputs:
        raise corrupt(f"{len(trees)} trees are no whole number of iterations of {outputs}")
    nodes = _nodes(trees, outputs)
    recipe, factor = _recipe(header, outputs)
    facts = _facts(header, features, outputs, recipe)
    iterations = float(max(len(trees) // outputs, 1))
    return compile_trees(nodes, facts, np.zeros(outputs), [iterations, factor])


class _Tree:
    """One tree's numbers as LightGBM writes them, all of the lengths that its number of leaves demands."""

    def __init__(self, block: Mapping[str, str], features: int) -> None:
        """Read and check one `Tree=` section."""
        leaves = _integer(block, "num_leaves", NODES_LIMIT // 2)
        if leaves < 1:
            raise corrupt("a tree has no leaf")
        if block.get("is_linear", "0").strip() not in ("0", ""):
            raise unsupported("linear trees of LightGBM")
        inner = leaves - 1
        self.leaf_value = _floats(block, "leaf_value", leaves)
        self.feature = _integers(block, "split_feature", inner)
        self.threshold = _floats(block, "threshold", inner)
        self.split = _without_zeros(self.threshold)
        self.decision = _integers(block, "decision_type", inner)
        self.left = _integers(block, "left_child", inner)
        self.right = _integers(block, "right_child", inner)
        if np.any((self.feature < 0) | (self.feature >= features)):
            raise corrupt(f"a node tests a feature beyond the {features} that there are")
        categories = _integer(block, "num_cat", CATEGORIES_LIMIT) if "num_cat" in block else 0
        self.boundaries = _integers(block, "cat_boundaries", categories + 1 if categories else 0)
        words = int(self.boundaries[-1]) if categories else 0
        if np.any(np.diff(self.boundaries) < 0) or (categories and self.boundaries[0] != 0):
            raise corrupt("the bounds of categories do not ascend")
        self.bits = _integers(block, "cat_threshold", min(words, CATEGORIES_LIMIT)).astype(np.uint32)

    def children(self) -> tuple[Any, Any]:
        """Children by place, inner nodes first and then leaves; a leaf is -1 - its number in the file."""
        inner = self.feature.size
        return (np.where(c < 0, inner - 1 - c, c) for c in (self.left, self.right))  # type: ignore[return-value]

    def category_edges(self, node: int) -> Floats:
        """The edges of the values that a categorical node sends left; numbers are cut to whole ones before
        they are looked up.
        """
        place = int(self.threshold[node])
        if not 0 <= place < self.boundaries.size - 1:
            raise corrupt("a node's categories are not there")
        words = self.bits[self.boundaries[place] : self.boundaries[place + 1]]
        bits = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
        return whole_number_edges(np.flatnonzero(bits))


def _without_zeros(threshold: Floats) -> Floats:
    """The thresholds that split as these do, where LightGBM has made all values near zero zero before it
    compares.
    """
    above = np.where((threshold >= 0.0) & (threshold < ZERO), ZERO, threshold)
    return np.where((threshold < 0.0) & (threshold >= -ZERO), BELOW_ZERO, above)


def whole_number_edges(categories: NDArray[np.int64]) -> Floats:
    """The edges of the values that become one of these whole numbers >= 0 when their fraction is cut off."""
    member = np.zeros(int(categories.max(initial=-1)) + 2, np.int8)
    member[categories] = 1
    changes = np.flatnonzero(np.diff(np.concatenate([[0], member])))
    below = np.nextafter(changes.astype(np.float64), -np.inf)
    below[changes == 0] = -1.0
    return below


def _nodes(trees: Sequence[_Tree], outputs: int) -> Nodes:
    """All trees' nodes, with sets for tests of categories and for those that take zero as missing."""
    parts: dict[str, list[Any]] = {
        name: [] for name in ("left", "right", "feature", "threshold", "nan", "value", "set")
    }
    sets: list[Floats] = []
    for tree in trees:
        inner, leaves = tree.feature.size, tree.leaf_value.size
        left, right = tree.children()
        in_set, nan_left = _sets_of(tree, sets)
        none = np.full(leaves, -1)
        parts["left"] += [left, none]
        parts["right"] += [right, none]
        parts["feature"] += [tree.feature, none]
        parts["threshold"] += [np.where(in_set >= 0, 0.0, tree.split), np.zeros(leaves)]
        parts["nan"] += [nan_left, np.zeros(leaves, np.bool_)]
        parts["value"] += [np.zeros(inner), tree.leaf_value]
        parts["set"] += [in_set, none]
    joined = {name: np.concatenate(part) if part else np.empty(0) for name, part in parts.items()}
    return Nodes(
        begins=np.cumsum([0, *(2 * tree.leaf_value.size - 1 for tree in trees)]),
        left=joined["left"].astype(np.int64),
        right=joined["right"].astype(np.int64),
        feature=joined["feature"].astype(np.int64),
        threshold=joined["threshold"].astype(np.float64),
        nan_left=joined["nan"].astype(np.bool_),
        values=joined["value"].astype(np.float64)[:, None],
        output=np.arange(len(trees), dtype=np.int64) % outputs,
        in_set=joined["set"].astype(np.int64) if sets else None,
        sets=sets,
    )


def _sets_of(tree: _Tree, sets: list[Floats]) -> tuple[Any, Any]:
    """The set of each node (-1 for none), added to `sets`, and whether missing values go left."""
    missing = (tree.decision >> 2) & 3
    default = (tree.decision & DEFAULT_LEFT) != 0
    categorical = (tree.decision & CATEGORICAL) != 0
    nan_left = np.where(missing == MISSING_NONE, tree.threshold >= 0.0, default)
    in_set = np.full(tree.feature.size, -1, np.int64)
    for node in np.flatnonzero(categorical | (missing == MISSING_ZERO)):
        edges = (
            tree.category_edges(int(node))
            if categorical[node]
            else _zero_edges(tree.split[node], default[node])
        )
        nan_left[node] &= not categorical[node]  # a missing category is in no set
        in_set[node] = len(sets)
        sets.append(edges)
    return in_set, nan_left


def _zero_edges(threshold: float, default_left: bool) -> Floats:
    """The edges of values up to a threshold, but for those near zero, which go the default way."""
    points = sorted({-np.inf, BELOW_ZERO, ZERO, float(threshold)})
    edges, state = [], False
    for at, point in enumerate(points):
        inside = points[at + 1] if at + 1 < len(points) else np.inf  # the highest value of this stretch
        left = default_left if BELOW_ZERO < inside <= ZERO else inside <= threshold
        if left != state:
            edges.append(point)
            state = left
    return np.array(edges)


def _sections(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The lines `name=value` before the trees and of each tree; ModelError where the text ends before its
    trees do.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != "tree":
        raise corrupt("it does not begin with 'tree'")
    header: dict[str, str] = {}
    blocks: list[dict[str, str]] = []
    current = header
    for line in lines[1:]:
        name, found, value = line.partition("=")
        if line.startswith("end of trees"):
            break
        if name == "Tree":
            current = {}
            blocks.append(current)
        elif found:
            current[name] = value
        elif line.strip() == "average_output":
            header["average_output"] = "1"
    else:
        raise corrupt("it is cut short: its trees do not end")
    sizes = header.get("tree_sizes", "").split()
    if len(sizes) != len(blocks) or len(blocks) > TREES_LIMIT:
        raise corrupt(f"it names {len(sizes)} trees and has {len(blocks)}")
    return header, blocks


def _recipe(header: Mapping[str, str], outputs: int) -> tuple[str, float]:
    """The recipe of the objective, and the factor of its logistic function."""
    words = header.get("objective", "custom").split() or ["custom"]
    link = LINKS.get(words[0])
    if link is None:
        raise unsupported(f"LightGBM's objective {words[0]!r}")
    if link == "identity" and "sqrt" in words[1:]:
        link = "square"
    if link == "softmax" and outputs < 2:
        raise corrupt("several classes have a single output")
    if link == "binary" and outputs != 1:
        raise corrupt("two classes have several outputs")
    factor = 1.0
    for word in words[1:]:
        if word.startswith("sigmoid:"):
            factor = _number(word.partition(":")[2])
    return f"lightgbm{'_averaged' if 'average_output' in header else ''}:{link}", factor


def _facts(header: Mapping[str, str], features: int, outputs: int, recipe: str) -> ModelFacts:
    """The model's facts."""
    names = tuple(header.get("feature_names", "").split())
    if len(names) != features:
        raise corrupt(f"it names {len(names)} features and has {features}")
    kinds = {"predict": outputs, "decision_function": outputs}
    if recipe.endswith(":binary"):
        kinds["predict_proba"] = 2
    elif outputs > 1:
        kinds["predict_proba"] = outputs
    generic = all(name == f"Column_{at}" for at, name in enumerate(names))
    return ModelFacts(
        n_features=features,
        outputs=kinds,
        library="lightgbm",
        library_version=header.get("version", ""),
        takes_nan=True,
        takes_infinity=True,
        feature_names=() if generic else names,
        recipe=recipe,
    )


def _integer(values: Mapping[str, str], name: str, limit: int) -> int:
    """A whole number from 0 to a limit."""
    found = _integers(values, name, 1)
    if not 0 <= found[0] <= limit:
        raise corrupt(f"{name} is {found[0]}, not one of 0 to {limit}")
    return int(found[0])


def _number(word: str) -> float:
    """A finite number."""
    try:
        found = float(word)
    except ValueError as error:
        raise corrupt(f"{word[:40]!r} is not a number") from error
    if not np.isfinite(found):
        raise corrupt(f"{word[:40]!r} is not finite")
    return found


def _integers(values: Mapping[str, str], name: str, count: int) -> NDArray[np.int64]:
    """So many whole numbers of a line."""
    return _numbers(values, name, count, np.int64)


def _floats(values: Mapping[str, str], name: str, count: int) -> Floats:
    """So many numbers of a line."""
    return _numbers(values, name, count, np.float64)


def _numbers(values: Mapping[str, str], name: str, count: int, kind: type) -> NDArray[Any]:
    """The words of a line as numbers, after a check of how many and how long they are."""
    words = values.get(name, "").split()
    if len(words) != count:
        raise corrupt(f"{name} has {len(words)} values, {count} are expected")
    if max(map(len, words), default=0) > WORD_LIMIT:
        raise corrupt(f"{name} has a value of more than {WORD_LIMIT} characters")
    try:
        return np.array(words, np.str_).astype(kind) if words else np.empty(0, kind)
    except (ValueError, OverflowError) as error:
        raise corrupt(f"a value of {name} is not a number: {str(error)[:80]}") from error
