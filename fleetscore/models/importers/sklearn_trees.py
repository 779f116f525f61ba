"""scikit-learn's tree models, compiled from their fitted arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fleetscore.models.importers.tree_building import Nodes, compile_trees, unsupported
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts

FLOAT32 = "float32"  # these round features to float32 before they compare


def compile_sklearn_trees(estimator: Any) -> CompiledModel | None:
    """Return a fitted tree model of scikit-learn compiled, or None where the estimator is of another family.

    Taken are decision and extra trees, random forests, extra-trees forests, gradient boosting, histogram
    gradient boosting and isolation forests. ModelError `unsupported_model` names what packs do not take:
    several targets, or a model of one's own inside of gradient boosting.
    """
    compilers = _compilers()
    for kind in type(estimator).__mro__:
        if kind in compilers and kind is type(estimator):
            return compilers[kind](estimator)
    return None


def _compilers() -> dict[type, Callable[[Any], CompiledModel]]:
    """What compiles each class; a subclass may compute otherwise, so only the classes themselves are
    taken.
    """
    from sklearn import ensemble, tree

    return {
        tree.DecisionTreeRegressor: lambda e: _forest(e, [e]),
        tree.ExtraTreeRegressor: lambda e: _forest(e, [e]),
        tree.DecisionTreeClassifier: lambda e: _forest(e, [e]),
        tree.ExtraTreeClassifier: lambda e: _forest(e, [e]),
        ensemble.RandomForestRegressor: lambda e: _forest(e, e.estimators_),
        ensemble.ExtraTreesRegressor: lambda e: _forest(e, e.estimators_),
        ensemble.RandomForestClassifier: lambda e: _forest(e, e.estimators_),
        ensemble.ExtraTreesClassifier: lambda e: _forest(e, e.estimators_),
        ensemble.IsolationForest: _isolation_forest,
        ensemble.GradientBoostingRegressor: _gradient_boosting,
        ensemble.GradientBoostingClassifier: _gradient_boosting,
        ensemble.HistGradientBoostingRegressor: _histogram_boosting,
        ensemble.HistGradientBoostingClassifier: _histogram_boosting,
    }


def _facts(estimator: Any, outputs: dict[str, int], recipe: str, **further: Any) -> ModelFacts:
    """An estimator's facts."""
    import sklearn

    classes = getattr(estimator, "classes_", None)
    state = estimator.__dict__.get("_sklearn_version", sklearn.__version__)
    return ModelFacts(
        n_features=int(estimator.n_features_in_),
        outputs=outputs,
        library="scikit-learn",
        library_version=str(state),
        feature_names=tuple(str(name) for name in getattr(estimator, "feature_names_in_", ())),
        classes=() if classes is None else tuple(np.asarray(classes).tolist()),
        label_methods=() if classes is None else ("predict",),
        recipe=recipe,
        **further,
    )


def _tree_nodes(
    trees: Sequence[Any], values: Sequence[Floats], output: Sequence[int], columns: Any = None
) -> Nodes:
    """The nodes of scikit-learn's `Tree` objects; `columns` are the features of each tree by its own
    numbers.
    """
    features = [tree.feature for tree in trees]
    if columns is not None:
        features = [
            np.where(own >= 0, np.asarray(names)[np.maximum(own, 0)], own)
            for own, names in zip(features, columns, strict=True)
        ]
    return Nodes(
        begins=np.cumsum([0, *(tree.node_count for tree in trees)]),
        left=np.concatenate([tree.children_left for tree in trees]).astype(np.int64),
        right=np.concatenate([tree.children_right for tree in trees]).astype(np.int64),
        feature=np.concatenate(features).astype(np.int64),
        threshold=np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
        nan_left=np.concatenate([np.asarray(tree.missing_go_to_left) != 0 for tree in trees]),
        values=np.concatenate(values).astype(np.float64),
        output=np.array(output, np.int64),
    )


def _forest(estimator: Any, members: Sequence[Any]) -> CompiledModel:
    """A forest or a single tree."""
    if estimator.n_outputs_ != 1:
        raise unsupported(f"{type(estimator).__name__} with {estimator.n_outputs_} targets")
    trees = [member.tree_ for member in members]
    values = [tree.value[:, 0, :] for tree in trees]
    width = values[0].shape[1]
    nodes = _tree_nodes(trees, values, [0] * len(trees))
    classifier = hasattr(estimator, "classes_")
    facts = _facts(
        estimator,
        {"predict": 1, "predict_proba": width} if classifier else {"predict": 1},
        "mean_of_classes" if classifier else "mean",
        compute=FLOAT32,
        takes_nan=_takes_nan(members[0]),
    )
    return compile_trees(nodes, facts, np.zeros(width), [float(len(trees))])


def _takes_nan(member: Any) -> bool:
    """Whether scikit-learn lets NaN through to this tree."""
    return bool(member.__sklearn_tags__().input_tags.allow_nan)


def _isolation_forest(estimator: Any) -> CompiledModel:
    """An isolation forest: each leaf's value is the path length that it stands for."""
    from sklearn.ensemble._iforest import _average_path_length

    trees = [member.tree_ for member in estimator.estimators_]
    values = [
        (path + average - 1.0).reshape(-1, 1)
        for path, average in zip(
            estimator._decision_path_lengths, estimator._average_path_length_per_tree, strict=True
        )
    ]
    nodes = _tree_nodes(trees, values, [0] * len(trees), estimator.estimators_features_)
    expected = float((len(trees) * _average_path_length([estimator._max_samples]))[0])
    outputs = {"predict": 1, "decision_function": 1, "score_samples": 1}
    facts = _facts(estimator, outputs, "isolation", compute=FLOAT32, takes_nan=True, takes_infinity=True)
    return compile_trees(nodes, facts, np.zeros(1), [expected, float(estimator.offset_)])


