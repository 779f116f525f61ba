"""Score a shard: load its stores once, forecast them piece by piece, and settle each with what was found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import InputError, ModelError
from fleetscore.exhaustion import raise_lack
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.partition_keys import join_key, split_key
from fleetscore.records import Outcome
from fleetscore.store import open_store
from fleetscore.windows import Window
from fleetscore.workload import RunContext, Scored, Shard
from fleetscore.workloads.store_sales import gbm_model, own_forecaster
from fleetscore.workloads.store_sales.contract import (
    GBM_LOOKBACK_WEEKS,
    LOOKBACK_WEEKS,
    QUANTILE_NAMES,
    RESULTS,
    Cause,
    StoreSalesSettings,
)
from fleetscore.workloads.store_sales.features import feature_names
from fleetscore.workloads.store_sales.forecasting import Forecast, forecast, forecast_weeks
from fleetscore.workloads.store_sales.forest import Scorer, make_scorer, name_covariates
from fleetscore.workloads.store_sales.holiday_weeks import is_known_country
from fleetscore.workloads.store_sales.input_files import usable_files
from fleetscore.workloads.store_sales.loading import Span, load_panel
from fleetscore.workloads.store_sales.model_file import FILE, Fallback, QuantileModel, unpack_model
from fleetscore.workloads.store_sales.odd_values import (
    has_odd_sales,
    has_zeros_before_start,
    odd_deals,
    odd_prices,
)
from fleetscore.workloads.store_sales.own_forecaster import OwnForecaster
from fleetscore.workloads.store_sales.panel import FINDINGS, Filled, Panel

PIECE_SERIES = 2_048
"""Series that are forecast together: their features stay in the processor's cache, and memory holds one
piece.
"""

_REJECTS = ("unreadable_week", "unreadable_cell", "negative_sales", "conflicting_rows")
_SENTENCES = {
    Cause.NEW_STORE: "no sales known: forecast by the fallback",
    Cause.MANY_REPEATS: "rows, more than three for each SKU and week: if a row covers a day, write dates and set "
    'frequency = "day", or give the sums of weeks',
    Cause.CONFLICTING_ROWS: "rows that contradict another of the same SKU and week: the week taken as not known",
    Cause.NEGATIVE_SALES: "negative sales: taken as not known",
    Cause.ODD_SALES: "SKUs with a week of 3,000 times their usual sales or more: taken as it is",
    Cause.ODD_DEALS: "weeks whose deal or feature is negative or above 100, or above 1 after a history of shares up "
    "to 1: taken as they are",
    Cause.ODD_PRICES: "weeks to forecast whose price is ten times above or below all of the SKU's history: taken as it is",
    Cause.UNREADABLE_CELL: "rows with a cell that is no number: the cell taken as not known",
    Cause.UNREADABLE_WEEK: "rows whose SKU or week cannot be read: left out",
    Cause.PRICE_NOT_POSITIVE: "prices of zero or less: the last known price taken",
    Cause.MISSING_COVARIATES: "forecasts without all covariates: no deal, no feature, last known price assumed, flagged",
    Cause.UNKNOWN_COUNTRY: "country whose holidays are not known, or none: holidays move no week",
    Cause.MISSING_SALES: "rows without sales: taken as not known",
    Cause.REPEATED_ROWS: "rows repeated: counted once",
    Cause.OVERLAP: "rows in both history and future: the history stands before the window, the future from it on",
    Cause.SHORT_HISTORY: "SKUs with too little history: forecast by the fallback, flagged",
    Cause.ZEROS_BEFORE_START: "SKUs with sales of zero before their first sale: taken as sales, so that forecasts are low; "
    "leave out rows of weeks in which they were not on the shelves",
    Cause.DISCONTINUED_SKUS: "SKUs with history but no week to forecast: left out",
    Cause.UNKNOWN_SKUS: "SKUs that the model was not trained on: forecast like any other",
}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model set ready to score with."""

    version: str
    model: QuantileModel | None  # None: made elsewhere
    scorer: Scorer | gbm_model.GbmScorer | OwnForecaster

    @property
    def fallback(self) -> Fallback | None:
        """The quantiles of SKUs with too little history; None: imported from R."""
        if isinstance(self.scorer, OwnForecaster):
            return self.scorer.fallback
        return None if self.model is None else self.model.fallback


