"""From prepared hours to classes: the features of each server's hours ahead, and the answers of the pinned
model.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import ModelError
from fleetscore.exhaustion import raise_lack
from fleetscore.models.model_sets import ModelSet, read_model_file, read_model_set
from fleetscore.partition_keys import join_key, split_key
from fleetscore.store.base import Store
from fleetscore.workload import RunContext, Scored, Shard
from fleetscore.workloads.server_load.discovery import read_hours, window_targets
from fleetscore.workloads.server_load.features import (
    ALL_FEATURES,
    FEATURES,
    LOOKBACK_HOURS,
    LoadHistory,
    build_all_features,
    build_features,
    build_history,
    build_weekly_features,
)
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.load_quantiles import LOAD_FILE, predict_load
from fleetscore.workloads.server_load.months import HOUR_S
from fleetscore.workloads.server_load.results import RESULTS
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.trees import Trees, load_trees, predict
from fleetscore.workloads.server_load.week_features import Meaning

MODEL_FILE = "model.npz"
_SERVERS_AT_ONCE = 500  # times 33 days of hours in float64: 3 MB; times 48 rows of features: 6 MB

_CACHED = 8


@dataclass(frozen=True, slots=True)
class Models:
    """What a model set holds: the classes' trees, and those of the load's quantiles, if any."""

    classes: Trees
    load: Trees | None


_cache: OrderedDict[tuple[str, str, str], Models] = OrderedDict()
_lock = Lock()


def cached_models(store: Store, workload: str, version: str) -> Models:
    """The models of a version (immutable, so remembered; the eight last used); ModelError when one is missing
    or unfit.
    """
    key = (store.url, workload, version)
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    models = _read_models(store, read_model_set(store, workload, version))
    with _lock:
        _cache[key] = models
        while len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return models


def _read_models(store: Store, model_set: ModelSet) -> Models:
    classes = load_trees(read_model_file(store, model_set, MODEL_FILE))
    if LOAD_FILE not in model_set.files:
        return Models(classes, None)
    return Models(classes, load_trees(read_model_file(store, model_set, LOAD_FILE)))


def cached_trees(store: Store, workload: str, version: str) -> Trees:
    """The classes' trees of a version; ModelError when it is missing or unfit."""
    return cached_models(store, workload, version).classes


def score_shard(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """Classify the hours ahead of every server of the shard, some hundreds of servers of one model at a
    time.
    """
    settings: ServerLoadSettings = run.settings
    targets = window_targets(run.window, settings.horizon_hours)
    first, stop = int(targets[0]) - LOOKBACK_HOURS, int(targets[0])
    servers = [split_key(key)[0] for key in shard.keys]
    hours = read_hours(run.store, run.inputs, first, stop, servers=servers)
    of_version: dict[str, list[str]] = {}
    for server, version in zip(servers, shard.partitions["model"].to_pylist(), strict=True):
        of_version.setdefault(version, []).append(server)
    for version, members in of_version.items():
        try:
            models = cached_models(run.store, run.workload, version)
        except ModelError as error:
            raise_lack(error)
            failed = shard.restricted([join_key([server]) for server in members]).partitions
            yield Scored.failed(
                failed["partition"], error.code, str(error), input_rows=failed["rows"], model=version
            )
            continue
        for start in range(0, len(members), _SERVERS_AT_ONCE):
            yield _score(members[start : start + _SERVERS_AT_ONCE], hours, targets, models, version)


def _score(servers: Sequence[str], hours: pa.Table, targets: Any, models: Models, version: str) -> Scored:
    begun = time.perf_counter()
    stop = int(targets[0])
    history = build_history(hours, servers, stop - LOOKBACK_HOURS, stop)
    server, hour = np.repeat(np.arange(len(servers)), len(targets)), np.tile(targets, len(servers))
    features = _features(models.classes, history, server, hour)
    chances = predict(models.classes, features)
    results = _results(servers, (server, hour), chances, predict_load(models.load, features), version)
    input_rows = np.count_nonzero(~np.isnan(history.load), axis=1)
    seconds = (time.perf_counter() - begun) / len(servers)
    return Scored.of(
        [join_key([server]) for server in servers], results, input_rows=input_rows, rows=len(targets), model=version, seconds=seconds,
        sketches=_sketches(servers, history.load, features, chances),
    )  # fmt: skip


def _features(trees: Trees, history: LoadHistory, server: Any, hour: Any) -> Any:
    """The features that the model was trained on; nothing is known from the first hour on."""
    facts = trees.facts
    if facts.features == FEATURES:
        return build_features(history, server, hour, facts.country)
    meaning = Meaning(facts.country, facts.medium_above, facts.high_above)
    build = build_all_features if facts.features == ALL_FEATURES else build_weekly_features
    return build(history, (server, hour, np.full(len(hour), hour.min())), meaning)


def _results(servers: Sequence[str], row: tuple[Any, Any], chances: Any, load: Any, version: str) -> pa.Table:
    server, hour = row
    names = pa.DictionaryArray.from_arrays(pa.array(server, pa.int32()), pa.array(servers, pa.string()))
    classes = pa.DictionaryArray.from_arrays(pa.array(chances.argmax(axis=1), pa.int32()), pa.array(CLASSES))
    moments = pa.array(hour * (HOUR_S * 1_000_000)).cast(pa.timestamp("us", "UTC"))
    columns = [names.cast(pa.string()), moments, classes.cast(pa.string())]
    columns += [pa.array(np.ascontiguousarray(chances[:, k])) for k in range(len(CLASSES))]
    columns += [pa.array([version] * len(hour), pa.string())]
    columns += [pa.array(np.ascontiguousarray(load[:, k]), from_pandas=True) for k in range(load.shape[1])]
    return pa.Table.from_arrays(columns, schema=RESULTS)


def _sketches(servers: Sequence[str], load: Any, features: Any, chances: Any) -> pa.Table:
    """Per server: hours with sessions, mean and spread of their load, share of features that are missing,
    mean chances.
    """
    there = ~np.isnan(load)
    n = there.sum(axis=1)
    known = np.maximum(n, 1)
    mean = np.where(there, load, 0.0).sum(axis=1) / known
    spread = np.sqrt(np.where(there, (load - mean[:, None]) ** 2, 0.0).sum(axis=1) / known)
    missing = np.isnan(features).reshape(len(servers), -1, features.shape[1]).mean(axis=(1, 2))
    per_server = chances.reshape(len(servers), -1, len(CLASSES)).mean(axis=1)
    columns = {"n": n.astype(np.float64), "mean": mean, "std": spread, "missing": missing}
    columns |= {f"p_{name}": np.ascontiguousarray(per_server[:, k]) for k, name in enumerate(CLASSES)}
    return pa.table({"partition": [join_key([server]) for server in servers]} | columns)
