"""State files, read: what can be made anew is a hint, everything else is truth.

A hint that cannot be read counts as absent, with a warning in the log. A truth that cannot be read is a
DamagedStateError that names its path and the command that repairs it.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from fleetscore.errors import DamagedStateError, MissingBlobError, StoreError
from fleetscore.exhaustion import raise_lack
from fleetscore.store.base import Store
from fleetscore.typed_json import decode_json

Record = TypeVar("Record")
Value = TypeVar("Value")
REPAIR = "`fleetscore repair` shows what can be done about it."
NEWER = "newer_state"
"""The code of a file that a newer version wrote: nothing is wrong with it."""

_UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,  # UnicodeDecodeError and what Arrow raises for cut files among them
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
    OSError,
)
_log = logging.getLogger("fleetscore.state")


def read_truth(store: Store, path: str, kind: type[Record]) -> Record:
    """The record at the path; MissingBlobError when there is none, DamagedStateError when it cannot be
    read.
    """
    return decode_truth(store.read(path), path, kind)


def decode_truth(data: bytes, path: str, kind: type[Record]) -> Record:
    """The record that the file at the path holds; DamagedStateError when it holds none, or one of a newer
    version.
    """
    try:
        record = decode_json(data, kind)
    except _UNREADABLE as error:
        _check_version(_written_by(data), path, kind)
        raise damaged(path, error, len(data)) from error
    _check_version(getattr(record, "schema", 0), path, kind)
    return record


def decode_truth_with(data: bytes, path: str, decode: Callable[[bytes], Value]) -> Value:
    """What `decode` makes of the truth at the path; DamagedStateError where it raises."""
    try:
        return decode(data)
    except _UNREADABLE as error:
        raise_lack(error)
        raise damaged(path, error, len(data)) from error


def read_hint(store: Store, path: str, kind: type[Record]) -> Record | None:
    """The record at the path; None when there is none, and when it cannot be read."""
    return read_hint_with(store, path, lambda data: decode_truth(data, path, kind))


def read_hint_with(store: Store, path: str, decode: Callable[[bytes], Value]) -> Value | None:
    """What `decode` makes of the hint at the path; None when there is none, and when `decode` raises."""
    try:
        data = store.read(path)
    except MissingBlobError:
        return None
    return decode_hint(data, path, decode)


def decode_hint(data: bytes, path: str, decode: Callable[[bytes], Value]) -> Value | None:
    """What `decode` makes of the hint that the path held; None, with a warning, where it raises."""
    try:
        return decode(data)
    except Exception as error:  # whatever a decoder makes of damaged bytes, the hint is made anew
        _log.warning("%s cannot be read and is made anew: %s", path, error)
        return None


def write_hint(store: Store, path: str, data: bytes) -> None:
    """Write the hint, or log that it cannot be written: what it saves is computed again."""
    with keeping_hint(path):
        store.write(path, data)


@contextlib.contextmanager
def keeping_hint(path: str) -> Iterator[None]:
    """Log that the hint at the path cannot be written, where writing it fails in the store or on the disk."""
    try:
        yield
    except (StoreError, OSError) as error:
        _log.warning("%s cannot be kept, and is computed again: %s", path, error)


def check_range(values: Iterable[float], least: float = 0.0) -> None:
    """ValueError unless all the values are finite and at least `least`."""
    bad = [value for value in values if not (math.isfinite(value) and value >= least)]
    if bad:
        raise ValueError(f"{bad[0]} is not a finite number from {least:g} on")


def damaged(path: str, error: BaseException, size_bytes: int | None = None) -> DamagedStateError:
    """The error of a truth that cannot be read."""
    size = "" if size_bytes is None else f" ({size_bytes:,} bytes)"
    return DamagedStateError(f"{path}{size} is damaged: {error}", fix=REPAIR, field=path)


def _check_version(schema: int, path: str, kind: Any) -> None:
    """DamagedStateError with the code NEWER unless this version knows the record's schema."""
    known = _known_schema(kind)
    if known and schema > known:
        raise DamagedStateError(
            f"{path} was written by a newer version of Fleetscore (schema {schema}; this one reads up to {known}).",
            fix="Use that version for this store; nothing was changed.",
            code=NEWER,
            field=path,
        )


def _known_schema(kind: Any) -> int:
    """The newest schema of that kind of record which this version knows; 0 for what has none."""
    known = getattr(kind, "__dataclass_fields__", {}).get("schema")
    return int(known.default) if known is not None else 0


def _written_by(data: bytes) -> int:
    """The schema that a record which cannot be decoded names; 0 when it names none."""
    try:
        schema = msgspec.json.decode(data)["schema"]
    except _UNREADABLE:
        return 0
    return schema if isinstance(schema, int) else 0
