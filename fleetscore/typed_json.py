"""JSON and plain values as typed records, safe where threads read the first of a kind at once.

msgspec describes a dataclass to itself when it meets it first, and other threads see that description while
it is half made: a second thread that decodes the same kind then reads null pointers and takes the process
down (msgspec 0.22, in `DataclassInfo_Convert`). Here each kind is described once, under a lock.
"""

from __future__ import annotations

from threading import RLock
from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value")

_describing = RLock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode_json(data: bytes | str | msgspec.Raw, kind: type[Value]) -> Value:
    """The value of that kind which the JSON holds; msgspec.DecodeError where it is no JSON,
    msgspec.ValidationError where it is another kind's.
    """
    try:
        value: Value = _decoder(kind).decode(data)
    except UnicodeDecodeError as error:  # msgspec leaves bytes in texts that are no UTF-8 to Python
        raise msgspec.DecodeError(f"a text is no UTF-8: {error}") from error
    return value


def convert_value(value: Any, kind: type[Value], *, strict: bool = True) -> Value:
    """The dicts, lists and scalars as a value of that kind; msgspec.ValidationError names the field that does
    not fit. Without `strict`, numbers may be written as text.
    """
    _decoder(kind)
    return msgspec.convert(value, type=kind, strict=strict)


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    found = _decoders.get(kind)
    if found is None:
        with _describing:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found
