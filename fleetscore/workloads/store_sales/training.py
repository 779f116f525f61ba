"""Training: drawing targets from the history, one forest per quantile, and what the widening is learned
from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.chain import Chain
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import Cases, Prepared, build, every_step, feature_names
from fleetscore.workloads.store_sales.forest import COVARIATE, Forest, make_scorer, parse_lightgbm, predict
from fleetscore.workloads.store_sales.model_file import Fallback
from fleetscore.workloads.store_sales.simple_forecasts import SimpleForecasts, fit_simple
from fleetscore.workloads.store_sales.whole_pieces import spread_pieces

FloatArray = NDArray[np.float64]
PreparedAt = Callable[[int], tuple[Chain, Prepared]]
"""Chain and panel with what was known before a column; see `chain.prepare_for_training`."""

_DRAWS_PER_TARGET = 3
_FEWEST_ORIGIN_WEEKS = 4  # weeks that must lie before an origin to learn from
FEWEST_TRAINING_ROWS = 500
_MINIMUM_LEAF_ROWS = 50
_SEED = 20_261_116


@dataclass(frozen=True, slots=True)
class TrainedQuantile:
    """One quantile's forest, and what forests trained before each calibration block said about it."""

    forest: Forest
    calibration: FloatArray  # log sales relative to the level; blocks, then series, then steps
    train_rows: int


def train_quantiles(
    prepared_at: PreparedAt, stop: int, quantiles: Sequence[float], settings: StoreSalesSettings
) -> dict[float, TrainedQuantile]:
    """Train on every known week before `stop`; for each calibration block also on the weeks before it, to
    forecast it.

    Raises ModelError (too_little_history) when there is too little to train on.
    """
    said: dict[float, list[FloatArray]] = {quantile: [np.empty(0)] for quantile in quantiles}
    prepared = prepared_at(stop)[1]
    for cutoff in calibration_cutoffs(prepared, settings):
        before = prepared_at(cutoff)[1]
        for quantile, forest in fit_forests(before, cutoff, quantiles, settings).items():
            said[quantile].append(forecast_block(before, forest, cutoff, settings.steps))
    rows = len(draw_cases(prepared, stop, settings).step)
    if rows < FEWEST_TRAINING_ROWS:
        raise ModelError(
            f"The history gives {rows} rows to train on, {FEWEST_TRAINING_ROWS} are the least.",
            fix="Train on more weeks, stores or SKUs.",
            code="too_little_history",
        )
    forests = fit_forests(prepared, stop, quantiles, settings)
    return {q: TrainedQuantile(forests[q], np.concatenate(said[q]), rows) for q in quantiles}


def calibration_cutoffs(prepared: Prepared, settings: StoreSalesSettings) -> list[int]:
    """Where the blocks begin that the widening is learned on: the newest first, as many as the history is
    long enough for.
    """
    stop = prepared.log_sales.shape[1]
    cutoffs = [stop - block * settings.steps for block in range(1, settings.calibration_blocks + 1)]
    return [c for c in cutoffs if len(draw_cases(prepared, c, settings).step) >= FEWEST_TRAINING_ROWS]


def draw_cases(prepared: Prepared, stop: int, settings: StoreSalesSettings) -> Cases:
    """Known targets before column `stop`, each with some of its steps: as many as `training_rows` allows,
    the same for a given panel.
    """
    random = np.random.default_rng(_SEED)
    first = min(max(0, stop), max(_FEWEST_ORIGIN_WEEKS + 1, stop - settings.training_span_weeks))
    series, target = np.nonzero(~np.isnan(prepared.log_sales[:, first : max(0, stop)]))
    series, target = np.tile(series, _DRAWS_PER_TARGET), np.tile(target + first, _DRAWS_PER_TARGET)
    step = random.integers(1, settings.steps + 1, len(series))
    possible = np.flatnonzero(target - step >= _FEWEST_ORIGIN_WEEKS)
    if len(possible) > settings.training_rows:
        possible = random.choice(possible, settings.training_rows, replace=False)
    order = possible[np.lexsort((step[possible], target[possible] - step[possible], series[possible]))]
    series, origin, step = series[order], (target - step)[order], step[order]
    return Cases(series, origin, np.arange(len(order) + 1), step)