def score_shard(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """The shard's results, a few stores a piece, grouped by the model set that scores them."""
    models = shard.partitions["model"].to_pylist()
    for version in sorted(set(models)):
        mask = pa.array([model == version for model in models])
        yield from _score_version(run, shard.partitions.filter(mask), version)


def load_model(url: str, workload: str, version: str, covariates: Sequence[str] = ()) -> LoadedModel:
    """The model set, from a small cache; ModelError when it is missing, altered, not of this kind, or reads
    other features.
    """
    return _load_model(url, workload, version, tuple(covariates))


@lru_cache(maxsize=4)
def _load_model(url: str, workload: str, version: str, covariates: tuple[str, ...]) -> LoadedModel:
    store = open_store(url)
    model_set = read_model_set(store, workload, version)
    if gbm_model.FILE in model_set.files:
        model = gbm_model.unpack(read_model_file(store, model_set, gbm_model.FILE))
        return LoadedModel(version, None, gbm_model.make_gbm_scorer(model))
    if own_forecaster.FILE in model_set.files:
        own = own_forecaster.load_own(lambda name: read_model_file(store, model_set, name), covariates)
        return LoadedModel(version, None, own)
    quantile_model = unpack_model(read_model_file(store, model_set, FILE))
    forest = name_covariates(quantile_model.forest, model_set.card)
    return LoadedModel(version, replace(quantile_model, forest=forest), make_scorer(forest))


def window_span(window: Window, loaded: LoadedModel, settings: StoreSalesSettings) -> Span:
    """The weeks that scoring the window with that model reads: its lookback, and the weeks to forecast."""
    origin = window.ordinal
    is_gbm = isinstance(loaded.scorer, gbm_model.GbmScorer)
    lookback = GBM_LOOKBACK_WEEKS if is_gbm else LOOKBACK_WEEKS
    return Span(window.cadence, max(0, origin - lookback), origin, origin + settings.steps)


def forecast_panel(panel: Panel, loaded: LoadedModel, settings: StoreSalesSettings) -> Forecast:
    """Forecast with whichever kind of model the set holds."""
    if isinstance(loaded.scorer, gbm_model.GbmScorer):
        return gbm_model.forecast(panel, loaded.scorer, settings)
    if isinstance(loaded.scorer, OwnForecaster):
        return own_forecaster.forecast(panel, loaded.scorer, settings)
    return forecast(panel, _fitting(loaded, settings), loaded.scorer, settings)


def forecast_rows(
    panel: Panel, loaded: LoadedModel, settings: StoreSalesSettings, series: NDArray[np.int64], ahead: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Quantiles (rows x quantiles) and fallback as `forecast_panel` gives them: row i is series[i], week
    ahead[i] (0: the first).
    """
    if isinstance(loaded.scorer, gbm_model.GbmScorer | OwnForecaster):
        all_weeks = forecast_panel(panel, loaded, settings)
        return all_weeks.quantiles[series, ahead], all_weeks.fallback[series, ahead]
    return forecast_weeks(panel, _fitting(loaded, settings), loaded.scorer, settings, series, ahead)


def _fitting(loaded: LoadedModel, settings: StoreSalesSettings) -> QuantileModel:
    """The model, if it forecasts as many weeks as the settings name, from the features that these settings
    give; ModelError otherwise.
    """
    if loaded.model is None or settings.steps > loaded.model.steps:
        raise ModelError(
            f"Model set {loaded.version} forecasts fewer weeks than the {settings.steps} that the settings name.",
            fix="Lower `steps` or train again.",
            code="wrong_steps",
        )
    read = loaded.model.forest.features
    if feature_names(settings.covariates)[: len(read)] != read:
        raise ModelError(
            f"Model set {loaded.version} reads other features than the settings give: they name the covariates "
            f"{list(settings.covariates)}.",
            fix="Set `covariates` as they were when it was trained, or train again.",
            code="feature_mismatch",
        )
    return loaded.model


def _score_version(run: RunContext, partitions: pa.Table, version: str) -> Iterator[Scored]:
    store, settings = run.store, run.settings
    keys = partitions["partition"].to_pylist()
    clock = time.perf_counter()
    try:
        loaded = load_model(store.url, run.workload, version, settings.covariates)
    except ModelError as error:
        raise_lack(error)
        yield Scored.failed(keys, error.code, str(error), input_rows=partitions["rows"], model=version)
        return
    names = [split_key(key)[0] for key in keys]
    files = usable_files(store, run.inputs, settings)
    filled = load_panel(files, window_span(run.window, loaded, settings), names, settings.covariates)
    loading_s = (time.perf_counter() - clock) / max(1, len(keys))
    for first, stop in _pieces(filled.panel):
        try:
            yield _score_piece(filled, first, stop, loaded, run.window, settings, loading_s)
        except (ModelError, InputError) as error:  # what a model of the user's own refuses
            raise_lack(error)
            own = [join_key([name]) for name in filled.panel.stores[first:stop]]
            yield Scored.failed(own, error.code, str(error), model=version)


def _pieces(panel: Panel) -> Iterator[tuple[int, int]]:
    """Ranges of stores with about PIECE_SERIES series each; every store is in exactly one."""
    ends = np.searchsorted(panel.store_of, np.arange(len(panel.stores)), side="right")
    first = 0
    while first < len(panel.stores):
        begin = ends[first - 1] if first else 0
        stop = int(np.searchsorted(ends, begin + PIECE_SERIES, side="right"))
        stop = min(max(stop, first + 1), len(panel.stores))
        yield first, stop
        first = stop


def _score_piece(
    filled: Filled,
    first: int,
    stop: int,
    loaded: LoadedModel,
    window: Window,
    settings: StoreSalesSettings,
    loading_s: float,
) -> Scored:
    clock = time.perf_counter()
    panel = filled.panel.of_stores(first, stop)
    begin = int(np.searchsorted(filled.panel.store_of, first))
    planned = filled.planned[begin : begin + len(panel.skus)]
    predicted = forecast_panel(panel, loaded, settings)
    counts = _counts(filled.findings[first:stop], panel, planned, predicted, loaded)
    counts[Cause.MANY_REPEATS] = _many_repeats(counts, settings)
    rejected = _rejected(counts, settings)
    overflowed = planned & ~np.isfinite(predicted.quantiles).all(axis=(1, 2))
    failed = np.bincount(panel.store_of[overflowed], minlength=len(panel.stores)) > 0
    shown = planned & ~(rejected | failed)[panel.store_of]
    results = result_table(panel, predicted, shown, window, settings.steps, loaded.version)
    rows = np.bincount(panel.store_of[shown], minlength=len(panel.stores)) * settings.steps
    sketches = _sketches(panel, predicted, shown, settings.steps)
    seconds = loading_s + (time.perf_counter() - clock) / len(panel.stores)
    outcome, causes, details = _settled(panel.stores, counts, rejected, rows, settings)
    found = [_found(counts, i) for i in range(len(panel.stores))]
    for i in np.flatnonzero(failed & ~rejected).tolist():
        skus = panel.skus[overflowed & (panel.store_of == i)]
        outcome[i], causes[i] = str(Outcome.FAILED), str(Cause.NOT_FINITE)
        details[i] = (
            f"The forecasts of {len(skus)} SKUs, the first {skus[0]}, are not finite numbers, so none of the store "
            f"is published; correct their sales. {details[i]}".rstrip()
        )
    return Scored.of(
        [join_key([name]) for name in panel.stores], results, outcome=outcome, cause=causes, detail=details,
        input_rows=counts["rows"], rows=rows, model=loaded.version, seconds=seconds, sketches=sketches,
        causes=[_all_causes(first, others) for first, others in zip(causes, found, strict=True)],
    )  # fmt: skip


def result_table(
    panel: Panel, predicted: Forecast, shown: NDArray[np.bool_], window: Window, steps: int, version: str
) -> pa.Table:
    """RESULTS rows of the shown series, in the panel's order."""
    chosen = np.flatnonzero(shown)
    count = len(chosen)
    weeks = pa.array([window.next(step).key for step in range(steps)])
    week_codes = np.tile(np.arange(steps, dtype=np.int32), count)
    quantiles = predicted.quantiles[chosen].reshape(count * steps, len(QUANTILE_NAMES))
    sku_names, sku_codes = np.unique(panel.skus[chosen].astype(str), return_inverse=True)
    columns = [
        _text(panel.store_of[chosen].repeat(steps), pa.array(panel.stores)),
        _text(sku_codes.repeat(steps), pa.array(sku_names.tolist(), pa.string())),
        _text(week_codes, weeks),
        pa.array((week_codes + 1).astype(np.int8)),
        *(pa.array(np.ascontiguousarray(quantiles[:, q])) for q in range(len(QUANTILE_NAMES))),
        pa.array(predicted.fallback[chosen].reshape(-1)),
        _text(np.zeros(count * steps, np.int32), pa.array([version])),
    ]
    return pa.Table.from_arrays(columns, schema=RESULTS)


def _text(codes: NDArray[Any], names: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32, copy=False)), names).cast(
        pa.string()
    )


