"""Features: recomputed in SQL and by hand, the same for training and scoring, blind for what may not be known."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.workloads.store_sales.contract import LOOKBACK_WEEKS
from fleetscore.workloads.store_sales.feature_kernels import rank_by_pairs, rank_by_sorting
from fleetscore.workloads.store_sales.features import Cases, build, every_step, feature_names, prepare
from fleetscore.workloads.store_sales.panel import Panel

NAMES = feature_names()


def a_panel(seed: int = 0, stores: int = 3, skus: int = 4, weeks: int = 100, gaps: float = 0.1) -> Panel:
    random = np.random.default_rng(seed)
    shape = (stores * skus, weeks)
    deal = (random.random(shape) < 0.3).astype(float)
    feat = deal * (random.random(shape) < 0.5)
    price = random.choice([1.0, 1.5, 2.0, 2.5], shape) * np.where(deal > 0, 0.8, 1.0)
    sales = np.exp(random.normal(5, 1, shape)).round()
    sales[random.random(shape) < gaps] = np.nan
    price[random.random(shape) < gaps] = np.nan
    return Panel(
        tuple(f"s{n}" for n in range(stores)), np.repeat(np.arange(stores), skus),
        np.tile(np.array([f"k{n}" for n in range(skus)], object), stores), 0, sales, price, deal, feat,
        np.empty((0, *shape)),
    )  # fmt: skip


def cut(panel: Panel, first: int, stop: int, known: int) -> Panel:
    """The panel as scoring sees it: some weeks, sales before the column `known` only."""
    sales = panel.sales.copy()
    sales[:, known:] = np.nan
    return Panel(
        panel.stores, panel.store_of, panel.skus, panel.first_week + first, sales[:, first:stop],
        panel.price[:, first:stop], panel.deal[:, first:stop], panel.feat[:, first:stop], panel.extras[:, :, first:stop],
    )  # fmt: skip


def long_table(panel: Panel) -> pd.DataFrame:
    series, weeks = np.indices(panel.sales.shape)
    return pd.DataFrame(
        {
            "series": series.reshape(-1), "store": panel.store_of[series.reshape(-1)], "week": weeks.reshape(-1),
            "y": np.log1p(panel.sales).reshape(-1), "p": np.log(panel.price).reshape(-1),
            "deal": panel.deal.reshape(-1), "feat": panel.feat.reshape(-1),
        }
    )  # fmt: skip


ORACLE = """
with clean as (select series, store, week, nullif(y, 'nan'::double) y, nullif(p, 'nan'::double) p0, deal, feat from t),
filled as (select *, last_value(p0 ignore nulls) over (partition by series order by week) p from clean),
store_weeks as (select store, week, sum(p) p_sum, count(p) p_n, sum(feat) feats, sum(deal) deals, count(*) n from filled group by all),
rivals as (
    select f.*, (p_sum - coalesce(p, 0)) / nullif(p_n - (p is not null)::int, 0) rival, (feats - feat) / (n - 1) rival_feats,
        (deals - deal) / (n - 1) rival_deals
    from filled f join store_weeks using (store, week)),
past as (
    select *, ? - week as age, power(0.5, age / 13.0) * if(feat > 0.5, 0.25, 1) as w from rivals where week <= ? and week > ? - ?),
origins as (
    select series,
        sum(y * w) / sum(if(y is null, 0, w)) level,
        count(y) known_weeks, avg(feat) filter (y is not null) feat_share, avg(y) filter (age < 5) mean_5, avg(y) filter (age < 13) mean_13,
        max(y) filter (age < 13) max_13, min(y) filter (age < 13) min_13, arg_max(y, week) filter (y is not null) last_y,
        avg(p) filter (age < 13) p13, avg(p) p_mean, min(p) p_low, avg(rival) filter (age < 13) r13, arg_max(p, week) p_origin
    from past group by series),
before as (select series, week + 1 as week, p as p_before, deal as deal_before, feat as feat_before,
    rival_feats as rival_feats_before from rivals)
