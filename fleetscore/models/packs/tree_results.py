"""How sums of leaf values become a library's results: divisors, links and classes, each exactly as the
library computes it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.packs import tree_links as links
from fleetscore.models.packs.base import Floats

Recipe = Callable[[str, Floats, Floats], Floats]


def results(recipe: str, method: str, raw: Floats, constants: Floats) -> Floats:
    """Return float64 [rows, outputs] for sums `raw` [rows, sums] and each row's constants of its model
    [rows, constants].

    ModelError `corrupt_model` for a recipe that there is not, or that lacks a constant.
    """
    finish, needed = RECIPES.get(recipe, (None, 0))
    if finish is None or constants.shape[1] < needed:
        raise ModelError(
            f"The pack's recipe {recipe!r} is unknown or lacks constants.",
            fix="Import the models again.",
            code="corrupt_model",
        )
    return finish(method, raw, constants)


def _mean(_: str, raw: Floats, constants: Floats) -> Floats:
    """Forests' regression: the mean over trees."""
    return raw / constants[:, :1]


def _mean_of_classes(method: str, raw: Floats, constants: Floats) -> Floats:
    """Forests' classification: the mean share of each class, or the class with the largest."""
    shares = raw / constants[:, :1]
    return shares if method == "predict_proba" else _largest(shares)


def _isolation(method: str, raw: Floats, constants: Floats) -> Floats:
    """Isolation forests: depths by the expected depth (constant 0), shifted by the offset (constant 1)."""
    depths, expected = np.ascontiguousarray(raw[:, 0]), constants[:, 0]
    ratio = np.divide(depths, expected, out=np.ones_like(depths), where=expected != 0)
    scores = -(2 ** (-ratio))
    if method == "score_samples":
        return scores[:, None]
    decision = scores - constants[:, 1]
    return (decision if method == "decision_function" else np.where(decision < 0, -1.0, 1.0))[:, None]


def _identity(_: str, raw: Floats, __: Floats) -> Floats:
    """The sums themselves."""
    return raw


def _exponential(_: str, raw: Floats, __: Floats) -> Floats:
    """scikit-learn's boosting with a logarithmic link."""
    found: Floats = np.exp(np.ascontiguousarray(raw))
    return found


def _two_classes(above_zero: bool, factor: float) -> Recipe:
    """scikit-learn's boosting of two classes: whether a sum of zero is class 0, and the factor of the
    logistic link.
    """

    def finish(method: str, raw: Floats, _: Floats) -> Floats:
        from scipy.special import expit

        decision = np.ascontiguousarray(raw[:, 0])
        if method == "decision_function":
            return decision[:, None]
        if method == "predict":
            return np.where(decision > 0 if above_zero else decision >= 0, 1.0, 0.0)[:, None]
        return _two(expit(decision if factor == 1.0 else factor * decision))

    return finish


def _several_classes(columns_first: bool) -> Recipe:
    """scikit-learn's boosting of several classes; numpy's sum over a row depends on the memory's order."""

    def finish(method: str, raw: Floats, _: Floats) -> Floats:
        if method == "decision_function":
            return raw
        if method == "predict":
            return _largest(raw)
        shares = np.array(raw, order="F" if columns_first else "C")
        shares -= np.max(shares, axis=1).reshape((-1, 1))
        np.exp(shares, out=shares)
        shares /= np.sum(shares, axis=1).reshape((-1, 1))
        return shares

    return finish


def _lightgbm(link: Callable[[Floats, Floats], Floats], averaged: bool, binary: bool = False) -> Recipe:
    """LightGBM's objectives; the first constant is the number of iterations, the second the objective's
    own.
    """

    def finish(method: str, raw: Floats, constants: Floats) -> Floats:
        sums = raw / constants[:, :1] if averaged else raw
        if method == "decision_function":
            return raw  # also where trees are averaged
        found = link(np.ascontiguousarray(sums), np.ascontiguousarray(constants[:, 1]))
        return _two(found[:, 0]) if binary and method == "predict_proba" else found

    return finish


