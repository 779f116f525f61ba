"""What the whole chain says of a series: the response of its SKU to price and promotion, and the season of
its weeks.

Both are learned from weeks before a column only, are part of the model, and are shrunk to nothing where the
history does not carry them. The season of a week is what the chain and the SKU sold 52 and 104 weeks before
it, or around the same holiday (`holiday_weeks.py`), relative to their mean; it is taken out of the sales that
the features see, and added to the forecast again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import LOOKBACK_WEEKS
from fleetscore.workloads.store_sales.features import Prepared, prepare
from fleetscore.workloads.store_sales.holiday_weeks import YEAR_WEEKS, Calendar, is_known_country, like_weeks
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.response_kernels import fit_responses
from fleetscore.workloads.store_sales.whole_pieces import count_series

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEVEL_WEEKS = 13  # what a week is compared with when the evidence for a season is weighed
_FEWEST_LEVEL_WEEKS = 4
_GAP_WEEKS = 6  # between those and the week: about the middle of the steps
_FEWEST_WEEKS = 26  # weeks with a week 52 before them, for any evidence
_EVIDENCE_WEEKS = YEAR_WEEKS + _FEWEST_WEEKS
_BLOCK_WEEKS = 4  # errors of adjacent weeks are alike: evidence is counted in blocks
_OWN_STORES = 3.0  # so many stores of a SKU weigh as much as no response at all


@dataclass(frozen=True, slots=True)
class Season:
    """Mean log sales of weeks, relative to the series' means; gains 0.0 where there is no evidence."""

    first_week: int  # window ordinal of the first column
    skus: NDArray[np.str_]  # sorted; the first is "", the whole chain
    mean: (
        FloatArray  # SKUs x weeks: the chain's, and by how much each SKU differs from it; 0.0 where not known
    )
    gain: FloatArray  # of the chain, and of the SKUs' differences
    calendar: Calendar | None = None  # whose holidays move weeks

    @property
    def is_open(self) -> bool:
        """Whether the history carries a season."""
        return bool(self.gain.any())


@dataclass(frozen=True, slots=True)
class Chain:
    """What a model holds of the whole chain; `response` has a row for each of the season's SKUs."""

    season: Season
    response: FloatArray  # SKUs x 5: intercept, own price, rival price, feature, deal
    by_country: tuple[Season, ...] = ()  # of the stores of one country each; `season` is that of all others


def learn_chain(
    prepared: Prepared, panel: Panel, stop: int, calendar: Calendar | None = None
) -> tuple[Chain, Prepared]:
    """The chain from the columns before `stop`, and the panel prepared with it for training.

    In training, a series' own response is no part of what it is shrunk towards.
    """
    sales = prepared.log_sales[:, :stop]
    by_column = calendar is not None and calendar.country.startswith("{")
    season = learn_season(sales, panel.skus, panel.first_week, None if by_column else calendar)
    by_country = _seasons_by_country(sales, panel, calendar) if calendar and by_column else ()
    seasonal = replace(prepared, season=_season_of_panel(season, by_country, panel))
    own = np.zeros((len(panel.skus), 5))
    sales = seasonal.log_sales if seasonal.season is None else seasonal.log_sales - seasonal.season
    fit_responses(
        sales, prepared.log_price, prepared.deal, prepared.feat, prepared.rivals, stop, LOOKBACK_WEEKS, own
    )
    own[:, 0] = 0.0  # an intercept is a series' own
    usable = np.isfinite(own).all(axis=1)
    own[~usable] = 0.0
    row = _rows(season, panel.skus)
    total = np.zeros((len(season.skus), 5))
    np.add.at(total, row, own)
    count = np.bincount(row, usable, len(season.skus))[:, None]
    others = np.maximum(count - 1, 0)
    share = others / (others + _OWN_STORES)
    response = share * total / np.maximum(count, 1)
    without_own = share[row] * (total[row] - own) / np.maximum(others[row], 1)
    whole = count_series(panel.sales[:, :stop])
    return Chain(season, response, by_country), replace(seasonal, response=without_own, whole=whole)


def prepare_with(chain: Chain | None, panel: Panel, first_target: int = 0) -> Prepared:
    """The panel prepared for scoring with a model's chain; None: a model that was trained without one."""
    prepared = prepare(panel, first_target)
    if chain is None:
        return prepared
    season = _season_of_panel(chain.season, chain.by_country, panel)
    return replace(prepared, season=season, response=chain.response[_rows(chain.season, panel.skus)])