select r.series, r.week, o.level, o.known_weeks, o.feat_share, mean_5 - level mean_5, mean_13 - level mean_13, max_13 - level max_13,
    min_13 - level min_13, last_y - level "last", p - p13 price_to_mean_13, p - p_mean price_to_mean, p - p_low price_to_low,
    p - p_before price_to_week_before, p - p_origin price_to_origin, p - rival price_to_mean_rival, rival - r13 rival_price_change,
    r.rival_feats, r.rival_deals, deal, feat, deal_before, feat_before, rival_feats_before, r.week - ? as step,
    (select least(26, min(r.week - b.week)) from rivals b where b.series = r.series and b.week < r.week and b.feat > 0.5) weeks_since_feat,
    p - (select min(o.p) from rivals o where o.store = r.store and o.week = r.week and o.series <> r.series) price_to_cheapest_rival,
    (select avg(if(o.p < r.p, 1.0, if(o.p = r.p, 0.5, 0.0))) from rivals o
        where o.store = r.store and o.week = r.week and o.series <> r.series and o.p is not null) price_rank
from rivals r join origins o using (series) join before using (series, week) where r.week > ? and r.week <= ? + 13 order by 1, 2
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_features_equal_the_same_definitions_in_sql(seed: int) -> None:
    """Twenty-five features of a panel with gaps equal what DuckDB computes from the definitions."""
    panel, origin = a_panel(seed), 86
    matrix, level = build(prepare(panel), every_step(12, origin, 13))
    with duckdb.connect() as connection:
        connection.register("t", long_table(panel))
        oracle = connection.execute(
            ORACLE, [origin, origin, origin, LOOKBACK_WEEKS, origin, origin, origin]
        ).df()
    np.testing.assert_allclose(level, oracle["level"], rtol=0, atol=1e-12)
    compared = [name for name in NAMES if name in oracle]
    assert len(compared) >= 25
    for name in compared:
        np.testing.assert_allclose(
            matrix[NAMES.index(name)], oracle[name].fillna(0), rtol=0, atol=1e-12, err_msg=name
        )


def test_response_regression_equals_ridge_by_normal_equations() -> None:
    """`response` is the weighted ridge regression's forecast, `spread` and the residuals what it leaves."""
    panel, origin = a_panel(3, gaps=0.0), 86
    prepared = prepare(panel)
    matrix, level = build(prepared, every_step(12, origin, 13))
    for series in (0, 7):
        past = np.arange(origin - LOOKBACK_WEEKS + 1, origin + 1)
        p, r = prepared.log_price[series], prepared.rivals[0, series]
        columns = np.stack([
            np.ones(p.size), p - p[past].mean(), r - r[past].mean(), panel.feat[series],
            panel.deal[series] * (1 - panel.feat[series]),
        ], axis=1)  # fmt: skip
        weights = 0.5 ** ((origin - past) / 26)
        y = prepared.log_sales[series, past] - level[13 * series]
        x = columns[past]
        normal = x.T @ (weights[:, None] * x) + np.diag([0.1, 0.2, 0.2, 1.0, 1.0])
        beta = np.linalg.solve(normal, x.T @ (weights * y))
        rows = slice(13 * series, 13 * series + 13)
        residual = y - x @ beta
        spread = np.sqrt((weights * residual**2).sum() / weights.sum())
        np.testing.assert_allclose(
            matrix[NAMES.index("response"), rows], columns[origin + 1 : origin + 14] @ beta, atol=1e-10
        )
        np.testing.assert_allclose(matrix[NAMES.index("spread"), rows], spread, atol=1e-10)
        np.testing.assert_allclose(matrix[NAMES.index("last_residual"), rows], residual[-1], atol=1e-10)
        np.testing.assert_allclose(
            matrix[NAMES.index("mean_residual_4"), rows], residual[-4:].mean(), atol=1e-10
        )


def test_features_of_a_tiny_table_by_hand() -> None:
    """One series of four weeks, one on feature: level, base, uplift and kind means are what a pencil gives."""
    sales = np.array([[np.e**2 - 1, np.e**2 - 1, np.e**5 - 1, np.e**2 - 1, np.nan]])
    feat = np.array([[0.0, 0.0, 1.0, 0.0, 1.0]])
    panel = Panel(
        ("a",),
        np.zeros(1, np.int64),
        np.array(["x"], object),
        0,
        sales,
        np.ones((1, 5)),
        feat,
        feat,
        np.empty((0, 1, 5)),
    )
    matrix, level = build(prepare(panel), every_step(1, 3, 1))
    w = 0.5 ** (np.array([3, 2, 1, 0]) / 13) * np.array([1, 1, 0.25, 1])
    expected = float((w * [2, 2, 5, 2]).sum() / w.sum())
    kind = 0.5 ** (1 / 26)
    by_name = dict(zip(NAMES, matrix[:, 0], strict=True))
    assert level[0] == pytest.approx(expected)
    assert by_name["base"] == pytest.approx(2 - expected)
    assert by_name["feat_uplift"] == pytest.approx(3 * kind / (kind + 2))
    assert by_name["kind_mean"] == pytest.approx((5 - expected) * kind / (kind + 1))
    assert by_name["kind_weeks"] == pytest.approx(kind)
    assert by_name["weeks_since_feat"] == 2
    assert by_name["price_rank"] == 0.5  # no rival
    assert by_name["price_to_cheapest_rival"] == 0.0


