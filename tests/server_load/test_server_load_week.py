"""What the weeks before say of a server's hour, and the quantiles of its load."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleetscore.models.model_sets import write_model_set
from fleetscore.store.local import LocalStore
from fleetscore.workloads.server_load.examples import Examples, columns_to_learn
from fleetscore.workloads.server_load.features import ALL_FEATURES, FEATURES
from fleetscore.workloads.server_load.load_quantiles import (
    LOAD_FILE,
    fit_load,
    has_expected_load,
    measure_load,
    predict_load,
)
from fleetscore.workloads.server_load.scoring import MODEL_FILE, cached_models
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.training import able_candidates, card_baselines, fit
from fleetscore.workloads.server_load.trees import Trees, dump_trees, load_trees, predict
from fleetscore.workloads.server_load.week_features import WEEK_FEATURES, Meaning, build_week_features

_FIRST = 412_896  # 2017-02-07T00, a Tuesday
_MEANING = Meaning("US", 100.0, 500.0)
_SETTINGS = ServerLoadSettings()


def make_load(servers: int = 3, days: int = 40, seed: int = 5) -> np.ndarray:
    """Loads with a rhythm of the week, hours without sessions among them; a server without any at the end."""
    random = np.random.default_rng(seed)
    week = random.normal(5.0, 1.0, (servers, 1, 168))
    logs = np.tile(week, (1, days // 7 + 1, 1)).reshape(servers, -1)[:, : days * 24]
    load = np.exp(logs + random.normal(0, 0.2, logs.shape))
    load[random.random(load.shape) < 0.1] = np.nan
    load[-1] = np.nan
    return load


def features_at(load: np.ndarray, server: int, hour: int, known_until: int) -> dict[str, float]:
    """The week's features of one hour by name."""
    at = (np.array([server]), np.array([hour]), np.array([known_until]))
    return dict(zip(WEEK_FEATURES, build_week_features(load, _FIRST, at, _MEANING)[0].tolist(), strict=True))


