"""Types that compiled functions are called with, as JSON and back: the list from which all is compiled
ahead.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numba  # noqa: F401  # whole before its parts: another thread may be in the midst of importing it
from numba.core import types as numba_types

types: Any = numba_types  # some of its names are made at import, which its stubs do not know


def to_json(kind: Any) -> Any:
    """A numba type as JSON values; ValueError for one that has no such form.

    >>> to_json(types.int64), to_json(types.Array(types.float64, 2, "C", readonly=True))
    ('int64', ['array', 'float64', 2, 'C', False])
    """
    if (
        isinstance(kind, types.Array)
        and isinstance(kind.dtype, types.Number | types.Boolean)
        and kind.aligned
    ):
        return ["array", str(kind.dtype), kind.ndim, kind.layout, kind.mutable]
    if isinstance(kind, types.NamedTuple | types.NamedUniTuple):
        made = kind.instance_class
        return ["named", made.__module__, made.__qualname__, [to_json(each) for each in kind]]
    if isinstance(kind, types.BaseTuple):
        return ["tuple", [to_json(each) for each in kind]]
    if isinstance(kind, types.Number | types.Boolean) and not isinstance(kind, types.Literal):
        return str(kind)
    raise ValueError(f"{kind} has no form as JSON")


def from_json(value: Any) -> Any:
    """The numba type of `to_json`'s values."""
    if isinstance(value, str):
        return types.boolean if value == "bool" else getattr(types, value)
    form, *rest = value
    if form == "array":
        dtype, dimensions, layout, mutable = rest
        return types.Array(from_json(dtype), dimensions, layout, readonly=not mutable)
    if form == "named":
        module, name, fields = rest
        return types.NamedTuple([from_json(each) for each in fields], getattr(import_module(module), name))
    return types.Tuple([from_json(each) for each in rest[0]])