def prepare_for_training(
    panel: Panel, calendar: Calendar | None = None
) -> Callable[[int], tuple[Chain, Prepared]]:
    """A function that gives chain and prepared panel as of a column; what no cutoff changes is prepared
    once.
    """
    prepared = prepare(panel)
    return lru_cache(maxsize=None)(lambda stop: learn_chain(prepared, panel, stop, calendar))


def _seasons_by_country(sales: FloatArray, panel: Panel, calendar: Calendar) -> tuple[Season, ...]:
    """The season of each country whose holidays are known and whose stores have sold for long enough to show
    one, from its own stores; the stores of all others have the chain's.
    """
    country = _countries(panel)
    named = sorted({name for name in panel.countries if name and is_known_country(name)})
    known = [name for name in named if _span_of(sales[country == name]) >= _EVIDENCE_WEEKS]
    return tuple(
        learn_season(
            sales[country == name],
            panel.skus[country == name],
            panel.first_week,
            replace(calendar, country=name),
        )
        for name in known
    )


def _span_of(sales: FloatArray) -> int:
    """The weeks from the first with known sales to the last."""
    known = np.flatnonzero(~np.isnan(sales).all(axis=0))
    return int(known[-1] - known[0]) + 1 if len(known) else 0


def _season_of_panel(season: Season, by_country: tuple[Season, ...], panel: Panel) -> FloatArray | None:
    """The season of every series, by its store's country where that has one; None where none is open."""
    seasons = [season, *by_country]
    if not any(one.is_open for one in seasons):
        return None
    weeks, country = panel.sales.shape[1], _countries(panel)
    found = season_of(season, panel.skus, panel.first_week, weeks)
    for one in by_country:
        mine = country == (one.calendar.country if one.calendar else "")
        found[mine] = season_of(one, panel.skus[mine], panel.first_week, weeks)
    return found


def _countries(panel: Panel) -> NDArray[np.str_]:
    """The country of each series, "" where it is not known."""
    names = np.array(panel.countries or [""] * len(panel.stores), str)
    return names[panel.store_of]


def learn_season(
    log_sales: FloatArray, skus: NDArray[np.object_], first_week: int, calendar: Calendar | None = None
) -> Season:
    """The season of the columns of `log_sales` (series x weeks, NaN where not known), with the gains that
    the history supports.

    A gain is the slope of a regression of weeks on those that they are like, a year before, both relative
    to the weeks before a forecast's origin; it is shrunk by its standard error over blocks of weeks, to
    zero where it is not two of them above zero.
    """
    names, of_series = np.unique(skus.astype(str), return_inverse=True)
    known = ~np.isnan(log_sales)
    counts = np.maximum(known.sum(axis=1, keepdims=True), 1)
    relative = np.where(known, log_sales - np.nansum(log_sales, axis=1, keepdims=True) / counts, np.nan)
    chain = _mean_of(relative, np.zeros(len(relative), np.int64), 1)[0]
    by_sku = _mean_of(relative, of_series, len(names)) - chain
    weeks = log_sales.shape[1]
    like = like_weeks(first_week + np.arange(weeks), 1, calendar) - first_week
    mean = np.nan_to_num(_fill_gaps(np.vstack([chain, by_sku]), like))
    none = Season(first_week, np.array(["", *names.tolist()]), mean, np.zeros(2), calendar)
    if weeks < _EVIDENCE_WEEKS:
        return none
    later = np.flatnonzero(like >= 0)
    step = _against_level(relative)[:, later]
    first = _against_level(np.broadcast_to(chain, relative.shape))[:, like[later]]
    second = _against_level(by_sku[of_series])[:, like[later]]
    gain_chain = _gain(step, first)
    gain_sku = _gain(step - gain_chain * first, second)
    return replace(none, gain=np.array([gain_chain, gain_sku]))


def _fill_gaps(mean: FloatArray, like: IntArray) -> FloatArray:
    """The table with weeks that are not known (NaN) as those that they are like, a year before, else a year
    after: a Christmas that is missing is no Christmas as any other week.
    """
    later = np.flatnonzero(like >= 0)
    filled = mean.copy()
    filled[:, later] = np.where(np.isnan(mean[:, later]), mean[:, like[later]], mean[:, later])
    before = filled[:, like[later]]
    filled[:, like[later]] = np.where(np.isnan(before), mean[:, later], before)
    return filled