def test_an_hour_of_the_week_is_told_by_the_four_before_it() -> None:
    """Mean, least, greatest and number of the same hours of the four weeks before are what plain loops find."""
    load = make_load()
    moment = _FIRST + 33 * 24
    for ahead in (0, 17, 47):
        found = features_at(load, 1, moment + ahead, moment)
        places = [moment + ahead - _FIRST - 168 * n for n in range(1, 5)]
        values = np.log1p(load[1, places])
        holiday = np.array([(_FIRST + place) // 24 == 17_217 for place in places])  # 2017-02-20
        there = ~np.isnan(values)
        assert found["hoursAhead"] == ahead
        assert found["weekHourCount"] == there.sum()
        assert found["weekHourMean"] == pytest.approx(values[there & ~holiday].mean())
        assert found["weekHourLow"] == pytest.approx(np.nanmin(values))
        assert found["weekHourHigh"] == pytest.approx(np.nanmax(values))
        np.testing.assert_allclose(found["peakLoadLag336"], load[1, places[1]])


def test_nothing_from_the_moment_on_is_read() -> None:
    """Other loads from the moment on change no feature, and loads before the four weeks neither."""
    load, moment = make_load(), _FIRST + 33 * 24
    changed = load.copy()
    changed[:, 33 * 24 :] = 1e6
    changed[:, : 5 * 24] = 1e6
    hours = np.arange(moment, moment + 48)
    at = (np.zeros(48, np.int64), hours, np.full(48, moment))
    np.testing.assert_array_equal(
        build_week_features(load, _FIRST, at, _MEANING), build_week_features(changed, _FIRST, at, _MEANING)
    )


def test_a_server_that_moved_is_expected_where_it_moved_to() -> None:
    """A load that doubles for good raises what is expected by most of that within days, and a server without load has nothing expected."""
    load, moment = make_load(), _FIRST + 35 * 24
    before = features_at(load, 0, moment + 5, moment)
    load[0, 31 * 24 :] *= 2
    after = features_at(load, 0, moment + 5, moment)
    assert after["expectedLoadDay"] - before["expectedLoadDay"] > 0.5 * np.log(2)
    assert after["movedDay"] > before["movedDay"] + 0.4
    silent = features_at(load, 2, moment + 5, moment)
    assert np.isnan(silent["expectedLoad"])
    assert silent["weekHourCount"] == 0


def test_short_and_negative_histories_give_finite_or_missing_features() -> None:
    """One day of history, or none, or negative loads, give numbers or NaN, never infinity."""
    load = make_load(days=2)
    load[0, :10] = -5.0
    for moment in (_FIRST, _FIRST + 24, _FIRST + 48):
        at = (np.repeat([0, 1, 2], 48), np.tile(np.arange(moment, moment + 48), 3), np.full(144, moment))
        assert not np.isinf(build_week_features(load, _FIRST, at, _MEANING)).any()


def make_examples(rows: int = 4000, seed: int = 2) -> Examples:
    """Hours whose log of load is about its expected one, with a spread that a feature tells."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, len(ALL_FEATURES)))
    features[random.random(features.shape) < 0.05] = np.nan
    expected = random.normal(5.0, 1.0, rows)
    wide = random.random(rows) < 0.5
    features[:, ALL_FEATURES.index("levelSpread")] = wide
    features[:, ALL_FEATURES.index("expectedLevel")] = expected
    load = np.expm1(expected + random.normal(0, np.where(wide, 0.6, 0.2)))
    labels = (load > 100).astype(np.int8) + (load > 500).astype(np.int8)
    return Examples(features, labels, np.arange(rows), np.zeros(rows, np.int64), load)


@pytest.fixture(scope="module")
def trees() -> Trees:
    """The quantiles of the load, fitted and read from their file."""
    return load_trees(dump_trees(fit("load", make_examples(), _SETTINGS)))


def test_quantiles_of_load_cover_what_they_promise(trees: Trees) -> None:
    """Of unseen loads half lie below the middle one and nine tenths below the upper one, within 3 points; they never cross."""
    unseen = make_examples(seed=3)
    found = measure_load(trees, unseen)
    assert found["0.5"] == pytest.approx(0.5, abs=0.03)
    assert found["0.9"] == pytest.approx(0.9, abs=0.03)
    said = predict_load(trees, unseen.features)
    assert (np.diff(said, axis=1) >= 0).all()
    assert (said >= 0).all()


def test_the_packed_quantiles_equal_scikit_learn() -> None:
    """The file gives the numbers of the regressors it was packed from."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    from fleetscore.workloads.server_load.trees import ModelFacts, pack_load, predict_raw

    examples = make_examples(800)
    models = [
        HistGradientBoostingRegressor(loss="quantile", quantile=q, max_iter=12, early_stopping=False).fit(
            examples.features, examples.load
        )
        for q in (0.5, 0.9)
    ]
    facts = ModelFacts("load", ALL_FEATURES, 100.0, 500.0, "US")
    packed = load_trees(dump_trees(pack_load(models, facts)))
    raw = predict_raw(packed, examples.features)
    for place, model in enumerate(models):
        np.testing.assert_allclose(raw[:, place], model.predict(examples.features), rtol=1e-12)


def test_classes_follow_from_the_quantiles(trees: Trees) -> None:
    """Chances add up to one, are those of the expected load far from the limits, and are equal where nothing is expected."""
    features = make_examples(300, 9).features
    features[:3, ALL_FEATURES.index("expectedLevel")] = [1.0, np.nan, 9.0]
    chances = predict(trees, features)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    assert chances[0].argmax() == 0
    assert chances[2].argmax() == 2
    np.testing.assert_allclose(chances[1], 1 / 3)


def test_too_few_hours_with_an_expected_load_are_not_learnt_from() -> None:
    """Without a hundred such hours the load is no candidate, and examples of earlier features have none."""
    examples = make_examples(99)
    assert not has_expected_load(examples)
    assert "load" not in able_candidates(examples, _SETTINGS)
    earlier = replace(make_examples(), features=make_examples().features[:, : len(FEATURES)])
    assert not has_expected_load(earlier)


def test_dates_are_not_learnt() -> None:
    """A class that hangs on the week of the year alone is not told by it: a span of weeks cannot know the weeks after it."""
    examples = make_examples(600)
    examples.features[:, ALL_FEATURES.index("weekofyear")] = examples.labels
    learnt = columns_to_learn(examples.features)
    assert (
        learnt[:, [ALL_FEATURES.index(name) for name in ("year", "weekofyear", "linearTrend")]] == 0
    ).all()
    trees = fit("boosting", examples, _SETTINGS)
    moved = examples.features.copy()
    moved[:, ALL_FEATURES.index("weekofyear")] = 53
    np.testing.assert_array_equal(predict(trees, moved), predict(trees, examples.features))


def test_model_sets_of_earlier_versions_have_no_quantiles(tmp_path: Any) -> None:
    """A set with classes on the earlier features alone is read and answers, without quantiles of the load."""
    examples = make_examples(400)
    earlier = replace(examples, features=examples.features[:, : len(FEATURES)], load=None)
    store = LocalStore(tmp_path)
    files = {MODEL_FILE: dump_trees(fit("forest", earlier, _SETTINGS))}
    version = write_model_set(store, "server_load", files, {}).version
    models = cached_models(store, "server_load", version)
    assert models.classes.facts.features == FEATURES
    assert np.isnan(predict_load(models.load, earlier.features)).all()
    files |= {LOAD_FILE: dump_trees(fit_load(examples, _SETTINGS))}
    version = write_model_set(store, "server_load", files, {}).version
    assert cached_models(store, "server_load", version).load is not None


def test_baselines_work_on_all_features() -> None:
    """The card's baselines of examples with the week's features are the four there are."""
    examples = make_examples(500)
    assert len(card_baselines(examples, examples, _SETTINGS)) == 4
