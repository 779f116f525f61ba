"""Which forecast is used: the forests alone, or, per kind of week, a mean with simple forecasts or another
width, where the blocks before the origin show a gain beyond its noise.

Every candidate forecasts each block with what training before that block and the other blocks say, in the
same rows as the forests alone; the gain's interval comes from series and weeks drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.blends import Blend, mix
from fleetscore.workloads.store_sales.calibration import CalibrationBlock
from fleetscore.workloads.store_sales.contract import QUANTILES
from fleetscore.workloads.store_sales.judgement import coverage, pinball
from fleetscore.workloads.store_sales.loss_intervals import Ratio, compare_losses
from fleetscore.workloads.store_sales.simple_forecasts import WEEK_KINDS
from fleetscore.workloads.store_sales.whole_pieces import round_counts, spread_coverage
from fleetscore.workloads.store_sales.widths import learn_widening

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHOWN_CERTAINTY, CHOSEN_CERTAINTY = 0.95, 0.99
"""Of the intervals that are shown, and of the one that must lie below 1 for a candidate to be used."""

_FEWEST_BLOCKS = 2  # each is judged by what the others say
_FEWEST_ROWS = 500  # of a kind of week, to choose for it or to learn a width of its own


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to forecast: how much the forests and each simple forecast count, and how its bands get their
    width.
    """

    name: str
    share: tuple[float, ...]  # of the forests, then of SIMPLE; their sum is 1
    width: Literal["all weeks", "kind of week", "none"] = "all weeks"  # what the widening is learned over


UNWIDENED = Candidate("forests, not widened", (1.0, 0.0, 0.0), "none")

