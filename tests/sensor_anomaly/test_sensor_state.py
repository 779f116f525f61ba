"""Carried state: a window reads its own files alone where the state is warm, and its rows are the same with any state or none."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from detector_estate import FIRST, SPIKE, STEP_S, pump_readings, readings, score, train

from fleetscore.models.pins import pin_version, read_pins
from fleetscore.operations.due.late_data import find_late
from fleetscore.operations.housekeeping import sweep
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.local import LocalStore
from fleetscore.store.paths import carried_state_prefix, run_id
from fleetscore.workloads.sensor_anomaly.decision import decide
from fleetscore.workloads.sensor_anomaly.detect.assessing import Rules, ShardReadings, assess
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.detect.horizon import HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.loading import load_detectors
from fleetscore.workloads.sensor_anomaly.detect.past import past_of_bins
from fleetscore.workloads.sensor_anomaly.detect.svm import SvmOfBins
from fleetscore.workloads.sensor_anomaly.fitted import load_models
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

STATE = carried_state_prefix("sensor_anomaly")
SENSORS = ("flow", "heat", "load")


def series() -> dict[str, np.ndarray]:
    """Three sensors: one with a spike, one with gaps, one as usual."""
    found = {name: readings(seed) for seed, name in enumerate(SENSORS)}
    place = (SPIKE.ordinal - FIRST.ordinal) * 6
    found["heat"][place + 2 : place + 5] += 20
    found["load"][place - 300 : place - 290] = np.nan
    return found


def put_hours(store: Store, first: int, end: int, hours: int) -> None:
    """The readings of the hours [first, end), a file for so many `hours`; readings that are NaN are not there."""
    per_hour = 3600 // STEP_S
    whole = series()
    for hour in range(first, end, hours):
        rows = np.arange(hour * per_hour, min(hour + hours, end) * per_hour)
        parts = []
        for name, values in whole.items():
            own = rows[np.isfinite(values[rows])]
            parts.append(pump_readings(name, own * STEP_S, values[own]))
        with store.sink(f"data/sensor_anomaly/{FIRST.next(hour).key}.parquet") as file:
            pq.write_table(pa.concat_tables(parts), file)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with trained models and seventeen days of readings, in daily files and, of the last two days, hourly ones."""
    store = open_store(str(tmp_path_factory.mktemp("state") / "store"))
    put_hours(store, 0, 360, 24)
    put_hours(store, 360, 400, 1)
    train(store, SensorAnomaly())
    return store


@pytest.fixture
def fresh(models: Store, tmp_path: Path) -> Callable[[str], Store]:
    """Makes copies of the store without any state, by name."""

    def make(name: str) -> Store:
        shutil.copytree(models.url.removeprefix("file://"), tmp_path / name)
        return fresh_like(open_store(str(tmp_path / name)))

    return make


def state_paths(store: Store) -> list[str]:
    """The files of carried state."""
    return [entry.path for entry in store.list(STATE)]


class WatchedStore(LocalStore):
    """A local store that notes which input is read."""

    seen: set[str]

    def open(self, path: str) -> pa.NativeFile:
        """The file; noted when it is input."""
        if path.startswith("data/"):
            self.seen.add(path)
        return super().open(path)


