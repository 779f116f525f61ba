"""Compilation of loops to machine code, with its result kept on disk where a place for that can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba as nb


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled at its first call for the types it is called with, in strict IEEE arithmetic and without the GIL."""
    try:
        fast = nb.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # a read-only installation without a home folder: compile in every process
        fast = nb.njit(nogil=True, error_model="numpy")(function)
    return cast(Callable[..., Any], fast)
