"""Fitted scikit-learn estimators as compiled models: which family an estimator belongs to, and its arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetscore.models.importers.preparation import Preparation, Unsupported, read_steps
from fleetscore.models.packs.base import METHODS, CompiledModel, Floats, ModelFacts
from fleetscore.models.packs.decisions import answer_width
from fleetscore.models.packs.links import Link

Compile = Callable[[Any, Preparation, "Subject"], CompiledModel]


@dataclass(frozen=True)
class Subject:
    """An estimator to import: the whole, which answers methods, and the facts that do not depend on its
    family.
    """

    whole: Any
    n_features: int
    feature_names: tuple[str, ...]
    version: str

    def facts(
        self, outputs: Mapping[str, int], classes: tuple[Any, ...] = (), *, takes_nan: bool = False
    ) -> ModelFacts:
        """The facts of the model with these outputs, of which only methods that the estimator has are
        kept.
        """
        kept = {name: width for name, width in outputs.items() if _answers(self.whole, name)}
        labels = ("predict",) if classes else ()
        return ModelFacts(
            n_features=self.n_features,
            outputs=kept,
            library="scikit-learn",
            library_version=self.version,
            takes_nan=takes_nan,
            feature_names=self.feature_names,
            classes=classes,
            label_methods=labels,
        )


def inner_estimator(estimator: Any) -> Any:
    """What predicts: the best estimator of a search, or the estimator itself."""
    return getattr(estimator, "best_estimator_", estimator)


def split_pipeline(estimator: Any) -> tuple[list[Any], Any]:
    """The transformers before the model, nested pipelines laid flat, and the model."""
    estimator = inner_estimator(estimator)
    if type(estimator).__name__ != "Pipeline":
        return [], estimator
    steps: list[Any] = []
    for _, step in estimator.steps[:-1]:
        before, last = split_pipeline(step) if type(step).__name__ == "Pipeline" else ([], step)
        steps += [*before, last]
    before, last = split_pipeline(estimator.steps[-1][1])
    return steps + before, last


def compile_estimator(estimator: Any) -> CompiledModel:
    """The model as linear, kernels or centroids; Unsupported says why it is none of these.

    The arrays are those of a fitted scikit-learn estimator, or of a pipeline of scalings and projections
    before it.
    """
    steps, model = split_pipeline(estimator)
    name = type(model).__name__
    compiled = _COMPILERS.get(name) if type(model).__module__.startswith("sklearn.") else None
    if compiled is None:
        raise Unsupported(f"{name} has no pack of its own")
    subject = describe(estimator)
    return compiled(model, read_steps(steps, subject.n_features), subject)


def describe(estimator: Any) -> Subject:
    """The number and names of an estimator's features; Unsupported when it is not fitted, or does not say."""
    import sklearn

    steps, model = split_pipeline(estimator)
    for first in (*steps, model):  # a step that passes rows through does not know their width
        width, names = getattr(first, "n_features_in_", None), getattr(first, "feature_names_in_", ())
        if width is not None:
            return Subject(
                inner_estimator(estimator), int(width), tuple(map(str, names)), sklearn.__version__
            )
    raise Unsupported("it is not fitted, or does not say how many features it takes")


def _answers(estimator: Any, method: str) -> bool:
    try:
        return hasattr(estimator, method)
    except Exception:
        return False


def class_values(classes: Any) -> tuple[Any, ...]:
    """Class labels as plain text, numbers or truth values; Unsupported for others."""
    values = tuple(np.asarray(classes).tolist())
    if not all(isinstance(value, str | bool | int | float) for value in values):
        raise Unsupported("its classes are not text or numbers")
    return values


def _linear_arrays(
    before: Preparation, coef: Any, intercept: Any, link: Link, shift: Floats | None = None
) -> dict[str, Any]:
    weights = np.atleast_2d(np.asarray(coef, np.float64)).T
    if weights.ndim != 2 or len(weights) != before.width:
        raise Unsupported(f"its weights are for {len(weights)} values and it gets {before.width}")
    bias = np.broadcast_to(np.asarray(intercept, np.float64).reshape(-1), weights.shape[1])
    weights, bias = before.linear(weights, bias)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise Unsupported("its weights are not finite")
    return {
        "spec": np.array([weights.shape[1], link], np.int32),
        "fill": before.fill,
        "centre": before.centre,
        "weights": np.ascontiguousarray(weights).reshape(-1),
        "bias": np.ascontiguousarray(bias, np.float64),
        "shift": np.empty(0) if shift is None else shift,
        "terms": np.empty(0),
    }


