"""What a server's load is expected to be after it moved, stood still or idled at night."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.server_shapes import SHAPES, measure_moment, shape_loads, usual_examples
from fleetscore.workloads.server_load.features import (
    ALL_FEATURES,
    FEATURES,
    WEEKLY_FEATURES,
    LoadHistory,
    build_all_features,
    build_features,
    build_weekly_features,
)
from fleetscore.workloads.server_load.level_features import LEVEL_FEATURES, build_level_features
from fleetscore.workloads.server_load.load_answers import load_of_raw
from fleetscore.workloads.server_load.load_quantiles import fit_load, predict_load
from fleetscore.workloads.server_load.medians import (
    extremes_of_weeks,
    median,
    median_of_weeks,
    order_weeks,
)
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.trees import load_trees, predict, predict_raw
from fleetscore.workloads.server_load.week_features import Meaning, build_week_features

_FIRST = 413_376  # 2017-02-27T00, a Monday without a holiday in the weeks after it
_MEANING = Meaning("US", 100.0, 500.0)
_DAYS = 45


def make_load() -> np.ndarray:
    """A server that carries 200 to 400 by day and next to nothing from 22 to 6 o'clock; weekends are half of that."""
    hour, day = np.arange(_DAYS * 24) % 24, np.arange(_DAYS * 24) // 24
    load = np.where((hour >= 6) & (hour < 22), 300 + 100 * np.cos(2 * np.pi * (hour - 14) / 24), 0.3)
    return (load * np.where(day % 7 >= 5, 0.5, 1.0))[None, :]


def expected_after(load: np.ndarray, day: int) -> np.ndarray:
    """The load that is expected of the two days from `day` on."""
    hour = _FIRST + day * 24 + np.arange(48)
    at = (np.zeros(48, np.int64), hour, np.full(48, _FIRST + day * 24))
    features = build_level_features(load, _FIRST, at, _MEANING)
    return np.expm1(features[:, LEVEL_FEATURES.index("expectedLevel")])


def test_a_constant_that_is_added_to_idle_nights_is_expected_as_a_constant() -> None:
    """A week after 250 was added for good, nine tenths of the hours are expected within a tenth of what comes, and all
    within a half: where the day begins and ends, hours of the night are among those around.
    """
    load = make_load()
    load[:, 30 * 24 :] += 250
    off = np.abs(expected_after(load, 37) / load[0, 37 * 24 : 39 * 24] - 1)
    assert (off < 0.1).mean() > 0.9
    assert (off < 0.5).all()


def test_a_factor_is_expected_as_a_factor() -> None:
    """After the load tripled, the days are expected tripled and the nights near nothing."""
    load = make_load()
    load[:, 30 * 24 :] *= 3
    np.testing.assert_allclose(expected_after(load, 35), load[0, 35 * 24 : 37 * 24], rtol=0.1, atol=1)


@pytest.mark.parametrize("factor", [0.0, 0.01, 20.0, np.nan])
def test_one_strange_day_changes_nothing(factor: float) -> None:
    """A day without load, next to none, twenty times as much or no session leaves what is expected two days later."""
    load = make_load()
    usual = expected_after(load, 33)
    load[:, 31 * 24 : 32 * 24] *= factor
    np.testing.assert_allclose(expected_after(load, 33), usual, rtol=0.1, atol=1)


def test_nothing_from_the_moment_on_or_before_four_weeks_is_read() -> None:
    """Other loads from the moment on, or before the four weeks, change no feature."""
    load = make_load()
    at = (np.zeros(48, np.int64), _FIRST + 33 * 24 + np.arange(48), np.full(48, _FIRST + 33 * 24))
    found = build_level_features(load, _FIRST, at, _MEANING)
    load[:, 33 * 24 :] = 1e6
    load[:, : 5 * 24] = 1e6
    np.testing.assert_array_equal(build_level_features(load, _FIRST, at, _MEANING), found)


