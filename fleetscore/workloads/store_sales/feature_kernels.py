"""The loops behind the features, compiled: one pass over a series' lookback for each thing that is
measured, float64 throughout.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fleetscore.kernels.compiled import compiled
from fleetscore.workloads.store_sales.response_kernels import (
    LONG_DECAY,
    dot,
    fit_response,
    known_mean,
    measure_residuals,
    or_zero,
    set_regressors,
)

_SHORT_DECAY = 0.5 ** (1 / 13)  # weekly weights of the level
_FEATURE_WEIGHT = 0.25  # of feature weeks in the level, which is to be what sells without
_MOST_WEEKS = 26  # that "weeks since" and "weeks on" count to
_FEW_SKUS = 32  # up to so many, comparing all pairs is faster than sorting


@compiled()
def carry_forward(values: Any) -> None:
    """Replace NaN by the row's last known value, in place; leading NaN stay."""
    for row in range(values.shape[0]):
        last = np.nan
        for column in range(values.shape[1]):
            if math.isnan(values[row, column]):
                values[row, column] = last
            else:
                last = values[row, column]


@compiled()
def look_at_rivals(
    log_price: Any, deal: Any, feat: Any, store_start: Any, first_ranked: int, out: Any
) -> None:
    """Fill `out` (5 x series x weeks): mean and cheapest log price of the store's other SKUs, rank, shares
    on feature and on deal.

    Ranks are for the weeks from `first_ranked` on; before that they are not set.
    """
    for store in range(store_start.size - 1):
        first, stop = store_start[store], store_start[store + 1]
        for week in range(log_price.shape[1]):
            _rival_prices(log_price, first, stop, week, out)
            _rival_promotions(deal, feat, first, stop, week, out)
            if week < first_ranked:
                continue
            if stop - first <= _FEW_SKUS:
                rank_by_pairs(log_price, first, stop, week, out[2])
            else:
                rank_by_sorting(log_price, first, stop, week, out[2])


@compiled()
def _rival_prices(log_price: Any, first: int, stop: int, week: int, out: Any) -> None:
    total, priced, cheapest, second = 0.0, 0, np.inf, np.inf
    for s in range(first, stop):
        price = log_price[s, week]
        if not math.isnan(price):
            total += price
            priced += 1
            if price < cheapest:
                cheapest, second = price, cheapest
            elif price < second:
                second = price
    for s in range(first, stop):
        price = log_price[s, week]
        known = not math.isnan(price)
        rivals = priced - 1 if known else priced
        out[0, s, week] = (total - (price if known else 0.0)) / rivals if rivals > 0 else np.nan
        out[1, s, week] = (second if price == cheapest else cheapest) if rivals > 0 else np.nan


@compiled()
def _rival_promotions(deal: Any, feat: Any, first: int, stop: int, week: int, out: Any) -> None:
    feats, deals, rivals = 0.0, 0.0, max(1, stop - first - 1)
    for s in range(first, stop):
        feats += feat[s, week]
        deals += deal[s, week]
    for s in range(first, stop):
        out[3, s, week] = (feats - feat[s, week]) / rivals
        out[4, s, week] = (deals - deal[s, week]) / rivals


@compiled()
def rank_by_pairs(log_price: Any, first: int, stop: int, week: int, out: Any) -> None:
    """The share of the priced others that are cheaper, equal ones half; 0.5 without own or other prices."""
    for s in range(first, stop):
        cheaper, others = 0.0, 0
        price = log_price[s, week]
        for other in range(first, stop):
            rival = log_price[other, week]
            if other == s or math.isnan(rival):
                continue
            others += 1
            cheaper += 1.0 if rival < price else (0.5 if rival == price else 0.0)
        out[s, week] = cheaper / others if others > 0 and not math.isnan(price) else 0.5


@compiled()
def rank_by_sorting(log_price: Any, first: int, stop: int, week: int, out: Any) -> None:
    """The same as rank_by_pairs in n log n."""
    prices = log_price[first:stop, week].copy()
    prices = np.sort(prices[~np.isnan(prices)])
    for s in range(first, stop):
        price = log_price[s, week]
        if math.isnan(price) or prices.size < 2:
            out[s, week] = 0.5
            continue
        below = np.searchsorted(prices, price, side="left")
        equal = np.searchsorted(prices, price, side="right") - below - 1
        out[s, week] = (below + 0.5 * equal) / (prices.size - 1)


