"""What the detectors know of each sensor, as plain arrays: the file detect-NNNN.npz beside the pack of the
same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fleetscore.workloads.sensor_anomaly.packs import corrupt_file, read_keyed_arrays, write_keyed_arrays
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

DETECTORS = ("median", "kmeans8", "kmeans32", "day_before", "season", "svm")
"""Names of the detectors, in the order of every array that has an entry for each."""

CLUSTERS = 8
SHORT, LONG = 8, 32
"""Lengths of the windows of readings that KMeans is fitted to, in bins with readings."""

TAIL = 48
"""So many of the largest raw scores of training are kept, of each detector."""

PATTERNS, PATTERN_BINS = 4, 96
"""A sensor has at most so many usual patterns of so many bins with readings each."""

WEEK_HOURS = 168
"""A seasonal level may have an entry for each hour of the week."""

SHAPES: Mapping[str, tuple[int, ...]] = {
    "center": (),
    "scale": (),
    "pace": (),
    "short": (CLUSTERS, SHORT),
    "long": (CLUSTERS, LONG),
    "season": (24,),
    "tail": (len(DETECTORS), TAIL),
    "seen": (len(DETECTORS),),
    "per_bin": (),
    "usual": (PATTERNS, PATTERN_BINS),
    "tolerance": (),
    "week": (WEEK_HOURS,),
}
"""Array of a pack -> shape of one sensor's part."""

USUAL = ("usual", "tolerance")
"""Arrays of usual patterns, as float32; a file of sensors without any has none of them."""

_WHERE_THERE = {"usual": USUAL, "week": ("week",)}
"""Array -> the arrays that a file has only where one of its sensors has something in that array."""

_LATER = {"per_bin": 1.0, "usual": np.nan, "tolerance": 0.0, "week": np.nan}
"""Arrays that a file may lack -> what stands for each of their entries."""

_KINDS = {name: np.float32 if name in USUAL else np.float64 for name in SHAPES}


@dataclass(frozen=True)
class DetectorPack:
    """The detectors of many sensors, a row each. Values are standardised: (value - center) / scale.

    `pace` is how many bins a day have readings, `short` and `long` hold the centroids of windows, `season`
    the level by hour of the day (UTC; NaN where the history carries none), `tail` the largest raw scores of
    training, largest first, -inf where there were fewer, `seen` how many raw scores they are the largest
    of, `per_bin` how many readings a bin has that has any, `usual` the patterns that are normal (NaN where
    there is none), `tolerance` how far readings that follow them may be off. `week` is the season by hour of
    the week (from Thursday on, as days since 1970 are), the day seven times where days are alike; NaN
    without a season, and in files of trainings that knew hours of the day alone.
    """

    keys: pa.StringArray
    center: Floats
    scale: Floats
    pace: Floats
    short: Floats
    long: Floats
    season: Floats
    tail: Floats
    seen: Floats
    per_bin: Floats
    usual: Floats
    tolerance: Floats
    week: Floats

    def __len__(self) -> int:
        return len(self.center)

    def rows(self, rows: Int64s) -> DetectorPack:
        """The detectors of some sensors."""
        arrays = (getattr(self, name)[rows] for name in SHAPES)
        return DetectorPack(self.keys.take(pa.array(rows)), *arrays)


def join_detectors(packs: Sequence[DetectorPack]) -> DetectorPack:
    """All sensors of the packs, in their order."""
    keys = pa.concat_arrays([pa.array([], pa.string()), *(pack.keys for pack in packs)])
    arrays = (
        np.concatenate([np.empty((0, *shape), _KINDS[name]), *(getattr(pack, name) for pack in packs)])
        for name, shape in SHAPES.items()
    )
    return DetectorPack(keys, *arrays)


def write_detectors(pack: DetectorPack) -> bytes:
    """The pack as the bytes of an npz file without any pickle; equal packs give equal bytes."""
    absent = {
        name
        for array, names in _WHERE_THERE.items()
        if not np.isfinite(getattr(pack, array)).any()
        for name in names
    }
    names = [name for name in SHAPES if name not in absent]
    return write_keyed_arrays(
        pack.keys, {name: getattr(pack, name).reshape(-1).astype(_KINDS[name]) for name in names}
    )


def read_detectors(data: bytes) -> DetectorPack:
    """The pack in these bytes; ModelError `corrupt_model` when they are none, or hold numbers that no
    training gives.
    """
    keys, arrays = read_keyed_arrays(data, _KINDS, optional=_LATER)
    for name, value in _LATER.items():
        arrays.setdefault(name, np.full(len(keys) * int(np.prod(SHAPES[name])), value, _KINDS[name]))
    shaped = {}
    for name, shape in SHAPES.items():
        expected = len(keys) * int(np.prod(shape))
        if len(arrays[name]) != expected:
            raise corrupt_file(f"array {name} has {len(arrays[name])} entries, expected {expected}")
        shaped[name] = arrays[name].reshape(len(keys), *shape)
    pack = DetectorPack(keys, **shaped)
    if not (np.isfinite(pack.center).all() and np.isfinite(pack.scale).all() and (pack.scale > 0).all()):
        raise corrupt_file("a center or scale of its detectors is not finite, or a scale not above 0")
    if not (np.isfinite(pack.per_bin).all() and (pack.per_bin >= 1).all()):
        raise corrupt_file("a number of readings in a bin of its detectors is not finite, or below 1")
    if np.isinf(pack.season).any() or np.isinf(pack.week).any():
        raise corrupt_file("a seasonal level of its detectors is infinite")
    if np.isinf(pack.usual).any() or not (np.isfinite(pack.tolerance).all() and (pack.tolerance >= 0).all()):
        raise corrupt_file("a usual pattern of its detectors is infinite, or a tolerance not 0 or more")
    return pack