def test_every_lag_is_the_load_so_many_hours_before() -> None:
    """Lags less what is expected are what plain indices find."""
    load = make_load() * np.random.default_rng(1).uniform(0.5, 2, (1, _DAYS * 24))
    moment = 30 * 24
    for ahead in (0, 5, 47):
        at = (np.array([0]), np.array([_FIRST + moment + ahead]), np.array([_FIRST + moment]))
        found = dict(
            zip(LEVEL_FEATURES, build_level_features(load, _FIRST, at, _MEANING)[0].tolist(), strict=True)
        )
        for lag in (48, 49, 168, 672):
            logs = np.log1p(load[0, moment + ahead - lag])
            assert found[f"offLag{lag}"] + found["expectedLevel"] == pytest.approx(logs)
        last = np.log1p(load[0, moment - 24 + ahead % 24])
        assert found["offLastDay"] + found["expectedLevel"] == pytest.approx(last)


def test_short_negative_and_absent_histories_give_finite_or_missing_features() -> None:
    """No history, two days of it, zeros and negative loads give numbers or NaN, never infinity; a load is expected where one was."""
    load = np.full((4, 48), np.nan)
    load[1], load[2], load[3, 40:] = 0.0, -5.0, 70.0
    at = (np.repeat(np.arange(4), 48), np.tile(_FIRST + 48 + np.arange(48), 4), np.full(192, _FIRST + 48))
    features = build_level_features(load, _FIRST, at, _MEANING)
    assert not np.isinf(features).any()
    expected = features[:, 0].reshape(4, 48)
    assert np.isnan(expected[0]).all()
    np.testing.assert_array_equal(expected[1:3], 0.0)
    np.testing.assert_allclose(np.expm1(expected[3]), 70.0)


def test_medians_are_numpys() -> None:
    """Medians with gaps are those of numpy."""
    random = np.random.default_rng(4)
    for width in (1, 2, 5, 28):
        values = random.normal(size=(40, width))
        values[random.random(values.shape) < 0.3] = np.nan
        values[:, 0] = 1.0
        np.testing.assert_array_equal(median(values), np.nanmedian(values, axis=1))
    assert np.isnan(median(np.full((2, 3), np.nan))).all()


def test_medians_and_extremes_of_four_weeks_are_numpys() -> None:
    """Whatever weeks are missing, the median, least, greatest and number of values are those of numpy."""
    random = np.random.default_rng(5)
    values = random.integers(0, 4, (16, 4, 30)).astype(float)
    for row in range(15):  # every choice of weeks but all four
        values[row, [week for week in range(4) if row >> week & 1]] = np.nan
    weeks = order_weeks(values)
    middle, count = median_of_weeks(weeks)
    low, high = extremes_of_weeks(weeks)
    np.testing.assert_array_equal(middle, np.nanmedian(values, axis=1))
    np.testing.assert_array_equal(count, (~np.isnan(values)).sum(axis=1))
    np.testing.assert_array_equal(low, np.nanmin(values, axis=1))
    np.testing.assert_array_equal(high, np.nanmax(values, axis=1))
    nothing = order_weeks(np.full((1, 4, 2), np.nan))
    for found in (median_of_weeks(nothing)[0], *extremes_of_weeks(nothing)):
        assert np.isnan(found).all()


