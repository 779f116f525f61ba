"""Sales' part of `python -m benchmarks quality`: rolling backtests on generated chains, and on real sales where they are named.

Every method forecasts the 13 weeks after each cutoff from what was sold before it. Rivals that need an older pandas run in a
virtual environment of their own, named by FLEETSCORE_RIVALS_PYTHON, else made from store_sales_rivals.txt for this run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.sales_estates import FIRST_WEEK, KINDS, generate_estate, peak_weeks
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.backtest import forecast_cutoffs, load_history
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.holiday_weeks import Calendar
from fleetscore.workloads.store_sales.judgement import Block, coverage, pinball
from fleetscore.workloads.store_sales.loss_intervals import compare_losses
from fleetscore.workloads.store_sales.panel import Panel

Floats = NDArray[np.float64]
Forecasts = list[Floats]

HERE = Path(__file__).resolve().parent
SETTINGS = StoreSalesSettings()
CUTOFFS = 4  # of 13 weeks: the generated chains are judged over a year
REAL_CUTOFFS = 3
SEEDS = (201, 202)
DRAWS = 2_000
YEAR_WEEKS = 52
OURS = "Fleetscore"
COUNTRY = "GB"  # whose Easter the peaks are
PARTS = ("all", "in the peak", "elsewhere")


def measure_sales(data: Path | None, quick: bool) -> dict[str, Any]:
    """Figures of every method on generated chains, and on the sales under `data` (a folder with history.csv)."""
    started = time.process_time()
    real = [real_panel(data)] if data is not None else []
    with tempfile.TemporaryDirectory() as folder:
        rivals = None if quick else rivals_python(Path(folder))
        seeds = SEEDS[:1] if quick else SEEDS
        size = {"stores": 6, "skus": 4} if quick else {}
        found = {
            kind: measure_panels([generate_estate(kind, s, **size) for s in seeds], SETTINGS, CUTOFFS, rivals)
            for kind in KINDS
        }
        if real:
            found["real"] = measure_panels(real, SETTINGS, REAL_CUTOFFS, rivals)
    return {"chains": found, "processor_s": round(time.process_time() - started, 1)}


def real_panel(data: Path) -> Panel:
    """The panel of the sales in a folder with history.csv."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(data, Path(folder) / "data" / "store_sales")
        return load_history(LocalStore(Path(folder)), SETTINGS, "store_sales")[0]


