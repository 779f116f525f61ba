"""Importing a forecaster of the user's own: its files to packs, tried on the last weeks of the history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.importers.folder import Imported, import_models
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.bundle import pack_models
from fleetscore.store.base import Store
from fleetscore.workload import ModelSetDraft
from fleetscore.workloads.store_sales.backtest import load_history
from fleetscore.workloads.store_sales.contract import STORES_FILE, StoreSalesSettings
from fleetscore.workloads.store_sales.features import build, every_step, feature_names, prepare
from fleetscore.workloads.store_sales.model_file import pack_arrays
from fleetscore.workloads.store_sales.own_forecaster import (
    FILE,
    WHOLE,
    OwnModel,
    join_models,
    own_model,
    predict_own,
)
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.training import learn_fallback
from fleetscore.workloads.store_sales.whole_pieces import count_series

_TRIAL_SERIES = 500
_WHOLE_FEATURES = frozenset({"step", "known_weeks", "weeks_since_feat", "weeks_on_deal"})


def import_forecaster(
    store: Store, source: Path, settings: StoreSalesSettings, workload: str
) -> ModelSetDraft:
    """The model set of a forecaster in a file or folder; nothing of it is executed but ONNX graphs.

    Raises ModelError that names the file and what does not fit, and InputError without a history, which the
    fallback is learned from and the forecaster tried on.
    """
    files = {_key_of(one, source): one for one in import_models(source)}
    if not files:
        raise ModelError(f"{source} holds no model file.", fix="Name a file or folder.", code="no_model")
    compiled = {key: (one.name, _model_of(one)) for key, one in files.items()}
    own = {key: own_model(name, model, settings.covariates) for key, (name, model) in compiled.items()}
    for name, model in compiled.values():
        _refuse_whole_inputs(name, model)
    models = join_models(own)
    panel, _ = load_history(store, settings, workload)
    tried = _try_out(models, panel, settings)
    prepared = replace(prepare(panel), whole=count_series(panel.sales))
    fallback = learn_fallback(prepared, panel.skus)
    bundle = pack_models((key, model) for key, (_, model) in compiled.items())
    arrays = {
        "fallback_skus": fallback.skus,
        "fallback_quantiles": fallback.quantiles,
        "steps": np.array(settings.steps),
    }
    extra = {FILE: pack_arrays(arrays), STORES_FILE: msgspec.json.encode(panel.stores)}
    return ModelSetDraft(dict(bundle.files()) | extra, _card(files, own, tried, settings))


def _key_of(one: Imported, source: Path) -> str:
    return WHOLE if source.is_file() or not one.key else one.key


def _model_of(one: Imported) -> Any:
    """The compiled model of a file; its refusal raised with the file's name."""
    if one.refusal is not None:
        raise ModelError(
            f"{one.name} cannot be imported: {one.refusal.message}",
            fix=one.refusal.fix,
            code=one.refusal.code,
            field=one.name,
        ) from one.refusal
    return one.model


def _refuse_whole_inputs(name: str, model: CompiledModel) -> None:
    """ModelError where a graph reads features with fractions as integers, which would cut the fractions off."""
    if model.family != "onnx":
        return
    import onnx

    given = onnx.ModelProto.FromString(model.arrays["graph"].tobytes()).graph.input
    features = given[: int(model.arrays["spec"][0])]
    whole = [one.name for one in features if one.type.tensor_type.elem_type == onnx.TensorProto.INT64]
    cut = sorted(set(whole) - _WHOLE_FEATURES)
    if cut:
        raise ModelError(
            f"{name} reads {', '.join(cut)} as whole numbers (int64): the fractions of the features would be cut off.",
            fix=f"Export it with inputs of float32 or float64; only {', '.join(sorted(_WHOLE_FEATURES))} are whole.",
            code="feature_mismatch",
        )


def _try_out(models: tuple[OwnModel, ...], panel: Panel, settings: StoreSalesSettings) -> int:
    """Forecast the last weeks of the history; the number of rows. ModelError unless all answers are
    finite.
    """
    series, weeks = min(len(panel.skus), _TRIAL_SERIES), panel.sales.shape[1]
    origin = max(0, weeks - settings.steps - 1)
    cases = every_step(series, origin, min(settings.steps, weeks - origin - 1))
    matrix, _ = build(prepare(panel), cases)
    answers = predict_own(models, matrix, feature_names(settings.covariates))
    bad = int((~np.isfinite(answers)).any(axis=0).sum())
    if bad:
        raise ModelError(
            f"The forecaster answers no finite numbers in {bad:,} of {answers.shape[1]:,} rows of the last weeks.",
            fix="Its features are those that training_table gives; its answers are log1p of sales minus level.",
            code="not_proven",
        )
    return int(answers.shape[1])


def _card(
    files: dict[str, Imported], own: dict[str, OwnModel], tried: int, settings: StoreSalesSettings
) -> dict[str, Any]:
    read = sorted({name for model in own.values() for name in model.features})
    return {
        "kind": "own forecaster",
        "files": {
            key: {
                "file": one.name,
                "format": one.card.get("format", ""),
                "sha256": one.card.get("sha256", ""),
            }
            for key, one in files.items()
        },
        "features": [name for name in feature_names(settings.covariates) if name in read],
        "answers": "log1p of sales relative to the feature level, five quantiles",
        "steps": [1, settings.steps],
        "tried_on_rows": tried,
    }
