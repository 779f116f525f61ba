"""The bytes of a pack: a fixed header, a description in JSON, and the arrays' buffers, each aligned to 64
bytes.

Nothing in a pack is executed, and nothing is allocated by a size that it claims: arrays are views of the
bytes that are there.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.typed_json import decode_json

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")

MAGIC = b"FSMODELS"
VERSION = 1
NARROW_VERSION = 2
"""Of packs with arrays that are narrower than their layout says, which earlier programs cannot read."""

HEAD = struct.Struct("<8sIIQ")  # magic, version, reserved, bytes of the description
ALIGNMENT_BYTES = 64
DTYPES = frozenset({"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"})
NARROWER = {"u2": ("u1", "u2"), "u4": ("u1", "u2", "u4"), "f8": ("f4", "f8")}
"""The types that may stand for one where every number of the array fits, the smallest first."""


class ArrayRecord(msgspec.Struct, frozen=True):
    """Where one array lies: its name, dtype (little endian), number of values and first byte after the
    description.
    """

    name: str
    dtype: str
    size: int
    begin: int


class Description(msgspec.Struct, frozen=True):
    """What a pack's bytes hold."""

    family: str
    models: int
    facts: msgspec.Raw
    arrays: tuple[ArrayRecord, ...]


def pack(
    family: str,
    arrays: Mapping[str, NDArray[Any]],
    bounds: Mapping[str, NDArray[np.int64]],
    facts: Sequence[Any],
    facts_of: NDArray[np.int32],
    layout: Mapping[str, str],
) -> bytes:
    """Return the bytes of a pack; equal packs have equal bytes."""
    is_narrow = any(array.dtype != np.dtype(layout[name]) for name, array in arrays.items())
    version = NARROW_VERSION if is_narrow else VERSION
    stored = {"facts_of": facts_of, **arrays} | {f"bounds:{name}": cuts for name, cuts in bounds.items()}
    records, buffers, begin = [], [], 0
    for name, array in stored.items():
        data = np.ascontiguousarray(array).tobytes()
        records.append(ArrayRecord(name, array.dtype.str[1:], array.size, begin))
        buffers += [data, b"\0" * (-len(data) % ALIGNMENT_BYTES)]
        begin += len(data) + len(buffers[-1])
    text = msgspec.json.encode(
        Description(family, facts_of.size, msgspec.Raw(msgspec.json.encode(facts)), tuple(records))
    )
    text += b" " * (-(HEAD.size + len(text)) % ALIGNMENT_BYTES)
    return b"".join([HEAD.pack(MAGIC, version, 0, len(text)), text, *buffers])


def narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the smallest type that holds each of its numbers to the last bit.

    >>> narrowed(np.array([3, 300], np.uint32)).dtype.str, narrowed(np.array([0.5, 0.1])).dtype.str
    ('<u2', '<f8')
    """
    for dtype in NARROWER.get(array.dtype.str[1:], ()):
        with np.errstate(over="ignore"):
            found = array.astype(dtype)
        if found.astype(array.dtype).tobytes() == array.tobytes():
            return found
    return array


def unpack(data: Buffer) -> tuple[Description, dict[str, NDArray[Any]]]:
    """Return the description and views of the arrays; ModelError `corrupt_model` where the bytes are no
    pack.
    """
    view = memoryview(data).cast("B")
    if len(view) < HEAD.size:
        raise corrupt(f"it has {len(view)} bytes, fewer than its header")
    magic, version, _, size = HEAD.unpack_from(view)
    if magic != MAGIC or version not in (VERSION, NARROW_VERSION):
        raise corrupt("it does not begin as a pack of this version does")
    if size > len(view) - HEAD.size:
        raise corrupt("it is cut short within its description")
    try:
        description = decode_json(bytes(view[HEAD.size : HEAD.size + size]), Description)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(f"its description cannot be read: {error}") from error
    body = view[HEAD.size + size :]
    return description, {record.name: _array(body, record) for record in description.arrays}


def split(
    description: Description,
    arrays: Mapping[str, NDArray[Any]],
    layout: Mapping[str, str],
    narrow: Collection[str],
    facts_type: type[T],
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.int64]], tuple[T, ...], NDArray[np.int32]]:
    """Return arrays, bounds, facts and each model's place in them, all checked against the layout, of which
    the arrays in `narrow` may be narrower; ModelError `corrupt_model`.
    """
    models = description.models
    try:
        facts = decode_json(description.facts, tuple[facts_type, ...])  # type: ignore[valid-type]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(f"its facts cannot be read: {error}") from error
    facts_of = _named(arrays, "facts_of", "i4")
    if facts_of.size != models or (models and not (facts_of.min() >= 0 and facts_of.max() < len(facts))):
        raise corrupt("its models do not all have facts")
    chosen = {
        name: _named(arrays, name, *(NARROWER[dtype] if name in narrow else [dtype]))
        for name, dtype in layout.items()
    }
    bounds = {name: _named(arrays, f"bounds:{name}", "i8") for name in layout}
    for name, cuts in bounds.items():
        if (
            cuts.size != models + 1
            or cuts[0] != 0
            or cuts[-1] != chosen[name].size
            or np.any(np.diff(cuts) < 0)
        ):
            raise corrupt(f"the bounds of {name!r} do not fit its values")
    return chosen, bounds, facts, facts_of


def corrupt(reason: str) -> ModelError:
    """Return the error of a pack that cannot be used, with the reason."""
    return ModelError(
        f"The pack of models is corrupt: {reason}.", fix="Import the models again.", code="corrupt_model"
    )


def _array(body: memoryview, record: ArrayRecord) -> NDArray[Any]:
    """A view of one array, after a check that it lies within the bytes."""
    if record.dtype not in DTYPES:
        raise corrupt(f"array {record.name!r} has the unknown type {record.dtype!r}")
    dtype = np.dtype("<" + record.dtype)
    if record.begin < 0 or record.size < 0 or record.begin % ALIGNMENT_BYTES:
        raise corrupt(f"array {record.name!r} lies nowhere")
    if record.begin + record.size * dtype.itemsize > len(body):
        raise corrupt(f"it is cut short within array {record.name!r}")
    return np.frombuffer(body, dtype, record.size, record.begin) if record.size else np.empty(0, dtype)


def _named(arrays: Mapping[str, NDArray[Any]], name: str, *dtypes: str) -> NDArray[Any]:
    """An array by its name, after a check of its type."""
    array = arrays.get(name)
    if array is None or array.dtype.str[1:] not in dtypes:
        raise corrupt(f"array {name!r} is missing or not of type {' or '.join(dtypes)}")
    return array
