"""Linear models, kernel machines and centroids: random models of every kind, packed, answer as scikit-learn does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM

from fleetscore.errors import InputError, ModelError
from fleetscore.models.importers.estimators import compile_estimator
from fleetscore.models.importers.preparation import Unsupported
from fleetscore.models.packs.families import open_pack, pack_class
from fleetscore.models.packs.linear import LinearPack
from fleetscore.models.packs.proof import Proof, prove

pytestmark = pytest.mark.filterwarnings("ignore")

REGRESSORS: dict[str, Callable[[], Any]] = {
    "least squares": LinearRegression,
    "ridge": Ridge,
    "lasso": lambda: Lasso(0.01),
    "elastic net": lambda: ElasticNet(0.01),
    "stochastic gradient": SGDRegressor,
    "huber": HuberRegressor,
    "linear support vectors": LinearSVR,
    "ransac": lambda: RANSACRegressor(min_samples=20),
    "radial support vectors": SVR,
    "support vectors, linear kernel": lambda: SVR(kernel="linear"),
    "partial least squares": lambda: PLSRegression(2),
    "projected": lambda: make_pipeline(PCA(2, whiten=True), TruncatedSVD(2), Ridge()),
    "one class": lambda: OneClassSVM(nu=0.2),
    "one class, linear kernel": lambda: OneClassSVM(nu=0.2, kernel="linear"),
    "one class by gradient": SGDOneClassSVM,
    "k-means": lambda: KMeans(4, n_init=1),
    "k-means in batches": lambda: MiniBatchKMeans(3, n_init=1),
}
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic": LogisticRegression,
    "gradient, logistic loss": lambda: SGDClassifier(loss="log_loss"),
    "gradient, Huber loss": lambda: SGDClassifier(loss="modified_huber"),
    "gradient, hinge loss": SGDClassifier,
    "perceptron": Perceptron,
    "ridge": RidgeClassifier,
    "linear support vectors": LinearSVC,
    "discriminant": LinearDiscriminantAnalysis,
    "radial support vectors": SVC,
    "pairs": lambda: SVC(decision_function_shape="ovo"),
    "broken ties": lambda: SVC(break_ties=True),
    "linear kernel": lambda: SVC(kernel="linear"),
    "nu": lambda: NuSVC(nu=0.1),
    "nearest centroid": NearestCentroid,
    "nearest centroid by blocks": lambda: NearestCentroid(metric="manhattan"),
}
SCALERS = [None, StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler]


def rows(seed: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of very different sizes and places, and what depends on them."""
    rng = np.random.default_rng(seed)
    scale, place = 10.0 ** rng.uniform(-3, 4, features), 10.0 ** rng.uniform(-2, 5, features)
    z = rng.normal(size=(160, features))
    return z * scale + place, z @ rng.normal(size=features) + rng.normal(scale=0.1, size=160)


def proof_of(model: Any, x: np.ndarray, seed: int) -> Proof:
    """The proof of the fitted model's pack against its own methods."""
    compiled = compile_estimator(model)
    classes = list(compiled.facts.classes)

    def original(values: np.ndarray, method: str) -> np.ndarray:
        found = getattr(model, method)(values)
        return (
            np.array([classes.index(one) for one in found])
            if method in compiled.facts.label_methods
            else found
        )

    return prove(compiled, original, np.c_[x.min(axis=0), x.max(axis=0)], seed)


@pytest.mark.parametrize("name", REGRESSORS)
@given(seed=st.integers(0, 10_000), features=st.integers(2, 9), scaler=st.sampled_from(SCALERS))
@settings(max_examples=3, deadline=None)
def test_a_packed_regressor_or_detector_answers_as_its_library_does(
    name: str, seed: int, features: int, scaler: Any
) -> None:
    """A random fitted regressor, one-class model or clustering, behind any scaler, is proven equal to itself packed."""
    x, y = rows(seed, features)
    scaler = StandardScaler if scaler is None and "k-means" not in name else scaler
    model = make_pipeline(scaler() if scaler else "passthrough", REGRESSORS[name]()).fit(x, y)
    proof = proof_of(model, x, seed)
    assert proof.equal, proof.text


@pytest.mark.parametrize("name", CLASSIFIERS)
@given(seed=st.integers(0, 10_000), features=st.integers(2, 9), count=st.integers(2, 4), text=st.booleans())
@settings(max_examples=3, deadline=None)
def test_a_packed_classifier_answers_as_its_library_does(
    name: str, seed: int, features: int, count: int, text: bool
) -> None:
    """Labels, decision values and probabilities of a random fitted classifier equal those of its pack, for two and more classes."""
    x, y = rows(seed, features)
    labels: np.ndarray = np.digitize(y, np.quantile(y, np.arange(1, count) / count))
    if text:
        labels = np.array(["a", "b", "c", "d"])[labels]
    proof = proof_of(make_pipeline(StandardScaler(), CLASSIFIERS[name]()).fit(x, labels), x, seed)
    assert proof.equal, proof.text