def why_closed(season: Season) -> str:
    """Why a season adds nothing to forecasts; "" for one that does."""
    weeks, needed = season.mean.shape[1], _EVIDENCE_WEEKS
    if season.is_open:
        return ""
    if weeks < needed:
        return f"{weeks} weeks of history, {needed} are the least: peaks of the year are not forecast"
    return "weeks do not repeat those of the year before beyond the noise"


def season_of(season: Season, skus: NDArray[np.object_], first_week: int, weeks: int) -> FloatArray:
    """The season of the series' weeks (series x weeks, in logs), for `weeks` columns from the window
    ordinal `first_week`.

    Of each week the mean of the weeks that it is like, one year before and, half as heavy, two; of weeks
    that have neither, 52 weeks after.
    """
    if not season.is_open:
        return np.zeros((len(skus), weeks))
    ordinals = first_week + np.arange(weeks)
    columns = ordinals - season.first_week
    row = _rows(season, skus)
    table = season.gain[0] * season.mean[:1] + season.gain[1] * np.vstack(
        [0 * season.mean[:1], season.mean[1:]]
    )
    total, weight = np.zeros((len(table), weeks)), np.zeros(weeks)
    for years, heavy in ((1, 1.0), (2, 0.5)):
        like = like_weeks(ordinals, years, season.calendar) - season.first_week
        _add(table, like, heavy, total, weight)
    _add(table, np.where(weight > 0, -1, columns + YEAR_WEEKS), 1.0, total, weight)
    return np.asarray((total / np.maximum(weight, 1e-12))[row])


def _add(table: FloatArray, columns: IntArray, heavy: float, total: FloatArray, weight: FloatArray) -> None:
    there = (columns >= 0) & (columns < table.shape[1])
    total[:, there] += heavy * table[:, columns[there]]
    weight[there] += heavy


def _rows(season: Season, skus: NDArray[np.object_]) -> IntArray:
    names = skus.astype(str)
    row = np.minimum(np.searchsorted(season.skus, names), len(season.skus) - 1)
    return np.where(season.skus[row] == names, row, 0)


def _mean_of(values: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """The mean of known values by group and week, NaN where there is none."""
    known = ~np.isnan(values)
    total, count = np.zeros((groups, values.shape[1])), np.zeros((groups, values.shape[1]))
    np.add.at(total, group, np.where(known, values, 0.0))
    np.add.at(count, group, known)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _against_level(values: FloatArray) -> FloatArray:
    """Each week relative to the mean of the weeks before a forecast's origin; NaN where that is not known."""
    known = ~np.isnan(values)
    sums = np.cumsum(np.pad(np.where(known, values, 0.0), ((0, 0), (1, 0))), axis=1)
    counts = np.cumsum(np.pad(known, ((0, 0), (1, 0))), axis=1)
    stop = np.maximum(np.arange(values.shape[1]) - _GAP_WEEKS, 0)
    start = np.maximum(stop - _LEVEL_WEEKS, 0)
    count = counts[:, stop] - counts[:, start]
    level = np.where(
        count >= _FEWEST_LEVEL_WEEKS, (sums[:, stop] - sums[:, start]) / np.maximum(count, 1), np.nan
    )
    return np.asarray(values - level)


def _gain(step: FloatArray, lagged: FloatArray) -> float:
    """The slope of `step` on `lagged`, in [0, 1], shrunk by its error over blocks of weeks; a trend of both
    is no evidence.
    """
    both = ~(np.isnan(step) | np.isnan(lagged))
    if not both.any():
        return 0.0
    step, lagged = step - step[both].mean(), lagged - lagged[both].mean()
    product = np.where(both, step * lagged, 0.0).sum(axis=0)
    square = np.where(both, lagged * lagged, 0.0).sum(axis=0)
    blocks = np.arange(step.shape[1]) // _BLOCK_WEEKS
    product, square = np.bincount(blocks, product), np.bincount(blocks, square)
    product, square = product[square > 0], square[square > 0]
    if len(square) < _FEWEST_WEEKS // _BLOCK_WEEKS:
        return 0.0
    slope = product.sum() / square.sum()
    without = (product.sum() - product) / (square.sum() - square)
    n = len(square)
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    if slope <= 2 * error:
        return 0.0
    return float(min(1.0, slope * (1 - (error / slope) ** 2)))
