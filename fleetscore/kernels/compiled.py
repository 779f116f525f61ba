"""Declares compiled functions: compiled once for a kind of processor and kept on disk, so that no fresh
process compiles again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba as nb
from llvmlite import binding

from fleetscore.kernels.cache import KernelCache

P = ParamSpec("P")
R = TypeVar("R")

PORTABLE = "x86-64-v3"
"""What is compiled runs on every processor of this level: all that Azure has offered since 2015."""
_OF_PORTABLE = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
KERNELS: list[Any] = []
"""All compiled functions of the modules that are loaded."""


def compiled(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function compiled at its first call for the types it is called with, without the
    interpreter's lock.

    `options` are further ones of `numba.njit`. Its results are kept on disk where there is a place for them
    (see KernelCache).
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        fast = nb.njit(nogil=True, **options)(function)
        fast._cache = KernelCache(function)  # what cache=True does, with numba's own search for a place
        KERNELS.append(fast)
        return cast(Callable[P, R], fast)

    return declare


def is_portable(features: dict[str, bool], machine: str) -> bool:
    """Whether a processor with these features runs what is compiled for PORTABLE.

    >>> is_portable(dict.fromkeys(_OF_PORTABLE, True), "x86_64"), is_portable({"avx2": True}, "x86_64")
    (True, False)
    """
    return machine in ("x86_64", "AMD64") and all(features.get(name) for name in _OF_PORTABLE)


def processor() -> str:
    """The kind of processor that is compiled for: PORTABLE, another that NUMBA_CPU_NAME names, or this
    machine's own.
    """
    return str(nb.config.CPU_NAME or f"{binding.get_host_cpu_name()} (this machine's own)")


def _choose_processor() -> None:
    """Compile for PORTABLE where this processor is one, so that others can load it; else for this processor
    alone.

    A processor named by NUMBA_CPU_NAME is used. Code for another processor is never loaded: its
    name is in the cache's keys.
    """
    if nb.config.CPU_NAME is None and is_portable(binding.get_host_cpu_features(), platform.machine()):
        nb.config.CPU_NAME, nb.config.CPU_FEATURES = PORTABLE, ""


_choose_processor()
