"""How good forecasts were: pinball loss and coverage on blocks whose truth is known, against simple
rivals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.windows import Cadence, Window
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, QUANTILES
from fleetscore.workloads.store_sales.features import every_step
from fleetscore.workloads.store_sales.panel import Panel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_SEASON_WEEKS = 52


@dataclass(frozen=True, slots=True)
class Block:
    """The rows (series x steps, flattened) of one cutoff whose truth is known, and what simple rivals say
    of them, in sales.
    """

    cutoff: int  # window ordinal of the first week forecast
    row: IntArray  # which of the series x steps rows
    store: IntArray
    week: IntArray  # window ordinal
    step: IntArray
    truth: FloatArray
    last_value: FloatArray
    seasonal: FloatArray  # the value of 52 weeks before, NaN where not known
    own_quantiles: FloatArray  # rows x quantiles: of the series' own past weeks of the same kind


def block_of(panel: Panel, cutoff: int, steps: int) -> Block:
    """The block of `steps` weeks from column `cutoff` of a panel that has their sales."""
    cases = every_step(len(panel.sales), cutoff - 1, steps)
    series = np.repeat(cases.series, steps)
    column = cutoff - 1 + cases.step
    truth = panel.sales[series, column]
    last = _last_known(panel.sales[:, :cutoff])[series]
    row = np.flatnonzero(~np.isnan(truth) & ~np.isnan(last))
    before = column - _SEASON_WEEKS
    seasonal = np.where(before >= 0, panel.sales[series, np.maximum(before, 0)], np.nan)
    own = _own_quantiles(panel, cutoff, steps).reshape(-1, len(QUANTILES))
    return Block(
        panel.first_week + cutoff, row, panel.store_of[series][row], panel.first_week + column[row], cases.step[row],
        truth[row], last[row], seasonal[row], own[row],
    )  # fmt: skip


def pinball(truth: FloatArray, quantiles: FloatArray) -> FloatArray:
    """The pinball loss of each row and quantile (rows x quantiles)."""
    levels = np.array(QUANTILES)
    error = truth[:, None] - quantiles
    return np.maximum(levels * error, (levels - 1) * error)


def judge(blocks: list[Block], forecasts: list[FloatArray], stores: tuple[str, ...]) -> dict[str, Any]:
    """The figures of forecasts (rows x quantiles per block) as JSON values, pooled and per quantile,
    cutoff, week, step and store.
    """
    truth, last = _joined(blocks, "truth"), _joined(blocks, "last_value")
    quantiles = np.concatenate(forecasts)
    loss = pinball(truth, quantiles)
    naive = np.abs(truth - last) / 2
    seasonal = np.abs(truth - _joined(blocks, "seasonal")) / 2
    own = pinball(truth, np.concatenate([b.own_quantiles for b in blocks])).mean(axis=1)
    weeks = np.concatenate([b.week for b in blocks])
    mean = loss.mean(axis=1)
    return {
        "rows": len(truth),
        "pinball": _figure(mean.mean()),
        "pinball_per_quantile": {
            n: _figure(v) for n, v in zip(QUANTILE_NAMES, loss.mean(axis=0), strict=True)
        },
        "last_value": _figure(naive.mean()),
        "seasonal_naive": _figure(np.nanmean(seasonal)) if not np.isnan(seasonal).all() else None,
        "own_quantiles": _figure(own.mean()),
        "relative_to_last_value": _relative(mean.mean(), naive.mean()),
        "relative_to_own_quantiles": _relative(mean.mean(), own.mean()),
        **coverage(truth, quantiles),
        "crossing_share": _figure((np.diff(quantiles, axis=1) < 0).any(axis=1).mean()),
        **_week_by_week(weeks, mean, naive, own),
        "per_cutoff": {str(b.cutoff): _part(mean, naive, truth, quantiles, m) for b, m in _of_blocks(blocks)},
        "per_step": _by(np.concatenate([b.step for b in blocks]), mean, naive, truth, quantiles),
        "per_store": {
            stores[int(key)]: figures
            for key, figures in _by(
                np.concatenate([b.store for b in blocks]), mean, naive, truth, quantiles
            ).items()
        },
    }


def name_weeks(figures: Mapping[str, Any], cadence: Cadence) -> dict[str, Any]:
    """The figures with their cutoffs as users write windows."""
    named = {str(c): Window(cadence, c).key for c in figures["cutoffs"]}
    per_cutoff = {named[c]: part for c, part in figures.get("per_cutoff", {}).items()}
    return {**figures, "cutoffs": list(named.values()), "per_cutoff": per_cutoff}


def coverage(truth: FloatArray, quantiles: FloatArray) -> dict[str, float]:
    """The shares of rows inside the 90 % and the 50 % band."""
    return {
        "coverage_90": _figure(((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 4])).mean()),
        "coverage_50": _figure(((truth >= quantiles[:, 1]) & (truth <= quantiles[:, 3])).mean()),
    }


def _week_by_week(weeks: IntArray, mean: FloatArray, naive: FloatArray, own: FloatArray) -> dict[str, Any]:
    """How far the gain holds from week to week: quantiles of the weeks' ratios, and the share of weeks with
    a gain.
    """
    _, place = np.unique(weeks, return_inverse=True)
    loss, last, past = (np.bincount(place, v) for v in (mean, naive, own))
    to_last, to_own = loss[last > 0] / last[last > 0], loss[past > 0] / past[past > 0]
    return {
        "weeks": len(loss),
        "share_of_weeks_better_than_last_value": _figure((loss < last).mean()),
        "share_of_weeks_better_than_own_quantiles": _figure((loss < past).mean()),
        "week_by_week": {
            "relative_to_last_value": _spread(to_last),
            "relative_to_own_quantiles": _spread(to_own),
        },
    }


def _spread(ratios: FloatArray) -> dict[str, float]:
    names = ("best", "quarter", "median", "three_quarters", "worst")
    if not len(ratios):
        return {}
    return {
        name: _figure(v) for name, v in zip(names, np.quantile(ratios, (0, 0.25, 0.5, 0.75, 1)), strict=True)
    }


def _by(
    keys: IntArray, mean: FloatArray, naive: FloatArray, truth: FloatArray, quantiles: FloatArray
) -> dict[str, dict[str, float]]:
    return {str(key): _part(mean, naive, truth, quantiles, keys == key) for key in np.unique(keys)}


def _part(
    mean: FloatArray, naive: FloatArray, truth: FloatArray, quantiles: FloatArray, mask: NDArray[np.bool_]
) -> dict[str, float]:
    relative = mean[mask].mean() / max(naive[mask].mean(), 1e-12)
    figures = {"pinball": _figure(mean[mask].mean()), "relative_to_last_value": _figure(relative)}
    return figures | coverage(truth[mask], quantiles[mask])


def _of_blocks(blocks: list[Block]) -> list[tuple[Block, NDArray[np.bool_]]]:
    owner = np.repeat(np.arange(len(blocks)), [len(b.row) for b in blocks])
    return [(block, owner == i) for i, block in enumerate(blocks)]


def _joined(blocks: list[Block], name: str) -> FloatArray:
    return np.concatenate([getattr(block, name) for block in blocks])


def _last_known(sales: FloatArray) -> FloatArray:
    """The last known value of each row, NaN where there is none."""
    known = ~np.isnan(sales)
    last = sales.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), sales[np.arange(len(sales)), last], np.nan)


def _own_quantiles(panel: Panel, cutoff: int, steps: int) -> FloatArray:
    """Per series and step the quantiles of its past weeks of the same deal and feature; of all where those
    are fewer than three.
    """
    kinds = 2 * (np.nan_to_num(panel.feat) > 0.5) + (np.nan_to_num(panel.deal) > 0.5)
    past = panel.sales[:, :cutoff]
    out = np.full((len(past), steps, len(QUANTILES)), np.nan)
    for s in range(len(past)):
        known = ~np.isnan(past[s])
        if not known.any():
            continue
        tables = {}
        for kind in range(4):
            of_kind = known & (kinds[s, :cutoff] == kind)
            chosen = past[s, of_kind] if of_kind.sum() >= 3 else past[s, known]
            tables[kind] = np.quantile(chosen, QUANTILES)
        out[s] = [tables[int(kind)] for kind in kinds[s, cutoff : cutoff + steps]]
    return out


def _relative(loss: float, rival: float) -> float | None:
    """Loss as a share of a rival's; None where the rival has none, as with sales that never change."""
    return _figure(loss / rival) if rival > 0 else None


def _figure(value: Any) -> float:
    return float(np.round(float(value), 4))