def _counts(
    findings: NDArray[np.int64],
    panel: Panel,
    planned: NDArray[np.bool_],
    predicted: Forecast,
    loaded: LoadedModel,
) -> dict[str, NDArray[np.int64]]:
    """Per store how often each thing was found: the causes of scored stores, and `rows`."""
    stores = len(panel.stores)

    def per_store(weights: Any) -> NDArray[np.int64]:
        return np.bincount(panel.store_of, weights, stores).astype(np.int64)

    counts = {name: findings[:, column] for column, name in enumerate(FINDINGS)}
    known = ~np.isnan(panel.sales).all(axis=1)
    counts[Cause.NEW_STORE] = (per_store(known) == 0).astype(np.int64)
    steps = predicted.assumed.shape[1]
    odd = odd_deals(panel.deal, panel.store_of, steps) + odd_deals(panel.feat, panel.store_of, steps)
    if panel.countries:
        unknown = [not is_known_country(name) for name in panel.countries]
        counts[Cause.UNKNOWN_COUNTRY] = np.array(unknown, np.int64)
    counts[Cause.ODD_SALES] = per_store(has_odd_sales(panel.sales) & planned)
    counts[Cause.ODD_DEALS] = per_store(odd)
    counts[Cause.ODD_PRICES] = per_store(odd_prices(panel.price, steps))
    counts[Cause.MISSING_COVARIATES] = per_store(predicted.assumed.sum(axis=1) * planned)
    counts[Cause.SHORT_HISTORY] = per_store(predicted.short & planned)
    started_late = has_zeros_before_start(panel.sales[:, : panel.sales.shape[1] - steps])
    counts[Cause.ZEROS_BEFORE_START] = per_store(started_late & planned)
    counts[Cause.DISCONTINUED_SKUS] = per_store(known & ~planned)
    if loaded.fallback is not None:
        known_skus = loaded.fallback.skus
        counts[Cause.UNKNOWN_SKUS] = per_store(planned & ~np.isin(panel.skus.astype(str), known_skus))
    return counts