@given(seed=st.integers(0, 10_000), outputs=st.integers(1, 4))
@settings(max_examples=4, deadline=None)
def test_several_outputs_and_logarithmic_links(seed: int, outputs: int) -> None:
    """Models of several outputs, and those whose answer is an exponential, are proven equal."""
    x, y = rows(seed, 5)
    several = np.stack([y * power for power in range(1, outputs + 1)], axis=1)
    assert proof_of(make_pipeline(StandardScaler(), Ridge()).fit(x, several), x, seed).equal
    assert proof_of(PLSRegression(2).fit(x, several), x, seed).equal
    assert proof_of(make_pipeline(StandardScaler(), PoissonRegressor()).fit(x, np.exp(y / 9)), x, seed).equal


def test_missing_values_are_filled_as_the_pipeline_fills_them() -> None:
    """A SimpleImputer at the beginning of a pipeline makes the pack take NaN, with equal answers."""
    x, y = rows(1, 4)
    x[::7, 2] = np.nan
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), Ridge()).fit(x, y)
    x = np.nan_to_num(x)
    assert compile_estimator(model).facts.takes_nan
    assert proof_of(model, x, 1).equal
    assert proof_of(Pipeline([*model.steps[:2], ("svr", SVR().fit(model[:2].transform(x), y))]), x, 1).equal


def test_models_of_all_widths_score_together_through_stored_bytes() -> None:
    """Models with different features, outputs and links in one stored pack score their own rows and leave other columns NaN."""
    models = []
    for seed, features in enumerate((2, 7, 3)):
        x, y = rows(seed, features)
        models.append(
            (make_pipeline(StandardScaler(), Ridge()).fit(x, np.c_[y, y * y][:, : 1 + seed % 2]), x[:50])
        )
    pack = open_pack(LinearPack.join([compile_estimator(model) for model, _ in models]).to_bytes())
    table = np.full((150, 7), 3.0)
    for at, (_, x) in enumerate(models):
        table[50 * at : 50 * at + 50, : x.shape[1]] = x
    found = pack.score(np.array([0, 50, 100, 150]), table, "predict")
    for at, (model, x) in enumerate(models):
        want = model.predict(x).reshape(50, -1)
        assert np.allclose(found[50 * at : 50 * at + 50, : want.shape[1]], want, rtol=1e-12)
    assert np.isnan(found[:50, 1]).all()
    assert np.isnan(found[100:, 1]).all()


@pytest.mark.parametrize(
    "model", [Ridge(), SVR(), KMeans(2, n_init=1)], ids=["linear", "kernels", "centroids"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_the_library_refuses_are_refused_by_name(model: Any, value: float) -> None:
    """NaN and infinity in a feature raise InputError with the row and the feature; nothing is scored."""
    x, y = rows(3, 3)
    pack_of = compile_estimator(model.fit(x, y))
    pack = pack_class(pack_of.family).join([pack_of])
    x[5, 1] = value
    with pytest.raises(InputError, match=r"Row 5 .* feature"):
        pack.score(np.array([0, len(x)]), x, "predict")


@pytest.mark.parametrize("name", ["spec", "centre", "weights", "bias", "shift", "fill"])
def test_arrays_that_do_not_fit_each_other_are_a_corrupt_model(name: str) -> None:
    """A pack whose arrays lack or have values too many is refused when its model is scored, not read out of bounds."""
    x, y = rows(4, 3)
    compiled = compile_estimator(Ridge().fit(x, y))
    for array in (
        compiled.arrays[name][:-1],
        np.concatenate([compiled.arrays[name]] * 2 + [np.ones(2, compiled.arrays[name].dtype)]),
    ):
        if array.size in (0, 3) and name in ("fill", "shift"):
            continue
        pack = LinearPack.join([type(compiled)("linear", {**compiled.arrays, name: array}, compiled.facts)])
        if name == "spec" and array.size > 2:
            continue  # further values have no meaning yet
        with pytest.raises(ModelError, match="corrupt"):
            pack.score(np.array([0, len(x)]), x, "predict")


def test_what_has_no_pack_says_why() -> None:
    """A step or model outside the families is named, so that the next way of importing it can say so."""
    x, y = rows(5, 3)
    with pytest.raises(Unsupported, match="PolynomialFeatures"):
        compile_estimator(make_pipeline(PolynomialFeatures(), Ridge()).fit(x, y))
    with pytest.raises(Unsupported, match="poly"):
        compile_estimator(SVR(kernel="poly").fit(x, y))
    with pytest.raises(Unsupported, match="not fitted"):
        compile_estimator(Ridge())
