"""Which forecast is used: candidates compared on blocks before the origin, and a blend only where it is better beyond noise."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.backtest import load_history, roll
from fleetscore.workloads.store_sales.blends import Blend, mix
from fleetscore.workloads.store_sales.calibration import CalibrationBlock, blocks_like
from fleetscore.workloads.store_sales.candidates import CANDIDATES, choose_blend, forecast_by
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.features import build, every_step, prepare
from fleetscore.workloads.store_sales.forecasting import forecast, forecast_weeks, spread_out, to_sales
from fleetscore.workloads.store_sales.forest import make_scorer
from fleetscore.workloads.store_sales.judgement import Block
from fleetscore.workloads.store_sales.model_file import pack_arrays, pack_model, unpack_arrays, unpack_model
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.scoring import load_model
from fleetscore.workloads.store_sales.simple_forecasts import SimpleForecasts, forecast_simply, week_kinds
from tests.store_sales.test_store_sales_chain import make_estate

SERIES, STEPS = 60, 13
NORMAL = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
FORESTS = CANDIDATES[0].name


def make_block(
    seed: int, *, forest_error: float, simple_error: float, season: float = 0.0
) -> CalibrationBlock:
    """A block of plain weeks and feature weeks, whose forests and simple forecasts miss the middle by so much, and
    know a season of that size.
    """
    random = np.random.default_rng(seed)
    rows = SERIES * STEPS
    middle, truth = random.normal(0, 0.5, rows), random.normal(0, 0.2, rows)
    said = [
        (middle + random.normal(0, error, rows))[None] + 0.2 * NORMAL[:, None]
        for error in (forest_error, simple_error, simple_error)
    ]
    truth = middle + truth
    row = np.arange(rows)
    sold = to_sales(truth + 4)
    block = Block(
        100 + seed * STEPS, row, row // STEPS, 100 + seed * STEPS + row % STEPS, row % STEPS + 1, sold, sold + 9,
        np.full(rows, np.nan), np.zeros((rows, 5)),
    )  # fmt: skip
    kinds = np.where(random.random(rows) < 0.3, 2, 0)
    return CalibrationBlock(
        STEPS, tuple(said), truth, np.full(rows, 4.0), kinds, np.zeros(rows, bool), block, season
    )


def test_a_simple_forecast_is_used_where_the_forests_only_follow_noise() -> None:
    """Forests that are off by more than the simple forecasts give way in weeks with enough rows; other kinds keep them."""
    blocks = [make_block(seed, forest_error=0.6, simple_error=0.05) for seed in range(3)]
    blend, figures = choose_blend(blocks)
    assert blend.names[0] != FORESTS
    assert blend.share[0, 0] < 1.0
    assert blend.names[1] == FORESTS  # no week on deal to judge by
    chosen = figures[blend.names[0]]
    plain = chosen["by_kind"]["plain"]
    assert plain["low"] <= plain["loss_of_forests"] <= plain["high"] < 1.0
    assert "plain" in chosen["used_for"]


@pytest.mark.parametrize(("forest_error", "simple_error"), [(0.05, 0.6), (0.1, 0.1)])
def test_the_forests_alone_are_used_without_a_gain_beyond_noise(
    forest_error: float, simple_error: float
) -> None:
    """Where the simple forecasts are worse the forests forecast every kind of week, and every candidate is shown."""
    blocks = [make_block(seed, forest_error=forest_error, simple_error=simple_error) for seed in range(3)]
    blend, figures = choose_blend(blocks)
    if simple_error > forest_error:
        assert set(blend.names) == {FORESTS}
    assert list(figures) == [one.name for one in CANDIDATES]
    assert [figures[FORESTS][name] for name in ("loss_of_forests", "low", "high")] == [1.0, 1.0, 1.0]


def test_one_block_is_no_evidence() -> None:
    """With a single block nothing can be judged by another: the forests alone, no figures."""
    blend, figures = choose_blend([make_block(1, forest_error=0.6, simple_error=0.05)])
    assert (set(blend.names), figures) == ({FORESTS}, {})
    assert blend.is_plain
    assert choose_blend([])[0].is_plain


def test_the_forests_alone_are_what_they_were() -> None:
    """A blend of the forests with one width is, bit for bit, the forests sorted and widened."""
    random = np.random.default_rng(2)
    said, width = random.normal(0, 1, (5, 200)), np.array([-0.3, -0.1, 0.0, 0.1, 0.3])
    blend = Blend(np.tile([1.0, 0.0, 0.0], (3, 1)), np.tile(width, (3, 1)))
    kinds = random.integers(0, 3, 200)
    assert np.array_equal(mix(blend, [said, None, None], kinds), spread_out(said, width))


def test_a_blend_is_scored_as_it_was_chosen(trained_folder: Path) -> None:
    """Packed, read and scored, a model with a blend gives the mean by kind of week, row by row and as a whole."""
    store = LocalStore(trained_folder)
    loaded = load_model(store.url, "store_sales", read_pins(store, "store_sales").current)
    assert loaded.model is not None
    random = np.random.default_rng(4)
    blend = Blend(
        np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), random.normal(0, 0.1, (3, 5))
    )
    blend.width.sort(axis=1)
    simple = SimpleForecasts(np.array([0.0, 0.3]), np.sort(random.normal(0, 1, (2, 3, 5)), axis=2))
    model = unpack_model(pack_model(replace(loaded.model, blend=blend, simple=simple)))
    panel = make_estate(1, peak=0.0)
    panel.sales[:, -STEPS:] = np.nan
    settings = StoreSalesSettings()
    scorer = make_scorer(model.forest)
    found = forecast(panel, model, scorer, settings).quantiles
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=2) >= 0).all()
    series, ahead = np.array([3, 0, 17]), np.array([0, 12, 5])
    rows = forecast_weeks(panel, model, scorer, settings, series, ahead)[0]
    assert np.array_equal(rows, found[series, ahead])
    assert not np.array_equal(found, forecast(panel, loaded.model, scorer, settings).quantiles)


def test_a_damaged_blend_is_refused(trained_folder: Path) -> None:
    """A share of another shape, missing or infinite is refused as a corrupt model, never guessed."""
    store = LocalStore(trained_folder)
    loaded = load_model(store.url, "store_sales", read_pins(store, "store_sales").current)
    assert loaded.model is not None
    blend = Blend(np.tile([0.5, 0.5, 0.0], (3, 1)), np.zeros((3, 5)))
    simple = SimpleForecasts(np.zeros(2), np.zeros((2, 3, 5)))
    arrays = unpack_arrays(pack_model(replace(loaded.model, blend=blend, simple=simple)))
    spoilt: list[dict[str, NDArray[Any] | None]] = [
        {"blend_share": np.zeros((3, 2))},
        {"blend_width": np.full((3, 5), np.inf)},
        {"simple_slope": None},
        {"simple_quantiles": np.zeros((2, 3, 5), np.float32)},
    ]
    for changes in spoilt:
        kept = {n: a for n, a in (arrays | changes).items() if a is not None}
        with pytest.raises(ModelError, match="Train again") as refused:
            unpack_model(pack_arrays(kept))
        assert refused.value.code == "corrupt_model"


def test_the_choice_sees_nothing_that_it_is_judged_on(tmp_path: Path, chain: Any) -> None:
    """Other sales after the cutoff change neither the choice nor a forecast of the backtest."""
    store = LocalStore(tmp_path)
    chain.write(store)
    settings = StoreSalesSettings(rounds=5, leaves=4, calibration_blocks=2)
    panel, _ = load_history(store, settings, "store_sales")
    rolled = roll(panel, settings, 1)
    other = replace_sales(panel, 57)
    again = roll(other, settings, 1)
    assert again.used == rolled.used
    for mine, theirs in zip(rolled.forecasts, again.forecasts, strict=True):
        assert np.array_equal(mine, theirs)


def replace_sales(panel: Panel, first: int) -> Panel:
    """The panel with ten times the sales from a column on."""
    sales = panel.sales.copy()
    sales[:, first:] *= 10
    return replace(panel, sales=sales)


def test_the_card_shows_every_candidate(tmp_path: Path, chain: Any) -> None:
    """A trained set's card names each candidate with its interval and coverage, and what each kind of week is forecast by."""
    store = LocalStore(tmp_path)
    chain.write(store)
    store.write("settings/store_sales.toml", b"rounds = 5\nleaves = 4\ncalibration_blocks = 2\n")
    record = run_training(store, "store_sales", "0", "70")
    card = read_model_set(store, "store_sales", record.model_set or "").card
    assert set(card["candidates"]) == {one.name for one in CANDIDATES}
    for one in card["candidates"].values():
        assert one["low"] <= one["loss_of_forests"] <= one["high"]
        assert one["rows"] == 6 * 5 * 13 * 2
        assert 0 <= one["coverage_50"] <= one["coverage_90"] <= 1
    assert set(card["forecast"]) == {"plain", "deal", "feature"}
    assert run_window(store, "store_sales", "70").counts == {"scored": 6}


