"""Which blocks of carried state the partitions of a shard are in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.store.paths import carried_state_prefix
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file
from fleetscore.workloads.sensor_anomaly.detect.blocks import Block
from fleetscore.workloads.sensor_anomaly.detect.carrying import Inputs
from fleetscore.workloads.sensor_anomaly.detect.history import within
from fleetscore.workloads.sensor_anomaly.detect.loading import DetectorPart, LoadedDetectors
from fleetscore.workloads.sensor_anomaly.detect.svm import SvmOfBins
from fleetscore.workloads.sensor_anomaly.discovery import span_us
from fleetscore.workloads.sensor_anomaly.entries import count_readings
from fleetscore.workloads.sensor_anomaly.fitted import Fitted, read_version_pack
from fleetscore.workloads.sensor_anomaly.packs import ModelPack
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

BLOCK_SENSORS = 256
_FORMAT = "1"  # part of every path: raise it when what is kept changes its meaning


@dataclass(frozen=True, slots=True)
class Placed:
    """A block of a shard: `partitions` are those of its sensors, -1 for one that is not in the shard,
    `rows` its sensors that are judged by it, and `first` the first of the shard's rows that these are.
    """

    block: Block
    partitions: Int64s
    rows: Int64s
    first: int


def place_blocks(
    inputs: Inputs, keys: pa.Array, loaded: LoadedDetectors, place: Int64s, row: Int64s
) -> list[Placed]:
    """The blocks of the partitions `keys`, whose detectors are at `place` among all that are loaded (-1:
    none); `row` is filled with the row of each partition.
    """
    there = _with_readings(inputs)
    found: list[Placed] = []
    first = before = 0
    for part in loaded.parts:
        partitions = pc.index_in(part.pack.keys, keys).fill_null(-1).to_numpy().astype(np.int64)
        own = np.zeros(len(part.pack), bool)
        own[place[(place >= before) & (place < before + len(part.pack))] - before] = True
        before += len(part.pack)
        absent = pc.is_in(part.pack.keys, there).to_numpy(zero_copy_only=False) & (partitions < 0)
        for start in range(0, len(part.pack), BLOCK_SENSORS):
            sensors = np.arange(start, min(start + BLOCK_SENSORS, len(part.pack)))
            if not own[sensors].any():
                continue
            pick = np.flatnonzero(own[sensors]) if absent[sensors].any() else None
            chosen = sensors if pick is None else sensors[pick]
            rows = np.flatnonzero(own[chosen])
            row[partitions[chosen][rows]] = np.arange(first, first + len(rows))
            found.append(Placed(_block(inputs, part, sensors, pick), partitions[chosen], rows, first))
            first += len(rows)
    return found


def state_folder(workload: str, version: str, number: int, start: int) -> str:
    """Where the state of a block lies.

    >>> state_folder("pumps", "v1", 3, 256)
    'partials/pumps/state/1/v1/0003-256/'
    """
    return f"{carried_state_prefix(workload)}{_FORMAT}/{version}/{number:04d}-{start}/"


def _block(inputs: Inputs, part: DetectorPart, sensors: Int64s, pick: Int64s | None) -> Block:
    """The block of some sensors of a pack: of the `pick`ed ones alone where others have readings as well,
    which only their own shard knows.
    """
    run = inputs.run
    pack = part.pack.rows(sensors if pick is None else sensors[pick])
    svm = _svm(read_version_pack(run.store, run.workload, part.version, part.number), pack.keys)
    folder = state_folder(run.workload, part.version, part.number, int(sensors[0]))
    begin = span_us(run)[0] // HOUR_US
    return Block(run.store, folder, pack, svm, len(sensors), pick, pick is None, inputs.keys, begin)


def _svm(models: ModelPack, keys: pa.Array) -> partial[Floats]:
    place = pc.index_in(keys, models.keys).fill_null(-1).to_numpy().astype(np.int64)
    sound = models.sound[place] & (models.features[place] == 1) & (place >= 0)
    svm = SvmOfBins(Fitted(models, place, {}), np.where(sound, place, -1))
    return partial(svm, np.arange(len(keys)))


def _with_readings(inputs: Inputs) -> pa.Array:
    """The partition keys with readings in the window."""
    first_us, end_us = span_us(inputs.run)
    files = within(inputs.files, first_us, end_us)
    entries = [catalog_file(inputs.run.store, file, inputs.run.settings) for file, _ in files]
    return count_readings(entries, first_us, end_us)[0]
