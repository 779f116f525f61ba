"""Reading of nested values that a file holds: each look-up names what is missing or of another type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.models.importers.tree_building import corrupt
from fleetscore.models.packs.base import Floats

WHOLE_LIMIT = 2**53  # whole numbers above are not exact in JSON


def read_json(data: bytes) -> Any:
    """Return the value of JSON bytes; ModelError `corrupt_model` where they hold none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise corrupt(f"it is not JSON: {str(error)[:120]}") from error


def member(value: Any, *names: str) -> Any:
    """Return what lies below some names; ModelError names the first that is not there."""
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            raise corrupt(f"it has no {name!r}")
        value = value[name]
    return value


def listing(value: Any, name: str) -> list[Any]:
    """Return a member that is a list."""
    found = member(value, name)
    if isinstance(found, np.ndarray):
        return list(found.tolist())
    if not isinstance(found, list):
        raise corrupt(f"{name!r} is no list")
    return found


def whole(value: Any, name: str, low: int, high: int) -> int:
    """Return a whole number within limits, given as number or text."""
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise corrupt(f"{name} is no whole number") from error
    if not low <= found <= high:
        raise corrupt(f"{name} is {found}, not one of {low} to {high}")
    return found


def wholes(value: Any, name: str, count: int | None = None) -> NDArray[np.int64]:
    """Return a member's whole numbers, so many where `count` is given."""
    found = _numbers(value, name, count)
    if found.size and (np.any(found != np.floor(found)) or np.abs(found).max() > WHOLE_LIMIT):
        raise corrupt(f"{name!r} holds other than whole numbers")
    return found.astype(np.int64)


def floats(value: Any, name: str, count: int | None = None) -> Floats:
    """Return a member's numbers, so many where `count` is given."""
    return _numbers(value, name, count)


def _numbers(value: Any, name: str, count: int | None) -> Floats:
    """A member's numbers as float64, none of them NaN."""
    numbers = member(value, name)
    if not isinstance(numbers, list | np.ndarray):
        raise corrupt(f"{name!r} is no list")
    try:
        found = np.array(numbers, np.float64) if len(numbers) else np.empty(0)
    except (TypeError, ValueError, OverflowError) as error:
        raise corrupt(f"{name!r} holds other than numbers") from error
    if found.ndim != 1 or np.isnan(found).any():
        raise corrupt(f"{name!r} holds other than numbers")
    if count is not None and found.size != count:
        raise corrupt(f"{name!r} has {found.size} values, {count} are expected")
    return found