def test_all_features_are_those_of_their_parts() -> None:
    """Rows of one moment and of several at once get what each table of features gives alone, also over holidays."""
    load = np.vstack([make_load(), make_load()[:, ::-1] + 3])
    load[np.random.default_rng(6).random(load.shape) < 0.1] = np.nan
    first = 413_040  # 2017-02-13T00: Presidents' Day is a week later
    history = LoadHistory(("a", "b"), first, load, np.random.default_rng(7).random((2, _DAYS, 8)))
    hour = first + 35 * 24 + np.arange(96)
    server = np.arange(96) % 2
    for known_until in (hour // 24 * 24, np.full(96, first + 35 * 24)):
        at = (server, hour, known_until)
        found = build_all_features(history, at, _MEANING)
        parts = [
            build_features(history, server, hour, "US"),
            build_week_features(load, first, at, _MEANING),
            build_level_features(load, first, at, _MEANING),
        ]
        np.testing.assert_array_equal(found, np.hstack(parts))
        weekly = build_weekly_features(history, at, _MEANING)
        np.testing.assert_array_equal(weekly, found[:, : len(WEEKLY_FEATURES)])
        assert weekly.shape[1] > len(FEATURES)


def test_the_upper_quantile_holds_a_new_level_from_its_second_day_on() -> None:
    """A day after 250 were added, three quarters of the hours are at most `load_q90`; the median, and the upper quantile
    of a server that did not move, or whose last day was lower, are those of the trees alone.
    """
    settings = ServerLoadSettings()
    trees = fit_load(usual_examples(8, settings), settings)
    load = np.repeat(make_load(), 3, axis=0) * np.random.default_rng(7).uniform(0.8, 1.2, (3, _DAYS * 24))
    load[1, 31 * 24 :] += 250
    load[2, 31 * 24 :] *= 0.2
    moment = 32 * 24
    server, ahead = np.repeat(np.arange(3), 48), np.tile(np.arange(48), 3)
    at = (server, _FIRST + moment + ahead, np.full(144, _FIRST + moment))
    known = load[:, :moment]
    history = LoadHistory(("a", "b", "c"), _FIRST, known, np.full((3, 32, 8), np.nan))
    features = build_all_features(history, at, _MEANING)
    said = predict_load(trees, features).reshape(3, 48, 2)
    plain = load_of_raw(
        predict_raw(trees, features), features[:, ALL_FEATURES.index("expectedLevel")]
    ).reshape(3, 48, 2)
    np.testing.assert_array_equal(said[:, :, 0], plain[:, :, 0])
    np.testing.assert_array_equal(said[[0, 2]], plain[[0, 2]])
    at_most = load[1, moment : moment + 48] <= said[1, :, 1].T
    before = load[1, moment : moment + 48] <= plain[1, :, 1].T
    assert at_most.mean() >= 0.75 > 0.25 > before.mean(), (at_most.mean(), before.mean())


def test_a_model_of_an_earlier_version_answers_as_it_did() -> None:
    """The quantiles and chances of a stored model that expects loads by means are those that its version gave."""
    folder = Path(__file__).parent / "earlier_model"
    told = json.loads((folder / "answers.json").read_text())
    trees = load_trees((folder / "load.npz").read_bytes())
    rows = np.array([[np.nan if value is None else value for value in row] for row in told["rows"]])
    assert trees.facts.features == WEEKLY_FEATURES
    wider = np.hstack([rows, np.full((len(rows), len(LEVEL_FEATURES)), 7.0)])
    for features in (rows, wider):
        np.testing.assert_allclose(predict_load(trees, features), told["load"], rtol=1e-12)
        np.testing.assert_allclose(predict(trees, features), told["chances"], rtol=1e-9)


@pytest.mark.slow
def test_quantiles_follow_a_server_that_changed() -> None:
    """A week after a constant or a factor came, or a night job, and days after an outage, the middle quantile adds up to the load within
    a fifth, and the upper one covers at least three quarters; a model that learned from other servers.
    """
    settings = ServerLoadSettings()
    trees = fit_load(usual_examples(24, settings), settings)
    for place, name in enumerate(SHAPES):
        if "as usual" not in name:
            found = measure_moment(trees, shape_loads(name, 12, 70 + place), 7, settings)
            assert abs(found["sum"] - 1) < 0.2, (name, found)
            assert found["at_most"][1] > 0.75, (name, found)


def test_trees_of_the_load_learn_differences_alone() -> None:
    """No tree of the quantiles is split on a load as such, or on what earlier versions expected."""
    settings = ServerLoadSettings()
    examples = usual_examples(2, settings)
    trees = fit_load(examples, settings)
    inner = trees.threshold != -np.inf
    used = {ALL_FEATURES[column] for column in np.unique((trees.link[inner] & 0xFFFF) >> 1)}
    assert used & set(LEVEL_FEATURES)
    assert not [name for name in used if name.startswith(("peak", "moved", "expectedLoad", "server"))]
