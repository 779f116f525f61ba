"""Events that are marked as normal: what training learns of them, and what stays unmarked because of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from detector_estate import FIRST, put, readings, score, train

from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.operations.attention.mutes import mute, unmute
from fleetscore.runs.normal_marks import NormalEvent, list_normal_events
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Remark, RunContext
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US
from fleetscore.workloads.sensor_anomaly.detect.model import (
    PATTERN_BINS,
    PATTERNS,
    read_detectors,
    write_detectors,
)
from fleetscore.workloads.sensor_anomaly.detect.usual import LEAD, follows_pattern, learn_patterns
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

KEY = "pump/heat"
PATTERN = np.array([10.0, 20.0, 20.0, -15.0, -15.0, 10.0])
MARKED, AGAIN = (FIRST.next(day * 24 + 5) for day in (2, 16))
TRAINED = FIRST.next(4 * 24)


def place_of(window: Window) -> int:
    """Where the window's second reading stands among a sensor's."""
    return (window.ordinal - FIRST.ordinal) * 6 + 1


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two sensors with a pattern on the third day and again on the last, one of them then upside down; a third has it then only."""
    store = open_store(str(tmp_path_factory.mktemp("normal") / "store"))
    sensors = {name: readings(seed) for seed, name in enumerate(("flow", "heat", "load"))}
    marked, again = (slice(place_of(window), place_of(window) + 6) for window in (MARKED, AGAIN))
    sensors["heat"][marked] += PATTERN
    sensors["load"][marked] += PATTERN
    sensors["heat"][again] += PATTERN
    sensors["load"][again] -= PATTERN
    sensors["flow"][again] += PATTERN
    put(store, "readings", sensors)
    train(store, SensorAnomaly(), TRAINED)
    return store


def anomalies(store: Store, window: Window) -> dict[str, int]:
    """How many readings of each sensor are marked in the window and the two after it."""
    rows = pa.concat_tables(
        [score(store, SensorAnomaly(), w) for w in (window, window.next(), window.next(2))]
    )
    marked = [row["sensor"] for row in rows.to_pylist() if row["anomaly"]]
    return {sensor: marked.count(sensor) for sensor in ("flow", "heat", "load")}


def mark(store: Store, *events: NormalEvent, now: datetime) -> str:
    """Mark events as normal for a week and give the mute's id."""
    return mute(
        store, "sensor_anomaly", why="cleaning", until="7d", now=now, requested_by="me", cause="anomaly",
        partition=KEY, normal=events,
    ).id  # fmt: skip


def detectors_of(store: Store, version: str) -> bytes:
    """The file of the detectors of a model set."""
    return read_model_file(store, read_model_set(store, "sensor_anomaly", version), "detect-0000.npz")


def test_pattern_that_was_marked_as_normal_stays_unmarked(estate: Store) -> None:
    """A marked pattern is no anomaly after training; another course of its size is, and so is it in another sensor.

    Without the mark, models and anomalies are as before.
    """
    now = datetime.now(UTC)
    before = read_pins(estate, "sensor_anomaly").current
    unmarked = anomalies(estate, AGAIN)
    assert all(unmarked.values())
    start = MARKED.start + timedelta(minutes=10)
    events = [
        NormalEvent(f"{key}@x", key, start, start + timedelta(minutes=50)) for key in (KEY, "pump/load")
    ]
    act = mark(estate, *events, now=now)
    version = train(estate, SensorAnomaly(), TRAINED)
    card = read_model_set(estate, "sensor_anomaly", version).card
    assert card["detectors"]["usual_patterns"] == {KEY: 1, "pump/load": 1}
    assert anomalies(estate, AGAIN) == unmarked | {"heat": 0}
    unmute(estate, "sensor_anomaly", act, why="", now=now, requested_by="me")
    again = train(estate, SensorAnomaly(), TRAINED)
    assert detectors_of(estate, again) == detectors_of(estate, before)
    assert anomalies(estate, AGAIN) == unmarked


def test_training_names_marks_that_it_cannot_learn(estate: Store) -> None:
    """Marks of a sensor that is not trained, and of times without readings, are a remark; one that is over is none."""
    now = datetime.now(UTC)
    inside, outside = MARKED.start, AGAIN.next(400 * 24).start
    acts = [
        mark(estate, NormalEvent("pump/gone@x", "pump/gone", inside, inside), now=now),
        mark(estate, NormalEvent("pump/heat@late", KEY, outside, outside), now=now),
        mark(estate, NormalEvent("pump/heat@in", KEY, inside, inside), now=now),
        mark(estate, NormalEvent("pump/old@x", "pump/old", inside, inside), now=now - timedelta(days=8)),
    ]
    assert len(list_normal_events(estate, "sensor_anomaly", now)) == 3
    run = RunContext(estate, SensorAnomaly(), FIRST, purpose="train", end=TRAINED)
    remarks = [r for r in SensorAnomaly().discover_training(run).remarks if isinstance(r, Remark)]
    assert [r.cause for r in remarks] == ["normal_not_learned"]
    assert "pump/gone@x, pump/heat@late." in remarks[0] and "@in" not in remarks[0]
    for act in acts[:3]:
        unmute(estate, "sensor_anomaly", act, why="", now=now, requested_by="me")


