"""The features: one float64 function of a panel, origins and steps, used alike to train and to score.

An origin is the panel column of the last week whose sales may be known; step h looks at the week origin +
h. Sales after the origin are never read; prices, deals and features are known ahead and are read up to the
target week. Everything is relative to the series' own level, so that stores and SKUs of any size share one
model. Nothing of another store is read while a store is scored; the season and the response that its SKU
has over the chain come with the model (`chain.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetscore.workloads.store_sales.contract import LOOKBACK_WEEKS
from fleetscore.workloads.store_sales.feature_kernels import build_rows, carry_forward, look_at_rivals
from fleetscore.workloads.store_sales.panel import Panel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ORIGIN_FEATURES = (
    "base",  # mean log sales of weeks without feature, relative to the level
    "feat_uplift",  # how much higher feature weeks are than the base, shrunk
    "deal_uplift",  # how much higher deal weeks without feature are than plain ones, shrunk
    "spread",  # root mean square of what the response regression leaves
    "last",  # log sales of the last known week
    "before_last",
    "mean_5",  # of the last five weeks
    "mean_13",
    "max_13",
    "min_13",
    "level",  # log1p of sales, mean of the lookback, recent weeks and those without feature weighing more
    "known_weeks",  # of the lookback
    "feat_share",  # of the known weeks
    "last_residual",  # what the response regression leaves of the last known week
    "mean_residual_4",
)
"""The same for all steps of an origin. Sales are logs relative to the level."""

TARGET_FEATURES = (
    "step",
    "response",  # what the series' own response regression says for the target week
    "deal",
    "feat",
    "price_to_mean_13",  # log of own price against its mean of the 13 weeks up to the origin
    "price_to_mean",  # against its mean of the lookback
    "price_to_low",  # against its lowest of the lookback
    "price_to_week_before",
    "price_to_origin",
    "price_to_cheapest_rival",
    "price_to_mean_rival",
    "price_rank",  # share of the store's other SKUs that are cheaper, equal ones half
    "rival_price_change",  # mean rival price against its mean of the 13 weeks up to the origin
    "rival_feats",  # share of the store's other SKUs on feature
    "rival_deals",
    "deal_before",  # the week before the target
    "feat_before",
    "rival_feats_before",
    "weeks_since_feat",  # 1: the week before; at most 26
    "weeks_on_deal",  # consecutive weeks up to the target; at most 26
    "kind_mean",  # mean log sales of past weeks with the same deal and feature, shrunk
    "kind_weeks",  # their decayed number
    "kind_spread",
)

RESPONSE_LIMIT = 6.0
"""In logs, 400 times the level: beyond it a covariate is not what it should be. Real promotions reached 5."""

_RESPONSE = len(ORIGIN_FEATURES) + TARGET_FEATURES.index("response")


def feature_names(covariates: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of the rows of a feature matrix, in order; each further covariate gives its value and its
    change since the origin.
    """
    further = (f"{name}{tail}" for name in covariates for tail in ("", "_change"))
    return ORIGIN_FEATURES + TARGET_FEATURES + tuple(further)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A panel as the features read it: logs, gaps filled, and what the other SKUs of the store do."""

    log_sales: FloatArray  # log1p, series x weeks, NaN where not known
    log_price: FloatArray  # the last known price carried forward, NaN before the first
    deal: FloatArray  # 0.0 where not known
    feat: FloatArray
    rivals: FloatArray  # 5 x series x weeks: mean log price, cheapest log price, rank, share on feature, share on deal
    extras: FloatArray  # covariates x series x weeks, carried forward, 0.0 before the first
    season: FloatArray | None = None  # series x weeks, in logs: taken out of the sales that features see
    response: FloatArray | None = (
        None  # series x 5: what responses are shrunk towards; None: they are no part of the level
    )
    response_limit: float = RESPONSE_LIMIT  # in logs: how far a response may move the level
    whole: NDArray[np.bool_] | None = None  # series that sell whole pieces; only training reads it


@dataclass(frozen=True, slots=True)
class Cases:
    """Which rows to build: for each case a series, an origin column and its steps. Rows are in the order of
    cases, then of steps.
    """

    series: IntArray
    origin: IntArray
    first_row: IntArray  # one longer than the cases: where each case's rows begin, and the number of rows
    step: IntArray  # per row


def every_step(series: int, origin: int, steps: int) -> Cases:
    """The cases of scoring: steps 1 to `steps` of the first `series` series, from one origin."""
    return Cases(
        np.arange(series),
        np.full(series, origin, np.int64),
        np.arange(series + 1) * steps,
        np.tile(np.arange(1, steps + 1), series),
    )


def prepare(panel: Panel, first_target: int = 0) -> Prepared:
    """Carry forward what is not known, take logs, and look at the rivals; no week before column
    `first_target` is to be a target.
    """
    log_price = np.log(panel.price)
    carry_forward(log_price)
    extras = panel.extras.copy()
    for extra in extras:
        carry_forward(extra)
    deal, feat = np.nan_to_num(panel.deal), np.nan_to_num(panel.feat)
    rivals = np.zeros((5, *log_price.shape))
    store_start = np.searchsorted(panel.store_of, np.arange(len(panel.stores) + 1)).astype(np.int64)
    look_at_rivals(log_price, deal, feat, store_start, first_target, rivals)
    return Prepared(np.log1p(panel.sales), log_price, deal, feat, rivals, np.nan_to_num(extras))


def build(prepared: Prepared, cases: Cases) -> tuple[FloatArray, FloatArray]:
    """The feature matrix (features x rows, float64, all finite), and per row the level (log1p of sales)
    that sales are relative to.
    """
    rows = int(cases.first_row[-1])
    count = len(ORIGIN_FEATURES) + len(TARGET_FEATURES) + 2 * len(prepared.extras)
    matrix, level = np.empty((count, rows)), np.empty(rows)
    season, prior = prepared.season, prepared.response
    sales = prepared.log_sales if season is None else prepared.log_sales - season
    build_rows(
        sales, prepared.log_price, prepared.deal, prepared.feat, prepared.rivals, prepared.extras,
        cases.series, cases.origin, cases.first_row, cases.step, LOOKBACK_WEEKS,
        np.zeros((len(sales), 5)) if prior is None else prior, matrix, level,
    )  # fmt: skip
    if prior is not None:
        level += np.clip(np.nan_to_num(matrix[_RESPONSE]), -prepared.response_limit, prepared.response_limit)
    if season is not None:
        per_case = np.diff(cases.first_row)
        level += season[np.repeat(cases.series, per_case), np.repeat(cases.origin, per_case) + cases.step]
    return matrix, level
