"""Compilation of loops to machine code, with its result kept on disk where a place for that can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba as nb

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled at its first call for the types it is called with; strict IEEE arithmetic, without the interpreter's lock."""
    try:
        fast = nb.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # a read-only installation without a home folder: compile in every process
        fast = nb.njit(nogil=True)(function)
    return cast(Callable[P, R], fast)
