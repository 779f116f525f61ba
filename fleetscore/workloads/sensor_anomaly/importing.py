"""Importing the reference's models: a folder of pickled pipelines named model_<device>_<sensor>."""

from __future__ import annotations

import re
from pathlib import Path

from fleetscore.errors import InputError
from fleetscore.partition_keys import join_key
from fleetscore.workload import ModelSetDraft
from fleetscore.workloads.sensor_anomaly.packs import SensorModel, pack_files, pack_models
from fleetscore.workloads.sensor_anomaly.pickles import read_pipeline

_NAME = re.compile(r"model_([^_]+)_([^_]+?)(?:\.(?:pkl|pickle|model))?")


def import_folder(source: Path) -> ModelSetDraft:
    """The models in the folder's files, read without executing them; one that cannot be read refuses the
    whole import, by name.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder.", field="from")
    paths = sorted(p for p in source.iterdir() if p.is_file() and not p.name.startswith("."))
    models: dict[str, SensorModel] = {}
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise InputError(
                f"{path.name} does not name its sensor.", fix="Name it model_<device>_<sensor>.", field="from"
            )
        key = join_key(match.groups())
        if key in models:
            raise InputError(f"{path.name} is a second model for {key}.", field="from")
        models[key] = read_pipeline(path.read_bytes(), path.name)
    if not models:
        raise InputError(
            f"{source} holds no model files.", fix="Expected model_<device>_<sensor>.", field="from"
        )
    return draft_of(models, {"source": "imported"})


def draft_of(models: dict[str, SensorModel], card: dict[str, object]) -> ModelSetDraft:
    """A model set of these models, its card naming how many there are and which are degenerate."""
    pack = pack_models(models)
    degenerate = [
        key for key, bad in zip(pack.keys.to_pylist(), pack.degenerate.tolist(), strict=True) if bad
    ]
    facts = {
        "models": len(pack),
        "features": sorted(set(pack.features.tolist())),
        "support_vectors": int(pack.vectors.sum()),
        "degenerate": degenerate[:100],
        "degenerate_count": len(degenerate),
    }
    return ModelSetDraft(pack_files(models), {**card, **facts})
