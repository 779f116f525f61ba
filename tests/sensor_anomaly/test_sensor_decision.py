"""Decision values and labels are scikit-learn's own, bit for bit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.workloads.sensor_anomaly.decision import anomalies, decide, decide_matrix
from fleetscore.workloads.sensor_anomaly.packs import SensorModel, pack_models
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.training import fit_model

MakeModel = Callable[..., SensorModel]


def near_the_edges(model: SensorModel, ulps: int = 300) -> np.ndarray:
    """Values within `ulps` of every place where the model's decision changes its sign."""
    grid = model.mean[0] + model.scale[0] * np.linspace(-6, 6, 4001)
    pack = pack_models({"a/b": model})
    signs = decide(pack, np.array([0]), np.array([len(grid)]), grid) > 0
    found = []
    for place in np.flatnonzero(signs[1:] != signs[:-1]):
        low, high = grid[place], grid[place + 1]
        while np.nextafter(low, high) < high:
            middle = low + (high - low) / 2
            if middle in (low, high):
                break
            same = (decide(pack, np.array([0]), np.array([1]), np.array([middle]))[0] > 0) == signs[place]
            low, high = (middle, high) if same else (low, middle)
        found.append(low + np.arange(-ulps, ulps + 1) * np.spacing(low))
    assert found
    return np.concatenate(found)


def test_arrow_exp_is_the_c_librarys() -> None:
    """Arrow's exp gives the C library's bits, on which everything else here rests."""
    values = -np.random.default_rng(5).uniform(0, 40, 50_000)
    assert pc.exp(pa.array(values)).to_pylist() == [math.exp(v) for v in values.tolist()]


@pytest.mark.parametrize("vectors", [1, 2, 3, 6, 7, 40])
def test_one_feature_is_bit_equal_to_scikit_learn(
    vectors: int, make_model: MakeModel, pipeline_of: Any
) -> None:
    """Values and labels equal scikit-learn's on gridded readings, on wild ones, and within 300 ulp of every threshold."""
    model = make_model(mean=23.4, scale=0.7, vectors=vectors)
    rng = np.random.default_rng(vectors)
    values = np.concatenate(
        [
            np.round(rng.normal(23.4, 1.5, 5000), 2),
            rng.normal(23.4, 300, 500),
            [0.0, -1e300, 1e300, 5e-324],
            near_the_edges(model),
        ]
    )
    score = decide(pack_models({"a/b": model}), np.array([0]), np.array([len(values)]), values)
    oracle = pipeline_of(model)
    with np.errstate(over="ignore"):
        assert np.array_equal(score, oracle.decision_function(values[:, None]))
        assert np.array_equal(anomalies(score) == 1, oracle.predict(values[:, None]) == -1)


def test_models_that_scikit_learn_fitted_score_as_it_does(pipeline_of: Any) -> None:
    """A model trained here gives the decision values of the very estimator that was fitted."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    values = np.round(np.random.default_rng(3).normal(70, 4, 800), 2)
    fitted = make_pipeline(StandardScaler(), OneClassSVM(gamma=0.05, nu=0.01)).fit(values[:, None])
    model = fit_model(values, SensorSettings(gamma=0.05, nu=0.01))
    probe = np.round(np.random.default_rng(4).normal(70, 8, 3000), 2)
    score = decide(pack_models({"a/b": model}), np.array([0]), np.array([len(probe)]), probe)
    assert np.array_equal(score, fitted.decision_function(probe[:, None]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=12), st.integers(0, 99)
)
def test_together_is_as_one_by_one(shape: list[tuple[int, int]], seed: int) -> None:
    """Any mix of models and numbers of readings, in any order, gives each reading the value that it has alone."""
    rng = np.random.default_rng(seed)
    models = {
        f"d/{n:02d}": SensorModel(
            rng.normal(10, 5, 1),
            rng.uniform(0.5, 2, 1),
            rng.normal(0, 2, (vectors, 1)),
            rng.uniform(0.1, 1, vectors),
            0.5,
            0.05,
        )
        for n, (vectors, _) in enumerate(shape)
    }
    pack = pack_models(models)
    chosen = rng.permutation(len(shape))
    counts = np.array([shape[n][1] for n in chosen])
    values = rng.normal(10, 5, int(counts.sum()))
    together = decide(pack, chosen, counts, values)
    parts = np.split(values, np.cumsum(counts)[:-1])
    alone = [
        decide_matrix(pack.model(n), part[:, None]) for n, part in zip(chosen.tolist(), parts, strict=True)
    ]
    assert np.array_equal(together, np.concatenate([*alone, np.empty(0)]))


@pytest.mark.parametrize("features", [2, 8, 40])
def test_more_features_keep_scikit_learns_labels(
    features: int, make_model: MakeModel, pipeline_of: Any
) -> None:
    """With more features every label is scikit-learn's, and the values agree to 1e-14 of sum(alpha)."""
    model = make_model(mean=5.0, vectors=30, features=features)
    rng = np.random.default_rng(features)
    rows = 5.0 + rng.normal(0, 1, (4000, features)) * rng.uniform(0, 6, (4000, 1)) / math.sqrt(features)
    middle = float(np.median(pipeline_of(model).decision_function(rows)))
    model = SensorModel(model.mean, model.scale, model.support, model.alpha, model.rho + middle, model.gamma)
    oracle = pipeline_of(model)
    score = decide_matrix(model, rows)
    assert np.abs(score - oracle.decision_function(rows)).max() <= 1e-14 * model.alpha.sum()
    assert np.array_equal(anomalies(score) == 1, oracle.predict(rows) == -1)
    assert 0 < anomalies(score).mean() < 1


def test_rows_in_doubt_are_summed_as_libsvm_does(make_model: MakeModel, pipeline_of: Any) -> None:
    """A row on the very threshold (decision exactly 0 in libsvm's arithmetic) gets libsvm's label in the matrix form too."""
    model = make_model(mean=0.0, vectors=5, features=3)
    oracle = pipeline_of(model)
    rows = np.random.default_rng(1).normal(0, 2, (200, 3))
    labels = []
    for row in rows:
        value = float(oracle.decision_function(row[None])[0])
        exact = SensorModel(
            model.mean, model.scale, model.support, model.alpha, model.rho + value, model.gamma
        )
        truth = pipeline_of(exact)
        assert abs(truth.decision_function(row[None])[0]) < 1e-12
        labels.append(
            (int(anomalies(decide_matrix(exact, row[None]))[0]), int(truth.predict(row[None])[0] == -1))
        )
    assert [mine for mine, _ in labels] == [theirs for _, theirs in labels]


def test_zero_is_an_anomaly() -> None:
    """libsvm calls a reading normal only when its decision is above 0; exactly 0, and -0, is an anomaly."""
    assert anomalies(np.array([1e-300, 0.0, -0.0, -1.0])).tolist() == [0, 1, 1, 1]
