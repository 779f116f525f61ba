"""One model over all steps, one per step, or one per group of steps: which way forecasts store sales best.

All ways backtest on the same rolling cutoffs, with the workload's own features, training, widening, sorting and judgement; they differ
in the rows that a model is trained on and in the steps it forecasts. One over steps draws as the workload does: three steps of each
known target week, up to the setting `training_rows`. A model of one step gets every known target week, a model of a group three of
its steps of each, up to the same number. Uses the real sales under FLEETSCORE_REAL_DATA/store_sales where that is set, else samples.
Writes benchmarks/results/store_sales_ways.json and prints the table that docs/workloads/store_sales.md shows.
Run: python benchmarks/store_sales_ways.py [--cutoffs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from fleetscore.store.local import LocalStore  # noqa: E402 - the path has to be set first
from fleetscore.workloads.store_sales.backtest import load_history  # noqa: E402
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings  # noqa: E402
from fleetscore.workloads.store_sales.features import Cases, Prepared, build, every_step, prepare  # noqa: E402
from fleetscore.workloads.store_sales.forecasting import spread_out, to_sales  # noqa: E402
from fleetscore.workloads.store_sales.judgement import Block, block_of, judge, pinball  # noqa: E402
from fleetscore.workloads.store_sales.panel import Panel  # noqa: E402
from fleetscore.workloads.store_sales.training import (  # noqa: E402
    draw_cases,
    fit_cases,
    forecast_block,
)
from fleetscore.workloads.store_sales.widths import learn_widening  # noqa: E402

FloatArray = NDArray[np.float64]
Group = tuple[int, int]

WAYS: Mapping[str, tuple[Group, ...]] = {
    "one over steps": ((1, 13),),
    "groups 1-4, 5-8, 9-13": ((1, 4), (5, 8), (9, 13)),
    "one per step": tuple((step, step) for step in range(1, 14)),
}
SHIPPED = "one over steps"
SETTINGS = StoreSalesSettings()
_DRAWS_PER_TARGET = 3
_FEWEST_ORIGIN_WEEKS = 4  # as the workload's own drawing
_RESAMPLES = 2_000
_SEED = 20_261_120


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a way forecast from one cutoff: quantiles x (series x steps), log relative to the level, and what training took."""

    said: FloatArray
    cpu_s: float
    rows: int  # trained on, the models of one quantile together


def main() -> None:
    """Backtest every way, print the table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutoffs", type=int, default=3)
    cutoffs = parser.parse_args().cutoffs
    with tempfile.TemporaryDirectory() as folder:
        source = fill_store(Path(folder))
        panel, _ = load_history(LocalStore(Path(folder)), SETTINGS, "store_sales")
    figures = {"source": source, "stores": len(panel.stores), **compare_ways(panel, cutoffs)}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "store_sales_ways.json").write_text(json.dumps(figures, indent=1) + "\n")
    print_table(figures)


def fill_store(folder: Path) -> str:
    """Put the real sales into the store, or samples where there are none; says which."""
    real = os.environ.get("FLEETSCORE_REAL_DATA")
    if real:
        shutil.copytree(Path(real) / "store_sales", folder / "data" / "store_sales")
        return "real sales"
    from fleetscore.workloads.store_sales.samples import write_samples

    write_samples(LocalStore(folder), "data/store_sales/", 1.0, 7)
    return "samples"


def compare_ways(panel: Panel, cutoffs: int) -> dict[str, Any]:
    """The figures of each way over `cutoffs` blocks of 13 weeks that end with the panel, calibrated on the three before each."""
    prepared, stop = prepare(panel), panel.sales.shape[1]
    blocks_back = range(cutoffs + SETTINGS.calibration_blocks, 0, -1)
    columns = [stop - n * SETTINGS.steps for n in blocks_back]
    build(prepared, every_step(1, columns[0], 1))  # compiles, so that no way pays for it
    fitted: dict[str, list[Fitted]] = {way: [] for way in WAYS}
    for column in columns:
        for way, groups in WAYS.items():
            fitted[way].append(fit_way(prepared, column, groups))
            print(column, way, f"{fitted[way][-1].cpu_s:.1f} CPU s", file=sys.stderr, flush=True)
    blocks = [block_of(panel, c, SETTINGS.steps) for c in columns[-cutoffs:]]
    forecasts = {w: calibrate(prepared, columns, [f.said for f in fitted[w]], blocks) for w in WAYS}
    losses = {way: loss_by_week(blocks, said) for way, said in forecasts.items()}
    ways = {
        way: {
            **pick(judge(blocks, said, panel.stores)),
            "relative_to_shipped": compare(losses[way], losses[SHIPPED]),
            "cpu_s_last_cutoff": round(fitted[way][-1].cpu_s, 1),
            "cpu_s_all_fits": round(sum(f.cpu_s for f in fitted[way]), 1),
            "models": len(WAYS[way]) * len(QUANTILES),
            "rows_per_quantile_last_cutoff": fitted[way][-1].rows,
        }
        for way, said in forecasts.items()
    }
    return {"cutoffs": [b.cutoff for b in blocks], "ways": ways}


def fit_way(prepared: Prepared, cutoff: int, groups: Sequence[Group]) -> Fitted:
    """Train each group's models on targets before the cutoff and let them forecast their steps of the block after it."""
    series = len(prepared.log_sales)
    said = np.empty((len(QUANTILES), series, SETTINGS.steps))
    cpu, rows = 0.0, 0
    for first, last in groups:
        started = time.process_time()
        cases = draw_group(prepared, cutoff, first, last)
        forests = fit_cases(prepared, cases, QUANTILES, SETTINGS)
        cpu += time.process_time() - started
        rows += len(cases.step)
        for place, quantile in enumerate(QUANTILES):
            block = forecast_block(prepared, forests[quantile], cutoff, SETTINGS.steps)
            said[place, :, first - 1 : last] = block.reshape(series, -1)[:, first - 1 : last]
    return Fitted(said.reshape(len(QUANTILES), -1), cpu, rows)


