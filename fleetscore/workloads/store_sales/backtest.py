"""The rolling backtest: train before each cutoff, forecast after it, compare with what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workloads.store_sales.calibration import (
    CalibrationBlock,
    block_before_forests,
    blocks_like,
    with_forests,
)
from fleetscore.workloads.store_sales.candidates import (
    CANDIDATES,
    Candidate,
    Compared,
    blend_for,
    choose_blend,
    coverage_of_spread,
    describe_candidates,
    forecast_by,
    spread_by,
)
from fleetscore.workloads.store_sales.chain import prepare_for_training
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import Prepared
from fleetscore.workloads.store_sales.holiday_weeks import Calendar, calendar_of
from fleetscore.workloads.store_sales.input_files import UsableFiles, find_history
from fleetscore.workloads.store_sales.judgement import Block, judge, name_weeks
from fleetscore.workloads.store_sales.model_sets import load_training_panel
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.simple_forecasts import WEEK_KINDS
from fleetscore.workloads.store_sales.training import (
    FEWEST_TRAINING_ROWS,
    draw_cases,
    fit_forests,
    forecast_block,
)

FloatArray = NDArray[np.float64]


def run_backtest(
    store: Store, settings: StoreSalesSettings, workload: str, cutoffs: int
) -> Mapping[str, Any]:
    """Figures of `cutoffs` forecasts, `steps` weeks apart, the last ending with the history.

    Every cutoff is forecast by forests trained before it, widened by what the forests of the cutoffs before
    it missed: as a run would have done at that time. InputError when the history is too short for a single
    one.
    """
    if cutoffs < 1:
        raise InputError(f"cutoffs is {cutoffs}, expected 1 or more.", field="cutoffs")
    panel, cadence = load_history(store, settings, workload)
    calendar = calendar_of(settings, cadence)
    return name_weeks(backtest_panel(panel, settings, cutoffs, calendar), cadence)


def backtest_panel(
    panel: Panel, settings: StoreSalesSettings, cutoffs: int, calendar: Calendar | None = None
) -> dict[str, Any]:
    """The figures of run_backtest, on a panel whose every column has known sales."""
    rolled = roll(panel, settings, cutoffs, calendar)
    blocks = [block.block for block in rolled.blocks]
    return {
        "cutoffs": [b.cutoff for b in blocks],
        **judge(blocks, rolled.forecasts, panel.stores),
        **coverage_of_spread(rolled.blocks, rolled.spread),
        "candidates": describe_candidates(Compared.of(rolled.blocks, rolled.by_candidate)),
        "used": dict(zip([str(b.cutoff) for b in blocks], rolled.used, strict=True)),
    }


def forecast_cutoffs(
    panel: Panel, settings: StoreSalesSettings, cutoffs: int, calendar: Calendar | None = None
) -> tuple[list[Block], list[FloatArray]]:
    """The blocks of `cutoffs` forecasts, in order of time, and of each what was forecast (rows x quantiles),
    in sales. InputError when the history is too short for a single one.
    """
    rolled = roll(panel, settings, cutoffs, calendar)
    return [block.block for block in rolled.blocks], rolled.forecasts


@dataclass(frozen=True, slots=True)
class Rolled:
    """Blocks after their cutoffs, in order of time, and what was forecast of each (rows x quantiles, in
    sales).
    """

    blocks: list[CalibrationBlock]
    forecasts: list[FloatArray]  # by the blend that the blocks before support
    by_candidate: dict[Candidate, list[FloatArray]]
    used: list[dict[str, str]]  # kind of week: candidate
    spread: list[FloatArray]  # as the forecasts, whole pieces not rounded


def roll(
    panel: Panel, settings: StoreSalesSettings, cutoffs: int, calendar: Calendar | None = None
) -> Rolled:
    """Forecast `cutoffs` blocks by what was trained before each; widths and blend are those that the
    calibration blocks before it support. InputError when the history is too short for a single one.
    """
    prepared_at, stop = prepare_for_training(panel, calendar), panel.sales.shape[1]
    prepared = prepared_at(stop)[1]
    wanted = [stop - n * settings.steps for n in range(1, cutoffs + settings.calibration_blocks + 1)]
    columns = sorted(c for c in wanted if len(draw_cases(prepared, c, settings).step) >= FEWEST_TRAINING_ROWS)
    if not columns:
        raise InputError(
            f"The history has {stop} weeks, too few to train before a cutoff and judge {settings.steps} weeks after it.",
            fix="Give more weeks of history.",
            field="cutoffs",
        )
    known = {c: _block_at(panel, prepared_at(c)[1], c, settings) for c in columns}
    rolled = Rolled([], [], {candidate: [] for candidate in CANDIDATES}, [], [])
    for cutoff in columns[-cutoffs:]:
        earlier = [known[c] for c in columns if c < cutoff]
        before = earlier[-settings.calibration_blocks :] if settings.calibration_blocks else []
        before = blocks_like(before, known[cutoff].season)
        blend, _ = choose_blend(before)
        rolled.blocks.append(known[cutoff])
        rolled.forecasts.append(forecast_by(blend, known[cutoff]))
        rolled.spread.append(spread_by(blend, known[cutoff]))
        rolled.used.append(dict(zip(WEEK_KINDS, blend.names, strict=True)))
        for candidate, kept in rolled.by_candidate.items():
            kept.append(forecast_by(blend_for(candidate, before), known[cutoff]))
    return rolled


def load_history(store: Store, settings: StoreSalesSettings, workload: str) -> tuple[Panel, Cadence]:
    """The panel of all weeks of the history, and the cadence of its weeks; InputError when there is no
    usable history.
    """
    files = find_history(store, settings, workload)
    first, stop = _history_span(files, settings)
    return load_training_panel(files, first, stop, settings), first.cadence


def _history_span(files: UsableFiles, settings: StoreSalesSettings) -> tuple[Window, Window]:
    """The first week of the history and the one after its last, in the cadence in which its weeks can be
    read.
    """
    for cadence in (Cadence.INDEX, Cadence.WEEK):
        low, high = np.inf, -np.inf
        for file, _ in files.history:
            for batch in files.reader.keys(file, cadence):
                weeks = batch.week[batch.week >= 0]
                if len(weeks):
                    low, high = min(low, weeks.min()), max(high, weeks.max())
        if high >= 0:
            return Window(cadence, int(low)), Window(cadence, int(high) + 1)
    raise InputError(
        f"There is no usable history. {' '.join(files.faults)}".strip(),
        fix=f"Put history.csv under {settings.folder}.",
        field="data",
    )


def _block_at(
    panel: Panel, prepared: Prepared, cutoff: int, settings: StoreSalesSettings
) -> CalibrationBlock:
    """The block after a column, with what forests and simple forecasts trained before it say."""
    forests = fit_forests(prepared, cutoff, QUANTILES, settings)
    said = np.stack([forecast_block(prepared, forests[q], cutoff, settings.steps) for q in QUANTILES])
    return with_forests(block_before_forests(panel, prepared, cutoff, settings), said)
