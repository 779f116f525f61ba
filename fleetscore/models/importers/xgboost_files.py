"""XGBoost's models in JSON and UBJ, compiled without XGBoost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fleetscore.models.importers.reading import floats, listing, member, read_json, whole, wholes
from fleetscore.models.importers.tree_building import (
    FEATURES_LIMIT,
    NODES_LIMIT,
    OUTPUTS_LIMIT,
    Nodes,
    compile_trees,
    corrupt,
    unsupported,
)
from fleetscore.models.importers.ubjson import decode
from fleetscore.models.packs import tree_links
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts

CATEGORY_LIMIT = 1 << 24

# What each objective makes of the sums, and what its base score goes through before it is added.
OBJECTIVES = {
    "reg:squarederror": ("identity", "identity"),
    "reg:squaredlogerror": ("identity", "identity"),
    "reg:pseudohubererror": ("identity", "identity"),
    "reg:absoluteerror": ("identity", "identity"),
    "reg:quantileerror": ("identity", "identity"),
    "rank:pairwise": ("identity", "identity"),
    "rank:ndcg": ("identity", "identity"),
    "rank:map": ("identity", "identity"),
    "reg:logistic": ("logistic", "logit"),
    "binary:logistic": ("binary", "logit"),
    "binary:logitraw": ("identity", "identity"),
    "binary:hinge": ("hinge", "identity"),
    "count:poisson": ("exponential", "logarithm"),
    "reg:gamma": ("exponential", "logarithm"),
    "reg:tweedie": ("exponential", "logarithm"),
    "survival:cox": ("exponential", "logarithm"),
    "survival:aft": ("exponential", "logarithm"),
    "multi:softprob": ("softprob", "identity"),
    "multi:softmax": ("softmax", "identity"),
}


def compile_xgboost(data: bytes) -> CompiledModel:
    """Return a model of XGBoost's JSON or UBJ format compiled; it answers as `Booster.predict` does with
    all rounds.

    `predict` is what the objective gives, `predict_proba` a column per class, `decision_function` the
    margin. ModelError `corrupt_model` where the bytes make no model, `unsupported_model` for linear
    boosters, vector leaves and unknown objectives.
    """
    whole_file = _read(data)
    learner = member(whole_file, "learner")
    booster, weights = _booster(learner)
    model = member(booster, "model")
    parameters = member(learner, "learner_model_param")
    features = whole(member(parameters, "num_feature"), "num_feature", 1, FEATURES_LIMIT)
    outputs = _outputs(parameters)
    trees = listing(model, "trees")
    output = wholes(model, "tree_info", len(trees))
    if weights is not None and weights.size != len(trees):
        raise corrupt(f"{weights.size} trees have weights, {len(trees)} are there")
    objective = str(member(learner, "objective", "name"))
    if objective not in OBJECTIVES:
        raise unsupported(f"XGBoost's objective {objective[:60]!r}")
    link, way = OBJECTIVES[objective]
    if (link in ("softprob", "softmax")) != (outputs > 1) and link in ("softprob", "softmax", "binary"):
        raise corrupt(f"{objective} has {outputs} outputs")
    base = _base(member(parameters, "base_score"), way, outputs)
    version = ".".join(str(part) for part in listing(whole_file, "version")[:3])
    facts = _facts(learner, features, outputs, link, version)
    return compile_trees(_nodes(trees, output, weights), facts, base)


def _read(data: bytes) -> Any:
    """The nested values of JSON or UBJ bytes."""
    if data[:2] == b"{L" or data[:2] == b"{#" or (data[:1] == b"{" and data[1:2] in (b"U", b"i", b"I", b"l")):
        try:
            return decode(data)
        except (ValueError, UnicodeDecodeError) as error:
            raise corrupt(f"it is not UBJ: {error}") from error
    return read_json(data)


def _booster(learner: Any) -> tuple[Any, Floats | None]:
    """The booster of trees, and the weights of its trees where some were dropped."""
    booster = member(learner, "gradient_booster")
    name = str(member(booster, "name"))
    if name == "dart":
        return member(booster, "gbtree"), floats(booster, "weight_drop")
    if name != "gbtree":
        raise unsupported(f"XGBoost's booster {name[:60]!r}")
    return booster, None


def _outputs(parameters: Any) -> int:
    """The number of sums per row."""
    classes = whole(member(parameters, "num_class"), "num_class", 0, OUTPUTS_LIMIT)
    targets = whole(parameters.get("num_target", 1), "num_target", 0, OUTPUTS_LIMIT)
    return max(classes, targets, 1)


def _base(text: Any, way: str, outputs: int) -> Floats:
    """The base score of each output as the margin that is added first, in float32; newer files hold a list
    in brackets.
    """
    words = str(text).strip("[]").split(",")
    try:
        scores = np.array([float(word) for word in words]).astype(np.float32)
    except (ValueError, OverflowError) as error:
        raise corrupt("base_score is no number") from error
    if scores.size not in (1, outputs):
        raise corrupt(f"base_score has {scores.size} values for {outputs} outputs")
    if way == "logit":
        one = np.float32(1.0)
        scores = np.array([-tree_links.logarithm_single(one / s - one) for s in scores], np.float32)
    elif way == "logarithm":
        scores = np.array([tree_links.logarithm_single(s) for s in scores], np.float32)
    if not np.isfinite(scores).all():
        raise corrupt("base_score is out of range")
    return np.resize(scores.astype(np.float64), outputs)


def _nodes(trees: Sequence[Any], output: Any, weights: Floats | None) -> Nodes:
    """All trees' nodes; a strict comparison with a float32 is one with the next lower float32 that may be
    equal.
    """
    parts: dict[str, list[Any]] = {
        name: [] for name in ("left", "right", "feature", "condition", "nan", "type")
    }
    sets: list[Floats] = []
    in_sets, sizes = [], [0]
    for at, tree in enumerate(trees):
        size = whole(member(tree, "tree_param", "num_nodes"), "num_nodes", 1, NODES_LIMIT)
        if whole(member(tree, "tree_param").get("size_leaf_vector", 1), "size_leaf_vector", 0, 1 << 20) > 1:
            raise unsupported("leaves of XGBoost that hold several values")
        left, right = wholes(tree, "left_children", size), wholes(tree, "right_children", size)
        condition = floats(tree, "split_conditions", size).astype(np.float32)
        if weights is not None:
            condition = np.where(left < 0, condition * np.float32(weights[at]), condition)
        parts["left"].append(left)
        parts["right"].append(right)
        parts["feature"].append(wholes(tree, "split_indices", size))
        parts["condition"].append(condition)
        parts["nan"].append(wholes(tree, "default_left", size) != 0)
        kinds = wholes(tree, "split_type", size) if "split_type" in tree else np.zeros(size, np.int64)
        in_sets.append(_sets_of(tree, kinds, left, sets))
        sizes.append(size)
    joined = {name: np.concatenate(part) if part else np.empty(0) for name, part in parts.items()}
    condition = joined["condition"].astype(np.float32)
    in_set = np.concatenate(in_sets) if sets else None
    with np.errstate(over="ignore"):
        threshold = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    threshold = threshold if in_set is None else np.where(in_set >= 0, 0.0, threshold)
    return Nodes(
        begins=np.cumsum(sizes),
        left=joined["left"].astype(np.int64),
        right=joined["right"].astype(np.int64),
        feature=joined["feature"].astype(np.int64),
        threshold=threshold,
        nan_left=joined["nan"].astype(np.bool_),
        values=condition.astype(np.float64)[:, None],
        output=output,
        in_set=in_set,
        sets=sets,
    )


def _sets_of(tree: Any, kinds: Any, left: Any, sets: list[Floats]) -> Any:
    """The set of each node that tests categories (-1 for none); those that a node names go right, all
    others left.
    """
    in_set = np.full(kinds.size, -1, np.int64)
    tested = np.flatnonzero((kinds == 1) & (left >= 0))
    if not tested.size:
        return in_set
    categories, nodes = wholes(tree, "categories"), wholes(tree, "categories_nodes")
    begins = wholes(tree, "categories_segments", nodes.size)
    sizes = wholes(tree, "categories_sizes", nodes.size)
    place = {int(node): at for at, node in enumerate(nodes)}
    for node in tested:
        at = place.get(int(node), -1)
        if at < 0 or begins[at] < 0 or sizes[at] < 0 or begins[at] + sizes[at] > categories.size:
            raise corrupt("a node's categories are not there")
        own = np.unique(categories[begins[at] : begins[at] + sizes[at]])
        if own.size and (own[0] < 0 or own[-1] >= CATEGORY_LIMIT):
            raise corrupt("a category is out of range")
        in_set[node] = len(sets)
        sets.append(_other_edges(own))
    return in_set


def _other_edges(categories: Any) -> Floats:
    """The edges of all values but those that become one of these whole numbers when their fraction is cut
    off.
    """
    first = categories[np.diff(categories, prepend=-2) != 1]
    after = categories[np.diff(categories, append=CATEGORY_LIMIT + 1) != 1] + 1
    edges = np.nextafter(np.stack([first, after], axis=1).astype(np.float64).reshape(-1), -np.inf)
    return np.concatenate([[-np.inf], edges])


def _facts(learner: Any, features: int, outputs: int, link: str, version: str) -> ModelFacts:
    """The model's facts."""
    names = learner.get("feature_names") or []
    if not isinstance(names, list) or len(names) not in (0, features):
        raise corrupt(f"it does not name the {features} features that it has")
    kinds = {"predict": 1 if link == "softmax" else outputs, "decision_function": outputs}
    if link in ("binary", "softprob"):
        kinds["predict_proba"] = max(outputs, 2)
    return ModelFacts(
        n_features=features,
        outputs=kinds,
        library="xgboost",
        library_version=version,
        compute="float32",
        takes_nan=True,
        feature_names=tuple(str(name) for name in names),
        classes=tuple(range(outputs)) if link == "softmax" else (),
        label_methods=("predict",) if link == "softmax" else (),
        recipe=f"xgboost:{link}",
    )
