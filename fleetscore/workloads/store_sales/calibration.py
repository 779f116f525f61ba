"""Blocks of weeks before the origin, each with what forecasts trained before it say: what widths and
blends are learned on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.features import Prepared, build, every_step
from fleetscore.workloads.store_sales.judgement import Block, block_of
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.simple_forecasts import SIMPLE, forecast_simply, week_kinds
from fleetscore.workloads.store_sales.training import fit_simple_before
from fleetscore.workloads.store_sales.whole_pieces import count_series, spread_pieces
from fleetscore.workloads.store_sales.widths import learn_widening

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ARRAYS = ("truth", "offset", "kinds", "counts")
_LACKING_SHARE = 0.5  # of a season that forecasts lacked: who lacked more than both missed other things
_LACKING_LOGS = 0.1
_BLOCK_ARRAYS = ("row", "store", "week", "step", "truth", "last_value", "seasonal", "own_quantiles")


@dataclass(frozen=True, slots=True)
class CalibrationBlock:
    """Weeks before the origin, and what forecasts trained before them say; rows are series x steps."""

    steps: int
    said: tuple[FloatArray, ...]  # forests and SIMPLE: each quantiles x rows, in logs relative to the offset
    truth: FloatArray  # rows, in the same logs; NaN where not known
    offset: FloatArray  # rows, log1p of sales
    kinds: IntArray  # rows, places in WEEK_KINDS
    counts: NDArray[np.bool_]  # rows: of a series that sells whole pieces
    block: Block
    season: float  # the size of the season that the forecasts knew, as `season_size` gives it


def season_size(prepared: Prepared) -> float:
    """The root mean square over all weeks of what the season adds to log sales; 0.0 without one."""
    return 0.0 if prepared.season is None else float(np.sqrt(np.mean(prepared.season**2)))


def blocks_like(blocks: Sequence[CalibrationBlock], season: float) -> list[CalibrationBlock]:
    """The blocks whose forecasts knew most of a season of that size; where none did, the one block that needs the
    least widening.

    Before the history carries a season, forecasts miss its peaks and what follows them, so that bands as wide as
    those had to be are too wide once it is known: each is a bound from above, and the least is the nearest.
    """
    lacking = max(_LACKING_SHARE * season, _LACKING_LOGS)
    like = [block for block in blocks if season - block.season <= lacking]
    return like or sorted(blocks, key=lambda block: learn_widening(block.said[:1], [block.truth])[4])[:1]


def block_before_forests(
    panel: Panel, prepared: Prepared, cutoff: int, settings: StoreSalesSettings
) -> CalibrationBlock:
    """The block after a column, with what simple forecasts from before it say; `said` lacks the forests."""
    matrix, offset = build(prepared, every_step(len(prepared.log_sales), cutoff - 1, settings.steps))
    simple, kinds = fit_simple_before(prepared, cutoff, settings), week_kinds(matrix)
    said = tuple(forecast_simply(simple, number, matrix, kinds) for number in range(len(SIMPLE)))
    counts = count_series(panel.sales[:, :cutoff]).repeat(settings.steps)
    log_sales = prepared.log_sales[:, cutoff : cutoff + settings.steps].reshape(-1)
    truth = spread_pieces(log_sales, counts) - offset
    block = block_of(panel, cutoff, settings.steps)
    return CalibrationBlock(settings.steps, said, truth, offset, kinds, counts, block, season_size(prepared))


def with_forests(block: CalibrationBlock, forests: FloatArray) -> CalibrationBlock:
    """The block with what the forests say (quantiles x rows) put before the simple forecasts."""
    return replace(block, said=(forests, *block.said))


def block_arrays(block: CalibrationBlock) -> dict[str, NDArray[Any]]:
    """A block without forests as named arrays for an npz file."""
    own = {name: getattr(block, name) for name in _ARRAYS} | {"simple": np.stack(block.said)}
    own["season"] = np.array(block.season)
    return own | {f"sales_{name}": getattr(block.block, name) for name in _BLOCK_ARRAYS}


def block_of_arrays(
    arrays: Mapping[str, NDArray[Any]], prefix: str, cutoff: int, steps: int, forests: FloatArray
) -> CalibrationBlock:
    """The block of such arrays, with what the forests say."""
    block = Block(cutoff, *(arrays[f"{prefix}sales_{name}"] for name in _BLOCK_ARRAYS))
    said = (forests, *arrays[f"{prefix}simple"])
    season = float(arrays.get(f"{prefix}season", 0.0))  # what an earlier version began to train lacks it
    own = {name: arrays[f"{prefix}{name}"] for name in _ARRAYS}
    return CalibrationBlock(steps, said, block=block, season=season, **own)
