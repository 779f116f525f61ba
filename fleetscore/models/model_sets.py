"""Model sets: versioned, immutable sets of models of a workload; `pins` says which one is used.

models/<workload>/<version>/set.json names each file with its size and SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from fleetscore.errors import InputError, MissingBlobError, ModelError
from fleetscore.store.base import Entry, Store
from fleetscore.store.decoded_cache import read_unchanging, read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.typed_json import decode_json


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model set."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a copied set was made: the URL of its store, who copied it, and when."""

    store: str
    requested_by: str
    copied: datetime


@dataclass(frozen=True, slots=True)
class ModelSet:
    """What set.json holds; `origin` is None for a set that was made in this store."""

    workload: str
    version: str
    created: datetime
    files: Mapping[str, ModelFile]
    card: Mapping[str, Any]
    schema: int = 1
    origin: Origin | None = None


def write_model_set(
    store: Store,
    workload: str,
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    created: datetime | None = None,
) -> ModelSet:
    """Store a new set; its version is its time and the start of its content's hash. set.json comes last, so
    a set is whole or not there.
    """
    created = created or datetime.now(UTC)
    digests = {
        name: ModelFile(len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())
    }
    digest = hashlib.sha256(msgspec.json.encode(digests, order="sorted")).hexdigest()
    version = f"{created:%Y%m%dT%H%M%SZ}-{digest[:8]}"
    model_set = ModelSet(workload, version, created, digests, card)
    store_model_set(store, model_set, files)
    return model_set


def store_model_set(store: Store, model_set: ModelSet, files: Mapping[str, bytes]) -> None:
    """Write the set's files, and set.json once they are on the disk."""
    workload, version = model_set.workload, model_set.version
    for name, data in files.items():
        store.write(_path(workload, version, name), data)
    store.flush(_path(workload, version, name) for name in files)
    store.write(_path(workload, version, "set.json"), msgspec.json.encode(model_set))
    store.flush([_path(workload, version, "set.json")])  # before a pin or a run's record names it


def read_model_set(store: Store, workload: str, version: str) -> ModelSet:
    """What set.json of the version says; ModelError when there is no such version."""
    check_version(version)
    try:
        return _decode_set(store.read(_path(workload, version, "set.json")), workload, version)
    except MissingBlobError as error:
        known = ", ".join(list_model_sets(store, workload)) or "none yet"
        raise ModelError(
            f"{workload} has no model set {version!r}.",
            fix=f"Known versions: {known}.",
            code="no_model_set",
            field="models",
        ) from error


def read_listed_set(store: Store, workload: str, version: str, listed: Entry | None) -> ModelSet:
    """The set whose set.json was just listed, read only if this process has not read that version of it;
    otherwise as `read_model_set`.
    """
    if listed is None:
        return read_model_set(store, workload, version)
    return read_version(store, listed.path, listed.etag, lambda data: _decode_set(data, workload, version))


def read_model_file(store: Store, model_set: ModelSet, name: str) -> bytes:
    """A file of the set, checked against its SHA-256; ModelError when it is missing or was altered."""
    path = _path(model_set.workload, model_set.version, name)
    expected = model_set.files.get(name)
    if expected is None:
        raise ModelError(f"Model set {model_set.version} has no file {name}.", code="corrupt_model")
    try:
        data = store.read(path)
    except MissingBlobError as error:
        raise ModelError(
            f"{path} is missing.", fix="Pin another version, or train again.", code="corrupt_model"
        ) from error
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise ModelError(
            f"{path} is not what was stored: its SHA-256 differs.",
            fix="Pin another version, or train again.",
            code="corrupt_model",
        )
    return data


def list_model_sets(store: Store, workload: str) -> list[str]:
    """The stored versions, oldest first."""
    versions = _folders(store, workload)
    there = side_by_side(lambda version: store.stat(_path(workload, version, "set.json")), versions)
    return [version for version, entry in zip(versions, there, strict=True) if entry is not None]


def read_model_sets(store: Store, workload: str) -> list[ModelSet]:
    """The stored sets, oldest first; this process reads each once, since a set never changes. ModelError
    when one is not readable.
    """
    found = side_by_side(lambda version: _known_set(store, workload, version), _folders(store, workload))
    return [model_set for model_set in found if model_set is not None]


def _folders(store: Store, workload: str) -> list[str]:
    """The folders that may hold a model set, in order."""
    prefix = f"models/{workload}/"
    return [folder[len(prefix) : -1] for folder in store.list_folders(prefix)]


def _known_set(store: Store, workload: str, version: str) -> ModelSet | None:
    """The set of that version; None for a folder that holds none, or none yet."""
    path = _path(workload, version, "set.json")
    try:
        return read_unchanging(store, path, lambda data: _decode_set(data, workload, version))
    except MissingBlobError:
        return None


def _decode_set(data: bytes, workload: str, version: str) -> ModelSet:
    try:
        return decode_json(data, ModelSet)
    except msgspec.DecodeError as error:
        raise ModelError(
            f"set.json of {workload} model set {version} is not readable: {error}", code="corrupt_model"
        ) from error


def _path(workload: str, version: str, name: str) -> str:
    return f"models/{workload}/{version}/{name}"


def check_version(version: str) -> None:
    """InputError for a text that no model set can have as its name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}", version):
        raise InputError(f"{version!r} is not the name of a model set.", field="models")