def fit_forests(
    prepared: Prepared, stop: int, quantiles: Sequence[float], settings: StoreSalesSettings
) -> dict[float, Forest]:
    """The forests of the quantiles, from targets before column `stop`, over all steps."""
    return fit_cases(prepared, draw_cases(prepared, stop, settings), quantiles, settings)


def fit_cases(
    prepared: Prepared, cases: Cases, quantiles: Sequence[float], settings: StoreSalesSettings
) -> dict[float, Forest]:
    """LightGBM quantile forests of log sales relative to the level, from cases of one step each.

    Single-threaded with fixed seeds: the same panel and cases give the same trees on the same machine.
    """
    import lightgbm

    matrix, level = build(prepared, cases)
    target = _targets(prepared, cases) - level
    names = list(feature_names([f"{COVARIATE}{i}" for i in range(len(prepared.extras))]))
    data = lightgbm.Dataset(matrix.T, target, feature_name=names, params=_parameters(0.5, settings))
    boosters = {q: lightgbm.train(_parameters(q, settings), data, settings.rounds) for q in quantiles}
    return {q: parse_lightgbm(booster.model_to_string()) for q, booster in boosters.items()}


def fit_simple_before(prepared: Prepared, stop: int, settings: StoreSalesSettings) -> SimpleForecasts:
    """The simple forecasts, from the targets before column `stop` that the forests learn from."""
    cases = draw_cases(prepared, stop, settings)
    matrix, level = build(prepared, cases)
    return fit_simple(matrix, _targets(prepared, cases) - level)


def _targets(prepared: Prepared, cases: Cases) -> FloatArray:
    """Log sales of cases of one step each, few whole pieces spread."""
    log_sales = prepared.log_sales[cases.series, cases.origin + cases.step]
    return log_sales if prepared.whole is None else spread_pieces(log_sales, prepared.whole[cases.series])


def forecast_block(prepared: Prepared, forest: Forest, cutoff: int, steps: int) -> FloatArray:
    """Forecasts, log relative to level, of every series in the `steps` weeks from column `cutoff`."""
    matrix, _ = build(prepared, every_step(len(prepared.log_sales), cutoff - 1, steps))
    return np.asarray(predict(make_scorer(forest), matrix)[0])


def learn_fallback(prepared: Prepared, skus: NDArray[np.object_]) -> Fallback:
    """Quantiles of log sales without the season by SKU and kind of week over all stores; those of a kind
    never seen are those of the other kind.
    """
    series_sku = skus.astype(str)
    names = np.array(["", *sorted(set(series_sku))])
    table = np.empty((len(names), 2, len(QUANTILES)))
    on_feature = prepared.feat > 0.5
    log_sales = _spread_sales(prepared)
    if prepared.season is not None:
        log_sales = log_sales - prepared.season
    for row, name in enumerate(names):
        mine = series_sku == name if name else np.ones(len(skus), bool)
        sales, featured = log_sales[mine], on_feature[mine]
        for kind in (0, 1):
            table[row, kind] = _quantiles_of(sales, featured == bool(kind))
    return Fallback(names, table)


def _spread_sales(prepared: Prepared) -> FloatArray:
    if prepared.whole is None:
        return prepared.log_sales
    return spread_pieces(prepared.log_sales, prepared.whole[:, None])


def _quantiles_of(sales: FloatArray, of_kind: NDArray[np.bool_]) -> FloatArray:
    known = ~np.isnan(sales)
    chosen = sales[known & of_kind]
    if len(chosen) < 8:
        chosen = sales[known]
    return np.quantile(chosen, QUANTILES) if len(chosen) else np.zeros(len(QUANTILES))


def _parameters(quantile: float, settings: StoreSalesSettings) -> dict[str, Any]:
    return {
        "objective": "quantile",
        "alpha": quantile,
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": _MINIMUM_LEAF_ROWS,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.6,
        "bagging_freq": 1,
        "use_missing": False,
        "max_bin": 255,
        "seed": _SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
