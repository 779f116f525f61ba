"""Chains with planted demand that the sales' part of `python -m benchmarks quality` judges on."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from fleetscore.windows import Cadence, parse_window
from fleetscore.workloads.store_sales.panel import Panel

Floats = NDArray[np.float64]

STORES, SKUS, WEEKS = 12, 6, 170
FIRST_WEEK = parse_window("2021-W01", Cadence.WEEK).ordinal
SPREAD = 2.0  # of counts: the variance is the mean plus half of its square
PEAK_WEEKS = 3  # before and with Christmas
KINDS = ("steady", "yearly peak", "counts")
EASTERS = (date(2021, 4, 4), date(2022, 4, 17), date(2023, 4, 9), date(2024, 3, 31))


def generate_estate(kind: str, seed: int, *, stores: int = STORES, skus: int = SKUS) -> Panel:
    """Weekly sales of every SKU in every store over WEEKS weeks from 2021-W01.

    `steady`: trends, promotions and drifting levels. `yearly peak`: the same with sales before Christmas
    of three to five times, before Easter of half as much again, and a smooth rhythm of the year. `counts`: a
    few pieces a week or none, by a negative binomial law, with promotions and a weak rhythm.
    """
    random = np.random.default_rng([KINDS.index(kind), seed])
    shape = (stores * skus, WEEKS)
    sku = np.tile(np.arange(skus), stores)
    deal, feat, price = _promotions(random, stores, skus)
    logs = _log_demand(random, stores, sku, price, feat)
    if kind == "counts":
        mean = _mean_pieces(random, logs, sku)
        sales = random.poisson(mean * random.gamma(SPREAD, 1 / SPREAD, shape)).astype(np.float64)
    else:
        if kind == "yearly peak":
            logs += _peaks(random, skus)[sku] + 0.3 * _rhythm(random, skus)[sku]
        sales = np.rint(np.exp(logs + 4.5 + random.normal(0, 0.25, shape)))
    return Panel(
        tuple(f"store-{n:02d}" for n in range(stores)), np.arange(stores).repeat(skus),
        np.array([f"sku-{n}" for n in sku], object), FIRST_WEEK, sales, price, deal, feat,
        np.empty((0, *shape)),
    )  # fmt: skip


def mean_pieces(seed: int, *, stores: int = STORES, skus: int = SKUS) -> Floats:
    """The means (series x weeks) by which `generate_estate("counts", seed)` draws its sales."""
    random = np.random.default_rng([KINDS.index("counts"), seed])
    sku = np.tile(np.arange(skus), stores)
    _, feat, price = _promotions(random, stores, skus)
    return _mean_pieces(random, _log_demand(random, stores, sku, price, feat), sku)


def _mean_pieces(random: np.random.Generator, logs: Floats, sku: NDArray[np.int64]) -> Floats:
    return np.asarray(np.exp(logs - 0.3 + 0.3 * _rhythm(random, int(sku.max()) + 1)[sku]))


def _log_demand(
    random: np.random.Generator, stores: int, sku: NDArray[np.int64], price: Floats, feat: Floats
) -> Floats:
    """Log sales by level, trend, drift and promotion, series x weeks."""
    skus, shape = int(sku.max()) + 1, price.shape
    level = random.normal(0, 0.5, stores).repeat(skus) + random.normal(0, 0.7, skus)[sku]
    trend = random.normal(0, 0.15, shape[0])[:, None] * np.arange(WEEKS) / 52
    drift = np.cumsum(random.normal(0, 0.03, shape), axis=1)
    return np.asarray(level[:, None] + trend + drift - 2.0 * np.log(price) + 0.5 * feat)


def peak_weeks() -> NDArray[np.int64]:
    """The weeks (window ordinals) with the peak before Christmas, of every year."""
    return np.concatenate(
        [_week_of(date(year, 12, 24)) - np.arange(PEAK_WEEKS) for year in range(2021, 2025)]
    )


def _promotions(random: np.random.Generator, stores: int, skus: int) -> tuple[Floats, Floats, Floats]:
    """Deal, feature and price (1.0 is the usual one) by series and week; most promotions are the whole chain's."""
    shape = (stores, skus, WEEKS)
    deal = (random.random((1, skus, WEEKS)) < 0.15) & (random.random(shape) < 0.9)
    feat = deal & (random.random((1, skus, WEEKS)) < 0.5)
    price = np.where(deal, random.uniform(0.7, 0.95, (1, skus, WEEKS)), random.uniform(0.98, 1.02, shape))
    flat = (stores * skus, WEEKS)
    return deal.astype(np.float64).reshape(flat), feat.astype(np.float64).reshape(flat), price.reshape(flat)


def _rhythm(random: np.random.Generator, skus: int) -> Floats:
    """A smooth rhythm of the year, SKUs x weeks, between -1 and 1: half the chain's, half the SKU's."""
    year = np.arange(WEEKS) / 52.18
    own, chain = random.random((skus, 1)), random.random()
    return np.asarray((np.sin(2 * np.pi * (year + chain)) + np.sin(2 * np.pi * (year + own))) / 2)


def _peaks(random: np.random.Generator, skus: int) -> Floats:
    """What Christmas and Easter add to log sales, SKUs x weeks."""
    weeks = FIRST_WEEK + np.arange(WEEKS)
    added = np.zeros((skus, WEEKS))
    size = random.uniform(0.9, 1.3, skus)
    for year in range(2021, 2025):
        for before, share in enumerate((1.0, 0.8, 0.4)):
            added[:, weeks == _week_of(date(year, 12, 24)) - before] += share * size[:, None]
    for easter in EASTERS:
        added[:, weeks == _week_of(easter)] += 0.4
        added[:, weeks == _week_of(easter) + 1] -= 0.2
    return added


def _week_of(day: date) -> int:
    year, week, _ = day.isocalendar()
    return parse_window(f"{year}-W{week:02d}", Cadence.WEEK).ordinal