def test_mark_is_learned_by_trainings_whose_span_does_not_hold_it(estate: Store) -> None:
    """A training on later days learns the marked course from the readings around it, which are among its inputs."""
    now = datetime.now(UTC)
    before = read_pins(estate, "sensor_anomaly").current
    start = MARKED.start + timedelta(minutes=10)
    act = mark(estate, NormalEvent("pump/heat@in", KEY, start, start + timedelta(minutes=50)), now=now)
    first, end = FIRST.next(4 * 24), FIRST.next(8 * 24)
    try:
        run = RunContext(estate, SensorAnomaly(), first, purpose="train", end=end)
        found = SensorAnomaly().discover_training(run)
        read = [file.path.rpartition("-")[2] for file in found.inputs]
        assert read == [f"0{day}.parquet" for day in (4, 5, 6, 7, 1, 2, 3)]
        assert not [r for r in found.remarks if isinstance(r, Remark)]
        version = train(estate, SensorAnomaly(), end, first)
        card = read_model_set(estate, "sensor_anomaly", version).card
        assert card["detectors"]["usual_patterns"] == {KEY: 1}
        marked = anomalies(estate, AGAIN)
        assert marked["heat"] == 0 and marked["flow"] and marked["load"]
    finally:
        unmute(estate, "sensor_anomaly", act, why="", now=now, requested_by="me")
        pin_version(estate, "sensor_anomaly", before)


def test_course_is_the_same_wherever_its_readings_come_from() -> None:
    """An event with bins of its own is learned as one that the readings of training hold, and the last ones count among both."""
    level = np.random.default_rng(5).normal(0, 0.2, 900)
    for n, place in enumerate(range(100, 800, 120)):
        level[place : place + 4] += 5 + n
    spans = [(place * BIN_US, (place + 3) * BIN_US) for place in range(100, 800, 120)]
    whole, tolerance = learn_patterns(level, 0, spans)
    apart = [(span, 300, level[300:]) for span in spans[2:]]
    assert np.array_equal(learn_patterns(level, 0, spans[:2], apart)[0], whole, equal_nan=True)
    assert learn_patterns(level, 0, spans[:2], apart)[1] == tolerance
    gone = [(spans[2], 300, np.full(600, np.nan))]
    assert np.isnan(learn_patterns(level, 0, [], gone)[0]).all()


def test_usual_bins_depend_on_what_came_before_only() -> None:
    """Whether a bin follows a pattern does not change with later readings, and holds at any level and with gaps in the grid."""
    random = np.random.default_rng(3)
    level = random.normal(0, 0.2, 400)
    shape = np.array([3.0, 6.0, 6.0, -4.0])
    level[100:104] += shape
    level[300:304] += shape
    span = (100 * BIN_US, 103 * BIN_US)
    patterns, tolerance = learn_patterns(level, 0, [span])
    assert patterns.shape == (PATTERNS, PATTERN_BINS) and np.isfinite(patterns[:, LEAD]).tolist() == [
        True,
        False,
        False,
        False,
    ]
    whole = follows_pattern(level + 7, patterns, tolerance)
    assert whole[300:304].all() and not whole[150:299].any()
    for end in range(296, 310):
        assert np.array_equal(follows_pattern(level[:end], patterns, tolerance), whole[:end])
    sparse = np.full(800, np.nan)
    sparse[::2] = level
    assert np.array_equal(follows_pattern(sparse, patterns, tolerance)[::2], whole)


def test_patterns_are_bounded_and_told_from_noise() -> None:
    """Of many marked events the last four are learned; one without readings, without a past or within the noise is none."""
    level = np.random.default_rng(4).normal(0, 1, 2000)
    places = range(200, 1800, 200)
    for n, place in enumerate(places):
        level[place] += 20 + n
    patterns, tolerance = learn_patterns(level, 0, [(p * BIN_US, p * BIN_US) for p in places])
    assert np.round(patterns[:, LEAD] - 20).astype(int).tolist() == pytest.approx([4, 5, 6, 7], abs=4)
    for span in ((50, 60), (2, 3), (5000, 5001)):
        found, _ = learn_patterns(level, 0, [(span[0] * BIN_US, span[1] * BIN_US)])
        assert np.isnan(found).all()
        assert not follows_pattern(level, found, tolerance).any()
    empty, least = learn_patterns(np.full(50, np.nan), 0, [(3, 4)])
    assert np.isnan(empty).all() and least > 0


def test_detectors_without_patterns_are_written_as_before(estate: Store) -> None:
    """A pack without patterns has no array of them and is read as one without; with them they are float32."""
    data = detectors_of(estate, read_pins(estate, "sensor_anomaly").current)
    pack = read_detectors(data)
    assert np.isnan(pack.usual).all() and (pack.tolerance == 0).all() and write_detectors(pack) == data
    pack.usual[0, 0, :20] = 1.1
    again = read_detectors(write_detectors(pack))
    assert again.usual.dtype == np.float32 and again.usual[0, 0, 0] == np.float32(1.1)
