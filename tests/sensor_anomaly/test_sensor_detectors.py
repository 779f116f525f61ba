"""Detectors: what a window's severities depend on, what is marked, and which sensors are judged by their one-class SVM alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from detector_estate import FIRST, SPIKE, put, readings, score, train
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import ModelError, SettingsError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.testing import check_workload
from fleetscore.windows import Cadence, Window
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, DAY_BINS, HOUR_BINS, empty_bins
from fleetscore.workloads.sensor_anomaly.detect.budget import severity_limits
from fleetscore.workloads.sensor_anomaly.detect.calibration import LIMIT, fit_tails
from fleetscore.workloads.sensor_anomaly.detect.fitting import fit_centroids
from fleetscore.workloads.sensor_anomaly.detect.horizon import (
    CALIBRATION_BINS,
    CONTEXT_BINS,
    HORIZON_BINS,
    MEMORY_BINS,
)
from fleetscore.workloads.sensor_anomaly.detect.marking import chain_marks
from fleetscore.workloads.sensor_anomaly.detect.model import (
    DETECTORS,
    SHAPES,
    SHORT,
    TAIL,
    USUAL,
    WEEK_HOURS,
    DetectorPack,
    read_detectors,
    write_detectors,
)
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import nearest, raw_scores
from fleetscore.workloads.sensor_anomaly.detect.seasons import fit_season
from fleetscore.workloads.sensor_anomaly.detect.severity import rate_candidates, rate_hours
from fleetscore.workloads.sensor_anomaly.packs import write_keyed_arrays
from fleetscore.workloads.sensor_anomaly.settings import DetectSettings, SensorSettings
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

DAY_BEFORE, SEASON = DETECTORS.index("day_before"), DETECTORS.index("season")


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three sensors for seventeen days, one with a spike of ten deviations on the last day; trained on three days."""
    store = open_store(str(tmp_path_factory.mktemp("detectors") / "store"))
    sensors = {name: readings(seed) for seed, name in enumerate(("flow", "heat", "load"))}
    place = (SPIKE.ordinal - FIRST.ordinal) * 6
    sensors["heat"][place + 2 : place + 5] += 20
    put(store, "readings", sensors)
    train(store, SensorAnomaly())
    return store


def test_spike_is_marked_with_its_event_and_the_usual_is_not(estate: Store) -> None:
    """A spike is marked from its first reading on, with event, expected range and detector; ordinary sensors are not marked."""
    rows = score(estate, SensorAnomaly(), SPIKE).to_pylist()
    marked = [row for row in rows if row["anomaly"]]
    assert {row["sensor"] for row in marked} == {"heat"}
    assert {row["event_start"] for row in marked} == {SPIKE.start.replace(minute=20)}
    assert [row["event_readings"] for row in marked][:3] == [1, 2, 3]
    first = marked[0]
    assert first["expected_low"] < 50 < first["expected_high"] < first["value"]
    assert (
        first["severity"] >= severity_limits(0.05, np.array([144.0]), np.ones(1))[0]
        and first["event_severity"] >= first["severity"]
    )
    assert {row["detector"] for row in marked} <= set(DETECTORS)
    others = [row for row in rows if not row["anomaly"]]
    assert all(row["event_start"] is None and row["severity"] is not None for row in others)


