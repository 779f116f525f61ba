"""How high the load will be: quantiles of the load, from trees on what an hour differs from its expected
load.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.workloads.server_load.calendar_features import CALENDAR
from fleetscore.workloads.server_load.examples import SEED, Examples, columns_to_learn
from fleetscore.workloads.server_load.features import ALL_FEATURES
from fleetscore.workloads.server_load.level_features import LEVEL_FEATURES
from fleetscore.workloads.server_load.load_answers import (
    LOAD_QUANTILES,
    MOST_LOG,
    expected_of,
    load_of_raw,
)
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.trees import ModelFacts, Trees, pack_load, predict_raw

LOAD_FILE = "load.npz"
"""In a model set: the trees of the quantiles. Sets of earlier versions have none."""

_FEWEST_ROWS = 100
_OF_LAST_DAY = ("expectedLevel", "offLastDay", "moveOffDay", "levelSpread")
_FAR = 3.0  # spreads that an hour, and those around it, hardly move by chance
_LEARNED = (*LEVEL_FEATURES, *CALENDAR, "hoursAhead", "weekHourCount")
_UNLEARNED = [place for place, name in enumerate(ALL_FEATURES) if name not in _LEARNED]


def has_expected_load(examples: Examples) -> bool:
    """Whether enough hours have an expected load to learn from."""
    return int(_known(examples).sum()) >= _FEWEST_ROWS


def _known(examples: Examples) -> Any:
    if examples.load is None or examples.features.shape[1] < len(ALL_FEATURES):
        return np.zeros(len(examples.labels), bool)
    return ~np.isnan(expected_of(ALL_FEATURES, examples.features))


def fit_load(examples: Examples, settings: ServerLoadSettings) -> Trees:
    """The trees of the quantiles; examples without `has_expected_load` are not for it."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    known = _known(examples)
    features = columns_to_learn(examples.features[known], _UNLEARNED)
    off = np.log1p(np.maximum(examples.load[known], 0.0)) - expected_of(ALL_FEATURES, features)
    models = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=quantile, max_iter=80, learning_rate=0.08, max_leaf_nodes=8,
            min_samples_leaf=50, early_stopping=False, random_state=SEED,
        )
        for quantile in LOAD_QUANTILES
    ]  # fmt: skip
    with threadpool_limits(1):  # as for the classes
        for model in models:
            model.fit(features, off)
    facts = ModelFacts("load", ALL_FEATURES, settings.medium_above, settings.high_above, settings.country)
    return pack_load(models, facts)


def predict_load(trees: Trees | None, features: Any) -> Any:
    """float64 (rows, LOAD_QUANTILES) of peak load, not decreasing along a row and not negative; NaN where
    there is no model, or the hour has no expected load.
    """
    if trees is None:
        return np.full((len(features), len(LOAD_QUANTILES)), np.nan)
    load = load_of_raw(predict_raw(trees, features), expected_of(trees.facts.features, features))
    if "moveOffDay" in trees.facts.features:
        load[:, -1] = np.fmax(load[:, -1], _last_day_again(features))
    return load


def _last_day_again(features: Any) -> Any:
    """The load that the upper quantile is at least: that of the hour on the last day, and the usual spread above
    it, where the last day was far above the days before at this hour and those around; NaN elsewhere.

    Trees learn little of moves that few servers make. Whether the last day was a strange one or the first of a
    new level, nobody knows yet; the upper quantile holds both.
    """
    expected, last, move, spread = (features[:, ALL_FEATURES.index(name)] for name in _OF_LAST_DAY)
    again = np.expm1(np.clip(expected + last + spread, 0.0, MOST_LOG))
    return np.where(move > _FAR * spread, again, np.nan)


def measure_load(trees: Trees | None, unseen: Examples) -> dict[str, float]:
    """For the card: the share of unseen hours whose load is at most each quantile; none without a model."""
    said = predict_load(trees, unseen.features)
    known = ~np.isnan(said).any(axis=1)
    if not known.any():
        return {}
    below = unseen.load[known, None] <= said[known]
    return dict(zip((f"{q:g}" for q in LOAD_QUANTILES), below.mean(axis=0).tolist(), strict=True))