def test_simple_forecasts_are_those_of_the_kind_of_week() -> None:
    """The offset's quantiles are looked up by kind; the other one adds its share of what the last weeks left."""
    panel = make_estate(2, peak=0.0)
    prepared = prepare(panel)
    matrix, _ = build(prepared, every_step(4, 100, 3))
    kinds = week_kinds(matrix)
    table = np.arange(30.0).reshape(2, 3, 5)
    simple = SimpleForecasts(np.array([0.0, 0.5]), table)
    offset, last = (forecast_simply(simple, number, matrix, kinds) for number in (0, 1))
    assert np.array_equal(offset, table[0].T[:, kinds])
    assert np.array_equal(last, table[1].T[:, kinds] + 0.5 * matrix[14])


def test_only_forecasts_that_knew_the_season_say_how_wide_those_are_that_know_it() -> None:
    """Blocks that lacked most of a season are left out; where all did, the one that needs the least widening stands alone."""
    early, quiet = (make_block(n, forest_error=e, simple_error=0.1) for n, e in ((1, 0.6), (2, 0.3)))
    later = make_block(3, forest_error=0.1, simple_error=0.1, season=0.2)
    assert blocks_like([early, quiet, later], 0.25) == [later]
    assert blocks_like([early, quiet], 0.25) == [quiet]
    assert blocks_like([early, quiet, later], 0.05) == [early, quiet, later]  # a season too small to matter
    assert blocks_like([later, quiet], 0.0) == [later, quiet]  # none is known
    assert blocks_like([], 0.25) == []


