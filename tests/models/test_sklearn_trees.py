"""scikit-learn's tree models in packs: equal to the library to the last bit, alone and among others."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import ensemble, tree
from sklearn.linear_model import LinearRegression

from fleetscore.errors import InputError, ModelError
from fleetscore.models.importers.sklearn_trees import compile_sklearn_trees
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.families import open_pack
from fleetscore.models.packs.proof import prove
from fleetscore.models.packs.trees import TreesPack

REGRESSORS: dict[str, Any] = {
    "tree": tree.DecisionTreeRegressor,
    "extra tree": tree.ExtraTreeRegressor,
    "forest": lambda **options: ensemble.RandomForestRegressor(5, **options),
    "extra trees": lambda **options: ensemble.ExtraTreesRegressor(5, **options),
    "boosting": lambda **options: ensemble.GradientBoostingRegressor(n_estimators=7, **options),
    "histogram": lambda max_depth, random_state: ensemble.HistGradientBoostingRegressor(
        max_iter=7, max_leaf_nodes=None if max_depth is None else 2**max_depth, min_samples_leaf=2
    ),
    "histogram poisson": lambda **options: ensemble.HistGradientBoostingRegressor(
        loss="poisson", max_iter=7, **options
    ),
    "isolation": lambda max_depth, random_state: ensemble.IsolationForest(
        n_estimators=7, max_features=0.7, random_state=random_state
    ),
}
CLASSIFIERS: dict[str, Any] = {
    "tree": tree.DecisionTreeClassifier,
    "forest": lambda **options: ensemble.RandomForestClassifier(5, **options),
    "extra trees": lambda **options: ensemble.ExtraTreesClassifier(5, **options),
    "boosting": lambda **options: ensemble.GradientBoostingClassifier(n_estimators=7, **options),
    "histogram": lambda **options: ensemble.HistGradientBoostingClassifier(max_iter=7, **options),
}


def rows_and_target(seed: int, features: int, holes: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(150, features)) * 10.0 ** rng.integers(-3, 4, features)
    x[:, 0] = np.round(x[:, 0])  # repeated values, zeros of both signs
    y = x[:, 0] / max(np.abs(x[:, 0]).max(), 1.0) + np.sin(x[:, -1])
    if holes:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x, np.nan_to_num(y)


def ranges_of(x: np.ndarray) -> np.ndarray:
    return np.stack([np.nanmin(x, axis=0), np.nanmax(x, axis=0)], axis=1)


def library(estimator: Any) -> Any:
    def predict(x: np.ndarray, method: str) -> np.ndarray:
        found = getattr(estimator, method)(x)
        if method == "predict" and hasattr(estimator, "classes_"):
            return np.searchsorted(estimator.classes_, found)
        return np.asarray(found)

    return predict


def compiled(estimator: Any) -> CompiledModel:
    model = compile_sklearn_trees(estimator)
    assert model is not None
    return model


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(REGRESSORS)), st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([1, 3, 6, None]))  # fmt: skip
def test_regressors_are_equal_to_the_last_bit(name: str, seed: int, features: int, depth: int | None) -> None:
    """A random tree model's pack answers every method as scikit-learn does, at thresholds, extremes and missing values too."""
    x, y = rows_and_target(seed, features, holes=name in ("tree", "forest", "histogram"))
    estimator = REGRESSORS[name](max_depth=depth, random_state=seed).fit(x, y - y.min() + 0.1)
    proof = prove(compiled(estimator), library(estimator), ranges_of(x), seed)
    assert proof.equal and proof.rows >= 1_000, proof.text


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(sorted(CLASSIFIERS)), st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([1, 3, None]))  # fmt: skip
def test_classifiers_are_equal_to_the_last_bit(name: str, seed: int, classes: int, depth: int | None) -> None:
    """Probabilities, decisions and labels of random classifiers are scikit-learn's own, for classes of any type."""
    x, y = rows_and_target(seed, 4, holes=False)
    labels = np.array(["a", "b", "c", "d"])[np.argsort(np.argsort(y)) * classes // len(y)]
    estimator = CLASSIFIERS[name](max_depth=depth, random_state=seed).fit(x, labels)
    model = compiled(estimator)
    assert model.facts.classes == tuple(sorted(set(labels.tolist())))
    proof = prove(model, library(estimator), ranges_of(x), seed)
    assert proof.equal, proof.text


def test_categories_follow_the_nodes_sets() -> None:
    """Categories, unknown ones, missing ones and the remapped order of features score as in histogram boosting itself."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=600), rng.integers(-3, 40, 600) * 1.5, rng.normal(size=600)])
    x[rng.random(600) < 0.1, 1] = np.nan
    y = x[:, 0] + np.isin(x[:, 1], [3.0, 6.0, 7.5]) * 5
    for leaves in (31, 150):
        estimator = ensemble.HistGradientBoostingRegressor(
            categorical_features=[1], max_iter=20, max_leaf_nodes=leaves, min_samples_leaf=2
        ).fit(x, y)
        proof = prove(compiled(estimator), library(estimator), np.array([[-3, 3], [-9, 70], [-3, 3]]), 0)
        assert proof.equal, proof.text


def test_a_pack_of_different_models_scores_each_as_alone() -> None:
    """Models of different kinds, sizes and features in one pack, over its bytes, answer as each of them does alone."""
    x, y = rows_and_target(5, 6, holes=False)
    estimators = [
        REGRESSORS[name](max_depth=4, random_state=1).fit(x, y - y.min() + 0.1) for name in REGRESSORS
    ]
    estimators += [ensemble.RandomForestRegressor(3, random_state=2).fit(x[:, :3], y)]
    pack = open_pack(TreesPack.join([compiled(estimator) for estimator in estimators]).to_bytes())
    counts = np.array([150, 1, 0, 23, 150, 24, 7, 150, 90])
    rows = np.concatenate([np.arange(count) for count in counts])
    found = pack.score(np.concatenate([[0], np.cumsum(counts)]), x[rows], "predict")[:, 0]
    begin = 0
    for estimator, count in zip(estimators, counts, strict=True):
        if count:
            expected = estimator.predict(x[:count, : estimator.n_features_in_])
            assert np.array_equal(found[begin : begin + count], expected)
        begin += count


def test_more_rows_than_a_chunk_and_more_trees_than_a_table() -> None:
    """Rows and trees beyond one pass are scored in several, with the same sums."""
    x, y = rows_and_target(6, 6, holes=False)
    estimator = ensemble.GradientBoostingRegressor(n_estimators=300, max_depth=6, max_leaf_nodes=40).fit(x, y)
    many = np.tile(x, (17, 1))
    found = TreesPack.join([compiled(estimator)]).score(np.array([0, len(many)]), many, "predict")
    assert np.array_equal(found[:, 0], estimator.predict(many))


@pytest.mark.parametrize("depth", [7, None])
def test_large_trees_scored_from_their_upper_nodes_equal_the_walk(depth: int | None) -> None:
    """Trees of more than 64 leaves, among them one of a single leaf, give many rows at once what they give few rows at a time."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1100, 3))
    y = x[:, 0] + np.sin(3 * x[:, 1])
    x[rng.random(x.shape) < 0.05] = np.nan
    forest = ensemble.RandomForestRegressor(9, max_depth=depth, random_state=0).fit(x[:500], y[:500])
    forest.estimators_ += ensemble.RandomForestRegressor(1).fit(x, np.ones(len(x))).estimators_
    forest.n_estimators = 10
    assert {one.get_n_leaves() > 64 for one in forest.estimators_} == {True, False}
    pack = open_pack(TreesPack.join([compiled(forest)]).to_bytes())
    whole = pack.score(np.array([0, len(x)]), x, "predict")
    parts = [pack.score(np.array([0, 20]), x[at : at + 20], "predict") for at in range(0, len(x), 20)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[:, 0], sum(one.predict(x) for one in forest.estimators_) / 10)


def test_values_that_the_library_refuses_are_refused_by_model() -> None:
    """NaN and infinity for a model whose library takes neither name row and feature; others' rows may hold them."""
    x, y = rows_and_target(7, 3, holes=False)
    strict = ensemble.GradientBoostingRegressor(n_estimators=2).fit(x, y)
    lenient = ensemble.HistGradientBoostingRegressor(max_iter=2).fit(x, y)
    pack = TreesPack.join([compiled(lenient), compiled(strict)])
    rows = np.array([[np.nan, np.inf, 1.0], [1e39, 0.0, 1.0]])
    offsets = np.array([0, 1, 2])
    assert pack.refused(offsets, rows).tolist() == [False, True]
    with pytest.raises(InputError, match="Row 1 has the value 1e\\+39 in feature 0"):
        pack.score(offsets, rows, "predict")
    assert np.isfinite(pack.score(np.array([0, 1, 1]), rows[:1], "predict")).all()


def test_what_packs_do_not_take_is_named() -> None:
    """Several targets and a start by another model are refused by name; estimators of other families are none of this one's."""
    x, y = rows_and_target(8, 3, holes=False)
    with pytest.raises(ModelError, match="2 targets"):
        compile_sklearn_trees(tree.DecisionTreeRegressor().fit(x, np.column_stack([y, y])))
    with pytest.raises(ModelError, match="LinearRegression"):
        compile_sklearn_trees(
            ensemble.GradientBoostingRegressor(n_estimators=2, init=LinearRegression()).fit(x, y)
        )
    assert compile_sklearn_trees(LinearRegression().fit(x, y)) is None


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_packs_end_in_a_named_error_or_in_numbers(data: st.DataObject) -> None:
    """Whatever numbers of a pack change, scoring reads nothing out of range: the pack is refused as corrupt, or numbers come out."""
    raw = bytearray(PACK)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pack = open_pack(bytes(raw))
            if len(pack) == 3:
                pack.score(np.array([0, 30, 60, 90]), ROWS, "predict")
        except ModelError as error:
            assert error.code in ("corrupt_model", "unsupported_model")
        except InputError:
            pass


def small_pack() -> bytes:
    x, y = rows_and_target(9, 3, holes=False)
    estimators = [
        tree.DecisionTreeRegressor(max_leaf_nodes=90, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=3, random_state=0),
        ensemble.HistGradientBoostingRegressor(categorical_features=[0], max_iter=3, min_samples_leaf=2),
    ]
    return TreesPack.join([compiled(estimator.fit(np.abs(x), y)) for estimator in estimators]).to_bytes()


PACK = small_pack()
ROWS = np.abs(np.random.default_rng(0).normal(size=(90, 3)))