def measure_panels(
    panels: Sequence[Panel], settings: StoreSalesSettings, cutoffs: int, rivals: str | None
) -> dict[str, Any]:
    """Every method's figures over all blocks of the panels, which are equal in kind."""
    blocks: list[Block] = []
    series: list[NDArray[np.int64]] = []
    store: list[NDArray[np.int64]] = []
    said: dict[str, Forecasts] = {}
    scale: list[Floats] = []
    for place, panel in enumerate(panels):
        own_blocks, ours = forecast_cutoffs(panel, settings, cutoffs)
        own: dict[str, Forecasts] = {OURS: ours, **simple_rivals(panel, own_blocks, settings.steps)}
        if has_dates(panel):
            dated = forecast_cutoffs(panel, settings, cutoffs, Calendar(COUNTRY))[1]
            own[f"{OURS}, country = {COUNTRY}"] = dated
        if rivals:
            own |= library_rivals(panel, own_blocks, settings.steps, rivals)
        for name, forecasts in own.items():
            said.setdefault(name, []).extend(forecasts)
        blocks += own_blocks
        series += [place * 1_000_000 + block.row // settings.steps for block in own_blocks]
        store += [place * 1_000_000 + block.store for block in own_blocks]
        scale += [_scales(panel, block)[block.row // settings.steps] for block in own_blocks]
    return _figures(blocks, np.concatenate(series), np.concatenate(store), np.concatenate(scale), said)


def has_dates(panel: Panel) -> bool:
    """Whether the panel's weeks are ISO weeks of today's years, as those of the generated chains are."""
    return panel.first_week >= FIRST_WEEK


def _scales(panel: Panel, block: Block) -> Floats:
    """Each series' mean change from week to week before the cutoff: what scaled pinball is relative to."""
    past = panel.sales[:, : block.cutoff - panel.first_week]
    change = np.abs(np.diff(past, axis=1))
    known = np.maximum((~np.isnan(change)).sum(axis=1), 1)
    return np.asarray(np.maximum(np.nansum(change, axis=1) / known, 1e-9))


def _figures(
    blocks: Sequence[Block],
    series: NDArray[np.int64],
    store: NDArray[np.int64],
    scale: Floats,
    said: Mapping[str, Forecasts],
) -> dict[str, Any]:
    truth = np.concatenate([b.truth for b in blocks])
    last = np.abs(truth - np.concatenate([b.last_value for b in blocks])) / 2
    week = np.concatenate([b.week for b in blocks])
    cutoff = np.concatenate([np.full(len(b.row), b.cutoff) for b in blocks])
    peak = np.isin(week, peak_weeks())
    masks = {"all": np.ones(len(week), bool), "in the peak": peak, "elsewhere": ~peak}
    joined = {name: np.concatenate(forecasts) for name, forecasts in said.items()}
    loss = {name: pinball(truth, quantiles).mean(axis=1) for name, quantiles in joined.items()}
    methods = {}
    for name, quantiles in joined.items():
        to_last = compare_losses(loss[name], last, series, week)
        to_ours = compare_losses(loss[OURS], loss[name], series, week)
        per_cutoff = {str(c): _ratio(loss[name], last, cutoff == c) for c in np.unique(cutoff)}
        methods[name] = {
            "relative_to_last_value": [to_last.ratio, to_last.low, to_last.high],
            "per_cutoff": per_cutoff,
            "mean_of_cutoffs": mean_of_cutoffs(loss[name], last, cutoff, store, week),
            "scaled_pinball": {p: float((loss[name] / scale)[m].mean()) for p, m in masks.items() if m.any()},
            "ours_relative_to_it": [to_ours.ratio, to_ours.low, to_ours.high],
            **coverage(truth, quantiles),
            "below": (truth[:, None] < quantiles).mean(axis=0).tolist(),
            "at_most": (truth[:, None] <= quantiles).mean(axis=0).tolist(),
        }
    size = {"rows": len(truth), "series": len(np.unique(series)), "weeks": len(np.unique(week))}
    return {**size, "peak_rows": int(peak.sum()), "zeros": float((truth == 0).mean()), "methods": methods}


def mean_of_cutoffs(
    loss: Floats, base: Floats, cutoff: NDArray[np.int64], store: NDArray[np.int64], week: NDArray[np.int64]
) -> list[float]:
    """The mean over cutoffs of each one's loss as a share of the base, and its 95 % interval.

    Stores are drawn again with all their series, the same for every cutoff, and so are the weeks after each cutoff: series
    of one store are alike, and so are rows of one week.
    """
    random = np.random.default_rng(SEEDS[0])
    stores, place = np.unique(store, return_inverse=True)
    by_store = random.multinomial(len(stores), np.full(len(stores), 1 / len(stores)), DRAWS).astype(float)
    drawn, found = [], []
    for one in np.unique(cutoff):
        rows = cutoff == one
        weeks, column = np.unique(week[rows], return_inverse=True)
        by_week = random.multinomial(len(weeks), np.full(len(weeks), 1 / len(weeks)), DRAWS)
        sums = []
        for values in (loss, base):
            table = np.zeros((len(stores), len(weeks)))
            np.add.at(table, (place[rows], column), values[rows])
            sums.append(((by_store @ table) * by_week).sum(axis=1))
        drawn.append(sums[0] / sums[1])
        found.append(_ratio(loss, base, rows))
    return [float(np.mean(found)), *np.quantile(np.mean(drawn, axis=0), (0.025, 0.975)).tolist()]


def _ratio(loss: Floats, base: Floats, rows: NDArray[np.bool_]) -> float:
    return float(loss[rows].sum() / base[rows].sum())


# rivals


def simple_rivals(panel: Panel, blocks: Sequence[Block], steps: int) -> dict[str, Forecasts]:
    """The value of 52 weeks before (the last one where it is not known), as it is and with the quantiles of its own past errors."""
    naive, spread = [], []
    for block in blocks:
        column = block.cutoff - panel.first_week
        point = np.where(np.isnan(block.seasonal), block.last_value, block.seasonal)[:, None]
        naive.append(np.repeat(point, len(QUANTILES), axis=1))
        errors = _past_errors(panel.sales[:, :column])[block.row // steps]
        spread.append(np.maximum(np.sort(point + errors, axis=1), 0.0))
    return {"seasonal naive": naive, "seasonal naive with its past errors": spread}


def _past_errors(sales: Floats) -> Floats:
    """Per series the quantiles of a week against the week 52 before it; zero without such weeks."""
    errors = sales[:, YEAR_WEEKS:] - sales[:, :-YEAR_WEEKS]
    known = ~np.isnan(errors).all(axis=1)
    out = np.zeros((len(sales), len(QUANTILES)))
    if errors.shape[1]:
        out[known] = np.nanquantile(errors[known], QUANTILES, axis=1).T
    return out


def rivals_python(folder: Path) -> str:
    """An interpreter with mlforecast and statsforecast."""
    python = os.environ.get("FLEETSCORE_RIVALS_PYTHON", "")
    if not python:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "rivals")], check=True)
        python = str(folder / "rivals" / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "-r", str(HERE / "store_sales_rivals.txt")]
        subprocess.run(install, check=True)
    return python


def library_rivals(panel: Panel, blocks: Sequence[Block], steps: int, python: str) -> dict[str, Forecasts]:
    """What benchmarks/sales_quality_rivals.py says of each block."""
    found: dict[str, Forecasts] = {}
    for block in blocks:
        with tempfile.TemporaryDirectory() as folder:
            pq.write_table(_long_table(panel), Path(folder) / "panel.parquet")
            program = [python, str(HERE / "sales_quality_rivals.py"), folder]
            cutoff = block.cutoff - panel.first_week
            subprocess.run([*program, str(cutoff), str(steps)], check=True)
            for path in sorted(Path(folder).glob("said-*.npz")):
                name = path.stem.removeprefix("said-")
                with np.load(path) as archive:
                    found.setdefault(name, []).append(archive["quantiles"].reshape(-1, 5)[block.row])
    return found


def _long_table(panel: Panel) -> pa.Table:
    """The panel as rows: series, week, sales, log of the price, deal, feature."""
    series, week = np.indices(panel.sales.shape)
    columns = {"sales": panel.sales, "price": np.log(panel.price), "deal": panel.deal, "feat": panel.feat}
    flat = {name: values.ravel() for name, values in columns.items()}
    return pa.table({"series": series.ravel(), "week": week.ravel(), **flat})


# the page

_TITLES = {
    "steady": "Generated, steady demand with trends and promotions",
    "yearly peak": "Generated, with peaks at Christmas and Easter",
    "counts": "Generated, a few pieces a week or none",
    "real": "Real orange-juice sales",
}


def render_sales(found: dict[str, Any]) -> str:
    """The tables in Markdown."""
    return "\n\n".join("\n".join(_lines(_TITLES[kind], part)) for kind, part in found["chains"].items())


def _lines(title: str, part: dict[str, Any]) -> Iterator[str]:
    methods = part["methods"]
    peaks = part["peak_rows"] > 0 and "peak" in title
    cutoffs = len(methods[OURS]["per_cutoff"])
    yield (
        f"{title}: {part['series']} series, {part['rows']:,} forecasts of {part['weeks']} weeks after {cutoffs} cutoffs, "
        f"{part['zeros']:.0%} of the sales are zero."
    )
    yield ""
    heads = ["method", "of last value (95 %)", "mean of cutoffs (95 %)", "scaled pinball"]
    heads += ["in the peak", "elsewhere"] if peaks else []
    heads += ["90 % band", "50 % band", "Fleetscore of it (95 %)"]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'--:|' * (len(heads) - 1)}"
    for name, line in methods.items():
        scaled = [line["scaled_pinball"][p] for p in (PARTS if peaks else PARTS[:1])]
        against = "" if name == OURS else _with_interval(line["ours_relative_to_it"])
        cells = [
            name,
            _with_interval(line["relative_to_last_value"]),
            _with_interval(line["mean_of_cutoffs"]),
        ]
        cells += [f"{value:.3f}" for value in scaled]
        yield f"| {' | '.join([*cells, _share(line['coverage_90']), _share(line['coverage_50']), against])} |"
    if part["zeros"] > 0.1:
        ours = methods[OURS]
        spans = [f"{b:.3f} to {a:.3f}" for b, a in zip(ours["below"], ours["at_most"], strict=True)]
        yield ""
        yield (
            "Bands of whole pieces hold more than they promise. Sales are below and at most Fleetscore's five quantiles in "
            f"{', '.join(spans)} of the rows; .05, .25, .50, .75 and .95 are to lie between."
        )


def _with_interval(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"


def _share(value: float) -> str:
    return f"{value:.3f}"
