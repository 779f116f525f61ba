"""Estimators that settings name: classes of scikit-learn and LightGBM, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from fleetscore.errors import InputError
from fleetscore.workloads.models.train_settings import TrainTable

_QUIET = {"n_jobs": 1, "random_state": 0, "verbose": -1}
"""Parameters that are set where the settings do not: one thread a key, the same model each time, no words
of LightGBM.
"""

_REASON_LIMIT = 300


def make_estimator(train: TrainTable) -> Any:
    """A new unfitted estimator, or a pipeline of several; InputError names the path or parameter that there
    is not.
    """
    *steps, last = train.estimators
    made = [_make(name, {}) for name in steps]
    model = _make(last, dict(train.params))
    if not hasattr(model, "predict"):
        raise InputError(
            f"{last} does not predict.", fix="Name a regressor or a classifier last.", field="train.estimator"
        )
    _check_roles(dict(zip(steps, made, strict=True)), last, model)
    if not made:
        return model
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*made, model)


def _check_roles(steps: Mapping[str, Any], last: str, model: Any) -> None:
    """InputError where the last estimator learns no target (a clustering gives numbers of groups), or an
    earlier step of a pipeline does not transform.
    """
    from sklearn.base import is_classifier as is_one
    from sklearn.base import is_outlier_detector, is_regressor

    if not (is_one(model) or is_regressor(model) or is_outlier_detector(model)):
        raise InputError(
            f"{last} learns no target.", fix="Name a regressor or a classifier last.", field="train.estimator"
        )
    wrong = next((name for name, step in steps.items() if not hasattr(step, "transform")), None)
    if wrong:
        raise InputError(
            f"{wrong} does not transform, so it can be no earlier step of a pipeline.",
            fix="Name transformers first, and a regressor or a classifier last.",
            field="train.estimator",
        )


def is_classifier(train: TrainTable) -> bool:
    """Whether the estimator learns classes."""
    from sklearn.base import is_classifier as is_one

    return bool(is_one(make_estimator(train)))


def _make(name: str, params: dict[str, Any]) -> Any:
    kind = _find_class(name)
    known = kind().get_params(deep=False) if _needs_nothing(kind) else {}
    if "LGBM" in name:
        known |= {"verbose": None}  # LightGBM's own, which scikit-learn's interface passes on unnamed
    unknown = [one for one in params if one not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        fix = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}."
        raise InputError(
            f"{name} has no parameter {unknown[0]!r}.", fix=fix, field=f"train.params.{unknown[0]}"
        )
    quiet = {
        one: value for one, value in _QUIET.items() if one in known and (one != "verbose" or "LGBM" in name)
    }
    made = kind(**(quiet | params))
    _check_values(made, name)
    return made


def _check_values(made: Any, name: str) -> None:
    """InputError where scikit-learn refuses a parameter's value, in its words; LightGBM says so when it
    fits.
    """
    validate = getattr(made, "_validate_params", None)
    if validate is None or name.startswith("lightgbm."):
        return
    try:
        validate()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} refuses its parameters: {str(error)[:_REASON_LIMIT]}",
            fix="Correct params in [train].", field="train.params",
        ) from error  # fmt: skip


def _needs_nothing(kind: Any) -> bool:
    try:
        kind()
    except TypeError:
        return False
    return True


def _find_class(name: str) -> Any:
    """The class of that path; InputError where there is none, it is no estimator, or it needs another
    estimator.
    """
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module_name), attribute, None)
    except ImportError:
        found = None
    if found is None or not _is_estimator(found):
        raise InputError(
            f"There is no estimator {name!r}.", fix="Name a class of scikit-learn or LightGBM, such as sklearn.linear_model.Ridge.",
            field="train.estimator",
        )  # fmt: skip
    if not _needs_nothing(found):
        raise InputError(
            f"{name} takes another estimator or function, which settings cannot hold.",
            fix="Train elsewhere and import the models.", field="train.estimator",
        )  # fmt: skip
    return found


def _is_estimator(found: Any) -> bool:
    from sklearn.base import BaseEstimator

    return isinstance(found, type) and issubclass(found, BaseEstimator) and hasattr(found, "fit")