def test_window_depends_on_fifteen_days_of_readings_only(estate: Store, tmp_path: object) -> None:
    """A store that holds only the readings of the horizon and the window gives the same rows, bit for bit."""
    small = open_store(f"{tmp_path}/store")
    for entry in estate.list("models/"):
        small.write(entry.path, estate.read(entry.path))
    first_bin = int(SPIKE.start.timestamp() * 1_000_000) // BIN_US - HORIZON_BINS
    since = Window(Cadence.HOUR, first_bin // 12)
    assert since.ordinal - FIRST.ordinal == 16 * 24 + 5 - 15 * 24
    sensors = {name: readings(seed) for seed, name in enumerate(("flow", "heat", "load"))}
    place = (SPIKE.ordinal - FIRST.ordinal) * 6
    sensors["heat"][place + 2 : place + 5] += 20
    put(small, "other-name", sensors, since=since)
    assert score(small, SensorAnomaly(), SPIKE).equals(score(estate, SensorAnomaly(), SPIKE))


def test_sensor_is_scored_alike_alone_and_in_any_company(estate: Store) -> None:
    """The promises of the seam hold with detectors: above all, a part of a shard is scored like the whole."""
    checked = check_workload(SensorAnomaly(), estate, SPIKE.key)
    assert checked.outcomes == {"scored": 3} and checked.rows == 18


def test_event_keeps_its_beginning_across_windows(estate: Store) -> None:
    """The window after the spike's tells of the same event, or of none; never of a second one that began there."""
    before = score(estate, SensorAnomaly(), SPIKE)
    after = score(estate, SensorAnomaly(), SPIKE.next())
    starts = set(after["event_start"].drop_null().to_pylist())
    assert starts <= set(before["event_start"].drop_null().to_pylist())


def test_plan_names_the_history(estate: Store) -> None:
    """The plan says how many files before the window its results depend on, and in which versions."""
    kind = SensorAnomaly()
    found = kind.discover(RunContext(estate, kind, SPIKE, read_pins(estate, kind.name)))
    assert any(
        remark.startswith("Detectors read the 15 days before the window: 16 files")
        for remark in found.remarks
    )
    assert len(found.inputs) == 16


def test_broken_file_before_the_window_fails_only_its_own_window(tmp_path: object) -> None:
    """A row without a sensor two days before is not an outcome of this window."""
    store = open_store(f"{tmp_path}/store")
    put(store, "readings", {"flow": readings(1)})
    kind = SensorAnomaly()
    train(store, kind)
    store.write(
        "data/sensor_anomaly/bad.csv",
        b"ts,device,sensor,value\n2026-03-10T00:00:00Z,,flow,1\n2026-03-10T00:00:01Z,x,y,1\n",
    )
    expected = kind.discover(RunContext(store, kind, SPIKE, read_pins(store, kind.name))).expected
    assert expected["partition"].to_pylist() == ["pump/flow"]


def test_short_training_leaves_the_decision_to_the_svm(tmp_path: object) -> None:
    """A sensor with less than a day of training gets no detectors: no severity, and an anomaly is a decision value not above 0."""
    store = open_store(f"{tmp_path}/store")
    put(store, "readings", {"flow": readings(1, step_s=60, days=1)[:600]}, step_s=60)
    kind = SensorAnomaly()
    version = train(store, kind, FIRST.next(8))
    assert "detectors" not in read_model_set(store, kind.name, version).card
    rows = score(store, kind, FIRST.next(9))
    assert rows["severity"].null_count == rows.num_rows == 60
    assert rows["anomaly"].to_pylist() == [int(not s > 0) for s in rows["score"].to_pylist()]


def test_card_tells_what_each_detector_contributes(estate: Store) -> None:
    """The card names each detector's share of the severity and its usual size; shares sum to 1."""
    kind = SensorAnomaly()
    card = read_model_set(estate, kind.name, read_pins(estate, kind.name).current).card["detectors"]
    assert card["sensors"] == 3 and card["with_season"] == 3
    assert set(card["share_of_severity"]) == set(DETECTORS)
    assert sum(card["share_of_severity"].values()) == pytest.approx(1.0, abs=1e-3)
    assert card["severity_at_98_percent"]["median"] > 1


def test_weights_are_settings(estate: Store) -> None:
    """A detector of weight 0 takes no part: with the median alone, severity is its calibrated score."""
    alone = SensorSettings(detect=DetectSettings(1, 0, 0, 0, 0, 0))
    rows = score(estate, SensorAnomaly(settings=alone), SPIKE)
    marked = rows.filter(pc.equal(rows["anomaly"], 1))
    assert set(marked["detector"].to_pylist()) == {"median"}
    with pytest.raises(SettingsError, match="kmeans8"):
        DetectSettings(kmeans8=-1)


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 5.0))
@settings(max_examples=4, deadline=None)
def test_hours_that_cannot_reach_the_limit_are_left_out(seed: int, budget: float) -> None:
    """Severities that reach the limit are those of all hours rated, bit for bit, with gaps, ties and new levels."""
    rng = np.random.default_rng(seed)
    first, count = 12 * int(rng.integers(0, 100)), CALIBRATION_BINS + DAY_BINS + 18
    raw = rng.standard_gamma(1.0, (len(DETECTORS), 3, count)) * rng.integers(1, 4, (len(DETECTORS), 3, 1))
    raw[:, :, int(rng.integers(count - 300, count)) :] *= float(rng.integers(1, 5))
    raw[0] = np.round(raw[0])
    raw[:, rng.random((3, count)) < rng.random() * 0.9] = np.nan
    pack = _pack_of(3)
    begin, end = first + CALIBRATION_BINS, first + count
    weights = np.array(DetectSettings().weights)
    limits = severity_limits(budget, pack.pace, pack.per_bin)
    rated = rate_candidates(pack, raw, first, begin, end, weights, limits)
    whole = np.concatenate([h.severity for h in rate_hours(pack, raw, first, begin, end, weights)], axis=1)
    reach = whole >= limits[:, None]
    assert np.array_equal(rated >= limits[:, None], reach) and np.array_equal(rated[reach], whole[reach])