def test_rows_are_those_of_the_plain_computation(models: Store, fresh: Callable[[str], Store]) -> None:
    """With warm and with cold state, severities and marks are those computed from all readings at once, without any state."""
    warm, kind = fresh("warm"), SensorAnomaly()
    score(warm, kind, SPIKE.next(-1))
    found = score(warm, kind, SPIKE).sort_by([("sensor", "ascending"), ("ts", "ascending")])
    keys, version = pa.array([f"pump/{name}" for name in SENSORS]), read_pins(warm, kind.name).current
    versions = pa.array([version] * 3)
    fitted, loaded = (
        load_models(warm, kind.name, keys, versions),
        load_detectors(warm, kind.name, keys, versions),
    )
    begin = int(SPIKE.start.timestamp()) * 1_000_000 // BIN_US
    bins, start_us = empty_bins(3, begin - HORIZON_BINS, begin + 12), int(FIRST.start.timestamp()) * 1_000_000
    times, values, counts = [], [], []
    for whole in series().values():
        at = start_us + np.arange(len(whole)) * STEP_S * 1_000_000
        inside = np.isfinite(whole) & (at // BIN_US >= bins.first) & (at // BIN_US < bins.end)
        times.append(at[inside])
        values.append(whole[inside])
        counts.append(int(inside.sum()))
    fill_bins(bins, np.concatenate(times), np.concatenate(values), np.array(counts))
    svm = SvmOfBins(fitted, fitted.place)
    pack = loaded.parts[0].pack.rows(loaded.place)
    past = past_of_bins(pack, bins, begin, partial(svm, np.arange(3)))
    own = [(t[t // BIN_US >= begin], v[t // BIN_US >= begin]) for t, v in zip(times, values, strict=True)]
    number = np.array([len(t) for t, _ in own])
    time_us, value = (np.concatenate(part) for part in zip(*own, strict=True))
    window = ShardReadings(time_us, value, decide(fitted.pack, fitted.place, number, value), number)
    rules = Rules(np.array(SensorSettings().detect.weights), 0.05, 24)
    plain = assess(pack, past, bins.since(begin), begin, window, rules)
    assert found["severity"].to_numpy().tobytes() == plain.severity.tobytes()
    assert found["anomaly"].to_numpy().tobytes() == plain.marked.tobytes() and plain.marked.any()


def test_order_of_windows_does_not_change_a_row(fresh: Callable[[str], Store]) -> None:
    """Windows in order, backwards, and each without any state: equal rows, bit for bit."""
    kind, windows = SensorAnomaly(), [SPIKE.next(step) for step in (-25, 0, 1)]
    store = fresh("orders")
    cold = {window: score(fresh_like(store), kind, window) for window in windows}
    for order in (windows, windows[::-1]):
        fresh_like(store)
        for window in order:
            assert score(store, kind, window).equals(cold[window]), window.key
    assert cold[SPIKE]["anomaly"].to_numpy().any()


def test_warm_window_reads_its_own_files_alone(fresh: Callable[[str], Store]) -> None:
    """After the window before it, a window opens its own file and none of those before; the first window has read them."""
    store, kind = WatchedStore(Path(fresh("warm").url.removeprefix("file://"))), SensorAnomaly()
    store.seen = set()
    score(store, kind, SPIKE)
    assert len(store.seen) > 30
    for step in (1, 2):
        store.seen.clear()
        score(store, kind, SPIKE.next(step))
        assert store.seen == {f"data/sensor_anomaly/{SPIKE.next(step).key}.parquet"}


def test_parallel_lanes_give_equal_rows(fresh: Callable[[str], Store]) -> None:
    """Windows scored by several lanes at once, over the same state files, have the rows that they have alone."""
    windows = [SPIKE.next(step) for step in range(3)]
    alone = fresh("alone")
    expected = [score(alone, SensorAnomaly(), window) for window in windows]
    lanes = fresh("lanes")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda window: score(lanes, SensorAnomaly(), window), windows))
    assert all(a.equals(b) for a, b in zip(found, expected, strict=True))
    again = [score(lanes, SensorAnomaly(), window) for window in windows]
    assert all(a.equals(b) for a, b in zip(again, expected, strict=True))


def test_late_data_scores_its_own_window_alone(fresh: Callable[[str], Store]) -> None:
    """A late file brings its own window up for another round and no other; windows scored afterwards know it, as without state."""
    store = fresh("late")
    windows = [SPIKE.next(step) for step in (-2, -1, 0)]
    silent, hour = store.read("data/sensor_anomaly/" + windows[1].key + ".parquet"), windows[1].key
    store.delete(f"data/sensor_anomaly/{hour}.parquet")
    for window in windows:
        run_window(store, "sensor_anomaly", window.key)
    store.write(f"data/sensor_anomaly/late/{hour}.parquet", silent)
    kind = get_workload(store, "sensor_anomaly")
    late = [w.key for w in windows if find_late(store, kind, w.key, run_id("sensor_anomaly", w.key))]
    assert late == [hour]
    again = fresh("again")
    again.delete(f"data/sensor_anomaly/{hour}.parquet")
    again.write(f"data/sensor_anomaly/late/{hour}.parquet", silent)
    for window in (SPIKE.next(), *windows):
        assert score(store, SensorAnomaly(), window).equals(score(fresh_like(again), SensorAnomaly(), window))


def fresh_like(store: Store) -> Store:
    """The store without its state."""
    for path in state_paths(store):
        store.delete(path)
    return store


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_damaged_state_is_made_anew(fresh: Callable[[str], Store], damage: str) -> None:
    """State files that are cut, changed, empty or removed cost time, never a row or a run."""
    store, kind = fresh("damaged"), SensorAnomaly()
    expected = score(store, kind, SPIKE)
    random_place = random.Random(damage)
    for path in state_paths(store):
        data = bytearray(store.read(path))
        place = random_place.randrange(len(data))
        if damage == "cut":
            data = data[:place]
        elif damage == "flipped":
            data[place] ^= 0x10
        store.delete(path) if damage == "gone" else store.write(
            path, b"" if damage == "empty" else bytes(data)
        )
    assert score(store, kind, SPIKE).equals(expected)
    watched = WatchedStore(Path(store.url.removeprefix("file://")))
    watched.seen = set()
    assert score(watched, kind, SPIKE).equals(expected)
    assert len(watched.seen) == 1


def test_hints_that_cannot_be_written_fail_nothing(
    fresh: Callable[[str], Store], caplog: pytest.LogCaptureFixture
) -> None:
    """Where neither state nor catalogue can be kept, the rows are the same, and the log names what is not kept."""
    expected = score(fresh("kept"), SensorAnomaly(), SPIKE)
    store = fresh("not_kept")
    for folder in ("state", "catalog"):
        path = Path(store.url.removeprefix("file://")) / "partials/sensor_anomaly" / folder
        shutil.rmtree(path, ignore_errors=True)
        path.write_bytes(b"")  # a file where the folder would be
    assert score(store, SensorAnomaly(), SPIKE).equals(expected)
    told = "\n".join(caplog.messages)
    for folder in ("state", "catalog"):
        assert re.search(f"partials/sensor_anomaly/{folder}/.* cannot be kept", told)


def test_part_of_a_shard_leaves_no_state(fresh: Callable[[str], Store]) -> None:
    """A retry of one sensor has the same rows and writes no state, since it has not read the other sensors."""
    store, kind = fresh("part"), SensorAnomaly()
    alone = score(store, kind, SPIKE, ["pump/heat"])
    assert state_paths(store) == []
    whole = score(store, kind, SPIKE)
    assert alone.equals(whole.filter(pc.equal(whole["sensor"], "heat")))
    warm = score(store, kind, SPIKE, ["pump/heat"])
    assert warm.equals(alone)


def test_sensor_that_another_version_judges_is_known_to_both(fresh: Callable[[str], Store]) -> None:
    """State that was carried while a sensor was pinned elsewhere holds its readings: pinned back, its rows are those without state."""
    store, kind = fresh("pins"), SensorAnomaly()
    first = read_pins(store, kind.name).current
    train(store, kind, FIRST.next(4 * 24))
    second = read_pins(store, kind.name).current
    assert first != second
    pin_version(store, kind.name, first, partition="pump/heat")
    for step in (-2, -1):
        score(store, kind, SPIKE.next(step))
    pin_version(store, kind.name, second, partition="pump/heat")
    warm = score(store, kind, SPIKE)
    assert warm.equals(score(fresh_like(store), kind, SPIKE))
    assert set(warm["model"].to_pylist()) == {second}


def test_housekeeping_sweeps_state_that_no_window_of_the_present_reads(fresh: Callable[[str], Store]) -> None:
    """State that was not written for sixteen days goes, and is made anew when an old window is scored again."""
    store, kind = fresh("swept"), SensorAnomaly()
    expected = score(store, kind, SPIKE)
    count = len(state_paths(store))
    now = datetime.now(UTC)
    assert sweep(store, now + timedelta(days=15)).files.get("partial", 0) == 0
    assert sweep(store, now + timedelta(days=17)).files["partial"] == count
    assert state_paths(store) == []
    assert score(store, kind, SPIKE).equals(expected)


def test_hours_without_files_need_no_state(fresh: Callable[[str], Store], tmp_path: Path) -> None:
    """Where readings begin a few hours before the window, state is kept of those hours alone, and rows are as without it."""
    store, kind = fresh("young"), SensorAnomaly()
    for hour in range(SPIKE.ordinal - FIRST.ordinal - 5):
        store.delete(f"data/sensor_anomaly/{FIRST.next(hour).key}.parquet")
    cold = score(store, kind, SPIKE)
    assert len(state_paths(store)) == 1
    warm = score(store, kind, SPIKE)
    assert warm.equals(cold)
