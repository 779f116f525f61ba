"""The detectors of a shard: which partition has which, loaded from the model sets of their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import ModelError
from fleetscore.exhaustion import raise_lack
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.detect.model import (
    DetectorPack,
    read_detectors,
    write_detectors,
)
from fleetscore.workloads.sensor_anomaly.fitted import read_version_index
from fleetscore.workloads.sensor_anomaly.packs import DETECTOR_PREFIX, PACK_MODELS
from fleetscore.workloads.sensor_anomaly.readings import Int64s


@dataclass(frozen=True, slots=True)
class DetectorPart:
    """Which file some detectors are from: version, number of the pack, and all that the file holds."""

    version: str
    number: int
    pack: DetectorPack


@dataclass(frozen=True, slots=True)
class LoadedDetectors:
    """`place[i]` is the row of partition i in all `parts` together, -1 where its version has no detectors
    for it, or `errors[i]` says why.
    """

    parts: Sequence[DetectorPart]
    place: Int64s
    errors: Mapping[int, ModelError]


def detector_file(number: int) -> str:
    """The file of the detectors of the sensors in a pack.

    >>> detector_file(3)
    'detect-0003.npz'
    """
    return f"{DETECTOR_PREFIX}{number:04d}.npz"


def detector_files(pack: DetectorPack, models: pa.StringArray) -> dict[str, bytes]:
    """The files of a model set whose one-class SVMs are those of the partitions `models`, sorted: detectors
    lie beside them.
    """
    place = pc.index_in(pack.keys, models).to_numpy()
    order = np.argsort(place, kind="stable")
    number = place[order] // PACK_MODELS
    return {
        detector_file(n): write_detectors(pack.rows(order[number == n])) for n in np.unique(number).tolist()
    }


def load_detectors(store: Store, workload: str, keys: pa.Array, versions: pa.Array) -> LoadedDetectors:
    """The detectors of the partitions `keys`, each from its version; a damaged file costs only the
    partitions in it.
    """
    place = np.full(len(keys), -1, np.int64)
    errors: dict[int, ModelError] = {}
    parts: list[DetectorPart] = []
    for version in pc.unique(versions).to_pylist():
        rows = np.flatnonzero(pc.equal(versions, version).to_numpy(zero_copy_only=False))
        for number, mine in _numbers(store, workload, version, keys, rows):
            try:
                pack = _read(store, workload, version, number)
            except ModelError as error:
                raise_lack(error)
                errors.update(dict.fromkeys(mine.tolist(), error))
                continue
            if pack is None:
                continue
            found = pc.index_in(keys.take(pa.array(mine)), pack.keys).fill_null(-1).to_numpy()
            before = sum(len(part.pack) for part in parts)
            place[mine] = np.where(found >= 0, found + before, -1)
            parts.append(DetectorPart(version, number, pack))
    return LoadedDetectors(parts, place, errors)


def _numbers(
    store: Store, workload: str, version: str, keys: pa.Array, rows: Int64s
) -> list[tuple[int, Int64s]]:
    """The numbers of the version's packs that hold some of the keys, with the rows of those."""
    index = read_version_index(store, workload, version) if version else None
    if index is None or index.error is not None or not len(index.keys):
        return []  # the one-class SVMs of these partitions are missing as well, and say so
    found = pc.index_in(keys.take(pa.array(rows)), index.keys).fill_null(-1).to_numpy()
    number = np.where(found >= 0, index.packs[found], -1)
    return [(n, rows[number == n]) for n in np.unique(number).tolist() if n >= 0]


def _read(store: Store, workload: str, version: str, number: int) -> DetectorPack | None:
    model_set = read_model_set(store, workload, version)
    name = detector_file(number)
    if name not in model_set.files:
        return None
    return read_detectors(read_model_file(store, model_set, name))