@compiled()
def build_rows(
    log_sales: Any, log_price: Any, deal: Any, feat: Any, rivals: Any, extras: Any, series: Any, origins: Any,
    first_row: Any, steps: Any, lookback: int, prior: Any, matrix: Any, level: Any,
) -> None:  # fmt: skip
    """Fill `matrix` (features x rows) and `level` (rows) for every case; `prior` (series x 5): what
    responses are shrunk towards.
    """
    coefficients, normal, x = np.empty(5), np.empty((5, 5)), np.empty(5)
    kinds = np.empty((3, 3))
    head = np.empty(15)
    for case in range(series.size):
        s, origin = series[case], origins[case]
        start = max(0, origin - lookback + 1)
        y, p, d, f, r = log_sales[s], log_price[s], deal[s], feat[s], rivals[0, s]
        base_level = _level(y, f, start, origin, head)
        _measure_kinds(y, d, f, start, origin, base_level, kinds)
        price_mean, rival_mean = known_mean(p, start, origin), known_mean(r, start, origin)
        fit_response(
            y,
            p,
            r,
            d,
            f,
            start,
            origin,
            base_level,
            price_mean,
            rival_mean,
            prior[s],
            coefficients,
            normal,
            x,
        )
        _uplifts(kinds, head)
        _recent(y, start, origin, base_level, head)
        measure_residuals(
            y, p, r, d, f, start, origin, base_level, price_mean, rival_mean, coefficients, x, head
        )
        recent = max(start, origin - 12)
        p13, r13, low = (
            known_mean(p, recent, origin),
            known_mean(r, recent, origin),
            _lowest(p, start, origin),
        )
        means = (price_mean, rival_mean, p13, r13, low)
        for row in range(first_row[case], first_row[case + 1]):
            target = origin + steps[row]
            level[row] = base_level
            matrix[:15, row] = head
            matrix[15, row] = steps[row]
            _fill_prices(p, r, rivals[:, s], origin, target, means, matrix[:, row])
            set_regressors(p[target] - price_mean, r[target] - rival_mean, d[target], f[target], x)
            matrix[16, row] = dot(coefficients, x)
            _fill_promotions(d, f, rivals[:, s], target, kinds, matrix[:, row])
            for e in range(extras.shape[0]):
                matrix[38 + 2 * e, row] = extras[e, s, target]
                matrix[39 + 2 * e, row] = extras[e, s, target] - extras[e, s, origin]


@compiled()
def _fill_prices(p: Any, r: Any, rivals: Any, origin: int, target: int, means: Any, out: Any) -> None:
    """The features of own and rival prices; `means`: own and rival mean of the lookback, of 13 weeks, and
    own lowest.
    """
    price_mean, _, p13, r13, low = means
    out[19] = or_zero(p[target] - p13)
    out[20] = or_zero(p[target] - price_mean)
    out[21] = or_zero(p[target] - low)
    out[22] = or_zero(p[target] - p[target - 1])
    out[23] = or_zero(p[target] - p[origin])
    out[24] = or_zero(p[target] - rivals[1, target])
    out[25] = or_zero(p[target] - r[target])
    out[26] = rivals[2, target]
    out[27] = or_zero(r[target] - r13)


@compiled()
def _fill_promotions(deal: Any, feat: Any, rivals: Any, target: int, kinds: Any, out: Any) -> None:
    """The features of own and rival deals and features, and of past weeks of the same kind."""
    kind = _kind(deal[target], feat[target])
    weeks = kinds[kind, 0]
    out[17] = deal[target]
    out[18] = feat[target]
    out[28] = rivals[3, target]
    out[29] = rivals[4, target]
    out[30] = deal[target - 1]
    out[31] = feat[target - 1]
    out[32] = rivals[3, target - 1]
    out[33] = _weeks_since(feat, target)
    out[34] = _weeks_on(deal, target)
    out[35] = kinds[kind, 1] * weeks / (weeks + 1.0)
    out[36] = weeks
    out[37] = kinds[kind, 2]


