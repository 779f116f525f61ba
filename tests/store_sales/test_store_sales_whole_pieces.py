"""Series that sell a few whole pieces: their quantiles are those of counts, and coverage is measured without ties."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.sales_estates import generate_estate
from fleetscore.workloads.store_sales.backtest import backtest_panel, roll
from fleetscore.workloads.store_sales.candidates import coverage_of_spread
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.judgement import coverage
from fleetscore.workloads.store_sales.whole_pieces import (
    FEW_PIECES,
    round_counts,
    spread_coverage,
    spread_pieces,
)

EVERY = np.array(True)


def spread_quantiles(mean: float) -> np.ndarray:
    """The exact quantiles of a Poisson count that is spread over half a piece to both sides."""
    count = stats.poisson(mean)
    whole = count.ppf(QUANTILES)
    below = count.cdf(whole - 1)
    return np.asarray(whole - 0.5 + (np.array(QUANTILES) - below) / count.pmf(whole))


@pytest.mark.parametrize("mean", [0.02, 0.3, 1.0, 3.7, 20.0])
def test_a_rounded_quantile_is_the_smallest_number_of_pieces_with_that_chance(mean: float) -> None:
    """Spread, sampled, its quantiles taken and rounded, a count gives the smallest k with P(X <= k) >= q."""
    sales = stats.poisson(mean).rvs(400_000, random_state=np.random.default_rng(5)).astype(float)
    spread = np.expm1(spread_pieces(np.log1p(sales), EVERY))
    quantiles = np.maximum(np.quantile(spread, QUANTILES), 0.0)[None]
    round_counts(quantiles, np.array([True]))
    np.testing.assert_array_equal(quantiles[0], stats.poisson(mean).ppf(QUANTILES))


def test_only_few_whole_pieces_are_spread() -> None:
    """Sales of parts, many pieces and what is not known stay in every bit; the others move by half a piece at most."""
    sales = np.array([[0.0, 1.0, FEW_PIECES, FEW_PIECES + 1, np.nan], [0.0, 0.4, 1.0, 2.5, np.nan]])
    logs = np.log1p(sales)
    spread = spread_pieces(logs, np.array([[True], [False]]))
    np.testing.assert_array_equal(spread[1], logs[1])
    np.testing.assert_array_equal(spread[0, 3:], logs[0, 3:])
    moved = np.expm1(spread[0, :3]) - sales[0, :3]
    assert (np.abs(moved) <= 0.5).all() and (moved != 0).all()
    np.testing.assert_array_equal(spread, spread_pieces(logs, np.array([[True], [False]])))


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.7])
def test_the_exact_quantiles_of_counts_cover_what_they_promise(mean: float) -> None:
    """Spread, exact bands cover 90 % and 50 % though whole ones hold more; bands half as wide cover less."""
    sales = stats.poisson(mean).rvs(20_000, random_state=np.random.default_rng(6)).astype(float)
    exact = np.tile(spread_quantiles(mean), (len(sales), 1))
    counts = np.ones(len(sales), bool)
    found = spread_coverage(sales, exact, counts)
    assert found["spread_coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert found["spread_coverage_50"] == pytest.approx(0.5, abs=0.01)
    whole = np.maximum(np.rint(exact), 0.0)
    assert coverage(sales, whole)["coverage_50"] > 0.55
    narrow = exact[:, 2:3] + (exact - exact[:, 2:3]) / 2
    assert spread_coverage(sales, narrow, counts)["spread_coverage_90"] < 0.75
    plain = spread_coverage(sales, whole, ~counts)
    assert plain["spread_coverage_90"] == coverage(sales, whole)["coverage_90"]


@pytest.fixture(scope="module")
def small() -> StoreSalesSettings:
    """Few trees and two blocks to learn widths on."""
    return StoreSalesSettings(rounds=30, calibration_blocks=2)


def test_a_model_of_counts_learns_quantiles_without_ties(small: StoreSalesSettings) -> None:
    """Of a few pieces a week, sales spread lie in the bands as promised, and what is published is whole."""
    panel = generate_estate("counts", 31, stores=8)
    rolled = roll(panel, small, 1)
    found = coverage_of_spread(rolled.blocks, rolled.spread)
    assert 0.84 < found["spread_coverage_90"] < 0.95
    assert 0.42 < found["spread_coverage_50"] < 0.58
    published = rolled.forecasts[0]
    assert (published == np.rint(published)).all() and published.min() == 0
    assert (
        coverage(rolled.blocks[0].block.truth, published)["coverage_50"] > found["spread_coverage_50"] + 0.1
    )


def test_sales_of_many_pieces_have_one_coverage(small: StoreSalesSettings) -> None:
    """Without few pieces, the backtest's coverage of what is spread is the plain one but for rounding."""
    panel = generate_estate("steady", 31, stores=4)
    panel = replace(panel, sales=10.0 * (panel.sales + 10.0))
    figures = backtest_panel(panel, small, 1)
    assert figures["spread_coverage_90"] == pytest.approx(figures["coverage_90"], abs=0.02)
    assert figures["spread_coverage_50"] == pytest.approx(figures["coverage_50"], abs=0.02)
