"""How wide the bands have to be: what conformalised quantile regression learns on blocks before the
origin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import QUANTILES

FloatArray = NDArray[np.float64]


def learn_widening(said: Sequence[FloatArray], truth: Sequence[FloatArray]) -> FloatArray:
    """What to add to each quantile so that both bands cover their share: symmetric per band, never narrowing.

    `said` has per calibration block quantiles x rows, `truth` its rows, NaN where not known. Conformalised
    quantile regression (Romano, Patterson, Candès 2019) gives each block's offset; the median over the
    blocks is taken, so that one strange quarter does not decide.
    """
    widening = np.zeros(len(QUANTILES))
    for low, high in ((0, 4), (1, 3)):
        offsets = [
            _offset(s[:, ~np.isnan(t)], t[~np.isnan(t)], low, high) for s, t in zip(said, truth, strict=True)
        ]
        offset = float(np.median(offsets)) if offsets else 0.0
        widening[low], widening[high] = -offset, offset
    widening[0], widening[4] = min(widening[:2]), max(widening[3:])  # the outer band holds the inner one
    return widening


def _offset(said: FloatArray, truth: FloatArray, low: int, high: int) -> float:
    """How far a block's band had to be moved outwards at both ends to cover its share of the truth; zero
    where it did.
    """
    if not len(truth):
        return 0.0
    ordered = np.sort(said, axis=0)
    misses = np.maximum(ordered[low] - truth, truth - ordered[high])
    return max(0.0, float(np.quantile(misses, QUANTILES[high] - QUANTILES[low])))