def _gradient_boosting(estimator: Any) -> CompiledModel:
    """Gradient boosting with a constant start."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if estimator.init_ != "zero" and not isinstance(estimator.init_, DummyClassifier | DummyRegressor):
        raise unsupported(f"gradient boosting that starts from {type(estimator.init_).__name__}")
    stages = estimator.estimators_
    trees = [member.tree_ for stage in stages for member in stage]
    values = [estimator.learning_rate * tree.value[:, 0, :1] for tree in trees]
    nodes = _tree_nodes(trees, values, list(range(stages.shape[1])) * len(stages))
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    if not hasattr(estimator, "classes_"):
        facts = _facts(estimator, {"predict": 1}, "identity", compute=FLOAT32)
        return compile_trees(nodes, facts, start)
    recipe = "several" if stages.shape[1] > 1 else "two"
    recipe += "_exponential" if estimator.loss == "exponential" else ""
    outputs = _class_outputs(len(estimator.classes_), stages.shape[1])
    facts = _facts(estimator, outputs, f"gradient_boosting:{recipe}", compute=FLOAT32)
    return compile_trees(nodes, facts, start)


def _class_outputs(classes: int, sums: int) -> dict[str, int]:
    """The methods of a boosted classifier and their results' columns."""
    return {"predict": 1, "predict_proba": classes, "decision_function": sums}


def _histogram_boosting(estimator: Any) -> CompiledModel:
    """Histogram gradient boosting; its thresholds are compared with the features as they are, in float64."""
    trees = [tree for stage in estimator._predictors for tree in stage]
    outputs_per_stage = estimator.n_trees_per_iteration_
    parts = [tree.nodes for tree in trees]
    all_nodes = np.concatenate(parts)
    leaf = all_nodes["is_leaf"] != 0
    sizes = np.cumsum([0, *(part.size for part in parts)])
    nan_left = all_nodes["missing_go_to_left"] != 0
    features, sets = _original_features(estimator), _Categories(estimator)
    own = all_nodes["feature_idx"].astype(np.int64)
    in_set = np.full(own.size, -1, np.int64)
    for at in np.flatnonzero((all_nodes["is_categorical"] != 0) & ~leaf):
        tree = trees[int(np.searchsorted(sizes, at, side="right")) - 1]
        bits, unknown_left = tree.raw_left_cat_bitsets[all_nodes["bitset_idx"][at]], nan_left[at]
        in_set[at] = sets.add(int(own[at]), bits, bool(unknown_left))
    nodes = Nodes(
        begins=sizes,
        left=np.where(leaf, -1, all_nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, all_nodes["right"].astype(np.int64)),
        feature=features[own],
        threshold=all_nodes["num_threshold"].astype(np.float64),
        nan_left=nan_left,
        values=all_nodes["value"].astype(np.float64)[:, None],
        output=np.tile(np.arange(outputs_per_stage), len(estimator._predictors)),
        in_set=in_set,
        sets=sets.edges,
    )
    finite = estimator.is_categorical_ is None  # the encoder of categories refuses infinity
    start = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)
    if not hasattr(estimator, "classes_"):
        recipe = "exponential" if estimator.loss in ("poisson", "gamma") else "identity"
        facts = _facts(estimator, {"predict": 1}, recipe, takes_nan=True, takes_infinity=finite)
        return compile_trees(nodes, facts, start)
    recipe = "several" if outputs_per_stage > 1 else "two"
    outputs = _class_outputs(len(estimator.classes_), outputs_per_stage)
    facts = _facts(estimator, outputs, f"histogram_boosting:{recipe}", takes_nan=True, takes_infinity=finite)
    return compile_trees(nodes, facts, start)


def _original_features(estimator: Any) -> Any:
    """The place in the input of each feature that the trees test: categorical features come first in
    theirs.
    """
    categorical = estimator.is_categorical_
    if categorical is None:
        return np.arange(estimator.n_features_in_)
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])


class _Categories:
    """The sets of category values that nodes send left, as edges; equal sets are kept once."""

    def __init__(self, estimator: Any) -> None:
        """Read the known categories of each categorical feature, in the order of their codes."""
        self.edges: list[Floats] = []
        self._known: dict[bytes, int] = {}
        self._values: list[Floats] = []
        if estimator.is_categorical_ is not None:
            encoder = estimator._preprocessor.named_transformers_["encoder"]
            self._values = [_numbers(values) for values in encoder.categories_]

    def add(self, feature: int, bits: Any, unknown_left: bool) -> int:
        """Return the place of the set of values whose codes are among the bits, or that are unknown and go
        left.
        """
        values = self._values[feature]
        codes = np.arange(values.size)
        inside = (np.asarray(bits)[codes >> 5] >> (codes & 31).astype(np.uint32)) & 1 != 0
        edges = _edges(values, inside, unknown_left)
        if edges.tobytes() not in self._known:
            self._known[edges.tobytes()] = len(self.edges)
            self.edges.append(edges)
        return self._known[edges.tobytes()]


def _numbers(values: Any) -> Floats:
    """A feature's categories as numbers, without NaN; ModelError for categories that are words."""
    if np.asarray(values).dtype.kind not in "iufb":
        raise unsupported("categories that are not numbers")
    found = np.asarray(values, np.float64)
    return found[~np.isnan(found)]


def _edges(values: Floats, inside: Any, unknown_inside: bool) -> Floats:
    """The edges of a set of single values, or of all others where unknown ones belong to it."""
    apart = values[np.asarray(inside) != unknown_inside]
    edges = np.stack([np.nextafter(apart, -np.inf), apart], axis=1).reshape(-1)
    return np.concatenate([[-np.inf], edges]) if unknown_inside else edges
