"""The models of a set by key: packs by family and features, files of the set, and the scoring of a shard
through them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from threading import Lock
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.models.packs.base import CompiledModel, Pack
from fleetscore.models.packs.container import corrupt
from fleetscore.models.packs.families import open_pack, pack_class
from fleetscore.typed_json import decode_json

INDEX_FILE = "models.arrow"
"""The file of a model set that says in which pack, and where in it, the model of each key is."""

PACK_MODELS = 4_096
PACK_BYTES = 64 << 20
"""A pack is closed at so many models or bytes: what a shard reads at least, and what a damaged file can cost.
"""

OPENED_BYTES = 256 << 20
"""Packs of a set that stay open, by the bytes of their files; beyond, the least recently used is let go."""

_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("pack", pa.int32(), nullable=False),
        pa.field("place", pa.int32(), nullable=False),
    ]
)


class PackFeatures(msgspec.Struct, frozen=True):
    """The features that all models of a pack take: their names, where the models say them, and their
    number.
    """

    feature_names: tuple[str, ...]
    n_features: int


@dataclass(frozen=True)
class Bundle:
    """Models by key. `index` has the columns key, pack and place; packs are opened when a key of theirs is
    requested, and those that can be read again are let go beyond OPENED_BYTES. Threads may share a bundle.
    """

    index: pa.Table
    names: tuple[str, ...]
    read: Callable[[str], Any]
    known: dict[int, PackFeatures] = field(default_factory=dict)  # by pack, of the index or the opened pack
    opened: dict[int, Pack] = field(default_factory=dict)
    unpickled: dict[str, Any] = field(default_factory=dict)  # of trusted workloads, by key
    sizes: dict[int, int] = field(default_factory=dict)  # bytes of read packs, the oldest use first
    lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        """Return the number of models."""
        return int(self.index.num_rows)

    @cached_property
    def keys(self) -> pa.StringArray:
        """The keys of all models."""
        return self.index["key"].combine_chunks()

    def find(self, keys: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The pack and the place in it of each key; -1 for a key that no model has."""
        rows = pc.index_in(keys, value_set=self.keys)
        found = [pc.fill_null(self.index[name].combine_chunks().take(rows), -1) for name in ("pack", "place")]
        return found[0].to_numpy(zero_copy_only=False), found[1].to_numpy(zero_copy_only=False)

    def pack(self, number: int) -> Pack:
        """The pack of this number; ModelError `corrupt_model` when its file is not what the set says."""
        with self.lock:
            found = self.opened.get(number)
            if number in self.sizes:
                self.sizes[number] = self.sizes.pop(number)
        if found is None:
            data = self.read(self.names[number])
            found = open_pack(data)
            if self.known.get(number, own := _features_of(found)) != own:
                raise corrupt(f"{self.names[number]} takes other features than {INDEX_FILE} says")
            with self.lock:
                self.known[number] = own
                self.opened[number], self.sizes[number] = found, len(data)
                self._release(number)
        return found

    def features(self, number: int) -> PackFeatures:
        """What the models of a pack take. The pack is opened only where the index, of an earlier version,
        does not say it, and once: packs of a large set are let go before their rows are scored.
        """
        found = self.known.get(number)
        return _features_of(self.pack(number)) if found is None else found

    def _release(self, kept: int) -> None:
        total = sum(self.sizes.values())
        for number in [each for each in self.sizes if each != kept]:
            if total <= OPENED_BYTES:
                return
            total -= self.sizes.pop(number)
            del self.opened[number]

    def model(self, key: str) -> CompiledModel:
        """The model of one key; ModelError `no_model` where no model has it."""
        pack, place = self.find(pa.array([key], pa.string()))
        if pack[0] < 0:
            raise ModelError(
                f"No model has the key {key!r}.", fix="Import one.", code="no_model", field="key"
            )
        return self.pack(int(pack[0])).model(int(place[0]))

    def families(self) -> dict[str, int]:
        """The number of models of each family, for plans; no pack is opened."""
        counts: dict[str, int] = defaultdict(int)
        for number, count in zip(*np.unique(self.index["pack"].to_numpy(), return_counts=True), strict=True):
            counts[self.names[number].removesuffix(".bin").rpartition("-")[2]] += int(count)
        return dict(counts)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each file of the set, the index last; every pack is opened."""
        for number, name in enumerate(self.names):
            yield name, self.pack(number).to_bytes()
        features = [self.features(number) for number in range(len(self.names))]
        yield INDEX_FILE, _index_bytes(self.index, self.names, features)


def pack_models(models: Iterable[tuple[str, CompiledModel]]) -> Bundle:
    """Pack models under their keys, those of one family and the same features together; ModelError names a
    key given twice.
    """
    packer = _Packer()
    for key, model in models:
        packer.add(key, model)
    return packer.bundle()


def open_bundle(read: Callable[[str], Any]) -> Bundle:
    """The models of a set whose files `read` gives by name, each checked against the set; ModelError
    `corrupt_model` otherwise.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(read(INDEX_FILE))).read_all()
        table.validate(full=True)
        metadata = table.schema.metadata or {}
        names = tuple(name for name in metadata.get(b"packs", b"").decode().split("\n") if name)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise corrupt(f"{INDEX_FILE} cannot be read: {error}") from error
    if not table.schema.remove_metadata().equals(_SCHEMA):
        raise corrupt(f"{INDEX_FILE} does not have the columns key, pack and place")
    numbers = table["pack"].to_numpy()
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(names)):
        raise corrupt(f"{INDEX_FILE} names packs that the set does not have")
    if len(numbers) and table["place"].to_numpy().min() < 0:
        raise corrupt(f"{INDEX_FILE} names places below 0")
    return Bundle(table, names, read, _known_features(metadata.get(b"features"), len(names)))


