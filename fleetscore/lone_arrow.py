"""Arrow without pandas: Arrow imports pandas at its first array wherever it is installed, which costs every process 0.3 s for nothing."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class _NoPandas(MetaPathFinder):
    """Says of pandas that there is none."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse pandas, and leave everything else to those who know."""
        del path, target
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not wanted yet", name="pandas")


def start_lone_arrow() -> None:
    """Let Arrow look for pandas now and find none; `to_pandas` looks again and finds it, and so does whoever imports pandas."""
    if "pandas" in sys.modules:
        return
    import numpy as np
    import pyarrow as pa

    refusal = _NoPandas()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array(np.zeros(1))
    finally:
        sys.meta_path.remove(refusal)