def draw_group(prepared: Prepared, stop: int, first: int, last: int) -> Cases:
    """Known targets before column `stop` with up to three different steps of [first, last] each, at most `training_rows`.

    All steps together are drawn by the workload itself.
    """
    if (first, last) == (1, SETTINGS.steps):
        return draw_cases(prepared, stop, SETTINGS)
    random = np.random.default_rng(_SEED)
    earliest = max(_FEWEST_ORIGIN_WEEKS + 1, stop - SETTINGS.training_span_weeks)
    series, target = np.nonzero(~np.isnan(prepared.log_sales[:, earliest:stop]))
    steps = random.permuted(np.tile(np.arange(first, last + 1), (len(series), 1)), axis=1)
    step = steps[:, :_DRAWS_PER_TARGET]
    series, target = (np.repeat(v, step.shape[1]) for v in (series, target + earliest))
    step = step.ravel()
    possible = np.flatnonzero(target - step >= _FEWEST_ORIGIN_WEEKS)
    if len(possible) > SETTINGS.training_rows:
        possible = random.choice(possible, SETTINGS.training_rows, replace=False)
    order = possible[np.lexsort((step[possible], target[possible] - step[possible], series[possible]))]
    return Cases(series[order], (target - step)[order], np.arange(len(order) + 1), step[order])


def calibrate(
    prepared: Prepared, columns: Sequence[int], said: Sequence[FloatArray], blocks: Sequence[Block]
) -> list[FloatArray]:
    """Sales quantiles (rows x quantiles) of the last blocks, each widened by what the three blocks before it missed."""
    levels = [build(prepared, every_step(len(prepared.log_sales), c - 1, SETTINGS.steps))[1] for c in columns]
    truth = [
        prepared.log_sales[:, c : c + SETTINGS.steps].reshape(-1) - level
        for c, level in zip(columns, levels, strict=True)
    ]
    forecasts = []
    for place, block in enumerate(blocks, start=len(columns) - len(blocks)):
        before = slice(place - SETTINGS.calibration_blocks, place)
        widening = learn_widening(said[before], truth[before])
        forecasts.append(to_sales(spread_out(said[place], widening) + levels[place]).T[block.row])
    return forecasts


def loss_by_week(blocks: Sequence[Block], forecasts: Sequence[FloatArray]) -> FloatArray:
    """The summed pinball loss of each forecast week, in order."""
    weeks = np.concatenate([b.week for b in blocks])
    loss = [pinball(b.truth, f).mean(axis=1) for b, f in zip(blocks, forecasts, strict=True)]
    return np.asarray(np.bincount(np.unique(weeks, return_inverse=True)[1], np.concatenate(loss)))


def compare(loss: FloatArray, shipped: FloatArray) -> dict[str, Any]:
    """The loss as a share of the shipped way's, with its 95 % interval over weeks drawn again, and the share of weeks it is less in."""
    drawn = np.random.default_rng(_SEED).integers(0, len(loss), (_RESAMPLES, len(loss)))
    low, high = np.quantile(loss[drawn].sum(axis=1) / shipped[drawn].sum(axis=1), (0.025, 0.975))
    return {
        "ratio": round(float(loss.sum() / shipped.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "share_of_weeks_better": round(float((loss < shipped).mean()), 3),
    }


def pick(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a judgement."""
    names = (
        "rows", "pinball", "relative_to_last_value", "coverage_90", "coverage_50",
        "crossing_share", "pinball_per_quantile", "per_cutoff", "per_step",
    )  # fmt: skip
    return {name: figures[name] for name in names}


def print_table(figures: Mapping[str, Any]) -> None:
    """The figures as a Markdown table."""
    cutoffs = figures["cutoffs"]
    heads = [f"week {c}" for c in cutoffs]
    columns = ["way", *heads, "all", "of one over steps (95 %)", "90 % band", "50 % band", "train CPU s"]
    print(f"Pinball / last value, {figures['source']}, {figures['stores']} stores:\n")
    print(f"| {' | '.join(columns)} |\n|---|{'--:|' * (len(columns) - 1)}")
    for way, found in figures["ways"].items():
        each = [_short(found["per_cutoff"][str(c)]["relative_to_last_value"]) for c in cutoffs]
        to = found["relative_to_shipped"]
        ratio = "1" if way == SHIPPED else f"{to['ratio']:.3f} ({to['low']:.3f} to {to['high']:.3f})"
        bands = [_short(found[name]) for name in ("coverage_90", "coverage_50")]
        cells = [way, *each, _short(found["relative_to_last_value"]), ratio, *bands]
        print(f"| {' | '.join(cells)} | {found['cpu_s_last_cutoff']:.1f} |")


def _short(figure: float) -> str:
    return f"{figure:.3f}".removeprefix("0")


if __name__ == "__main__":
    main()