def _xgboost(link: Callable[[Floats], Floats], binary: bool = False, label: bool = False) -> Recipe:
    """XGBoost's objectives, in float32."""

    def finish(method: str, raw: Floats, _: Floats) -> Floats:
        if method == "decision_function":
            return raw
        if label and method == "predict":
            return _largest(raw)
        found = link(np.ascontiguousarray(raw))
        if binary and method == "predict_proba":
            second = found[:, 0].astype(np.float32)
            return np.stack([np.float32(1.0) - second, second], axis=1).astype(np.float64)
        return found

    return finish


def _catboost(kind: str) -> Recipe:
    """CatBoost's predictions from its scaled and shifted sums: constant 0 is the scale, the others each
    output's bias.
    """

    def finish(method: str, raw: Floats, constants: Floats) -> Floats:
        sums = raw * constants[:, :1] + constants[:, 1 : 1 + raw.shape[1]]
        if method == "decision_function" or kind == "raw":
            return sums
        if kind == "each" and method == "predict_proba":
            each: Floats = links.logistic(np.ascontiguousarray(sums), np.ones(len(sums)))
            return each
        if kind == "two":
            if method == "predict":
                return np.where(sums > 0, 1.0, 0.0)
            return _two(links.logistic(np.ascontiguousarray(sums), np.ones(len(sums)))[:, 0])
        if method == "predict":
            return _largest(sums)
        shares: Floats = links.table_softmax(np.ascontiguousarray(sums))
        return shares

    return finish


def _two(of_second: Floats) -> Floats:
    """Probabilities of both classes, given the second's."""
    return np.stack([1 - of_second, of_second], axis=1)


def _largest(values: Floats) -> Floats:
    """The place of each row's largest value, as a column."""
    places: Floats = np.argmax(values, axis=1).astype(np.float64)
    return places[:, None]


def _lightgbm_recipes() -> dict[str, tuple[Recipe, int]]:
    """LightGBM's recipes by link, for boosted and for averaged trees."""
    found: dict[str, tuple[Recipe, int]] = {}
    for averaged, name in ((False, "lightgbm"), (True, "lightgbm_averaged")):
        for link, function in links.LIGHTGBM.items():
            found[f"{name}:{link}"] = (_lightgbm(function, averaged), 2)
        found[f"{name}:binary"] = (_lightgbm(links.logistic, averaged, binary=True), 2)
    return found


RECIPES: dict[str, tuple[Recipe, int]] = {  # with the number of constants that each needs
    "mean": (_mean, 1),
    "mean_of_classes": (_mean_of_classes, 1),
    "isolation": (_isolation, 2),
    "identity": (_identity, 0),
    "exponential": (_exponential, 0),
    "gradient_boosting:two": (_two_classes(above_zero=False, factor=1.0), 0),
    "gradient_boosting:two_exponential": (_two_classes(above_zero=False, factor=2.0), 0),
    "gradient_boosting:several": (_several_classes(columns_first=False), 0),
    "histogram_boosting:two": (_two_classes(above_zero=True, factor=1.0), 0),
    "histogram_boosting:several": (_several_classes(columns_first=True), 0),
    **_lightgbm_recipes(),
    "xgboost:identity": (_xgboost(lambda sums: sums), 0),
    "xgboost:exponential": (_xgboost(links.exponential_single), 0),
    "xgboost:logistic": (_xgboost(links.logistic_single), 0),
    "xgboost:binary": (_xgboost(links.logistic_single, binary=True), 0),
    "xgboost:hinge": (_xgboost(lambda sums: (sums > 0).astype(np.float64)), 0),
    "xgboost:softprob": (_xgboost(links.softmax_single), 0),
    "xgboost:softmax": (_xgboost(links.softmax_single, label=True), 0),
    "catboost:raw": (_catboost("raw"), 2),
    "catboost:two": (_catboost("two"), 2),
    "catboost:several": (_catboost("several"), 2),
    "catboost:each": (_catboost("each"), 2),
}
FLOAT32_SUMS = frozenset(name for name in RECIPES if name.startswith("xgboost:"))