def _model(
    family: str, arrays: dict[str, Any], before: Preparation, subject: Subject, classes: tuple[Any, ...] = ()
) -> CompiledModel:
    """The compiled model; which methods it answers follows from its link and from what the estimator has."""
    count, link = (int(value) for value in arrays["spec"][:2])
    outputs = {}
    for method in METHODS:
        if method == "predict_proba" and link not in (Link.SIGMOID, Link.SOFTMAX, Link.HUBER):
            continue
        if method == "score_samples" and not arrays["shift"].size:
            continue
        if method == "decision_function" and not classes:
            continue
        outputs[method] = answer_width(method, count, link)
    facts = subject.facts(outputs, classes, takes_nan=bool(before.fill.size))
    return CompiledModel(family, arrays, facts)


def _regressor(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    return _model(
        "linear", _linear_arrays(before, model.coef_, model.intercept_, Link.IDENTITY), before, subject
    )


def _glm(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    link, power = getattr(model, "link", "log"), getattr(model, "power", 1)
    logarithmic = link == "log" or (link == "auto" and power > 0)
    kind = Link.EXP if logarithmic else Link.IDENTITY
    return _model("linear", _linear_arrays(before, model.coef_, model.intercept_, kind), before, subject)


def _pls_regressor(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    before = before.scaled(centre=model._x_mean)
    return _regressor(model, before, subject)


def _ransac(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    inner = model.estimator_
    if type(inner).__name__ not in _REGRESSORS:
        raise Unsupported(f"RANSACRegressor holds {type(inner).__name__}")
    return _regressor(inner, before, subject)


def _classifier(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    classes = class_values(model.classes_)
    arrays = _linear_arrays(before, model.coef_, model.intercept_, _classifier_link(model, len(classes)))
    if int(arrays["spec"][0]) != (1 if len(classes) == 2 else len(classes)):
        raise Unsupported("it gives several labels")
    return _model("linear", arrays, before, subject, classes)


def _classifier_link(model: Any, classes: int) -> Link:
    name = type(model).__name__
    if name in ("LogisticRegression", "LogisticRegressionCV"):
        way = getattr(model, "multi_class", "auto")
        if (classes > 2 and way == "ovr") or (classes == 2 and way == "multinomial"):
            raise Unsupported(
                f"multi_class={way!r} of earlier versions computes other probabilities than this one"
            )
    if name in ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"):
        return Link.SIGMOID if classes == 2 else Link.SOFTMAX
    if name == "SGDClassifier" and model.loss in ("log_loss", "log"):
        return Link.SIGMOID
    return Link.HUBER if name == "SGDClassifier" and model.loss == "modified_huber" else Link.PLAIN


def _sgd_one_class(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    offset = np.asarray(model.offset_, np.float64).reshape(-1)
    arrays = _linear_arrays(before, model.coef_, -offset, Link.INLIER_OR_ON, offset)
    return _model("linear", arrays, before, subject, (-1, 1))


def _support_vectors(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    """SVC, NuSVC, SVR, NuSVR and OneClassSVM with a radial or linear kernel."""
    name = type(model).__name__
    classes: tuple[Any, ...] = (-1, 1) if name == "OneClassSVM" else ()
    link, shift = Link.IDENTITY, None
    if name == "OneClassSVM":
        link, shift = Link.INLIER, np.asarray(model.offset_, np.float64).reshape(1)
    elif name in ("SVC", "NuSVC"):
        classes = class_values(model.classes_)
        link = _votes_link(model, len(classes))
    vectors, coefs = _dense(model.support_vectors_), _pair_coefs(model, len(classes) if "SVC" in name else 2)
    intercept = np.asarray(model.intercept_, np.float64).reshape(-1)
    if model.kernel == "linear":
        arrays = _linear_arrays(before, coefs @ vectors, intercept, link, shift)
        terms, _ = before.linear((np.abs(coefs) @ np.abs(vectors)).T, intercept)
        arrays["terms"] = np.ascontiguousarray(np.abs(terms)).reshape(-1)
        return _model("linear", arrays, before, subject, classes)
    if model.kernel != "rbf" or before.projection is not None:
        raise Unsupported(
            f"its kernel is {model.kernel!r} behind {'a projection' if before.projection is not None else 'scalings'}"
        )
    arrays = {
        "spec": np.array([len(coefs), link], np.int32),
        "fill": before.fill,
        "centre": before.centre,
        "factor": before.factor,
        "scale": before.scale,
        "offset": before.offset,
        "vectors": np.ascontiguousarray(vectors, np.float64).reshape(-1),
        "coefs": np.ascontiguousarray(coefs, np.float64).reshape(-1),
        "bias": intercept,
        "gamma": np.array([model._gamma], np.float64),
        "shift": np.empty(0) if shift is None else shift,
    }
    return _model("kernels", arrays, before, subject, classes)


def _votes_link(model: Any, classes: int) -> Link:
    if classes == 2:
        return Link.PLAIN
    if model.decision_function_shape == "ovo":
        return Link.PAIRS
    return Link.VOTES_TIES if model.break_ties else Link.VOTES


def _pair_coefs(model: Any, classes: int) -> Floats:
    """The coefficients [decision values, support vectors]; for pairs of classes each row holds those of
    both, the rest is 0.
    """
    dual = _dense(model.dual_coef_)
    if classes == 2:
        return dual
    ends = np.cumsum(model.n_support_)
    part = [slice(end - count, end) for end, count in zip(ends, model.n_support_, strict=True)]
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    coefs = np.zeros((len(pairs), dual.shape[1]))
    for at, (first, second) in enumerate(pairs):
        coefs[at, part[first]] = dual[second - 1, part[first]]
        coefs[at, part[second]] = dual[first, part[second]]
    return coefs


def _dense(matrix: Any) -> Floats:
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return np.asarray(dense, np.float64)


def _kmeans(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    centres = _dense(model.cluster_centers_)
    return _centroids(centres, 0, tuple(range(len(centres))), before, subject)


def _nearest_centroid(model: Any, before: Preparation, subject: Subject) -> CompiledModel:
    classes = class_values(model.classes_)
    priors = getattr(model, "class_prior_", np.full(len(classes), 1 / len(classes)))
    if model.metric not in ("euclidean", "manhattan") or not np.isclose(priors, 1 / len(classes)).all():
        raise Unsupported(f"its metric is {model.metric!r}, or its priors differ by class")
    return _centroids(_dense(model.centroids_), int(model.metric == "manhattan"), classes, before, subject)


def _centroids(
    centroids: Floats, metric: int, classes: tuple[Any, ...], before: Preparation, subject: Subject
) -> CompiledModel:
    if before.projection is not None:
        raise Unsupported("its centroids lie behind a projection")
    arrays: dict[str, Any] = {
        "spec": np.array([metric], np.int32),
        "fill": before.fill,
        "centre": before.centre,
        "factor": before.factor,
        "scale": before.scale,
        "offset": before.offset,
        "centroids": np.ascontiguousarray(centroids).reshape(-1),
    }
    return CompiledModel(
        "centroids", arrays, subject.facts({"predict": 1}, classes, takes_nan=bool(before.fill.size))
    )


_REGRESSORS = [
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
    "LinearSVR",
]
_CLASSIFIERS = [
    "LogisticRegression",
    "LogisticRegressionCV",
    "PassiveAggressiveClassifier",
    "Perceptron",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SGDClassifier",
    "LinearSVC",
    "LinearDiscriminantAnalysis",
]
_COMPILERS: dict[str, Compile] = {
    **dict.fromkeys(_REGRESSORS, _regressor),
    **dict.fromkeys(_CLASSIFIERS, _classifier),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), _glm),
    **dict.fromkeys(("SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM"), _support_vectors),
    **dict.fromkeys(("KMeans", "MiniBatchKMeans"), _kmeans),
    "PLSRegression": _pls_regressor,
    "PLSCanonical": _pls_regressor,
    "RANSACRegressor": _ransac,
    "SGDOneClassSVM": _sgd_one_class,
    "NearestCentroid": _nearest_centroid,
}
