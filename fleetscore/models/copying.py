"""Copies of model sets between stores: the same version with the same files, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from fleetscore.errors import ConflictError, ModelError
from fleetscore.models.model_sets import (
    ModelSet,
    Origin,
    list_model_sets,
    read_model_file,
    read_model_set,
    store_model_set,
)
from fleetscore.models.pins import read_pins
from fleetscore.store.base import Store


@dataclass(frozen=True, slots=True)
class CopiedSet:
    """What a copy made: the set as it is in the target, its bytes, and whether it was there already."""

    set: ModelSet
    size_bytes: int
    was_there: bool


def copy_model_set(
    source: Store, target: Store, workload: str, version: str, requested_by: str, now: datetime
) -> CopiedSet:
    """Copy a set of the workload ("": the source's current one) with its version and its hashes; nothing is
    imported or pinned.

    Each file is checked against its SHA-256 on the way. A set that is there already stays as it is.
    ModelError where the source has no such set or a damaged one, ConflictError where the target has another
    set under that version.
    """
    original = read_model_set(source, workload, version or _current(source, workload))
    size_bytes = sum(file.size_bytes for file in original.files.values())
    if original.version in list_model_sets(target, workload):
        known = read_model_set(target, workload, original.version)
        if known.files != original.files:
            raise ConflictError(
                f"{workload} has another model set {original.version} at {target.url}: its files differ.",
                fix="Copy another version, or train again in the source.",
            )
        return CopiedSet(known, size_bytes, was_there=True)
    copied = replace(original, origin=original.origin or Origin(source.url, requested_by, now))
    files = {name: read_model_file(source, original, name) for name in original.files}
    store_model_set(target, copied, files)
    return CopiedSet(copied, size_bytes, was_there=False)


def _current(source: Store, workload: str) -> str:
    current = read_pins(source, workload).current
    if current:
        return current
    known = ", ".join(list_model_sets(source, workload)) or "none"
    raise ModelError(
        f"No model set of {workload} is pinned at {source.url}.",
        fix=f"Name one with --version; there are: {known}.",
        code="no_model_set",
        field="models",
    )
