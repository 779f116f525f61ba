"""The tree models of the table; libraries are called in the fastest way that they offer on one thread."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn import ensemble

from benchmarks.model_families import Family, Fit, estimator
from fleetscore.models.importers.lightgbm_text import compile_lightgbm
from fleetscore.models.importers.sklearn_trees import compile_sklearn_trees
from fleetscore.models.importers.xgboost_files import compile_xgboost
from fleetscore.models.packs.base import CompiledModel

TRAINING_ROWS = 1_000


def train_lightgbm(x: NDArray[np.float64], y: Any, seed: int) -> Any:
    """50 trees of 15 leaves."""
    options = {"num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(options, lightgbm.Dataset(x, y), 50)


def train_xgboost(x: NDArray[np.float64], y: Any, seed: int) -> Any:
    """100 trees of depth 6."""
    return xgboost.train({"max_depth": 6, "nthread": 1, "seed": seed}, xgboost.DMatrix(x, y), 100)


def compiled_estimator(model: Any) -> CompiledModel:
    """A scikit-learn estimator of trees compiled."""
    found = compile_sklearn_trees(model)
    assert found is not None
    return found


def trees(
    name: str, fit: Fit, target: str, scored: float, loaded: float, method: str = "predict", **how: Any
) -> Family:
    """A family of trees."""
    fixed = {"training_rows": TRAINING_ROWS, "curved": True, "group": "trees"}
    return Family(
        name, fit, target, scored, loaded, method, **fixed, **{"compiled": compiled_estimator, **how}
    )


TREES = (
    trees(
        "LightGBM 50 x 15 leaves", train_lightgbm, "value", 20, 20,
        compiled=lambda booster: compile_lightgbm(booster.model_to_string()),
        predict=lambda booster, x, _: booster.predict(x, num_threads=1),
    ),
    trees(
        "histogram boosting 100 x 31 leaves",
        estimator(lambda seed: ensemble.HistGradientBoostingRegressor(max_iter=100, random_state=seed)), "value", 20, 20,
    ),
    trees(
        "random forest 50 x depth 8",
        estimator(lambda seed: ensemble.RandomForestRegressor(50, max_depth=8, random_state=seed)), "value", 10, 3,
    ),
    trees(
        "random forest 50 x depth 8, probabilities",
        estimator(lambda seed: ensemble.RandomForestClassifier(50, max_depth=8, random_state=seed)), "class", 7, 3,
        "predict_proba",
    ),
    trees(
        "isolation forest 100",
        estimator(lambda seed: ensemble.IsolationForest(n_estimators=100, random_state=seed)), "value", 10, 3,
        "score_samples",
    ),
    trees(
        "XGBoost 100 x depth 6", train_xgboost, "value", 7, 20,
        compiled=lambda booster: compile_xgboost(bytes(booster.save_raw("ubj"))),
        predict=lambda booster, x, _: booster.inplace_predict(x),
    ),
    trees(
        "gradient boosting 100 x depth 3",
        estimator(lambda seed: ensemble.GradientBoostingRegressor(random_state=seed)), "value", 7, 20,
    ),
)  # fmt: skip
