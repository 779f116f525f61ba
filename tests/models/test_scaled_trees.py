"""Trees behind scalers: packed without scaling, equal to the pipeline to the last bit."""

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler

from fleetscore.models.importers.estimator_files import of_estimator
from fleetscore.models.importers.job import compile_proven
from fleetscore.models.importers.scaled_trees import compile_scaled_trees
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.families import pack_class

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(4)
X = RNG.normal(size=(400, 4)) * [1.0, 1e-3, 1e4, 1.0] + [0.0, 5.0, -3e4, 1e6]
Y = X[:, 0] + (X[:, 1] > 5) + 1e-4 * X[:, 2]
PROBES = np.concatenate([X, X * 1.7, RNG.permuted(X, axis=0)])


def answers(compiled: CompiledModel, x: Any, method: str) -> Any:
    """What the pack gives for the rows."""
    pack = pack_class(compiled.family).join([compiled])
    return pack.score(np.array([0, len(x)], np.int64), np.ascontiguousarray(x), method)


MODELS = [
    RandomForestRegressor(8, max_depth=6, random_state=0),
    GradientBoostingRegressor(n_estimators=10, random_state=0),
    HistGradientBoostingRegressor(max_iter=10),
    IsolationForest(n_estimators=10, random_state=0),
    lightgbm.LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1),
    xgboost.XGBRegressor(n_estimators=10, n_jobs=1),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("scaler", [StandardScaler(), RobustScaler()], ids=lambda one: type(one).__name__)
def test_a_scaled_ensemble_is_a_proven_pack_of_trees(model: Any, scaler: Any) -> None:
    """Each library's trees, by the way that an import goes: proven, of family trees, and equal on unseen rows."""
    pipeline = make_pipeline(scaler, model).fit(X, Y)
    loaded = of_estimator(pipeline, {}, [])
    compiled, proof = compile_proven(loaded, {"method": "predict", "ranges": {}})
    assert (compiled.family, proof.max_deviation) == ("trees", 0.0)
    assert compiled.facts.compute == "float64"
    expected = np.asarray(pipeline.predict(PROBES), np.float64)
    found = answers(compiled, PROBES, "predict")[:, 0]
    if "predict" in compiled.facts.label_methods:
        found = np.array(compiled.facts.classes)[found.astype(int)]
    np.testing.assert_array_equal(found, expected)


def test_several_scalers_and_classes_keep_their_order() -> None:
    """Scalers one after the other fold as one, probabilities are the pipeline's."""
    labels = np.array(["a", "b", "c"])[np.digitize(Y, np.quantile(Y, [0.3, 0.7]))]
    steps = [MinMaxScaler(clip=True), MaxAbsScaler(), StandardScaler()]
    pipeline = make_pipeline(*steps, ExtraTreesClassifier(6, random_state=1)).fit(X, labels)
    compiled = compile_scaled_trees(pipeline)
    assert compiled is not None
    np.testing.assert_array_equal(answers(compiled, PROBES, "predict_proba"), pipeline.predict_proba(PROBES))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_values_next_to_every_threshold_go_where_the_pipeline_sends_them(
    seed: int, shift: float, size: float
) -> None:
    """The thresholds' own values and their neighbouring numbers, for any centre and width of the data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 2)) * size + shift
    pipeline = make_pipeline(StandardScaler(), RandomForestRegressor(4, max_depth=4, random_state=seed)).fit(
        x, rng.normal(size=60)
    )
    compiled = compile_scaled_trees(pipeline)
    assert compiled is not None
    bounds, cuts = compiled.arrays["cut_bounds"], compiled.arrays["cuts"]
    for feature in range(2):
        own = cuts[bounds[feature] : bounds[feature + 1]]
        own = own[np.isfinite(own)]
        probes = np.tile(x[:1], (3 * len(own), 1))
        probes[:, feature] = np.concatenate([np.nextafter(own, -np.inf), own, np.nextafter(own, np.inf)])
        np.testing.assert_array_equal(answers(compiled, probes, "predict")[:, 0], pipeline.predict(probes))


@pytest.mark.parametrize(
    "pipeline",
    [make_pipeline(PowerTransformer(), RandomForestRegressor(2)), make_pipeline(StandardScaler(), Ridge())],
)
def test_other_pipelines_are_left_to_other_ways(pipeline: Any) -> None:
    """A step that is no scaler of single features, or a model without trees, is None here."""
    assert compile_scaled_trees(pipeline.fit(X, Y)) is None
