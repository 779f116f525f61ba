"""The tree models that are raced; libraries are called in the fastest way that they offer for one thread."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import sklearn
import xgboost
from sklearn import ensemble

from benchmarks.models import Race
from fleetscore.models.importers.lightgbm_text import compile_lightgbm
from fleetscore.models.importers.sklearn_trees import compile_sklearn_trees
from fleetscore.models.importers.xgboost_files import compile_xgboost
from fleetscore.models.packs.base import CompiledModel, Floats

sklearn.set_config(assume_finite=True)


def compiled_estimator(estimator: Any) -> CompiledModel:
    """A scikit-learn estimator compiled."""
    model = compile_sklearn_trees(estimator)
    if model is None:
        raise SystemExit(f"{type(estimator).__name__} is not compiled")
    return model


def train_lightgbm(x: Floats, y: Floats, seed: int) -> Any:
    """50 trees of 15 leaves."""
    options = {"num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(options, lightgbm.Dataset(x, y), 50)


def train_xgboost(x: Floats, y: Floats, seed: int) -> Any:
    """100 trees of depth 6."""
    return xgboost.train({"max_depth": 6, "nthread": 1, "seed": seed}, xgboost.DMatrix(x, y), 100)


def estimator_race(
    name: str, goal: float, load_goal: float, method: str, make: Any, classes: int = 0
) -> Race:
    """The race of a scikit-learn estimator, of which `make` gives a new one for a seed."""

    def train(x: Floats, y: Floats, seed: int) -> Any:
        return make(seed).fit(x, (y > 0).astype(int) if classes else y)

    def predict(model: Any, x: Floats) -> Floats:
        found: Floats = getattr(model, method)(x)
        return found

    return Race(
        name, f"scikit-learn {method} loop", goal, load_goal, method, train, compiled_estimator, predict
    )


RACES = (
    Race(
        "LightGBM 50 x 15 leaves", "Booster.predict loop", 20, 20, "predict", train_lightgbm,
        lambda booster: compile_lightgbm(booster.model_to_string()),
        lambda booster, x: booster.predict(x, num_threads=1),
    ),
    estimator_race(
        "histogram boosting 100 x 31 leaves", 20, 20, "predict",
        lambda seed: ensemble.HistGradientBoostingRegressor(max_iter=100, max_leaf_nodes=31, random_state=seed),
    ),
    estimator_race(
        "random forest 50 x depth 8", 10, 3, "predict",
        lambda seed: ensemble.RandomForestRegressor(50, max_depth=8, random_state=seed),
    ),
    estimator_race(
        "random forest 50 x depth 8, classes", 7, 3, "predict_proba",
        lambda seed: ensemble.RandomForestClassifier(50, max_depth=8, random_state=seed), classes=2,
    ),
    estimator_race(
        "isolation forest 100", 10, 3, "score_samples",
        lambda seed: ensemble.IsolationForest(n_estimators=100, random_state=seed),
    ),
    Race(
        "XGBoost 100 x depth 6", "Booster.inplace_predict loop", 7, 20, "predict", train_xgboost,
        lambda booster: compile_xgboost(bytes(booster.save_raw("ubj"))),
        lambda booster, x: np.asarray(booster.inplace_predict(x)),
    ),
    estimator_race(
        "gradient boosting 100 x depth 3", 7, 20, "predict",
        lambda seed: ensemble.GradientBoostingRegressor(random_state=seed),
    ),
)  # fmt: skip