@compiled()
def _lowest(values: Any, first: int, last: int) -> float:
    low = np.inf
    for t in range(first, last + 1):
        if values[t] < low:  # false for NaN
            low = values[t]
    return low


@compiled()
def _kind(deal: float, feat: float) -> int:
    """0: a plain week; 1: on deal only; 2: on feature."""
    return 2 if feat > 0.5 else (1 if deal > 0.5 else 0)


@compiled()
def _level(y: Any, feat: Any, start: int, origin: int, head: Any) -> float:
    """The weighted mean of log sales; also sets `level`, `known_weeks` and `feat_share`."""
    total, weight, known, feats, decay = 0.0, 0.0, 0, 0.0, 1.0
    for t in range(origin, start - 1, -1):
        if not math.isnan(y[t]):
            w = decay * (_FEATURE_WEIGHT if feat[t] > 0.5 else 1.0)
            total += w * y[t]
            weight += w
            known += 1
            feats += feat[t]
        decay *= _SHORT_DECAY
    level = total / weight if known > 0 else 0.0
    head[10] = level
    head[11] = known
    head[12] = feats / known if known > 0 else 0.0
    return level


@compiled()
def _measure_kinds(y: Any, deal: Any, feat: Any, start: int, origin: int, level: float, kinds: Any) -> None:
    """Per kind of week the decayed number of weeks, mean relative to the level, and standard deviation."""
    kinds[:, :] = 0.0
    decay = 1.0
    for t in range(origin, start - 1, -1):
        if not math.isnan(y[t]):
            k = _kind(deal[t], feat[t])
            kinds[k, 0] += decay
            kinds[k, 1] += decay * (y[t] - level)
            kinds[k, 2] += decay * (y[t] - level) * (y[t] - level)
        decay *= LONG_DECAY
    for k in range(3):
        if kinds[k, 0] > 0.0:
            kinds[k, 1] /= kinds[k, 0]
            kinds[k, 2] = math.sqrt(max(0.0, kinds[k, 2] / kinds[k, 0] - kinds[k, 1] * kinds[k, 1]))


@compiled()
def _uplifts(kinds: Any, head: Any) -> None:
    without = kinds[0, 0] + kinds[1, 0]
    base = (kinds[0, 0] * kinds[0, 1] + kinds[1, 0] * kinds[1, 1]) / without if without > 0.0 else 0.0
    head[0] = base
    head[1] = (kinds[2, 1] - base) * kinds[2, 0] / (kinds[2, 0] + 2.0) if without > 0.0 else 0.0
    head[2] = (kinds[1, 1] - kinds[0, 1]) * kinds[1, 0] / (kinds[1, 0] + 2.0) if kinds[0, 0] > 0.0 else 0.0


@compiled()
def _recent(y: Any, start: int, origin: int, level: float, head: Any) -> None:
    seen = 0
    head[4] = 0.0
    head[5] = 0.0
    for t in range(origin, start - 1, -1):
        if not math.isnan(y[t]):
            head[4 + seen] = y[t] - level
            seen += 1
            if seen == 2:
                break
    head[6] = or_zero(known_mean(y, max(start, origin - 4), origin) - level)
    recent = max(start, origin - 12)
    head[7] = or_zero(known_mean(y, recent, origin) - level)
    high = -np.inf
    for t in range(recent, origin + 1):
        if y[t] > high:  # false for NaN
            high = y[t]
    head[8] = or_zero(high - level)
    head[9] = or_zero(_lowest(y, recent, origin) - level)


@compiled()
def _weeks_since(feat: Any, target: int) -> int:
    weeks = 1
    while weeks < _MOST_WEEKS and weeks <= target and feat[target - weeks] <= 0.5:
        weeks += 1
    return weeks


@compiled()
def _weeks_on(deal: Any, target: int) -> int:
    weeks = 0
    while weeks < _MOST_WEEKS and weeks <= target and deal[target - weeks] > 0.5:
        weeks += 1
    return weeks
