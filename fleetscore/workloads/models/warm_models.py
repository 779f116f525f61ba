"""Loads what the first rows need: the pinned models' index, and a pack and the code of each family."""

from __future__ import annotations

import numpy as np

from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.shard_scoring import score_shard
from fleetscore.models.pins import Pins
from fleetscore.store.base import Store
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.own_code import load_function
from fleetscore.workloads.models.own_settings import distrust_own_code
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import FleetSettings


def warm_models(store: Store, workload: str, settings: FleetSettings, pins: Pins) -> None:
    """Open the pinned models and score a row of zeros by one model of each family, or import the user's
    function where the workload is trusted; raises what these raise.
    """
    if settings.models.score:
        if not distrust_own_code(workload, settings):
            load_function(settings.models.score, workload)
        return
    bundle = find_bundle(store, workload, pins.current)
    features = model_features(bundle, settings)
    keys = first_keys(bundle)
    columns = {name: np.zeros(len(keys)) for name in features}
    score_shard(bundle, keys, np.arange(len(keys) + 1), columns, settings.models.method, features)


def first_keys(bundle: Bundle) -> list[str]:
    """The first key of each family of the bundle; only the index is read."""
    numbers, rows = np.unique(bundle.index["pack"].to_numpy(), return_index=True)
    first: dict[str, int] = {}
    for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
        first.setdefault(bundle.names[number].rpartition("-")[2], row)
    return [bundle.keys[row].as_py() for row in first.values()]
