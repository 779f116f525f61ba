"""Which properties a request body may have: unknown ones are refused as the service refuses them.

The service reads bodies as OData: a name that its type does not have is an error, null is the same as absent,
and a whole number may be written as text.
"""

import re
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from devbatch.errors import ServiceError, unsupported

_WHOLE: Final = re.compile(r"[+-]?\d{1,10}")
_NOTHING: Final[tuple[object, ...]] = (None, [], False, -1)  # values without effect


def accept_properties(body: Mapping[str, Any], kind: type, path: str = "") -> dict[str, Any]:
    """The body as the service takes it: nulls left out, numbers that were written as text as numbers.

    `kind` is the typed view of the body; its attribute `UNSUPPORTED` maps properties that exist and are not
    carried out to what to do instead. Raises ServiceError (400): InvalidRequestBody for a property that the
    type does not have, UnsupportedByLocalService for one that is not carried out.
    """
    known, refused = _properties(kind), getattr(kind, "UNSUPPORTED", {})
    accepted = {}
    for name, value in body.items():
        if name.startswith("odata."):  # annotations, as a resource that was read carries them
            continue
        if name in refused and value not in _NOTHING:
            raise unsupported(path + name, refused[name])
        if name not in known and name not in refused:
            raise _unknown_property(path + name, kind)
        if value is not None:
            accepted[name] = _accepted(value, known[name], f"{path}{name}.") if name in known else value
    return accepted


def property_names(kind: type) -> frozenset[str]:
    """The properties that a typed view's type has, carried out or not."""
    return frozenset((*_properties(kind), *getattr(kind, "UNSUPPORTED", {})))


def _accepted(value: Any, declared: Any, path: str) -> Any:
    for part in _parts(declared):
        if isinstance(value, dict) and isinstance(part, type) and issubclass(part, msgspec.Struct):
            return accept_properties(value, part, path)
        if isinstance(value, list) and get_origin(part) is list:
            return [_accepted(one, get_args(part)[0], path) for one in value]
        if part is int and isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
    return value


def _parts(declared: Any) -> Iterator[Any]:
    """The alternatives of a declared type: those of a union, or the type itself."""
    yield from get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)


@cache
def _properties(kind: type) -> Mapping[str, Any]:
    """The declared type of each property, by its name on the wire."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _unknown_property(path: str, kind: type) -> ServiceError:
    name = path.rpartition(".")[2]
    reason = (
        f"The property '{name}' does not exist on type '{kind.__name__}'. "
        "Make sure to only use property names that are defined by the type."
    )
    return ServiceError(
        400,
        "InvalidRequestBody",
        f"The specified request body is not syntactically valid: {path} is not known. {reason}",
        {"Reason": reason},
    )
