"""Numba's array functions without scipy: at their import they look whether linear algebra can be had, and so
import scipy.linalg, which costs every process that scores 0.2 s for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from threading import local
from typing import Any

_FUNCTIONS, _HIDDEN = "numba.np.arraymath", "scipy.linalg"


class _NoLinearAlgebra(MetaPathFinder):
    """Says of scipy.linalg that there is none, to threads that hide it; others may import it meanwhile.

    It stays in sys.meta_path: an import of another thread that goes through the finders would skip the one
    after it, were it removed meanwhile, and not find its module.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse scipy.linalg, and leave every other module to the other finders."""
        del path, target
        if fullname == _HIDDEN and getattr(_thread, "hides", False):
            raise ModuleNotFoundError(f"{_HIDDEN} is not wanted yet", name=_HIDDEN)


_thread = local()
_finder = _NoLinearAlgebra()


def load_array_functions() -> None:
    """Import numba's array functions, and let them find no scipy.linalg.

    Functions that call linear algebra look for it again when they are compiled, and find it; only
    np.convolve and np.correlate in compiled code sum by a plain loop from then on.
    """
    with linear_algebra_hidden():
        import_module(_FUNCTIONS)


@contextmanager
def linear_algebra_hidden() -> Iterator[None]:
    """Let whatever imports numba's array functions in this block, in this thread, find no scipy.linalg."""
    if _FUNCTIONS in sys.modules:
        yield
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _thread.hides = True
    try:
        yield
    finally:
        _thread.hides = False
