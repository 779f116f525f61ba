"""The models of a shard: which partition uses which model, loaded from their packs once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import ModelError
from fleetscore.exhaustion import raise_lack
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.pins import Pins
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.packs import (
    DETECTOR_PREFIX,
    INDEX_FILE,
    ModelPack,
    join_packs,
    pack_name,
    read_index,
    read_pack,
)

_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """The partitions that a model set has models for, and the pack of each; `error` where the set cannot be
    read.
    """

    version: str
    keys: pa.StringArray
    packs: npt.NDArray[np.int32]
    error: ModelError | None = None
    remark: str = ""
    detectors: bool = False  # whether there are detectors beside the models


@dataclass(frozen=True, slots=True)
class Fitted:
    """The models of some partitions: `place[i]` is the model of partition i in `pack`, -1 where `errors[i]`
    says why there is none.
    """

    pack: ModelPack
    place: npt.NDArray[np.int64]
    errors: dict[int, ModelError]


def read_indices(store: Store, workload: str, pins: Pins) -> dict[str, ModelIndex]:
    """The index of every version that the pins name."""
    versions = {pins.current, *pins.partitions.values()} - {""}
    return {version: read_version_index(store, workload, version) for version in sorted(versions)}


def read_version_index(store: Store, workload: str, version: str) -> ModelIndex:
    """The index of one version."""
    try:
        model_set = read_model_set(store, workload, version)
        keys, packs = read_index(read_model_file(store, model_set, INDEX_FILE))
    except ModelError as error:
        raise_lack(error)
        return ModelIndex(version, pa.array([], pa.string()), np.empty(0, np.int32), error)
    detectors = any(name.startswith(DETECTOR_PREFIX) for name in model_set.files)
    return ModelIndex(version, keys, packs, remark=_remark(version, model_set.card), detectors=detectors)


def load_models(store: Store, workload: str, partitions: pa.Array, versions: pa.Array) -> Fitted:
    """The models of `partitions`, each from its version; a damaged file costs only the partitions in it."""
    place = np.full(len(partitions), -1, np.int64)
    errors: dict[int, ModelError] = {}
    packs: list[ModelPack] = []
    first = 0
    for version in pc.unique(versions).to_pylist():
        rows = np.flatnonzero(pc.equal(versions, version).to_numpy(zero_copy_only=False))
        for pack, error, mine in _packs_of(store, workload, version, partitions.take(pa.array(rows)), rows):
            if pack is None:
                errors.update(dict.fromkeys(mine.tolist(), error))
                continue
            found = pc.index_in(partitions.take(pa.array(mine)), pack.keys).fill_null(-1).to_numpy()
            place[mine] = np.where(found >= 0, found + first, -1)
            errors.update(dict.fromkeys(mine[found < 0].tolist(), error))
            packs.append(pack)
            first += len(pack)
    joined = join_packs(packs)
    _refuse_unsound(joined, place, errors)
    return Fitted(joined, place, errors)


def _packs_of(
    store: Store, workload: str, version: str, keys: pa.Array, rows: npt.NDArray[np.int64]
) -> list[tuple[ModelPack | None, ModelError, npt.NDArray[np.int64]]]:
    """Each pack that holds some of the keys (None with the error where it cannot be read), with the rows of
    those keys.
    """
    if not version:
        unpinned = ModelError("No model set is pinned.", fix="Import or train one.", code="no_model")
        return [(None, unpinned, rows)]
    index = read_version_index(store, workload, version)
    if index.error is not None:
        return [(None, index.error, rows)]
    found = pc.index_in(keys, index.keys).fill_null(-1).to_numpy()
    number = np.where(found >= 0, index.packs[found] if len(index.packs) else -1, -1)
    parts: list[tuple[ModelPack | None, ModelError, npt.NDArray[np.int64]]] = []
    for n in np.unique(number).tolist():
        mine = rows[number == n]
        missing = ModelError(f"Model set {version} has no model for it.", code="no_model")
        try:
            parts.append((read_version_pack(store, workload, version, n) if n >= 0 else None, missing, mine))
        except ModelError as error:
            raise_lack(error)
            parts.append((None, error, mine))
    return parts


class _PackCache:
    """The packs last used, up to a number of bytes: model sets are immutable, so an entry never grows
    stale. Safe for threads.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._packs: OrderedDict[tuple[str, str, str, int], tuple[ModelPack, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: Store, workload: str, version: str, number: int) -> ModelPack:
        key = (store.url, workload, version, number)
        with self._lock:
            if key in self._packs:
                self._packs.move_to_end(key)
                return self._packs[key][0]
        data = read_model_file(store, read_model_set(store, workload, version), pack_name(number))
        pack = read_pack(data)
        with self._lock:
            self._packs[key] = (pack, len(data))
            while sum(size for _, size in self._packs.values()) > self._limit_bytes:
                self._packs.popitem(last=False)
        return pack


_cache = _PackCache(_CACHE_BYTES)


def read_version_pack(store: Store, workload: str, version: str, number: int) -> ModelPack:
    """A pack of a version, from memory where this process has read it before; ModelError when it is
    damaged.
    """
    return _cache.get(store, workload, version, number)


def read_scalers(store: Store, workload: str, version: str) -> pa.Table | None:
    """Mean and deviation of the training readings of every sensor with a model of one feature, from the
    models themselves; packs that cannot be read are left out.
    """
    index = read_version_index(store, workload, version)
    tables = []
    for number in np.unique(index.packs).tolist():
        try:
            pack = read_version_pack(store, workload, version, number)
        except ModelError:
            continue  # its partitions fail where they are scored
        one = np.flatnonzero(pack.features == 1)
        place = pack.first_feature[one]
        columns = [pack.keys.take(pa.array(one)), pa.array(pack.mean[place]), pa.array(pack.scale[place])]
        tables.append(pa.table(columns, names=["partition", "mean", "std"]))
    return pa.concat_tables(tables) if tables else None


def _refuse_unsound(pack: ModelPack, place: npt.NDArray[np.int64], errors: dict[int, ModelError]) -> None:
    """Give the partitions whose model holds impossible numbers, or takes more than one feature, an error
    instead.
    """
    there = np.flatnonzero(place >= 0)
    for row in there[~pack.sound[place[there]]].tolist():
        errors[row] = ModelError(
            "Its model holds numbers that no training gives (not finite, or a scale, alpha or gamma not above 0).",
            code="corrupt_model",
        )
    for row in there[pack.features[place[there]] != 1].tolist():
        errors.setdefault(
            row,
            ModelError(
                f"Its model takes {pack.features[place[row]]} features, but a reading has 1.",
                fix="Train it again, or pin another version.",
                code="feature_count",
            ),
        )
    place[list(errors)] = -1


def _remark(version: str, card: Mapping[str, Any]) -> str:
    if not card.get("degenerate_count"):
        return ""
    named = ", ".join(card["degenerate"][:10])
    return f"{card['degenerate_count']} of {card['models']} models of {version} call every reading an anomaly: {named}."
