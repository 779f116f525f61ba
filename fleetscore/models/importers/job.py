"""One import, inside its own limited process: load the file, try the ways to compile it, prove, and answer
in plain bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.errors import FleetscoreError, ModelError
from fleetscore.models.importers.boosters import load_catboost, load_lightgbm, load_xgboost
from fleetscore.models.importers.estimator_files import load_pickle, load_skops
from fleetscore.models.importers.formats import Format, detect_format
from fleetscore.models.importers.kept_objects import keep_object
from fleetscore.models.importers.loaded import LoadedModel, original_of, trial_ranges
from fleetscore.models.importers.mlflow_folders import read_mlflow_folder
from fleetscore.models.importers.onnx_files import load_onnx
from fleetscore.models.importers.preparation import Unsupported
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.families import open_pack, pack_class
from fleetscore.models.packs.library import trusted_models
from fleetscore.models.packs.proof import Proof, prove

_REASON_LIMIT = 300
_EXPORT = "Export it as ONNX."
_EXPORT_OR_TRUST = "Export it as ONNX, or keep it in its library with --trust-pickles."
_EXPORT_AGAIN = (
    "Export the graph again: it takes any number of rows as one matrix, or columns, and answers floats."
)

_TEXTS = "Features are numbers: encode texts before the model, or call it from a function of your own (score in [models])."

_warm: set[str] = set()


def import_one(request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The header and pack of the model at request["path"]: card and proof, or the code and message of a
    refusal.

    The request holds `path`, `trusted`, `method` (that the model must answer; "" for any) and `ranges` by
    feature name.
    """
    try:
        return _imported(request)
    except FleetscoreError as error:
        return {"code": error.code, "message": error.message, "fix": error.fix}, b""
    except Unsupported as reason:
        message = f"The model cannot be imported: {reason}."
        return {"code": "unsupported_model", "message": message, "fix": ""}, b""
    except ImportError as error:
        message = f"Importing the model needs a library that is not installed: {error}."
        fix = "Install requirements-import.txt: pip install 'fleetscore[import]'."
        return {"code": "missing_library", "message": message, "fix": fix}, b""
    except MemoryError:
        raise
    except Exception as error:
        said = ": ".join(part for part in (type(error).__name__, str(error)[:_REASON_LIMIT]) if part)
        message = f"The model cannot be read: {said}."
        return {"code": "unreadable_model", "message": message, "fix": "Write the model again."}, b""


def warm_family(payload: bytes) -> None:
    """Compile in this process what scoring such a pack needs, once a family, so that later forks find it
    compiled.
    """
    pack = open_pack(payload)
    facts = pack.facts[0]
    kind = f"{pack.family} {facts.library} {sorted(facts.outputs)}"
    if kind in _warm or len(_warm) > 64 or pack.family in ("onnx", "library"):
        return
    _warm.add(kind)
    for method in facts.outputs:
        pack.score(np.array([0, 1], np.int64), np.zeros((1, facts.n_features)), method)


def _imported(request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    warnings.simplefilter("ignore")
    path = Path(request["path"])
    if request.get("keeps_pickles") and detect_format(path) is Format.PICKLE:
        return keep_object(path, trusted=bool(request["trusted"]))
    loaded = load_model(path, detect_format(path), trusted=bool(request["trusted"]))
    with trusted_models() if request["trusted"] else nullcontext():
        compiled, proof = _tried(loaded, request)
    facts = compiled.facts
    card = {
        "model": loaded.description,
        "family": compiled.family,
        "versions": dict(loaded.versions),
        "features": list(facts.feature_names) or facts.n_features,
        "outputs": dict(facts.outputs),
        "classes": list(facts.classes),
        "proof": proof.text,
        "warnings": list(loaded.warnings),
    }
    header = {"code": "", "card": card, "proof": asdict(proof)}
    return header, pack_class(compiled.family).join([compiled]).to_bytes()


def _tried(loaded: LoadedModel, request: Mapping[str, Any]) -> tuple[CompiledModel, Proof]:
    """As `compile_proven`; what the library says against numbers is a reason of its own, not a damaged file."""
    try:
        return compile_proven(loaded, request)
    except (FleetscoreError, Unsupported, ImportError, MemoryError):
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {str(error)[:_REASON_LIMIT]}".rstrip(".")
        raise ModelError(
            f"The model ({loaded.description}) does not answer rows of numbers: {said}.",
            fix=_TEXTS,
            code="not_proven",
        ) from error


def load_model(path: Path, kind: Format, *, trusted: bool) -> LoadedModel:
    """The file in the hands of its library; ModelError says what is wrong with it."""
    if kind is Format.MLFLOW:
        found = read_mlflow_folder(path)
        inner = load_model(found.path, detect_format(found.path, any_suffix=True), trusted=trusted)
        return replace(
            inner, versions=dict(inner.versions) | {"mlflow " + k: v for k, v in found.versions.items()}
        )
    if kind is Format.PICKLE:
        return load_pickle(path, trusted)
    return _LOADERS[kind](path)


_LOADERS: dict[Format, Callable[[Path], LoadedModel]] = {
    Format.ONNX: load_onnx,
    Format.SKOPS: load_skops,
    Format.LIGHTGBM: load_lightgbm,
    Format.XGBOOST_JSON: load_xgboost,
    Format.XGBOOST_UBJ: load_xgboost,
    Format.CATBOOST_JSON: lambda path: load_catboost(path, "json"),
    Format.CATBOOST_CBM: lambda path: load_catboost(path, "cbm"),
}


def compile_proven(loaded: LoadedModel, request: Mapping[str, Any]) -> tuple[CompiledModel, Proof]:
    """The first way whose model has the requested method and is proven; ModelError `not_proven` with every
    way's reason, and what to do: the request's own `fix`, where it has one.
    """
    reasons = []
    for way in loaded.ways:
        try:
            compiled = way()
        except (Unsupported, ModelError) as error:
            reasons.append(str(error))
            continue
        if compiled is None:
            continue
        if request["method"] and request["method"] not in compiled.facts.outputs:
            reasons.append(f"its {compiled.family} pack does not answer {request['method']!r}")
            continue
        ranges = trial_ranges(loaded, compiled, request["ranges"])
        try:
            proof = prove(compiled, original_of(loaded, compiled.facts), ranges, seed=0)
        except (ValueError, TypeError, AttributeError, ArithmeticError, FleetscoreError) as error:
            reasons.append(f"its library answers with {type(error).__name__}: {str(error)[:_REASON_LIMIT]}")
            continue
        if proof.equal:
            return compiled, proof
        if proof.max_deviation <= loaded.tolerance:
            text = f"Within {proof.max_deviation:.2g} of its library on {proof.rows} rows, which reads its own file inexactly."
            return compiled, replace(proof, equal=True, text=text)
        reasons.append(proof.text)
    why = "; ".join(dict.fromkeys(reasons))[:1000] or "no family fits it"
    raise ModelError(
        f"The model ({loaded.description}) has no pack that is proven: {why}.",
        fix=request.get("fix") or _way_out(loaded, request),
        code="not_proven",
    )


def _way_out(loaded: LoadedModel, request: Mapping[str, Any]) -> str:
    """What may help a model that no pack is proven for."""
    if loaded.description.startswith("ONNX:"):
        return _EXPORT_AGAIN
    return _EXPORT if request["trusted"] else _EXPORT_OR_TRUST
