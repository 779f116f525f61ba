"""The carried state of some sensors on one day (UTC): bins, raw scores and the largest of them, kept in one
file of the store.

Each hour says by a key what it was made from, and each array has a checksum. A file that cannot be read, or
was made from other input, counts as absent.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.errors import MissingBlobError
from fleetscore.store.base import Store
from fleetscore.store.state_files import write_hint
from fleetscore.typed_json import decode_json
from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import digest_of
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, TAIL
from fleetscore.workloads.sensor_anomaly.readings import Int64s

HOURS = 24
BINS_ARRAYS = ("mean", "low", "high", "count")
TOP_ARRAYS = ("top", "seen")
_SCHEMA = 1
_log = logging.getLogger("fleetscore.state")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Header:
    """What the file holds: sensors, hours from midnight on, their keys, and a checksum of each array."""

    sensors: int
    hours: int
    bins: list[str]
    raw: list[str]
    top: str
    checksums: dict[str, int]
    schema: int = _SCHEMA


@dataclass(slots=True)
class DayState:
    """State of a day: arrays of all its bins, NaN (counts 0) where an hour's key is "".

    `mean`, `low`, `high` and `count` are (sensors, bins), `raw` (sensors, detectors, bins), `top` (sensors,
    detectors, TAIL) the largest raw scores of the whole day, `seen` (sensors, detectors) how many there
    are; both only where `top` names the hours that they are of. Arrays that were not asked for are missing.
    """

    sensors: int
    bins: list[str] = field(default_factory=lambda: [""] * HOURS)
    raw: list[str] = field(default_factory=lambda: [""] * HOURS)
    top: str = ""
    arrays: dict[str, Array] = field(default_factory=dict)
    changed: bool = False  # since it was read or written

    def array(self, name: str) -> Array:
        """An array to read or to write into."""
        if name not in self.arrays:
            shape = _shape(name, self.sensors, HOURS)
            self.arrays[name] = np.zeros(shape) if name in ("count", "seen") else np.full(shape, np.nan)
        return self.arrays[name]

    def blank(self, hour: int, kind: str) -> None:
        """Forget the bins or the raw scores of an hour (`kind` "bins" or "raw")."""
        keys = self.bins if kind == "bins" else self.raw
        keys[hour] = ""
        place = slice(hour * HOUR_BINS, (hour + 1) * HOUR_BINS)
        for name in BINS_ARRAYS if kind == "bins" else ("raw",):
            if name in self.arrays:
                self.arrays[name][..., place] = 0.0 if name == "count" else np.nan


def key_of_day(raw: Sequence[str | None]) -> str:
    """The key of the largest raw scores of a day, from the keys of its hours."""
    return digest_of(*(key or "" for key in raw))


def read_day(
    store: Store, path: str, sensors: int, names: Iterable[str], pick: Int64s | None = None
) -> DayState:
    """The state at the path with some of its arrays, of the sensors `pick` or of all; an empty one where
    there is none to be read, which is not looked for again.
    """
    count = sensors if pick is None else len(pick)
    try:
        with store.open(path) as file:
            return _read(file, sensors, count, set(names), pick)
    except MissingBlobError:
        return DayState(count, changed=True)
    except Exception as error:  # whatever is wrong with a cache, it is made anew
        _log.warning("%s cannot be read and is made anew: %s", path, error)
        return DayState(count, changed=True)


def _read(file: pa.NativeFile, sensors: int, count: int, names: set[str], pick: Int64s | None) -> DayState:
    size = int.from_bytes(file.read(8), "little")
    if not 0 < size < 1 << 20:
        raise ValueError("it has no header")
    header = decode_json(file.read(size), _Header)
    if header.schema != _SCHEMA or header.sensors != sensors or not 0 < header.hours <= HOURS:
        raise ValueError("it is of other sensors or of another version")
    state = DayState(count, header.bins, header.raw, header.top)
    if len(header.bins) != HOURS or len(header.raw) != HOURS:
        raise ValueError("it has not a key for each hour")
    place = 8 + size
    for name, checksum in header.checksums.items():
        shape = _shape(name, sensors, header.hours)
        length = 8 * int(np.prod(shape))
        if name in names:
            file.seek(place)
            stored = _array(file.read_buffer(length), shape, checksum)
            state.arrays[name] = _whole_day(name, stored if pick is None else stored[pick])
        place += length
    return state


def _array(data: pa.Buffer, shape: tuple[int, ...], checksum: int) -> Array:
    if data.size != 8 * int(np.prod(shape)) or zlib.crc32(data) != checksum:
        raise ValueError("it is not what was written")
    return np.frombuffer(data, np.float64).reshape(shape)


def _whole_day(name: str, stored: Array) -> Array:
    """A copy that can be written into and has the bins of all hours."""
    if name in TOP_ARRAYS or stored.shape[-1] == DAY_BINS:
        return stored.copy()
    whole = np.full((*stored.shape[:-1], DAY_BINS), 0.0 if name == "count" else np.nan)
    whole[..., : stored.shape[-1]] = stored
    return whole


def write_day(store: Store, path: str, state: DayState) -> None:
    """Keep the state, all its arrays being there; the last of several writers wins, and each writes what is
    right by its keys.
    """
    state.changed = False
    known = [hour for hour in range(HOURS) if state.bins[hour] or state.raw[hour]]
    if not known:
        return
    hours = known[-1] + 1
    arrays: Mapping[str, Array] = {
        name: np.ascontiguousarray(_cut(name, state.array(name), hours))
        for name in (*BINS_ARRAYS, "raw", *(TOP_ARRAYS if state.top else ()))
    }
    checksums = {name: zlib.crc32(array.data) for name, array in arrays.items()}
    header = msgspec.json.encode(_Header(state.sensors, hours, state.bins, state.raw, state.top, checksums))
    header += b" " * (-len(header) % 8)
    write_hint(
        store, path, b"".join([len(header).to_bytes(8, "little"), header, *(a.data for a in arrays.values())])
    )


def _cut(name: str, array: Array, hours: int) -> Array:
    return array if name in TOP_ARRAYS else array[..., : hours * HOUR_BINS]


def _shape(name: str, sensors: int, hours: int) -> tuple[int, ...]:
    last = {"top": TAIL, "seen": len(DETECTORS)}.get(name, hours * HOUR_BINS)
    return (sensors, len(DETECTORS), last) if name in ("raw", "top") else (sensors, last)
