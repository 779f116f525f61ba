"""What a model mixes for each kind of week: shares of the forests and of the simple forecasts, and the
width of the bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import QUANTILES
from fleetscore.workloads.store_sales.simple_forecasts import SIMPLE, WEEK_KINDS, finite_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Blend:
    """The chosen shares and widths, per kind of week."""

    share: FloatArray  # kinds of week x (forests, then SIMPLE)
    width: FloatArray  # kinds of week x quantiles, in logs
    names: tuple[str, ...] = ()  # the chosen candidates, for the card

    @property
    def is_plain(self) -> bool:
        """Whether it is the forests alone with one width for all weeks."""
        return bool((self.share[:, 0] == 1.0).all() and (self.width == self.width[0]).all())


def mix(blend: Blend, said: Sequence[FloatArray | None], kinds: IntArray) -> FloatArray:
    """The quantiles (quantiles x rows), in logs, of forecasts (each quantiles x rows; None where its share is
    zero), by the share and the width of each row's kind of week; each forecast is sorted first, so that no
    quantile crosses another.
    """
    mixed = blend.width.T[:, kinds]
    for number, one in enumerate(said):
        if one is not None and blend.share[:, number].any():
            mixed += blend.share[kinds, number] * np.sort(one, axis=0)
    return np.asarray(mixed)


def blend_arrays(blend: Blend) -> dict[str, NDArray[Any]]:
    """The blend as named arrays for an npz file."""
    return {"blend_share": blend.share, "blend_width": blend.width}


def blend_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Blend:
    """The blend of such arrays; ModelError unless their shapes fit and all numbers are finite."""
    kinds = len(WEEK_KINDS)
    share = finite_array(arrays, "blend_share", (kinds, 1 + len(SIMPLE)))
    return Blend(share, finite_array(arrays, "blend_width", (kinds, len(QUANTILES))))
