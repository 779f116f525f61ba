"""From a filled panel and a model to forecasts: features, trees, order, widening, and the declared
fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.blends import mix
from fleetscore.workloads.store_sales.chain import prepare_with
from fleetscore.workloads.store_sales.contract import LOOKBACK_WEEKS, QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import Cases, Prepared, build, every_step
from fleetscore.workloads.store_sales.forest import Scorer, predict
from fleetscore.workloads.store_sales.model_file import (
    FAR_RESPONSES,
    NEAR_RESPONSE_LIMIT,
    WHOLE_AND_SEASONAL,
    Fallback,
    QuantileModel,
)
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.simple_forecasts import SIMPLE, forecast_simply, week_kinds
from fleetscore.workloads.store_sales.whole_pieces import count_series, round_counts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts of every series of a panel, for every step: series x steps."""

    quantiles: FloatArray  # series x steps x quantiles, in sales; not decreasing, not negative
    fallback: NDArray[np.bool_]  # series x steps
    short: NDArray[np.bool_]  # per series: too little history
    assumed: NDArray[np.bool_]  # series x steps: covariates were assumed


def forecast(panel: Panel, model: QuantileModel, scorer: Scorer, settings: StoreSalesSettings) -> Forecast:
    """Forecast every series of the panel, whose last `settings.steps` columns are the weeks to forecast."""
    series, weeks = panel.sales.shape
    origin = weeks - settings.steps - 1
    prepared = prepare_as_trained(model, panel, origin + 1)
    matrix, level = build(prepared, every_step(series, origin, settings.steps))
    logs = forecast_logs(model, scorer, matrix) + level
    quantiles = to_sales(logs).T.reshape(series, settings.steps, len(QUANTILES))
    assumed = assumed_weeks(panel, settings.steps)
    short = short_histories(panel, settings)
    if short.any():
        feature_week = np.nan_to_num(panel.feat[:, origin + 1 :]) > 0.5
        looked_up = look_up(model.fallback, panel.skus[short], feature_week[short])
        season = fallback_season(model, prepared)
        quantiles[short] = to_sales(looked_up + season[short, origin + 1 :, None])
    if model.method >= WHOLE_AND_SEASONAL:
        round_counts(quantiles, count_series(panel.sales[:, : origin + 1]))
    return Forecast(quantiles, short[:, None] | assumed, short, assumed)


def forecast_weeks(
    panel: Panel, model: QuantileModel, scorer: Scorer, settings: StoreSalesSettings, series: IntArray, ahead: IntArray
) -> tuple[FloatArray, NDArray[np.bool_]]:  # fmt: skip
    """Quantiles (rows x quantiles) and fallback as `forecast` gives them: row i is series[i], week ahead[i]
    (0: the first).
    """
    origin = panel.sales.shape[1] - settings.steps - 1
    rows = len(series)
    cases = Cases(series, np.full(rows, origin, np.int64), np.arange(rows + 1), ahead + 1)
    prepared = prepare_as_trained(model, panel, origin + 1)
    matrix, level = build(prepared, cases)
    quantiles = to_sales(forecast_logs(model, scorer, matrix) + level).T
    short = short_histories(panel, settings)[series]
    if short.any():
        feature_week = np.nan_to_num(panel.feat[series, origin + 1 + ahead])[short] > 0.5
        looked_up = look_up(model.fallback, panel.skus[series][short], feature_week[:, None])
        season = fallback_season(model, prepared)[series, origin + 1 + ahead]
        quantiles[short] = to_sales(looked_up[:, 0] + season[short, None])
    if model.method >= WHOLE_AND_SEASONAL:
        round_counts(quantiles, count_series(panel.sales[:, : origin + 1])[series])
    return quantiles, short | assumed_weeks(panel, settings.steps)[series, ahead]


def prepare_as_trained(model: QuantileModel, panel: Panel, first_target: int) -> Prepared:
    """The panel prepared with the model's chain, and responses limited as when the model was trained."""
    prepared = prepare_with(model.chain, panel, first_target)
    if model.method >= FAR_RESPONSES:
        return prepared
    return replace(prepared, response_limit=NEAR_RESPONSE_LIMIT)


def forecast_logs(model: QuantileModel, scorer: Scorer, matrix: FloatArray) -> FloatArray:
    """The quantiles (quantiles x rows), log relative to the offset, of a feature matrix: of the forests,
    or of the model's blend.
    """
    said = predict(scorer, matrix)
    if model.blend is None or model.simple is None:
        return spread_out(said, model.widening)
    kinds = week_kinds(matrix)
    simple = [
        forecast_simply(model.simple, number, matrix, kinds)
        if model.blend.share[:, 1 + number].any()
        else None
        for number in range(len(SIMPLE))
    ]
    return mix(model.blend, [said, *simple], kinds)


def fallback_season(model: QuantileModel, prepared: Prepared) -> FloatArray:
    """What the season adds to the fallback (series x weeks, in logs); nothing for models whose fallback
    holds it.
    """
    if model.method < WHOLE_AND_SEASONAL or prepared.season is None:
        return np.zeros_like(prepared.log_sales)
    return prepared.season


def spread_out(logs: FloatArray, widening: FloatArray) -> FloatArray:
    """The quantiles (quantiles x rows) sorted, so that none crosses, then widened; widening is never
    towards the median.
    """
    return np.asarray(np.sort(logs, axis=0) + widening[:, None])


def to_sales(logs: FloatArray) -> FloatArray:
    """Sales of log1p values, zero at least."""
    return np.maximum(np.expm1(logs), 0.0)


def assumed_weeks(panel: Panel, steps: int) -> NDArray[np.bool_]:
    """Where a covariate of a week to forecast is missing (series x steps); no deal, no feature, the last
    known price are assumed.
    """
    ahead = slice(panel.sales.shape[1] - steps, None)
    missing = (
        np.isnan(panel.price[:, ahead]) | np.isnan(panel.deal[:, ahead]) | np.isnan(panel.feat[:, ahead])
    )
    return np.asarray(missing | np.isnan(panel.extras[:, :, ahead]).any(axis=0))


def short_histories(panel: Panel, settings: StoreSalesSettings) -> NDArray[np.bool_]:
    """Which series have fewer than `min_history_weeks` known weeks of sales in the lookback."""
    stop = panel.sales.shape[1] - settings.steps
    known = (~np.isnan(panel.sales[:, max(0, stop - LOOKBACK_WEEKS) : stop])).sum(axis=1)
    return np.asarray(known < settings.min_history_weeks)


def look_up(fallback: Fallback, skus: NDArray[np.object_], feature_week: NDArray[np.bool_]) -> FloatArray:
    """Log quantiles (series x steps x quantiles) of the SKU in weeks of that kind over the chain; of all
    SKUs where it is unknown.
    """
    names = fallback.skus.astype(str)
    row = np.minimum(np.searchsorted(names, skus.astype(str)), len(names) - 1)
    row[names[row] != skus.astype(str)] = 0
    return np.asarray(fallback.quantiles[row[:, None], feature_week.astype(np.int64)])
