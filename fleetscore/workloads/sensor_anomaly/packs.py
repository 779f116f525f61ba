"""Packs: the one-class SVMs of many sensors as a few flat arrays, stored as npz without any pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.errors import ModelError
from fleetscore.models.archive_errors import ARCHIVE_ERRORS

PACK_MODELS = 1000
"""Models per pack file: what a damaged file can cost, and what a shard loads at least."""

INDEX_FILE = "index.npz"
"""The file of a model set that names its partitions, each with the number of its pack."""

DETECTOR_PREFIX = "detect-"
"""How the files of a model set begin that hold detectors; each lies beside the pack of the same number."""

_ARRAYS = {
    "keys": np.uint8,
    "key_ends": np.int64,
    "features": np.int32,
    "vectors": np.int32,
    "rho": np.float64,
    "gamma": np.float64,
    "mean": np.float64,
    "scale": np.float64,
    "support": np.float64,
    "alpha": np.float64,
}


@dataclass(frozen=True, slots=True)
class SensorModel:
    """StandardScaler and OneClassSVM (rbf) of one sensor as plain float64 arrays.

    decision(x) = sum_i alpha[i] * exp(-gamma * |(x - mean) / scale - support[i]|^2) - rho; an anomaly when
    it is <= 0. `support` has one row per support vector and one column per feature; `mean` and `scale` one
    entry per feature.
    """

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    support: npt.NDArray[np.float64]
    alpha: npt.NDArray[np.float64]
    rho: float
    gamma: float


@dataclass(frozen=True)
class ModelPack:
    """Models side by side: `features` and `vectors` (support vectors) per model, the rest concatenated in
    their order.
    """

    keys: pa.StringArray
    features: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.int32]
    rho: npt.NDArray[np.float64]
    gamma: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    support: npt.NDArray[np.float64]
    alpha: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def first_feature(self) -> npt.NDArray[np.int64]:
        """Where each model's `mean` and `scale` begin."""
        return _starts(self.features)

    @cached_property
    def first_vector(self) -> npt.NDArray[np.int64]:
        """Where each model's `alpha` begin."""
        return _starts(self.vectors)

    @cached_property
    def first_support(self) -> npt.NDArray[np.int64]:
        """Where each model's `support` begin."""
        return _starts(self.vectors.astype(np.int64) * self.features)

    @cached_property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Which models have finite parameters, positive scales, alphas and gamma; the others are corrupt."""
        per_feature = np.isfinite(self.mean) & np.isfinite(self.scale) & (self.scale > 0)
        per_vector = np.isfinite(self.alpha) & (self.alpha > 0)
        per_model = np.isfinite(self.rho) & np.isfinite(self.gamma) & (self.gamma > 0)
        return (
            per_model
            & _all_of(per_feature, self.first_feature, self.features)
            & _all_of(per_vector, self.first_vector, self.vectors)
            & _all_of(np.isfinite(self.support), self.first_support, self.vectors * self.features)
        )

    @cached_property
    def degenerate(self) -> npt.NDArray[np.bool_]:
        """Which models call every reading an anomaly, because even the largest possible decision,
        sum(alpha) - rho, is not above 0.
        """
        best = np.zeros(len(self))
        for step in range(int(self.vectors.max(initial=0))):  # libsvm's order of summation
            more = np.flatnonzero(self.vectors > step)
            best[more] += self.alpha[self.first_vector[more] + step]
        return best - self.rho <= 0.0

    def model(self, index: int) -> SensorModel:
        """One model on its own."""
        width, count = int(self.features[index]), int(self.vectors[index])
        feature, vector, support = (
            int(s[index]) for s in (self.first_feature, self.first_vector, self.first_support)
        )
        return SensorModel(
            self.mean[feature : feature + width],
            self.scale[feature : feature + width],
            self.support[support : support + width * count].reshape(count, width),
            self.alpha[vector : vector + count],
            float(self.rho[index]),
            float(self.gamma[index]),
        )


def pack_models(models: Mapping[str, SensorModel]) -> ModelPack:
    """Lay the models side by side, in the order of their partition keys."""
    keys = sorted(models)
    ordered = [models[key] for key in keys]
    return ModelPack(
        pa.array(keys, pa.string()),
        np.array([len(m.mean) for m in ordered], np.int32),
        np.array([len(m.alpha) for m in ordered], np.int32),
        np.array([m.rho for m in ordered], np.float64),
        np.array([m.gamma for m in ordered], np.float64),
        *(
            _joined([getattr(m, name).ravel() for m in ordered])
            for name in ("mean", "scale", "support", "alpha")
        ),
    )


def join_packs(packs: Sequence[ModelPack]) -> ModelPack:
    """The models of all packs, in their order."""
    if len(packs) == 1:
        return packs[0]
    names = ("features", "vectors", "rho", "gamma", "mean", "scale", "support", "alpha")
    keys = pa.concat_arrays([pa.array([], pa.string()), *(p.keys for p in packs)])
    joined: list[Any] = [_joined([getattr(p, n) for p in packs], _ARRAYS[n]) for n in names]
    return ModelPack(keys, *joined)


def write_pack(pack: ModelPack) -> bytes:
    """The pack as the bytes of an npz file; the same models give the same bytes."""
    arrays = {name: getattr(pack, name) for name in _ARRAYS if not name.startswith("key")}
    return _write_npz({**_write_keys(pack.keys), **arrays})


def read_pack(data: bytes) -> ModelPack:
    """The pack in these bytes; ModelError `corrupt_model` when they are no pack, or its arrays do not fit
    each other.
    """
    arrays = _read_npz(data, _ARRAYS)
    pack = ModelPack(_read_keys(arrays), *(arrays[name] for name in _ARRAYS if not name.startswith("key")))
    if (pack.features < 1).any() or (pack.vectors < 1).any():
        raise corrupt_file("it has models without features or support vectors")
    support = int((pack.vectors.astype(np.int64) * pack.features).sum())
    expected = {
        "keys": (len(pack.keys), len(pack)),
        "vectors": (len(pack.vectors), len(pack)),
        "rho": (len(pack.rho), len(pack)),
        "gamma": (len(pack.gamma), len(pack)),
        "mean": (len(pack.mean), int(pack.features.sum())),
        "scale": (len(pack.scale), int(pack.features.sum())),
        "alpha": (len(pack.alpha), int(pack.vectors.sum())),
        "support": (len(pack.support), support),
    }
    for name, (got, wanted) in expected.items():
        if got != wanted:
            raise corrupt_file(f"array {name} has {got} entries, expected {wanted}")
    return pack


def pack_files(models: Mapping[str, SensorModel]) -> dict[str, bytes]:
    """The files of a model set: packs of PACK_MODELS models in the order of their keys, and the index that
    names them.
    """
    whole = sorted(models)
    groups = [whole[start : start + PACK_MODELS] for start in range(0, len(whole), PACK_MODELS)]
    files = {pack_name(n): write_pack(pack_models({k: models[k] for k in g})) for n, g in enumerate(groups)}
    numbers = np.repeat(np.arange(len(groups), dtype=np.int32), [len(g) for g in groups])
    files[INDEX_FILE] = _write_npz({**_write_keys(pa.array(whole, pa.string())), "packs": numbers})
    return files


def pack_name(number: int) -> str:
    """The file name of a pack of a model set.

    >>> pack_name(3)
    'pack-0003.npz'
    """
    return f"pack-{number:04d}.npz"


def read_index(data: bytes) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """The partitions of a model set, and the pack number of each; ModelError `corrupt_model` when the bytes
    are no index.
    """
    arrays = _read_npz(data, {"keys": np.uint8, "key_ends": np.int64, "packs": np.int32})
    keys = _read_keys(arrays)
    if len(keys) != len(arrays["packs"]):
        raise corrupt_file("keys and packs differ in length")
    return keys, arrays["packs"]


def write_keyed_arrays(keys: pa.StringArray, arrays: Mapping[str, Any]) -> bytes:
    """Partition keys and flat arrays as the bytes of an npz file; equal arrays give equal bytes."""
    return _write_npz({**_write_keys(keys), **arrays})


def read_keyed_arrays(
    data: bytes, kinds: Mapping[str, Any], *, optional: Collection[str] = ()
) -> tuple[pa.StringArray, dict[str, Any]]:
    """What `write_keyed_arrays` wrote; ModelError `corrupt_model` for anything else, or other types than
    `kinds` names. The `optional` ones may be missing.
    """
    arrays = _read_npz(data, {"keys": np.uint8, "key_ends": np.int64, **kinds}, optional)
    return _read_keys(arrays), arrays


def _write_keys(keys: pa.StringArray) -> dict[str, Any]:
    encoded = [key.encode() for key in keys.to_pylist()]
    ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)
    return {"keys": np.frombuffer(b"".join(encoded), np.uint8), "key_ends": ends}


def _read_keys(arrays: Mapping[str, Any]) -> pa.StringArray:
    ends = arrays["key_ends"]
    offsets = np.concatenate([[0], ends])
    if (np.diff(offsets) < 0).any() or offsets[-1] != len(arrays["keys"]) or offsets[-1] >= 1 << 31:
        raise corrupt_file("its keys do not fit their lengths")
    keys = pa.StringArray.from_buffers(
        len(ends), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(arrays["keys"])
    )
    try:
        keys.validate(full=True)
    except pa.ArrowInvalid as error:
        raise corrupt_file("its keys are not UTF-8") from error
    return keys


def _write_npz(arrays: Mapping[str, Any]) -> bytes:
    """Like numpy.savez, with a fixed time stamp, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def _read_npz(data: bytes, kinds: Mapping[str, Any], optional: Collection[str] = ()) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in kinds if name in archive or name not in optional}
    except ARCHIVE_ERRORS as error:
        raise corrupt_file(str(error)) from error
    for name, array in arrays.items():
        if array.dtype != kinds[name] or array.ndim != 1:
            raise corrupt_file(f"array {name} is {array.dtype} with {array.ndim} axes")
    return arrays


def corrupt_file(why: str) -> ModelError:
    """The error of a model file that holds what no training writes."""
    return ModelError(
        f"A model file is not what was written: {why}.",
        fix="Pin another version, or train again.",
        code="corrupt_model",
    )


def _joined(arrays: Iterable[Any], kind: Any = np.float64) -> Any:
    return np.concatenate([np.empty(0, kind), *arrays])


def _starts(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    ends = np.cumsum(lengths, dtype=np.int64)
    starts: npt.NDArray[np.int64] = ends - lengths
    return starts


def _all_of(good: npt.NDArray[np.bool_], first: Any, length: Any) -> npt.NDArray[np.bool_]:
    """Whether all entries of each model are good; each model has at least one."""
    bad = np.concatenate([[0], np.cumsum(~good)])
    whole: npt.NDArray[np.bool_] = bad[first + length] == bad[first]
    return whole
