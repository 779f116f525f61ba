"""The walk through gbm's trees, compiled; the same order of additions as R's own, so the sums are the same."""

from __future__ import annotations

import math
from typing import Any

from fleetscore.workloads.store_sales.compiled import compiled


@compiled
def add_trees(
    matrix: Any, is_factor: Any, roots: Any, variable: Any, code: Any, left: Any, right: Any, missing: Any,
    directions: Any, out: Any,
) -> None:  # fmt: skip
    """Add to `out` (rows) the leaf values of every tree for `matrix` (variables x rows): strictly below the threshold goes left."""
    for tree in range(roots.size):
        for row in range(out.size):
            node = roots[tree]
            while variable[node] >= 0:
                value = matrix[variable[node], row]
                if math.isnan(value):
                    node = missing[node]
                elif is_factor[variable[node]]:
                    direction = directions[int(code[node]), int(value)]
                    node = left[node] if direction < 0 else (right[node] if direction > 0 else missing[node])
                else:
                    node = left[node] if value < code[node] else right[node]
            out[row] += code[node]
