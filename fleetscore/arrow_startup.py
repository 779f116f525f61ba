"""Arrow without pandas: wherever pandas is installed, Arrow imports it at its first array, which costs
every process 0.3 s for nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from threading import get_ident
from typing import Any


class _NoPandas(MetaPathFinder):
    """Says of pandas that there is none, to the thread that made it; others may import pandas meanwhile."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse pandas, and leave every other module to the other finders."""
        del path, target
        if fullname == "pandas" and get_ident() == self._thread:
            raise ModuleNotFoundError("pandas is not wanted yet", name="pandas")


def block_pandas_import() -> None:
    """Let Arrow look for pandas now and find none; `to_pandas` still works, and so does importing pandas.

    Arrow looks twice, once in Python and once in C++, and not again. From then on it does not know pandas'
    own NaT and NA among Python objects, so nothing is done where a user's own workloads, which may work
    with data frames, are configured.
    """
    import numpy as np
    import pyarrow as pa

    from fleetscore.registry import EXTRA_WORKLOADS

    if "pandas" in sys.modules or os.environ.get(EXTRA_WORKLOADS):
        return
    refusal = _NoPandas()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array(np.zeros(1))  # Python looks when it sees what may be a series
        pa.array([0])  # C++ looks when it sees a Python object
    finally:
        sys.meta_path.remove(refusal)
