"""Where compiled code is kept: with the app, compiled ahead, and in a folder that this process may write."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba  # noqa: F401  # whole before its parts: another thread may be in the midst of importing it
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _Cache, _CacheLocator
from numba.core.runtime import rtsys

from fleetscore.kernels.array_functions import linear_algebra_hidden, load_array_functions

_log = logging.getLogger("fleetscore.kernels")
SHIPPED = Path(__file__).resolve().parents[1] / "__compiled__"
"""Compiled ahead, beside the code: in an image and in a package read-only, in a checkout written too."""


class KernelCache(_Cache):  # type: ignore[misc]  # numba ships no types
    """The compiled forms of one function, in up to two folders: read in both, written in the process's own.

    What cannot be read is as if it were not there, and what cannot be written is compiled in every process;
    both with a line in the log, since neither changes a result.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        own = own_folder()
        folders = [SHIPPED, *([own] if own is not None and own != SHIPPED else [])]
        self._layers = [_Layer(folder, function) for folder in folders]
        self._own = self._layers[-1] if own is not None else None

    @property
    def cache_path(self) -> str | None:
        """The folder that new code is written to, or None."""
        return str(self._own.cache_path) if self._own is not None else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled form for these types, or None: then it is compiled, for which all of numba is loaded."""
        found = self._load(sig, target_context)
        if found is None:
            load_array_functions()
        COUNTS["compiled" if found is None else "loaded"] += 1
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        for layer in self._layers:
            try:
                with linear_algebra_hidden():
                    found = layer.load_overload(sig, target_context)
            except Exception as error:  # unpickling damaged files raises whatever it meets
                _log.warning(
                    "compiled code in %s cannot be read, so it is compiled again: %r", layer.cache_path, error
                )
                continue
            if found is not None:
                return found
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form for later processes, if there is a place."""
        if self._own is None:
            return
        try:
            self._own.save_overload(sig, data)
        except OSError as error:
            _log.warning("compiled code cannot be kept in %s: %s", self._own.cache_path, error)

    def enable(self) -> None:
        """Nothing: it is always on."""

    def disable(self) -> None:
        """Nothing: it is always on."""

    def flush(self) -> None:
        """Drop what is kept in the process's own folder."""
        if self._own is not None:
            self._own.flush()


COUNTS = {"loaded": 0, "compiled": 0}
"""Compiled forms that this process loaded, and those that it had to make."""


class _Layer(FunctionCache):  # type: ignore[misc]  # numba ships no types
    """The compiled forms of one function in one folder."""

    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        self._impl_class = functools.partial(_Impl, folder)
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled form for these types, or None.

        numba's own way first loads all that it can compile, which no loaded code needs and which costs every
        process that scores 0.15 s; its compiler does so itself, so here only the runtime is started.
        """
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Impl(CompileResultCacheImpl):  # type: ignore[misc]  # numba ships no types
    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        self._locator_classes = [_Place(folder)]
        super().__init__(function)


class _Place:
    """Stands where numba looks for a class of locators."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def from_function(self, function: Callable[..., Any], source: str) -> _Locator:
        """The locator of that function."""
        return _Locator(self._folder / function.__module__, function, source)


class _Locator(_CacheLocator):  # type: ignore[misc]  # numba ships no types
    """Names a function's files by its module and line, and its folder's sources by their content: neither
    by paths nor by times.
    """

    def __init__(self, folder: Path, function: Callable[..., Any], source: str) -> None:
        self._folder, self._line, self._py_file = folder, function.__code__.co_firstlineno, source

    def get_cache_path(self) -> str:
        """The folder of the function's module."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """The hash of the sources of the module's folder: functions of its other modules are compiled into
        this one.
        """
        return _hash_of(Path(self._py_file).parent)

    def get_disambiguator(self) -> str:
        """The function's line."""
        return str(self._line)


@functools.cache
def _hash_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def own_folder() -> Path | None:
    """The first folder that this process may write: as NUMBA_CACHE_DIR says, beside the code, in the home
    folder, or for temporary files.

    None where there is none; then every process compiles for itself.
    """
    return next((folder for folder in _candidates() if _is_writable(folder)), None)


def _candidates() -> Iterator[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        yield Path(named) / "fleetscore"
    yield SHIPPED
    home = os.environ.get("HOME")
    if home:
        yield Path(home) / ".cache" / "fleetscore" / "compiled"
    yield (
        Path(tempfile.gettempdir())
        / f"fleetscore-compiled-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    )


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in the folder, and it is this user's own or the app's: code is executed
    from it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        tempfile.TemporaryFile(dir=folder).close()
        return not hasattr(os, "getuid") or folder.stat().st_uid in (os.getuid(), 0)
    except OSError:
        return False
