"""Boosted models of LightGBM, XGBoost and CatBoost, from their own files or inside a scikit-learn wrapper."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.models.importers.catboost_files import compile_catboost
from fleetscore.models.importers.estimators import class_values
from fleetscore.models.importers.lightgbm_text import compile_lightgbm
from fleetscore.models.importers.loaded import LoadedModel, Way
from fleetscore.models.importers.xgboost_files import compile_xgboost
from fleetscore.models.packs.base import CompiledModel, Floats

_CATBOOST_KINDS = {"predict_proba": "Probability", "decision_function": "RawFormulaVal"}


def load_lightgbm(path: Path) -> LoadedModel:
    """A text model of LightGBM, compiled from its text and compared with `Booster.predict`."""
    text = path.read_text(encoding="utf-8")
    compiled = compile_lightgbm(text)
    import lightgbm

    booster = lightgbm.Booster(model_str=text)

    def original(x: Floats, method: str) -> Any:
        found = booster.predict(x, raw_score=method == "decision_function", num_threads=1)
        return _both(found) if method == "predict_proba" else found

    versions = {
        "lightgbm": lightgbm.__version__,
        "format": text[:200].partition("version=")[2].split("\n")[0],
    }
    return LoadedModel(f"LightGBM, {booster.num_trees()} trees", original, [lambda: compiled], versions)


def load_xgboost(path: Path) -> LoadedModel:
    """A JSON or UBJ model of XGBoost, compiled from its bytes and compared with `Booster.predict`."""
    data = path.read_bytes()
    compiled = compile_xgboost(data)
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(data))

    def original(x: Floats, method: str) -> Any:
        rows = xgboost.DMatrix(
            x,
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
            nthread=1,
        )
        found = booster.predict(rows, output_margin=method == "decision_function")
        return _both(found) if method == "predict_proba" else found

    description = f"XGBoost, {booster.num_boosted_rounds()} rounds"
    versions = {"xgboost": compiled.facts.library_version or xgboost.__version__}
    return LoadedModel(description, original, [lambda: compiled], versions)


def load_catboost(path: Path, form: str) -> LoadedModel:
    """A model of CatBoost in JSON or cbm, compiled and compared with its own predict."""
    compiled = compile_catboost(path.read_bytes())
    import catboost

    model = catboost.CatBoost()
    model.load_model(str(path), format=form)
    single = "Class" if compiled.facts.classes else "RawFormulaVal"

    def original(x: Floats, method: str) -> Any:
        found = model.predict(x, prediction_type=_CATBOOST_KINDS.get(method, single), thread_count=1)
        return found.reshape(len(x)) if method in compiled.facts.label_methods else found

    return LoadedModel(
        f"CatBoost, {model.tree_count_} trees",
        original,
        [lambda: compiled],
        {"catboost": compiled.facts.library_version or catboost.__version__},
        tolerance=1e-9 if form == "json" else 0.0,  # CatBoost rounds the decimals of its JSON otherwise
    )


def wrapped_booster_ways(estimator: Any) -> list[Way]:
    """The ways to compile the booster that a wrapper such as LGBMRegressor holds; empty for other
    estimators.
    """
    reads = {"lightgbm": _from_lightgbm, "xgboost": _from_xgboost, "catboost": _from_catboost}
    read = reads.get(type(estimator).__module__.split(".")[0])
    return [lambda: _as_wrapped(read(estimator), estimator)] if read else []


def _from_lightgbm(estimator: Any) -> CompiledModel:
    booster = getattr(estimator, "booster_", estimator)
    return compile_lightgbm(booster.model_to_string())


def _from_xgboost(estimator: Any) -> CompiledModel:
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    return compile_xgboost(bytes(booster.save_raw("ubj")))


def _from_catboost(estimator: Any) -> CompiledModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        return compile_catboost(path.read_bytes())


def _as_wrapped(compiled: CompiledModel, estimator: Any) -> CompiledModel:
    """The model with the methods of its wrapper: a classifier's `predict` gives classes, where a booster
    gives probabilities.
    """
    facts = compiled.facts
    outputs = {method: width for method, width in facts.outputs.items() if hasattr(estimator, method)}
    if not hasattr(estimator, "classes_") or facts.label_methods:
        return replace(compiled, facts=replace(facts, outputs=outputs))
    classes = class_values(estimator.classes_)
    labelled = replace(facts, outputs=outputs | {"predict": 1}, classes=classes, label_methods=("predict",))
    return replace(compiled, facts=labelled)


def _both(found: Any) -> Any:
    """Probabilities of both classes where the library gives the second's alone."""
    return np.stack([found.dtype.type(1) - found, found], axis=1) if found.ndim == 1 else found
