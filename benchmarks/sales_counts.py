"""Counts' part of `python -m benchmarks quality`: how far bands of a few whole pieces keep what they promise.

A band of whole pieces holds more than its share, because those on its edge are inside whole. Beside that plain coverage
stands that of sales which are spread over half a piece to both sides, which has no ties; and beside Fleetscore the exact
quantiles of the law that the sales were drawn by, which know the mean of every week and so how much plain coverage is
the pieces' own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.sales_estates import SPREAD, generate_estate, mean_pieces
from fleetscore.workloads.store_sales.backtest import roll
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.judgement import coverage
from fleetscore.workloads.store_sales.whole_pieces import spread_coverage

Floats = NDArray[np.float64]

SETTINGS = StoreSalesSettings()
CUTOFFS = 4
SEEDS = (201, 202, 203)
OURS, EXACT = "Fleetscore", "exact quantiles of the law"


def measure_counts(quick: bool) -> dict[str, Any]:
    """Both coverages, and shares below and at most each quantile, of rolling backtests on generated counts."""
    started = time.process_time()
    size = {"stores": 6, "skus": 4} if quick else {}
    parts = [_forecast_one(seed, size) for seed in (SEEDS[:1] if quick else SEEDS)]
    truth = np.concatenate([part["truth"] for part in parts])
    methods = {name: figures(truth, np.concatenate([part[name] for part in parts])) for name in (OURS, EXACT)}
    return {
        "rows": len(truth),
        "series": sum(part["series"] for part in parts),
        "cutoffs": CUTOFFS,
        "zeros": float((truth == 0).mean()),
        "methods": methods,
        "processor_s": round(time.process_time() - started, 1),
    }


def _forecast_one(seed: int, size: Mapping[str, int]) -> dict[str, Any]:
    """Truth and spread quantiles of one chain's blocks, one below the other."""
    panel, mean = generate_estate("counts", seed, **size), mean_pieces(seed, **size)
    rolled = roll(panel, SETTINGS, CUTOFFS)
    kept = [block.block for block in rolled.blocks]
    means = [mean[block.row // SETTINGS.steps, block.week - panel.first_week] for block in kept]
    return {
        "truth": np.concatenate([block.truth for block in kept]),
        "series": len(panel.skus),
        OURS: np.concatenate(rolled.spread),
        EXACT: exact_quantiles(np.concatenate(means)),
    }


def exact_quantiles(mean: Floats) -> Floats:
    """Quantiles (rows x quantiles) of the negative binomial law of each mean, spread over half a piece to both sides."""
    law = stats.nbinom(SPREAD, SPREAD / (SPREAD + mean[:, None]))
    whole = law.ppf(np.array(QUANTILES))
    return np.asarray(whole - 0.5 + (np.array(QUANTILES) - law.cdf(whole - 1)) / law.pmf(whole))


def figures(truth: Floats, spread: Floats) -> dict[str, Any]:
    """Coverages of spread quantiles and of the whole ones that they are rounded to, with the shares around each."""
    whole = np.maximum(np.rint(spread), 0.0)
    return {
        **coverage(truth, whole),
        **spread_coverage(truth, spread, np.ones(len(truth), bool)),
        "below": (truth[:, None] < whole).mean(axis=0).tolist(),
        "at_most": (truth[:, None] <= whole).mean(axis=0).tolist(),
        "spread_at_most": np.clip(spread - truth[:, None] + 0.5, 0, 1).mean(axis=0).tolist(),
    }


def render_counts(found: Mapping[str, Any]) -> str:
    """The tables in Markdown."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"Generated, a few pieces a week or none: {found['series']} series, {found['rows']:,} forecasts after "
        f"{found['cutoffs']} cutoffs, {found['zeros']:.0%} of the sales are zero."
    )
    yield ""
    yield "| quantiles | 90 % band, plain | 50 % band, plain | 90 % band, spread | 50 % band, spread |"
    yield "|---|--:|--:|--:|--:|"
    names = ("coverage_90", "coverage_50", "spread_coverage_90", "spread_coverage_50")
    for name, line in found["methods"].items():
        yield _row(name, [f"{line[one]:.3f}" for one in names])
    yield ""
    yield _row("share of sales", [f"q{100 * level:g}" for level in QUANTILES])
    yield "|---|" + "--:|" * len(QUANTILES)
    ours = found["methods"][OURS]
    for title, key in (("below", "below"), ("at most", "at_most"), ("at most, spread", "spread_at_most")):
        yield _row(title, [f"{value:.3f}" for value in ours[key]])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