def _many_repeats(counts: dict[str, NDArray[np.int64]], settings: StoreSalesSettings) -> NDArray[np.int64]:
    """The rows of stores that have more than three for each SKU and week on average, zero for others: equal
    days of a plain week number look like repeats, and their sum is not known.
    """
    again = counts["repeated_rows"] + counts["conflicting_rows"]
    is_daily = 3 * again > 2 * counts["rows"]
    return np.where(
        is_daily & (counts["repeated_rows"] > 0) & (settings.frequency == "week"), counts["rows"], 0
    )


def _rejected(counts: dict[str, NDArray[np.int64]], settings: StoreSalesSettings) -> NDArray[np.bool_]:
    rejects = sum(counts[name] for name in _REJECTS)
    return np.asarray(rejects > settings.max_reject_share * np.maximum(counts["rows"], 1))


def _settled(
    stores: Sequence[str],
    counts: dict[str, NDArray[np.int64]],
    rejected: NDArray[np.bool_],
    rows: NDArray[np.int64],
    settings: StoreSalesSettings,
) -> tuple[list[str], list[str], list[str]]:
    """Outcome, cause and detail of each store."""
    causes, details = [], []
    for i in range(len(stores)):
        found = _found(counts, i)
        said = "; ".join(f"{counts[cause][i]} {_SENTENCES[cause]}" for cause in found)
        if rejected[i]:
            share = f"{100 * settings.max_reject_share:g} %"
            said = f"More than {share} of its rows are unusable (max_reject_share): {said}"
            if 2 * counts["conflicting_rows"][i] > counts["rows"][i] and settings.frequency == "week":
                said += '; if a row covers a day, set frequency = "day"'
        causes.append(str(_cause(found, bool(rejected[i]), bool(rows[i]))))
        details.append(said and said + ".")
    outcome = np.where(
        rejected, str(Outcome.QUARANTINED), np.where(rows > 0, str(Outcome.SCORED), str(Outcome.LATE))
    )
    return outcome.tolist(), causes, details


