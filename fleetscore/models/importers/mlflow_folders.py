"""MLflow model folders, read without MLflow: which file holds the model, and what the folder says of it.

What a folder says is never trusted: it names no types to load, and no file outside itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetscore.errors import ModelError
from fleetscore.models.importers.naming import MODEL_FOLDER_FILE

_DESCRIPTION_LIMIT_BYTES = 1 << 20
_FLAVORS = {
    "onnx": ("data", "model.onnx"),
    "lightgbm": ("data", "model.lgb"),
    "xgboost": ("data", "model.ubj"),
    "catboost": ("data", "model.cb"),
    "sklearn": ("pickled_model", "model.pkl"),
}
"""The flavours that are read, each with the entry that names its file and the file's usual name."""


@dataclass(frozen=True, slots=True)
class MlflowModel:
    """The model's file in the folder, and the versions that the folder says wrote it."""

    path: Path
    flavor: str
    versions: Mapping[str, str]


def read_mlflow_folder(folder: Path) -> MlflowModel:
    """The model of an MLflow folder; ModelError names what is missing, and a path that leads out of the
    folder.
    """
    flavors = _flavors(folder)
    known = [name for name in _FLAVORS if isinstance(flavors.get(name), dict)]
    if not known:
        raise ModelError(
            f"The MLflow folder has the flavours {', '.join(map(str, flavors)) or 'none'}, and none is read.",
            fix=f"Log the model with one of {', '.join(_FLAVORS)}.",
            code="unsupported_model",
        )
    said = flavors[known[0]]
    entry, usual = _FLAVORS[known[0]]
    path = folder / str(said.get(entry) or said.get("data") or usual)
    if path.is_dir():  # ONNX and CatBoost may lie in a folder of their own
        path = path / usual
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(
            "The MLflow folder names a file outside of itself.",
            fix="Log the model again.",
            code="unsafe_path",
        )
    if not path.is_file():
        raise ModelError(
            f"The MLflow folder lacks its model file {path.name}.",
            fix="Copy the whole folder.",
            code="unreadable_model",
        )
    versions = {str(key): str(value)[:50] for key, value in said.items() if str(key).endswith("_version")}
    return MlflowModel(path, known[0], versions)


def _flavors(folder: Path) -> dict[str, Any]:
    import yaml

    path = folder / MODEL_FOLDER_FILE
    if path.stat().st_size > _DESCRIPTION_LIMIT_BYTES:
        raise ModelError(f"{MODEL_FOLDER_FILE} has {path.stat().st_size} bytes.", code="model_too_large")
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(
            f"{MODEL_FOLDER_FILE} cannot be read: {str(error)[:200]}",
            fix="Log the model again.",
            code="unreadable_model",
        ) from error
    flavors = description.get("flavors") if isinstance(description, dict) else None
    return flavors if isinstance(flavors, dict) else {}
