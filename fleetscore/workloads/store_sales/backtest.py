"""The rolling backtest: train before each cutoff, forecast after it, compare with what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workloads.store_sales.chain import prepare_for_training
from fleetscore.workloads.store_sales.contract import (
    QUANTILES,
    StoreSalesSettings,
)
from fleetscore.workloads.store_sales.features import Prepared, build, every_step
from fleetscore.workloads.store_sales.forecasting import count_series, round_counts, spread_out, to_sales
from fleetscore.workloads.store_sales.holiday_weeks import Calendar, calendar_of
from fleetscore.workloads.store_sales.input_files import UsableFiles, find_files
from fleetscore.workloads.store_sales.judgement import Block, block_of, judge, name_weeks
from fleetscore.workloads.store_sales.model_sets import load_training_panel
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.training import (
    FEWEST_TRAINING_ROWS,
    draw_cases,
    fit_forests,
    forecast_block,
    learn_widening,
)

FloatArray = NDArray[np.float64]


def run_backtest(store: Store, settings: StoreSalesSettings, cutoffs: int) -> Mapping[str, Any]:
    """Figures of `cutoffs` forecasts, `steps` weeks apart, the last ending with the history.

    Every cutoff is forecast by forests trained before it, widened by what the forests of the cutoffs before
    it missed: as a run would have done at that time. InputError when the history is too short for a single
    one.
    """
    if cutoffs < 1:
        raise InputError(f"cutoffs is {cutoffs}, expected 1 or more.", field="cutoffs")
    panel, cadence = load_history(store, settings)
    calendar = calendar_of(settings, cadence)
    return name_weeks(backtest_panel(panel, settings, cutoffs, calendar), cadence)


def backtest_panel(
    panel: Panel, settings: StoreSalesSettings, cutoffs: int, calendar: Calendar | None = None
) -> dict[str, Any]:
    """The figures of run_backtest, on a panel whose every column has known sales."""
    blocks, forecasts = forecast_cutoffs(panel, settings, cutoffs, calendar)
    return {"cutoffs": [b.cutoff for b in blocks], **judge(blocks, forecasts, panel.stores)}


def forecast_cutoffs(
    panel: Panel, settings: StoreSalesSettings, cutoffs: int, calendar: Calendar | None = None
) -> tuple[list[Block], list[FloatArray]]:
    """The blocks of `cutoffs` forecasts, in order of time, and of each what was forecast (rows x quantiles),
    in sales. InputError when the history is too short for a single one.
    """
    prepared_at, stop = prepare_for_training(panel, calendar), panel.sales.shape[1]
    prepared = prepared_at(stop)[1]
    wanted = [stop - n * settings.steps for n in range(1, cutoffs + settings.calibration_blocks + 1)]
    columns = sorted(c for c in wanted if len(draw_cases(prepared, c, settings).step) >= FEWEST_TRAINING_ROWS)
    judged = columns[-cutoffs:]
    if not judged:
        raise InputError(
            f"The history has {stop} weeks, too few to train before a cutoff and judge {settings.steps} weeks after it.",
            fix="Give more weeks of history.",
            field="cutoffs",
        )
    said = {c: _forecast_logs(prepared_at(c)[1], c, settings) for c in columns}
    truth = {c: _truth_logs(prepared_at(c)[1], c, settings) for c in columns}
    blocks, forecasts = [], []
    for cutoff in judged:
        before = [c for c in columns if c < cutoff][-settings.calibration_blocks or len(columns) :]
        widening = learn_widening([said[c] for c in before], [truth[c] for c in before])
        block = block_of(panel, cutoff, settings.steps)
        blocks.append(block)
        levels = _levels(prepared_at(cutoff)[1], cutoff, settings)
        forecast = to_sales(spread_out(said[cutoff], widening) + levels).T[block.row]
        round_counts(forecast, count_series(panel.sales[:, :cutoff])[block.row // settings.steps])
        forecasts.append(forecast)
    return blocks, forecasts


def load_history(store: Store, settings: StoreSalesSettings) -> tuple[Panel, Cadence]:
    """The panel of all weeks of the history, and the cadence of its weeks; InputError when there is no
    usable history.
    """
    files = find_files(store, settings)
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


def _forecast_logs(prepared: Prepared, cutoff: int, settings: StoreSalesSettings) -> FloatArray:
    forests = fit_forests(prepared, cutoff, QUANTILES, settings)
    return np.stack([forecast_block(prepared, forests[q], cutoff, settings.steps) for q in QUANTILES])


def _truth_logs(prepared: Prepared, cutoff: int, settings: StoreSalesSettings) -> FloatArray:
    sales = prepared.log_sales[:, cutoff : cutoff + settings.steps].reshape(-1)
    return np.asarray(sales - _levels(prepared, cutoff, settings))


def _levels(prepared: Prepared, cutoff: int, settings: StoreSalesSettings) -> FloatArray:
    return build(prepared, every_step(len(prepared.log_sales), cutoff - 1, settings.steps))[1]