CANDIDATES = (
    Candidate("forests", (1.0, 0.0, 0.0)),
    UNWIDENED,
    Candidate("forests, widened by kind of week", (1.0, 0.0, 0.0), "kind of week"),
    Candidate("offset", (0.0, 1.0, 0.0)),
    Candidate("last weeks", (0.0, 0.0, 1.0)),
    Candidate("3/4 forests, 1/4 offset", (0.75, 0.25, 0.0)),
    Candidate("3/4 forests, 1/4 last weeks", (0.75, 0.0, 0.25)),
    Candidate("1/2 forests, 1/4 offset, 1/4 last weeks", (0.5, 0.25, 0.25)),
    Candidate("3/4 forests, 1/4 last weeks, widened by kind of week", (0.75, 0.0, 0.25), "kind of week"),
)
"""The first is used unless another one is better beyond the noise."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows with a truth of some blocks, and what each candidate forecasts of them, in sales."""

    truth: FloatArray
    series: IntArray
    week: IntArray  # window ordinals
    kinds: IntArray  # places in WEEK_KINDS
    said: Mapping[Candidate, FloatArray]  # rows x quantiles

    @classmethod
    def of(
        cls, blocks: Sequence[CalibrationBlock], said: Mapping[Candidate, Sequence[FloatArray]]
    ) -> Compared:
        """The rows of the blocks, in their order."""
        kept = [block.block for block in blocks]
        return cls(
            np.concatenate([b.truth for b in kept]),
            np.concatenate([block.block.row // block.steps for block in blocks]),
            np.concatenate([b.week for b in kept]),
            np.concatenate([block.kinds[block.block.row] for block in blocks]),
            {candidate: np.concatenate(list(parts)) for candidate, parts in said.items()},
        )

    def losses(self) -> dict[Candidate, FloatArray]:
        """Each candidate's pinball loss per row, the mean over quantiles."""
        return {c: pinball(self.truth, said).mean(axis=1) for c, said in self.said.items()}


def choose_blend(blocks: Sequence[CalibrationBlock]) -> tuple[Blend, dict[str, dict[str, Any]]]:
    """The blend that the blocks support, and the figures of every candidate against the forests alone.

    Per kind of week the candidate with the least loss is taken if the CHOSEN_CERTAINTY interval of its
    loss as a share of the forests' lies below 1; the forests alone otherwise, and where there are too few
    blocks.
    """
    if len(blocks) < _FEWEST_BLOCKS:
        return _blend_of([CANDIDATES[0]] * len(WEEK_KINDS), blocks), {}
    compared = Compared.of(blocks, {c: forecast_each(c, blocks) for c in CANDIDATES})
    losses = compared.losses()
    chosen = [_best(losses, compared, compared.kinds == kind) for kind in range(len(WEEK_KINDS))]
    blend = _blend_of(chosen, blocks)
    return blend, describe_candidates(compared, blend.names)


def forecast_each(candidate: Candidate, blocks: Sequence[CalibrationBlock]) -> list[FloatArray]:
    """What the candidate forecasts of each block (rows with a truth x quantiles, in sales), its width learned
    on the others.
    """
    everywhere = [candidate] * len(WEEK_KINDS)
    return [
        forecast_by(_blend_of(everywhere, [*blocks[:number], *blocks[number + 1 :]]), block)
        for number, block in enumerate(blocks)
    ]


def blend_for(candidate: Candidate, blocks: Sequence[CalibrationBlock]) -> Blend:
    """The candidate in all weeks, its width learned on the blocks."""
    return _blend_of([candidate] * len(WEEK_KINDS), blocks)


def forecast_by(blend: Blend, block: CalibrationBlock) -> FloatArray:
    """What the blend forecasts of a block (rows with a truth x quantiles, in sales)."""
    quantiles = np.maximum(spread_by(blend, block), 0.0)
    round_counts(quantiles, block.counts[block.block.row])
    return quantiles


def spread_by(blend: Blend, block: CalibrationBlock) -> FloatArray:
    """What the blend forecasts of a block's rows with a truth, few whole pieces spread: not rounded, and
    below zero where sales of none are likely.
    """
    logs = mix(blend, block.said, block.kinds) + block.offset
    return np.asarray(np.expm1(logs).T[block.block.row])


def coverage_of_spread(blocks: Sequence[CalibrationBlock], said: Sequence[FloatArray]) -> dict[str, float]:
    """The coverage of quantiles as `spread_by` gives them."""
    truth = np.concatenate([block.block.truth for block in blocks])
    counts = np.concatenate([block.counts[block.block.row] for block in blocks])
    return spread_coverage(truth, np.concatenate(list(said)), counts)


def describe_candidates(compared: Compared, chosen: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """By candidate its loss as a share of the forests' alone with the interval over series and weeks,
    over all weeks and by kind; its coverage, and the kinds of week that it is used for.
    """
    losses = compared.losses()
    figures = {}
    for candidate, said in compared.said.items():
        mine, forests = losses[candidate], losses[CANDIDATES[0]]
        by_kind = {
            name: _shown(_ratio(mine, forests, compared, mask, SHOWN_CERTAINTY)) | {"rows": int(mask.sum())}
            for kind, name in enumerate(WEEK_KINDS)
            if (mask := compared.kinds == kind).any()
        }
        used = [name for name, one in zip(WEEK_KINDS, chosen, strict=False) if one == candidate.name]
        every = np.ones(len(mine), bool)
        figures[candidate.name] = {
            **_shown(_ratio(mine, forests, compared, every, SHOWN_CERTAINTY)),
            **coverage(compared.truth, said),
            "rows": len(said),
            "used_for": ", ".join(used),
            "by_kind": by_kind,
        }
    return figures


def _shown(ratio: Ratio | None) -> dict[str, float | None]:
    values = (None, None, None) if ratio is None else (ratio.ratio, ratio.low, ratio.high)
    names = ("loss_of_forests", "low", "high")
    return {n: None if v is None else round(v, 4) for n, v in zip(names, values, strict=True)}


def _blend_of(chosen: Sequence[Candidate], blocks: Sequence[CalibrationBlock]) -> Blend:
    widths = {c: _learn_widths(c, blocks) for c in dict.fromkeys(chosen)}
    share = np.array([c.share for c in chosen])
    width = np.stack([widths[c][kind] for kind, c in enumerate(chosen)])
    return Blend(share, width, tuple(c.name for c in chosen))


def _learn_widths(candidate: Candidate, blocks: Sequence[CalibrationBlock]) -> FloatArray:
    """Kinds of week x quantiles: what the candidate's quantiles are moved outwards by."""
    none = np.zeros((len(WEEK_KINDS), len(QUANTILES)))
    if candidate.width == "none" or not blocks:
        return none
    unwidened = Blend(np.tile(candidate.share, (len(WEEK_KINDS), 1)), none)
    said = [mix(unwidened, block.said, block.kinds) for block in blocks]
    truth = [block.truth for block in blocks]
    widths = np.tile(learn_widening(said, truth), (len(WEEK_KINDS), 1))
    if candidate.width == "all weeks":
        return widths
    for kind in range(len(WEEK_KINDS)):
        masks = [block.kinds == kind for block in blocks]
        if min((mask & ~np.isnan(t)).sum() for mask, t in zip(masks, truth, strict=True)) >= _FEWEST_ROWS:
            of_kind = [s[:, m] for s, m in zip(said, masks, strict=True)]
            widths[kind] = learn_widening(of_kind, [t[m] for t, m in zip(truth, masks, strict=True)])
    return widths


def _best(losses: Mapping[Candidate, FloatArray], compared: Compared, mask: NDArray[np.bool_]) -> Candidate:
    """The candidate for these rows."""
    first = CANDIDATES[0]
    if mask.sum() < _FEWEST_ROWS:
        return first
    best = min(losses, key=lambda c: float(losses[c][mask].sum()))
    ratio = _ratio(losses[best], losses[first], compared, mask, CHOSEN_CERTAINTY)
    return best if ratio is not None and ratio.high < 1.0 else first


def _ratio(
    loss: FloatArray, base: FloatArray, compared: Compared, mask: NDArray[np.bool_], certainty: float
) -> Ratio | None:
    """Loss as a share of the base in these rows with its interval; None where the base is zero."""
    if not base[mask].sum():
        return None
    return compare_losses(loss[mask], base[mask], compared.series[mask], compared.week[mask], certainty)
