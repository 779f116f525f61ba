"""Packed trees answer as scikit-learn does, and load nothing that is not theirs."""

import io
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from fleetscore.errors import ModelError
from fleetscore.workloads.server_load.features import FEATURES
from fleetscore.workloads.server_load.trees import (
    ModelFacts,
    Trees,
    dump_trees,
    load_trees,
    pack_boosting,
    pack_forest,
    predict,
)

_FOREST = ModelFacts("forest", FEATURES, 100.0, 500.0, "US")
_BOOSTING = replace(_FOREST, kind="boosting")


def make_examples(rows: int = 3000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Features with missing values, on a coarse grid so that many meet a threshold exactly, and three classes."""
    random = np.random.default_rng(seed)
    features = np.round(random.normal(size=(rows, len(FEATURES))), 1)
    features[random.random(features.shape) < 0.2] = np.nan
    noise = np.nan_to_num(features[:, 3]) + np.nan_to_num(features[:, 7]) + random.normal(0, 0.5, rows)
    return features, (noise > 0).astype(np.int8) + (noise > 1).astype(np.int8)


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    """A small fitted forest."""
    return RandomForestClassifier(30, max_depth=8, random_state=1).fit(*make_examples())


@pytest.fixture(scope="module")
def boosting() -> HistGradientBoostingClassifier:
    """A small fitted boosting."""
    with threadpool_limits(1):
        return HistGradientBoostingClassifier(max_iter=25, early_stopping=False, random_state=1).fit(
            *make_examples()
        )


def test_forest_equals_scikit_learn(forest: RandomForestClassifier) -> None:
    """Class and probabilities of 20,000 rows, missing values among them, are scikit-learn's to the last bit."""
    features, _ = make_examples(20_000, 2)
    ours = predict(pack_forest(forest, _FOREST), features)
    np.testing.assert_array_equal(ours, forest.predict_proba(features))
    np.testing.assert_array_equal(ours.argmax(axis=1), forest.predict(features))


def test_boosting_equals_scikit_learn(boosting: HistGradientBoostingClassifier) -> None:
    """The same for boosting; the class is equal, the probabilities within the last bits of exp."""
    features, _ = make_examples(20_000, 2)
    ours = predict(pack_boosting(boosting, _BOOSTING), features)
    with threadpool_limits(1):
        np.testing.assert_allclose(ours, boosting.predict_proba(features), rtol=1e-14)
        np.testing.assert_array_equal(ours.argmax(axis=1), boosting.predict(features))


def test_unseen_class_has_no_chance() -> None:
    """A forest that saw two classes gives the third a probability of 0."""
    features, labels = make_examples(400)
    two = RandomForestClassifier(5, max_depth=3, random_state=1).fit(
        features, np.where(labels == 1, 2, labels)
    )
    chances = predict(pack_forest(two, _FOREST), features)
    assert (chances[:, 1] == 0).all()
    np.testing.assert_array_equal(chances[:, [0, 2]], two.predict_proba(features))


def test_round_trip(forest: RandomForestClassifier) -> None:
    """A packed model is the same after its file was written and read, and its bytes depend on it alone."""
    trees = pack_forest(forest, _FOREST)
    data = dump_trees(trees)
    assert dump_trees(load_trees(data)) == data
    features, _ = make_examples(100, 3)
    np.testing.assert_array_equal(predict(load_trees(data), features), predict(trees, features))


def _broken(trees: Trees, **changes: object) -> bytes:
    return dump_trees(replace(trees, **changes))


def test_damaged_models_are_refused(forest: RandomForestClassifier) -> None:
    """Bytes that are no model, a cycle in a tree, a column that does not exist, other features: each is an error, not a crash."""
    trees = pack_forest(forest, _FOREST)
    pickled = io.BytesIO()
    np.savez(pickled, facts=np.array([{"a": 1}], object))
    inner = trees.threshold > -np.inf
    cases = [
        b"not an archive",
        pickled.getvalue(),
        dump_trees(trees)[:-100],
        _broken(trees, link=np.where(inner, trees.link & 0xFFFF, trees.link)),  # back to the first node
        _broken(trees, link=np.where(inner, trees.link | 1 << 40, trees.link)),  # far outside
        _broken(
            trees, link=np.where(inner, trees.link | 0x7FFF << 1, trees.link)
        ),  # a column that is not there
        _broken(trees, threshold=np.where(inner, trees.threshold, 0.0)),  # leaves that are left
        _broken(trees, roots=np.array([-5]), tree_class=np.zeros(1, np.int64)),
        _broken(trees, value=trees.value[:, :2]),
        _broken(trees, link=trees.link.astype(np.float64)),
        _broken(trees, facts=replace(_FOREST, features=FEATURES[1:])),
    ]
    for case in cases:
        with pytest.raises(ModelError):
            load_trees(case)
