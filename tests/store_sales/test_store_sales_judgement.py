"""Widening, judgement and backtest: by hand on small numbers, and against the promises of a rolling backtest."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from fleetscore.dashboard.picture_files import write_backtest
from fleetscore.errors import InputError
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.backtest import backtest_panel
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import prepare
from fleetscore.workloads.store_sales.forecasting import spread_out
from fleetscore.workloads.store_sales.input_files import find_files
from fleetscore.workloads.store_sales.judgement import block_of, coverage, judge, pinball
from fleetscore.workloads.store_sales.loading import Span, load_panel
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.training import (
    calibration_cutoffs,
    draw_cases,
    learn_fallback,
)
from fleetscore.workloads.store_sales.widths import learn_widening
from fleetscore.workloads.store_sales.workload import StoreSales

SMALL = StoreSalesSettings(rounds=12, leaves=6, calibration_blocks=1)


def panel_of(folder: Path, chain: Any) -> Panel:
    from fleetscore.windows import Cadence

    store = LocalStore(folder)
    chain.write(store)
    files = find_files(store, StoreSalesSettings(), "store_sales")
    return load_panel(files, Span(Cadence.INDEX, 0, 70, 70), ["1", "2", "3", "4", "5", "6"], ()).panel


def test_pinball_loss_by_hand() -> None:
    """Below the truth the loss is level x error, above it (1 - level) x error."""
    loss = pinball(np.array([10.0]), np.array([[6.0, 8.0, 10.0, 14.0, 30.0]]))
    np.testing.assert_allclose(loss[0], [0.05 * 4, 0.25 * 2, 0.0, 0.25 * 4, 0.05 * 20])


def test_widening_makes_a_block_cover_its_share() -> None:
    """On the block it was learned on, both widened bands cover what they promise."""
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, 4000)
    said = np.tile(np.array([-1.6, -0.7, 0.0, 0.7, 1.6])[:, None], 4000)
    widening = learn_widening([said], [truth])
    covered = coverage(truth, spread_out(said, widening).T)
    assert covered["coverage_90"] == pytest.approx(0.9, abs=0.001)
    assert covered["coverage_50"] == pytest.approx(0.5, abs=0.001)
    np.testing.assert_allclose(widening, -widening[::-1])


def test_widening_never_narrows_and_ignores_one_strange_block() -> None:
    """Bands that cover too much stay; of three blocks the middle one decides; unknown truths do not count."""
    said = np.tile(np.array([-9.0, -5.0, 0.0, 5.0, 9.0])[:, None], 100)
    calm = np.linspace(-1, 1, 100)
    assert np.array_equal(learn_widening([said], [calm]), np.zeros(5))
    strange = calm * 1000
    assert np.array_equal(learn_widening([said, said, said], [calm, strange, calm]), np.zeros(5))
    assert (learn_widening([said], [strange]) != 0).sum() == 4
    assert np.array_equal(learn_widening([said], [np.full(100, np.nan)]), np.zeros(5))
    assert np.array_equal(learn_widening([], []), np.zeros(5))


def test_the_outer_band_holds_the_inner_one() -> None:
    """However the blocks look, widened quantiles stay in order."""
    random = np.random.default_rng(3)
    for _ in range(50):
        said, truth = (
            np.sort(random.normal(0, 1, (5, 60)), axis=0),
            random.normal(0, random.uniform(0.1, 4), 60),
        )
        wide = spread_out(said, learn_widening([said], [truth]))
        assert (np.diff(wide, axis=0) >= 0).all()


def test_blocks_know_truth_last_value_and_season(tmp_path: Path, chain: Any) -> None:
    """A block's rivals are the last known sale, the sale of 52 weeks before, and the series' own past quantiles."""
    panel = panel_of(tmp_path, chain)
    panel.sales[0, 56] = np.nan
    block = block_of(panel, 57, 13)
    assert len(block.truth) == 30 * 13
    assert np.array_equal(block.truth[:13], panel.sales[0, 57:70])
    assert np.array_equal(block.last_value[:13], np.full(13, panel.sales[0, 55]))
    assert np.array_equal(block.seasonal[:13], panel.sales[0, 5:18])
    kind = 2 * panel.feat[3] + panel.deal[3]
    past = panel.sales[3, :57][kind[:57] == kind[60]]
    assert len(past) >= 3
    np.testing.assert_allclose(block.own_quantiles[3 * 13 + 3], np.quantile(past, QUANTILES))


def test_judging_a_perfect_forecast(tmp_path: Path, chain: Any) -> None:
    """A forecast that is the truth has no loss and covers all; figures are there per week, step, store and cutoff."""
    panel = panel_of(tmp_path, chain)
    block = block_of(panel, 57, 13)
    figures = judge([block], [np.repeat(block.truth[:, None], 5, axis=1)], panel.stores)
    assert (figures["pinball"], figures["coverage_90"], figures["crossing_share"]) == (0.0, 1.0, 0.0)
    assert set(figures["per_store"]) == set(panel.stores)
    assert set(figures["per_step"]) == {str(step) for step in range(1, 14)}
    assert set(figures["per_cutoff"]) == {"57"}
    assert figures["share_of_weeks_better_than_last_value"] == 1.0
    assert figures["last_value"] == pytest.approx(np.abs(block.truth - block.last_value).mean() / 2, abs=1e-3)


def test_training_targets_lie_before_the_cutoff(tmp_path: Path, chain: Any) -> None:
    """No case looks at a sale from the cutoff on; the same panel draws the same cases; no more than are allowed."""
    prepared = prepare(panel_of(tmp_path, chain))
    settings = StoreSalesSettings(training_rows=1000)
    cases, again = draw_cases(prepared, 57, settings), draw_cases(prepared, 57, settings)
    assert (cases.origin + cases.step).max() == 56
    assert cases.origin.min() >= 4
    assert len(cases.step) == 1000
    assert np.array_equal(cases.step, again.step)
    assert (np.diff(cases.series) >= 0).all()
    assert calibration_cutoffs(prepared, StoreSalesSettings(calibration_blocks=3)) == [57, 44, 31]


def test_fallback_quantiles_are_those_of_the_chain(tmp_path: Path, chain: Any) -> None:
    """The fallback of a SKU is the quantiles of its sales over all stores, by feature week or not."""
    panel = panel_of(tmp_path, chain)
    fallback = learn_fallback(prepare(panel), panel.skus)
    mine = panel.skus == "3"
    sales, feat = panel.sales[mine], panel.feat[mine] > 0.5
    row = fallback.skus.tolist().index("3")
    np.testing.assert_allclose(fallback.quantiles[row, 0], np.quantile(np.log1p(sales[~feat]), QUANTILES))
    np.testing.assert_allclose(fallback.quantiles[row, 1], np.quantile(np.log1p(sales[feat]), QUANTILES))
    assert fallback.skus[0] == ""


def test_a_backtest_forecasts_each_cutoff_from_its_own_past(tmp_path: Path, chain: Any) -> None:
    """Spoiling sales after a cutoff changes that cutoff's truth, never its forecast: the cutoff before keeps its figures."""
    panel = panel_of(tmp_path, chain)
    before = backtest_panel(panel, SMALL, 2)
    panel.sales[:, 57:] *= 3
    after = backtest_panel(panel, SMALL, 2)
    assert before["cutoffs"] == after["cutoffs"] == [44, 57]
    assert before["per_cutoff"]["44"] == after["per_cutoff"]["44"]
    assert before["per_cutoff"]["57"] != after["per_cutoff"]["57"]