def _known_features(text: bytes | None, packs: int) -> dict[int, PackFeatures]:
    """What the index says of each pack's features; nothing where an earlier version wrote it."""
    if text is None:
        return {}
    try:
        found = decode_json(text, tuple[PackFeatures, ...])
    except msgspec.DecodeError as error:
        raise corrupt(f"the features in {INDEX_FILE} cannot be read: {error}") from error
    if len(found) != packs:
        raise corrupt(f"{INDEX_FILE} names the features of {len(found)} packs of {packs}")
    return dict(enumerate(found))


def _features_of(pack: Pack) -> PackFeatures:
    """What a pack's models take: it holds those of the same features only; ModelError for a pack of none."""
    if not pack.facts:
        raise corrupt("it holds no model")
    return PackFeatures(pack.facts[0].feature_names, pack.facts[0].n_features)


class _Packer:
    """Collects models by family and features, and closes a pack when it is large enough."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._where: list[tuple[int, int]] = []
        self._packs: list[Pack] = []
        self._open: dict[Any, list[tuple[int, CompiledModel]]] = defaultdict(list)
        self._sizes: dict[Any, int] = defaultdict(int)

    def add(self, key: str, model: CompiledModel) -> None:
        group = model.family, model.facts.feature_names, model.facts.n_features
        self._open[group].append((len(self._keys), model))
        self._sizes[group] += sum(array.nbytes for array in model.arrays.values())
        self._keys.append(key)
        self._where.append((-1, -1))
        if len(self._open[group]) >= PACK_MODELS or self._sizes[group] >= PACK_BYTES:
            self._close(group)

    def _close(self, group: Any) -> None:
        members = self._open.pop(group)
        self._sizes.pop(group)
        for place, (row, _) in enumerate(members):
            self._where[row] = len(self._packs), place
        self._packs.append(pack_class(group[0]).join([model for _, model in members]))

    def bundle(self) -> Bundle:
        for group in list(self._open):
            self._close(group)
        _refuse_repeated(self._keys)
        places = np.array(self._where, np.int32).reshape(-1, 2)
        index = pa.table(
            [pa.array(self._keys, pa.string()), places[:, 0].copy(), places[:, 1].copy()], schema=_SCHEMA
        )
        names = tuple(f"pack-{number:05d}-{pack.family}.bin" for number, pack in enumerate(self._packs))
        return Bundle(index, names, _not_stored, opened=dict(enumerate(self._packs)))


def _refuse_repeated(keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ModelError(f"Two models have the key {key!r}.", fix="Keep one.", code="two_models_for_key")
        seen.add(key)


def _not_stored(name: str) -> Any:
    raise corrupt(f"{name} is not there")


def _index_bytes(index: pa.Table, names: tuple[str, ...], features: list[PackFeatures]) -> bytes:
    sink = pa.BufferOutputStream()
    schema = _SCHEMA.with_metadata({"packs": "\n".join(names), "features": msgspec.json.encode(features)})
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(index.combine_chunks().cast(schema))
    return bytes(sink.getvalue())


def join_bundles(first: Bundle, second: Bundle) -> Bundle:
    """The models of both; where both have a key, the second's."""
    added = set(second.keys.to_pylist())
    kept = (one for one in _models(first) if one[0] not in added)
    return pack_models(chain(kept, _models(second)))


def count_changes(first: Bundle, second: Bundle) -> dict[str, int]:
    """How many models of `first` the models of `second` replace, are new beside, and leave."""
    known, added = set(first.keys.to_pylist()), set(second.keys.to_pylist())
    return {"replaced": len(known & added), "new": len(added - known), "kept": len(known - added)}


def _models(bundle: Bundle) -> Iterator[tuple[str, CompiledModel]]:
    columns = (bundle.index[name].to_pylist() for name in _SCHEMA.names)
    for key, number, place in zip(*columns, strict=True):
        yield key, bundle.pack(number).model(place)