def _found(counts: dict[str, NDArray[np.int64]], store: int) -> list[Cause]:
    """What was found of the store, in the order of the report."""
    return [cause for cause in _SENTENCES if cause in counts and counts[cause][store]]


def _all_causes(first: str, found: Sequence[Cause]) -> list[str]:
    return list(dict.fromkeys(text for text in (first, *map(str, found)) if text))


def _cause(found: list[Cause], rejected: bool, has_rows: bool) -> str:
    if rejected:
        return Cause.TOO_MANY_REJECTS
    if not has_rows:
        return Cause.NO_FUTURE  # rows of the future are there, but none names a SKU
    return found[0] if found else ""


def _sketches(panel: Panel, predicted: Forecast, shown: NDArray[np.bool_], steps: int) -> pa.Table:
    """Per store what its input and forecast look like, to notice drift by."""
    sales = panel.sales[:, : panel.sales.shape[1] - steps]
    known = ~np.isnan(sales)

    def total(weights: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(panel.store_of, weights, len(panel.stores)).astype(np.float64)

    weeks = total(known.sum(axis=1))
    mean = total(np.where(known, sales, 0.0).sum(axis=1)) / np.maximum(weeks, 1)
    gaps = np.where(known, sales - mean[panel.store_of][:, None], 0.0)
    medians = np.where(shown, predicted.quantiles[:, :, 2].sum(axis=1), 0.0)
    forecasts = np.maximum(total(shown) * steps, 1)
    return pa.table(
        {
            "partition": [join_key([name]) for name in panel.stores],
            "n": weeks,
            "mean": mean,
            "std": np.sqrt(total(np.einsum("ij,ij->i", gaps, gaps)) / np.maximum(weeks, 1)),
            "missing_share": 1.0 - weeks / np.maximum(total(np.full(len(sales), float(sales.shape[1]))), 1),
            "median_mean": total(medians) / forecasts,
            "feature_share": total(np.nan_to_num(panel.feat[:, -steps:]).sum(axis=1) * shown) / forecasts,
        }
    )
