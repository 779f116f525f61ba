"""Readings in memory: parallel columns with the sensors as codes, and the rows of a file that are no
readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import join_columns

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

# up to here (or a quarter of the rows) the table holds all devices × sensors, and codes need no search
_GRID_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is no reading of any window and sensor: `cause` is a code, `place` names its line or row."""

    cause: str
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one piece of a file, in file order.

    `time_us` are microseconds since 1970 UTC; `sensor` indexes `sensors`, a table of distinct `device` and
    `sensor` strings, some of which may have no reading; `value` is NaN where there is no number; `row` says
    where each stands in its file, and `texts` what stood in place of a number.
    """

    time_us: Int64s
    sensor: Codes
    sensors: pa.Table
    value: Floats
    row: Int64s | range
    texts: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_us)


def encode_sensors(device: pa.Array, sensor: pa.Array) -> tuple[Codes, pa.Table]:
    """Codes of the (device, sensor) pairs row by row, -1 where either is null or empty, and the table of
    the distinct pairs. Raises pa.ArrowInvalid where a column's indices lie beyond its dictionary.
    """
    devices, device_code = _dictionary(device)
    sensors, sensor_code = _dictionary(sensor)
    possible = len(devices) * len(sensors)
    lost = None
    if device_code.min(initial=0) < 0 or sensor_code.min(initial=0) < 0:
        lost = (device_code < 0) | (sensor_code < 0)
    if possible <= max(_GRID_MOST, len(device_code) // 4):
        code = device_code * np.int32(len(sensors)) + sensor_code
        pairs = np.arange(possible)
    else:
        wide = device_code.astype(np.int64) * len(sensors) + sensor_code
        pairs, inverse = np.unique(wide if lost is None else np.where(lost, 0, wide), return_inverse=True)
        code = inverse.astype(np.int32)
    if lost is not None:
        code[lost] = -1
    return code, _pairs(devices, sensors, pairs)


def partition_keys(sensors: pa.Table) -> pa.StringArray:
    """The partition keys of a table with `device` and `sensor` columns."""
    keys = join_columns([sensors["device"], sensors["sensor"]])
    return keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys


def _dictionary(column: pa.Array) -> tuple[pa.Array, Codes]:
    """The distinct non-empty strings of a column, and each row's index into them, -1 for null and empty."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    strings = column.dictionary.cast(pa.string())
    indices = column.indices.fill_null(-1) if column.indices.null_count else column.indices
    code = indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    if code.max(initial=-1) >= len(strings):  # Arrow takes the indices of a damaged file as they are
        raise pa.ArrowInvalid(f"index {code.max()} is not in a dictionary of {len(strings)} names")
    if strings.null_count or pc.any(pc.equal(strings, "")).as_py():
        usable = pc.fill_null(pc.not_equal(strings, ""), False).to_numpy(zero_copy_only=False)
        code = np.where((code >= 0) & usable[code], code, np.int32(-1))
        strings = strings.fill_null("")
    return strings, code


def _pairs(devices: pa.Array, sensors: pa.Array, pair: Int64s) -> pa.Table:
    width = max(len(sensors), 1)
    columns = [devices.take(pa.array(pair // width)), sensors.take(pa.array(pair % width))]
    return pa.table(columns, names=["device", "sensor"])