def _pack_of(sensors: int) -> DetectorPack:
    """Detectors of sensors that report every five minutes, of which the first has no season."""
    arrays = {name: np.ones((sensors, *shape)) for name, shape in SHAPES.items()}
    arrays["season"][0] = np.nan
    arrays["seen"][:] = 600.0
    return DetectorPack(pa.array([f"a/{n}" for n in range(sensors)]), **arrays)


def test_marks_within_the_gap_are_one_event() -> None:
    """Marks two hours apart continue an event, further ones begin another; an event that is older than a day begins anew at midnight."""
    marked = np.zeros(MEMORY_BINS + 12, bool)
    marked[[100, MEMORY_BINS - 20, MEMORY_BINS - 2, MEMORY_BINS + 1]] = True
    chains = chain_marks(marked, 10 * DAY_BINS, 11 * DAY_BINS, 24)
    assert [chain.bins.tolist() for chain in chains] == [
        [11 * DAY_BINS - 20, 11 * DAY_BINS - 2, 11 * DAY_BINS + 1]
    ]
    assert chain_marks(marked, 10 * DAY_BINS, 11 * DAY_BINS, 2)[0].start == 11 * DAY_BINS + 1
    endless = np.ones(MEMORY_BINS + 12, bool)
    chain = chain_marks(endless, 10 * DAY_BINS + 60, 11 * DAY_BINS + 60, 24)[0]
    assert chain.start == 11 * DAY_BINS


def test_damaged_detectors_are_refused_by_name() -> None:
    """Detectors are read as they were written; cut ones, and ones with impossible numbers, are a ModelError."""
    arrays = {name: np.ones((2, *shape)) for name, shape in SHAPES.items()}
    pack = DetectorPack(pa.array(["a/b", "c/d"]), **arrays)
    again = read_detectors(write_detectors(pack))
    assert again.keys.equals(pack.keys) and all(np.array_equal(getattr(again, n), arrays[n]) for n in SHAPES)
    with pytest.raises(ModelError, match="not what was written"):
        read_detectors(write_detectors(pack)[:500])
    with pytest.raises(ModelError, match="scale"):
        read_detectors(write_detectors(replace(pack, scale=np.zeros(2))))
    with pytest.raises(ModelError, match="readings in a bin"):
        read_detectors(write_detectors(replace(pack, per_bin=np.zeros(2))))


def test_detectors_of_earlier_versions_stay_readable() -> None:
    """Detectors of before readings in a bin were counted are read as if there was one; a season of the day alone acts as it did."""
    arrays = {name: np.ones((2, *shape)) for name, shape in SHAPES.items()}
    keys = pa.array(["a/b", "c/d"])
    data = write_keyed_arrays(
        keys, {n: a.reshape(-1) for n, a in arrays.items() if n not in ("per_bin", "week", *USUAL)}
    )
    pack = read_detectors(data)
    assert pack.per_bin.tolist() == [1.0, 1.0] and np.isnan(pack.week).all()
    bins = empty_bins(2, 0, 3 * DAY_BINS)
    bins.mean[:] = bins.low[:] = bins.high[:] = np.sin(np.arange(3 * DAY_BINS) / 50)
    before = raw_scores(pack, bins)
    assert np.array_equal(before[SEASON], np.abs((bins.mean - 1.0) / 1.0 - 1.0)[:, CONTEXT_BINS:])
    flat = replace(pack, season=np.full((2, 24), np.nan))
    assert np.array_equal(before[DAY_BEFORE], raw_scores(flat, bins)[DAY_BEFORE], equal_nan=True)
    with pytest.raises(ModelError, match="not what was written"):
        read_detectors(write_keyed_arrays(keys, {"center": np.ones(2)}))


