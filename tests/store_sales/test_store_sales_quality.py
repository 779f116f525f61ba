"""The sales' part of the quality benchmark: that the page shows what was measured, and what the chains look like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import (
    COUNTS_BEGIN,
    COUNTS_END,
    COUNTS_RESULT,
    PAGE,
    SALES_BEGIN,
    SALES_END,
    SALES_RESULT,
    folder_with,
    with_block,
)
from benchmarks.sales_counts import exact_quantiles, figures, render_counts
from benchmarks.sales_estates import (
    FIRST_WEEK,
    KINDS,
    generate_estate,
    mean_pieces,
    peak_weeks,
)
from benchmarks.sales_quality import mean_of_cutoffs, render_sales, simple_rivals
from fleetscore.workloads.store_sales.judgement import block_of
from fleetscore.workloads.store_sales.loss_intervals import compare_losses


def test_page_shows_the_figures_that_were_measured() -> None:
    """The sales' block of docs/quality.md is what the kept figures give."""
    text, found = PAGE.read_text(), json.loads(SALES_RESULT.read_text())
    assert with_block(text, render_sales(found), SALES_BEGIN, SALES_END) == text


def test_page_shows_the_bands_of_counts_that_were_measured() -> None:
    """The counts' block of docs/quality.md is what the kept figures give."""
    text, found = PAGE.read_text(), json.loads(COUNTS_RESULT.read_text())
    assert with_block(text, render_counts(found), COUNTS_BEGIN, COUNTS_END) == text


def test_the_law_of_counts_is_the_one_that_sales_are_drawn_by() -> None:
    """Its exact quantiles cover spread sales as promised, and whole ones more."""
    panel, mean = generate_estate("counts", 5), mean_pieces(5)
    found = figures(panel.sales.ravel(), exact_quantiles(mean.ravel()))
    assert found["spread_coverage_90"] == pytest.approx(0.9, abs=0.015)
    assert found["spread_coverage_50"] == pytest.approx(0.5, abs=0.015)
    assert found["coverage_50"] > 0.6
    assert found["spread_at_most"] == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95], abs=0.015)


@pytest.mark.parametrize("kind", KINDS)
def test_chains_are_generated_as_they_are_described(kind: str) -> None:
    """The same seed gives the same sales; only counts have many zeros, only the yearly peak stands out in December."""
    panel, again = (generate_estate(kind, 5, stores=4, skus=3) for _ in range(2))
    np.testing.assert_array_equal(panel.sales, again.sales)
    assert not np.array_equal(panel.sales, generate_estate(kind, 6, stores=4, skus=3).sales)
    assert ((panel.sales == 0).mean() > 0.2) == (kind == "counts")
    week = FIRST_WEEK + np.arange(panel.sales.shape[1])
    logs = np.log1p(panel.sales)
    peak = logs[:, np.isin(week, peak_weeks())].mean() - logs.mean()
    assert (peak > 0.5) == (kind == "yearly peak")


def test_a_rival_sees_nothing_of_the_weeks_it_forecasts() -> None:
    """Whatever is sold after the cutoff, the simple rivals' forecasts are the same."""
    panel = generate_estate("steady", 5, stores=2, skus=2)
    cutoff = panel.sales.shape[1] - 13
    before = simple_rivals(panel, [block_of(panel, cutoff, 13)], 13)
    panel.sales[:, cutoff:] *= 9
    after = simple_rivals(panel, [block_of(panel, cutoff, 13)], 13)
    for name, forecasts in before.items():
        np.testing.assert_array_equal(forecasts[0], after[name][0])


def test_an_interval_holds_the_ratio_and_shrinks_where_losses_move_together() -> None:
    """A loss of exactly half is half with certainty; an unrelated one is uncertain; no loss to compare with is no ratio."""
    random = np.random.default_rng(3)
    base = random.exponential(1.0, 400)
    series, week = np.divmod(np.arange(400), 20)
    half = compare_losses(base / 2, base, series, week)
    assert (half.ratio, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    other = compare_losses(random.exponential(1.0, 400), base, series, week)
    assert other.low < other.ratio < other.high and other.high - other.low > 0.1
    assert np.isnan(compare_losses(base, 0 * base, series, week).ratio)


def test_the_mean_of_cutoffs_has_the_interval_of_stores_and_weeks() -> None:
    """Each cutoff counts alike, whatever its losses; a loss of the same share everywhere is certain."""
    random = np.random.default_rng(4)
    week, store = np.divmod(np.arange(520), 20)
    cutoff = np.where(week < 13, 0, 13)
    base = random.exponential(1.0, 520) * np.where(cutoff == 0, 100.0, 1.0)
    share = np.where(cutoff == 0, 0.2, 0.6)
    assert mean_of_cutoffs(share * base, base, cutoff, store, week) == pytest.approx([0.4, 0.4, 0.4])
    mean, low, high = mean_of_cutoffs(random.exponential(1.0, 520) * share * base, base, cutoff, store, week)
    assert low < mean < high and high - low > 0.05


def test_data_are_found_in_the_folder_or_below_it(tmp_path: Path) -> None:
    """The folder itself or one in it may hold the file; without it, or without a folder, there is none."""
    (tmp_path / "sold").mkdir()
    assert folder_with(None, "history.csv") is None and folder_with(tmp_path, "history.csv") is None
    (tmp_path / "sold" / "history.csv").touch()
    assert (
        folder_with(tmp_path, "history.csv")
        == tmp_path / "sold"
        == folder_with(tmp_path / "sold", "history.csv")
    )