def test_a_backtest_widens_by_the_blocks_that_knew_the_season() -> None:
    """The weeks after a season opened are forecast with the width of the block that knew it, not with that of all blocks."""
    panel, settings = make_estate(1, peak=0.7, weeks=117), StoreSalesSettings(rounds=5, leaves=4)
    rolled = roll(panel, settings, 4)
    assert [block.block.cutoff for block in rolled.blocks] == [65, 78, 91, 104]
    assert [block.season > 0.1 for block in rolled.blocks] == [False, False, True, True]
    *before, judged = rolled.blocks
    by_like, by_all = (forecast_by(choose_blend(blocks)[0], judged) for blocks in (before[2:], before))
    assert np.array_equal(rolled.forecasts[3], by_like)
    assert not np.array_equal(rolled.forecasts[3], by_all)


def test_the_card_names_the_blocks_that_the_width_is_learned_on(tmp_path: Path) -> None:
    """Of three blocks before the origin the card names the one whose forecasts knew the season."""
    store, panel = LocalStore(tmp_path), make_estate(1, peak=0.7, weeks=104)
    series, week = (index.reshape(-1) for index in np.indices(panel.sales.shape))
    columns = {
        "store": np.array(panel.stores)[panel.store_of[series]], "sku": panel.skus[series].astype(str), "week": week,
        **{name: getattr(panel, name).reshape(-1) for name in ("sales", "price", "deal", "feat")},
    }  # fmt: skip
    buffer = io.BytesIO()
    pacsv.write_csv(pa.table(columns), buffer)
    store.write("data/store_sales/history.csv", buffer.getvalue())
    store.write("settings/store_sales.toml", b"rounds = 5\nleaves = 4\n")
    record = run_training(store, "store_sales", "0", "104")
    card = read_model_set(store, "store_sales", record.model_set or "").card
    assert card["judged_on_blocks_before_the_origin"]["cutoffs"] == ["91", "78", "65"]
    assert card["widening_learned_on"] == ["91"]
