"""A forecaster of the user's own: one model of five quantiles, or one for each, on the features of this
workload.

Models read the feature matrix (`features.py`, without season and response of the chain) and answer log1p
of sales relative to the feature `level`. SKUs with too little history get the declared fallback, as
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import FleetscoreError, ModelError
from fleetscore.models.packs.base import CompiledModel, Pack
from fleetscore.models.packs.bundle import open_bundle
from fleetscore.models.packs.families import pack_class
from fleetscore.models.packs.shard_scoring import feature_order
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import build, every_step, feature_names, prepare
from fleetscore.workloads.store_sales.forecasting import (
    Forecast,
    assumed_weeks,
    look_up,
    short_histories,
    to_sales,
)
from fleetscore.workloads.store_sales.model_file import Fallback, unpack_arrays
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.training import draw_cases
from fleetscore.workloads.store_sales.whole_pieces import count_series, round_counts, spread_pieces

FloatArray = NDArray[np.float64]

FILE = "own_forecaster.npz"
"""In a model set: the fallback, and how many steps it was imported for; the models lie beside it."""

WHOLE = "forecaster"
"""The key of one model of all quantiles; else the keys are QUANTILE_NAMES."""


@dataclass(frozen=True, slots=True)
class OwnModel:
    """One model, with the features that it reads, in its order, and the columns that it answers."""

    pack: Pack
    features: tuple[str, ...]
    outputs: int


@dataclass(frozen=True, slots=True)
class OwnForecaster:
    """Models that together answer five quantiles, and the fallback."""

    models: tuple[OwnModel, ...]
    fallback: Fallback
    steps: int


def own_model(name: str, model: CompiledModel, covariates: Sequence[str]) -> OwnModel:
    """The model ready to score; ModelError names what does not fit features and quantiles."""
    names, facts = feature_names(covariates), model.facts
    if "predict" not in facts.outputs or "predict" in facts.label_methods:
        raise ModelError(
            f"{name} answers no numbers but {', '.join(sorted(facts.outputs)) or 'nothing'}.",
            fix="Export a regression whose first output is numbers.",
            code="unsupported_model",
        )
    try:
        features = tuple(feature_order(facts, dict.fromkeys(names, np.empty(0)), names))
    except FleetscoreError as error:
        raise ModelError(
            f"{name} does not read the features of store_sales: {error}",
            fix=f"It takes all {len(names)} in their order as one matrix, or inputs named as some of them.",
            code="feature_mismatch",
        ) from error
    return OwnModel(pack_class(model.family).join([model]), features, facts.outputs["predict"])


def join_models(models: Mapping[str, OwnModel]) -> tuple[OwnModel, ...]:
    """The models in the order of the quantiles; ModelError unless they are five of one column, or one of
    five.
    """
    if set(models) == set(QUANTILE_NAMES) and all(model.outputs == 1 for model in models.values()):
        return tuple(models[name] for name in QUANTILE_NAMES)
    if len(models) == 1 and next(iter(models.values())).outputs == len(QUANTILES):
        return tuple(models.values())
    found = ", ".join(f"{name} ({model.outputs} columns)" for name, model in sorted(models.items()))
    raise ModelError(
        f"A forecaster is one model of five columns, or five of one column named {', '.join(QUANTILE_NAMES)}; "
        f"this is {found}.",
        fix="Export the quantiles .05, .25, .5, .75 and .95 so, as one file or as five in a folder.",
        code="unsupported_model",
    )


def load_own(read: Callable[[str], bytes], covariates: Sequence[str]) -> OwnForecaster:
    """The forecaster of a model set whose files `read` gives; ModelError when it is not whole or reads other
    features.
    """
    arrays, bundle = unpack_arrays(read(FILE)), open_bundle(read)
    keys = bundle.keys.to_pylist()
    models = {key: own_model(key, bundle.model(key), covariates) for key in keys}
    try:
        fallback = Fallback(arrays["fallback_skus"], arrays["fallback_quantiles"])
        steps = int(arrays["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{FILE} is not whole: {error}.", fix="Import again.", code="corrupt_model"
        ) from error
    shape = (len(fallback.skus), 2, len(QUANTILES))
    if fallback.quantiles.shape != shape or not np.isfinite(fallback.quantiles).all():
        raise ModelError(f"{FILE} has no fallback.", fix="Import again.", code="corrupt_model")
    return OwnForecaster(join_models(models), fallback, steps)


def predict_own(models: Sequence[OwnModel], matrix: FloatArray, names: Sequence[str]) -> FloatArray:
    """What the models answer (quantiles x rows) for a feature matrix (features x rows), sorted by row."""
    rows, place = matrix.shape[1], {name: row for row, name in enumerate(names)}
    bounds = np.array([0, rows], np.int64)
    answers = []
    for model in models:
        chosen = np.ascontiguousarray(matrix[[place[name] for name in model.features]].T)
        answers.append(model.pack.score(bounds, chosen, "predict")[:, : model.outputs])
    return np.asarray(np.sort(np.concatenate(answers, axis=1), axis=1).T)


def forecast(panel: Panel, own: OwnForecaster, settings: StoreSalesSettings) -> Forecast:
    """Forecast every series of the panel, whose last `settings.steps` columns are the weeks to forecast."""
    if settings.steps > own.steps:
        raise ModelError(
            f"The forecaster was imported for {own.steps} weeks, the settings name {settings.steps}.",
            fix="Lower `steps` or import again.",
            code="wrong_steps",
        )
    series, weeks = panel.sales.shape
    origin = weeks - settings.steps - 1
    matrix, level = build(prepare(panel, origin + 1), every_step(series, origin, settings.steps))
    logs = predict_own(own.models, matrix, feature_names(settings.covariates)) + level
    quantiles = to_sales(logs).T.reshape(series, settings.steps, len(QUANTILES))
    assumed, short = assumed_weeks(panel, settings.steps), short_histories(panel, settings)
    if short.any():
        feature_week = np.nan_to_num(panel.feat[:, origin + 1 :]) > 0.5
        quantiles[short] = to_sales(look_up(own.fallback, panel.skus[short], feature_week[short]))
    round_counts(quantiles, count_series(panel.sales[:, : origin + 1]))
    return Forecast(quantiles, short[:, None] | assumed, short, assumed)


def training_table(panel: Panel, settings: StoreSalesSettings, weeks: Callable[[int], str] = str) -> pa.Table:
    """Rows to train a forecaster on: store, sku, week (as `weeks` names an ordinal), step, the features, and
    `target`, log1p of sales relative to the feature `level`, few whole pieces spread. As many as the setting
    `training_rows`.
    """
    prepared = prepare(panel)
    cases = draw_cases(prepared, panel.sales.shape[1], settings)
    matrix, level = build(prepared, cases)
    target = cases.origin + cases.step
    log_sales = spread_pieces(
        prepared.log_sales[cases.series, target], count_series(panel.sales)[cases.series]
    )
    columns: dict[str, Any] = {
        "store": np.array(panel.stores, object)[panel.store_of[cases.series]],
        "sku": panel.skus[cases.series].astype(str),
        "week": [weeks(panel.first_week + int(column)) for column in target],
        **dict(zip(feature_names(settings.covariates), matrix, strict=True)),
        "target": log_sales - level,
    }
    return pa.table(columns)