def test_training_and_scoring_see_the_same_features_bit_for_bit() -> None:
    """Rows built from the whole past, for training, equal those built from what scoring loads at that origin, in every bit."""
    panel, origin = a_panel(4, weeks=120), 100
    cases = Cases(
        np.repeat(np.arange(12), 13), np.full(156, origin), np.arange(157), np.tile(np.arange(1, 14), 12)
    )
    trained, level = build(prepare(panel), cases)
    first = origin + 1 - LOOKBACK_WEEKS
    carried = prepare(panel).log_price[
        :, first
    ]  # a price before the lookback is carried into it by training only
    scoring = cut(panel, first, origin + 14, origin + 1)
    scoring.price[:, 0] = np.exp(carried)
    panel.price[:, first] = np.exp(carried)
    trained, level = build(prepare(panel), cases)
    scored, same_level = build(prepare(scoring), every_step(12, origin - first, 13))
    assert trained.dtype == scored.dtype == np.float64
    assert np.array_equal(trained, scored)
    assert np.array_equal(level, same_level)


def test_sales_after_the_origin_change_nothing() -> None:
    """No feature reads a sale after its origin."""
    panel, origin = a_panel(5), 80
    before, _ = build(prepare(panel), every_step(12, origin, 13))
    panel.sales[:, origin + 1 :] *= 17
    after, _ = build(prepare(panel), every_step(12, origin, 13))
    assert np.array_equal(before, after)


def test_another_store_changes_nothing() -> None:
    """The features of a store are the same alone and among others."""
    panel = a_panel(6)
    together, _ = build(prepare(panel), every_step(12, 80, 13))
    alone, _ = build(prepare(panel.of_stores(1, 2)), every_step(4, 80, 13))
    assert np.array_equal(alone, together[:, 4 * 13 : 8 * 13])


@pytest.mark.parametrize("spoilt", ["sales", "price", "deal", "feat"])
def test_features_are_finite_where_nothing_is_known(spoilt: str) -> None:
    """A column without a single value, or with one, gives neutral features, never NaN."""
    panel = a_panel(7)
    getattr(panel, spoilt)[:] = np.nan
    getattr(panel, spoilt)[0, 50] = 1.0
    matrix, level = build(prepare(panel), every_step(12, 80, 13))
    assert np.isfinite(matrix).all()
    assert np.isfinite(level).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(1, 6)), min_size=1, max_size=40))
def test_rank_by_sorting_equals_rank_by_pairs(prices: list[int | None]) -> None:
    """The rank for large assortments is that for small ones, ties and unknown prices included."""
    column = np.array([[np.nan if p is None else float(p)] for p in prices])
    pairs, sorting = np.zeros_like(column), np.zeros_like(column)
    rank_by_pairs(column, 0, len(prices), 0, pairs)
    rank_by_sorting(column, 0, len(prices), 0, sorting)
    np.testing.assert_allclose(pairs, sorting, atol=1e-15)


def test_further_covariates_give_value_and_change() -> None:
    """Each covariate of the settings adds its value in the target week and its change since the origin."""
    panel = a_panel(8)
    extra: Any = np.arange(1200.0).reshape(1, 12, 100)
    wider = Panel(
        panel.stores, panel.store_of, panel.skus, 0, panel.sales, panel.price, panel.deal, panel.feat, extra
    )  # fmt: skip
    matrix, _ = build(prepare(wider), every_step(12, 80, 13))
    assert feature_names(["rain"])[-2:] == ("rain", "rain_change")
    assert np.array_equal(matrix[-2], extra[0, :, 81:94].reshape(-1))
    assert np.array_equal(matrix[-1], np.tile(np.arange(1.0, 14.0), 12))