def test_the_workload_backtests_with_a_plot(sound: LocalStore, chain: Any, tmp_path: Path) -> None:
    """`backtest` reads the store, gives the table as JSON values and a plot; too short a history is an error."""
    chain.write(sound)
    figures = StoreSales(settings=SMALL).backtest(sound, 1)
    assert figures["cutoffs"] == ["57"]
    assert figures["relative_to_last_value"] < 1
    path = write_backtest(StoreSales.backtest_chart, figures, "store_sales", tmp_path / "plots")
    labels = [one.text or "" for one in ElementTree.parse(path).iter() if one.get("class") == "panel"]
    assert labels[:3] == ["pinball loss per quantile", "per step", "per cutoff"]
    with pytest.raises(InputError, match="cutoffs"):
        StoreSales(settings=SMALL).backtest(sound, 0)
    chain.drop(chain.history["week"] > 12)
    chain.write(sound)
    with pytest.raises(InputError, match="too few"):
        StoreSales(settings=SMALL).backtest(sound, 1)


REAL = (
    Path(os.environ.get("FLEETSCORE_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "store_sales"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not (REAL / "history.csv").exists(), reason="the real sales are not there")
def test_real_sales_are_forecast_well_inside_their_history() -> None:
    """Pooled over two rolling cutoffs of the real sales: far better than simple rivals, both bands near their share, no crossing."""
    from fleetscore.windows import Cadence

    store = _RealStore(REAL)
    files = find_files(store, StoreSalesSettings(), "store_sales")
    names = [str(n) for n in range(1, 81)]
    panel = load_panel(files, Span(Cadence.INDEX, 0, 108, 108), names, ()).panel
    figures = backtest_panel(panel, StoreSalesSettings(calibration_blocks=2), 2)
    assert figures["relative_to_last_value"] < 0.475
    assert figures["relative_to_own_quantiles"] < 0.85
    assert 0.84 < figures["coverage_90"] < 0.95
    assert 0.42 < figures["coverage_50"] < 0.58
    assert figures["crossing_share"] == 0.0


class _RealStore(LocalStore):
    """The folder of the real sales, as if it lay under data/store_sales/."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._prefix = "data/store_sales/"

    def list(self, prefix: str) -> Any:
        from dataclasses import replace

        for entry in super().list(prefix.removeprefix(self._prefix)):
            yield replace(entry, path=self._prefix + entry.path)

    def open(self, path: str) -> Any:
        return super().open(path.removeprefix(self._prefix))


@pytest.mark.parametrize("sales", [0.0, 7.0])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_sales_that_never_change_are_judged(sales: float, tmp_path: Path, chain: Any) -> None:
    """Against rivals without a loss a share says nothing: it is None, never no number, and the backtest ends."""
    panel = panel_of(tmp_path, chain)
    panel.sales[:] = sales
    figures = backtest_panel(panel, SMALL, 1)
    assert figures["relative_to_last_value"] is None
    assert figures["relative_to_own_quantiles"] is None
    assert figures["week_by_week"]["relative_to_last_value"] == {}
    assert figures["coverage_90"] == 1.0
    assert figures["pinball"] == pytest.approx(0.0, abs=1e-6)