def test_season_follows_the_week_where_days_differ() -> None:
    """Two weeks whose weekends differ have a level for each hour of the week; alike days have one day seven times, and noise has none."""
    hours = np.arange(28 * 24)
    noise = np.random.default_rng(2).normal(0, 0.3, len(hours))
    daily = 3 * np.sin(2 * np.pi * hours / 24)
    weekly = daily * np.where(hours // 24 % 7 >= 5, 0.2, 1.0)
    level = np.full((3, 28 * DAY_BINS), np.nan)
    level[:, ::HOUR_BINS] = weekly + noise, daily + noise, noise
    season, week = fit_season(level, 10 * DAY_BINS)
    clock = (hours + 240) % WEEK_HOURS
    assert np.abs(week[0, clock] - weekly).max() < 0.6
    assert np.array_equal(week[1], np.tile(season[1], 7)) and np.isnan(week[2]).all()
    assert np.isfinite(season[:2]).all() and np.isnan(season[2]).all()
    short, of_week = fit_season(level[:, : 12 * DAY_BINS], 10 * DAY_BINS)
    assert np.array_equal(of_week[0], np.tile(short[0], 7))


def test_rhythm_is_no_change_against_the_day_before() -> None:
    """What the season explains is not held against the day before: a usual night scores low, and a shift of the level as much as it is."""
    level = np.repeat(10.0 * np.sin(2 * np.pi * np.arange(72) / 24), HOUR_BINS)[None]
    level[0, -4 * HOUR_BINS :] += 4.0
    arrays = {name: np.ones((1, *shape)) for name, shape in SHAPES.items()}
    rhythm = 10.0 * np.sin(2 * np.pi * np.arange(WEEK_HOURS)[None] / 24)
    pack = DetectorPack(pa.array(["a/b"]), **arrays | {"center": np.zeros(1), "week": rhythm})
    bins = replace(empty_bins(1, 0, 3 * DAY_BINS), mean=level, low=level, high=level)
    found = raw_scores(pack, bins)[DAY_BEFORE, 0]
    assert np.nanmax(found[: 20 * HOUR_BINS]) < 1e-9 and found[-1] == pytest.approx(4.0)
    without = raw_scores(replace(pack, week=np.full((1, WEEK_HOURS), np.nan)), bins)[DAY_BEFORE, 0]
    assert np.nanmax(without) > 9


def test_budget_orders_severities() -> None:
    """A larger budget, fewer bins a day, or more readings in a bin mean a lower limit, over the whole range of the setting."""
    pace, per_bin = np.array([288.0, 24.0, 288.0, 288.0]), np.array([1.0, 1.0, 5.0, 1e9])
    limits = np.array([severity_limits(rate, pace, per_bin) for rate in np.geomspace(0.001, 10, 50)])
    assert (np.diff(limits, axis=0) <= 0).all() and (limits > 0).all()
    assert (limits[0] > limits[25]).all() and (limits[25] > limits[-1]).all()
    usual = severity_limits(0.05, pace, per_bin)
    assert usual[0] > usual[2] > usual[3] > 1 and usual[0] > usual[1]


def test_usual_courses_are_those_of_the_sensor_in_any_company() -> None:
    """Centroids are the same for a sensor alone and among others, and ordinary windows lie near one of them."""
    level = np.random.default_rng(5).normal(0, 1, (3, 2000))
    level[1] += 10 * (np.arange(2000) // 250)
    found = fit_centroids(level, SHORT)
    assert np.array_equal(found[1:2], fit_centroids(level[1:2], SHORT))
    assert np.median(nearest(level, found), axis=1).max() < 4


def test_scores_reach_beyond_what_a_week_can_count() -> None:
    """A score rises with the raw score up to its limit, is 0 for the usual, and equal for equal pasts in any company."""
    past = np.abs(np.random.default_rng(6).normal(0, 1, (2, CALIBRATION_BINS)))
    none, nothing = np.full((2, TAIL), -np.inf), np.zeros(2)
    raw = np.array([[0.5, 3.0, 4.0, 6.0, 1e6]]).repeat(2, axis=0)
    score = fit_tails(past, none, nothing).score(raw)
    assert score[0, 0] == 0 and (np.diff(score[0]) > 0).all() and score[0, -1] == LIMIT
    alone = fit_tails(past[1:], none[1:], nothing[1:]).score(raw[1:])
    assert np.array_equal(alone[0], score[1])
