"""Windows of 15 minutes, an hour or a day: the same rows, whatever the length."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from detector_estate import DAYS, FIRST, SPIKE, pump_readings, readings, score, train

from fleetscore import Fleet
from fleetscore.errors import InputError, SettingsError
from fleetscore.models.pins import read_pins
from fleetscore.operations.anomalies import list_anomalies
from fleetscore.operations.attention.overview import read_overview
from fleetscore.operations.due.late_data import find_late, submit_late
from fleetscore.operations.due.windows import list_due
from fleetscore.operations.retiring import retire_partition
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import newest_round, submit_retry, submit_run
from fleetscore.records import Only, RunState, count_bad, is_idle
from fleetscore.registry import find_workload, get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_events, read_manifest, read_results
from fleetscore.settings import RunPolicy
from fleetscore.sources.settings import DataSettings
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import run_id
from fleetscore.windows import Cadence, Window, parse_window, window_at
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.settings import DetectSettings, EventSettings, SensorSettings
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

SETTINGS = SensorSettings(
    alarms_per_sensor_day=0.02,
    detect=DetectSettings(1.0, 0.02, 0.02, 0.02, 0.02, 0.25),  # readings after a high one are not marked
    events=EventSettings(gap_minutes=360),
)
"""So that an event goes on for days with few marks."""

QUARTERS, HOURS = (
    SensorAnomaly(settings=replace(SETTINGS, window=length))
    for length in (Cadence.QUARTER_HOUR, Cadence.HOUR)
)
STEP_S = 300


def series() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Seconds since FIRST and values: a sensor with a spike over two hours, one with an event that goes on for two
    days, one that reports hourly, four minutes past the hour.
    """
    wave = readings(0, STEP_S, DAYS + 1)
    times = np.arange(len(wave)) * STEP_S
    place = (SPIKE.ordinal - FIRST.ordinal) * 3600 // STEP_S
    wave[place + 5 : place + 15] += 20
    long = readings(1, STEP_S, DAYS + 1)
    for begin in range(place - 6 - 10 * 54, place + 4 * 12, 54):  # a mark every 270 minutes
        long[begin] += 40 + begin - place + 6 + 10 * 54
    hourly = readings(2, 3600, DAYS + 1)
    return {
        "wave": (times, wave), "long": (times, long), "hourly": (np.arange(len(hourly)) * 3600 + 240, hourly),
    }  # fmt: skip


def put(store: Store) -> None:
    """A file for each day, and of the day of the spike one for each quarter of an hour."""
    spike_s = (DAYS - 1) * 86_400
    spans = [(day * 86_400, (day + 1) * 86_400) for day in range(DAYS - 1)]
    spans += [(second, second + 900) for second in range(spike_s, spike_s + 86_400 + 7200, 900)]
    whole = series()
    for first, end in spans:
        parts = []
        for name, (times, values) in whole.items():
            own = (times >= first) & (times < end)
            parts.append(pump_readings(name, times[own], values[own]))
        with store.sink(f"data/sensor_anomaly/{first:08d}.parquet") as file:
            pq.write_table(pa.concat_tables(parts), file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Seventeen days of readings, and models of the first four days."""
    store = open_store(str(tmp_path_factory.mktemp("lengths") / "store"))
    put(store)
    train(store, HOURS, FIRST.next(4 * 24))
    return store


@pytest.fixture
def copy(trained: Store, tmp_path: Path) -> Callable[[str], Store]:
    """Makes copies of the store without any state, by name."""

    def make(name: str) -> Store:
        shutil.copytree(trained.url.removeprefix("file://"), tmp_path / name)
        shutil.rmtree(tmp_path / name / "partials", ignore_errors=True)
        return open_store(str(tmp_path / name))

    return make


def quarters_of(hour: Window) -> list[Window]:
    """The four windows of an hour."""
    return [Window(Cadence.QUARTER_HOUR, 4 * hour.ordinal + n) for n in range(4)]


def rows_of(table: pa.Table, window: Window) -> pa.Table:
    """The rows of a part of the window."""
    own = pc.and_(pc.greater_equal(table["ts"], window.start), pc.less(table["ts"], window.end))
    return table.filter(own).combine_chunks()


def test_a_quarter_has_the_rows_of_its_hour(trained: Store, copy: Callable[[str], Store]) -> None:
    """Windows of 15 minutes, in order, backwards, by parallel lanes, with any state, have the rows that their hour has."""
    hours = [SPIKE.next(step) for step in (-1, 0)]
    whole = {hour: score(trained, HOURS, hour) for hour in hours}
    assert all(pc.sum(table["anomaly"]).as_py() for table in whole.values())
    windows = [window for hour in hours for window in quarters_of(hour)]
    expected = [rows_of(whole[hour], window) for hour in hours for window in quarters_of(hour)]
    forth, back, lanes = copy("forth"), copy("back"), copy("lanes")
    found = [score(forth, QUARTERS, window) for window in windows]
    assert all(f.equals(e) for f, e in zip(found, expected, strict=True))
    windows, expected = windows[4:], expected[4:]
    found = [score(back, QUARTERS, window) for window in windows[::-1]][::-1]
    assert all(f.equals(e) for f, e in zip(found, expected, strict=True))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda window: score(lanes, QUARTERS, window), windows))
    assert all(f.equals(e) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kolkata", pytest.param("America/New_York", marks=pytest.mark.slow)]
)
def test_a_day_has_the_rows_of_its_hours(copy: Callable[[str], Store], zone: str) -> None:
    """Days have the rows that their hours have: where they begin within an hour, where they have 23 of them (clocks of
    New York change on 8 March 2026), and where an event goes on for longer than a day."""
    settings = replace(SETTINGS, window=Cadence.DAY, timezone=zone)
    days, store = SensorAnomaly(settings=settings, zone=zone), copy(zone.rpartition("/")[2])
    whole = [score(store, days, days.parse_window(key)) for key in ("2026-03-08", "2026-03-16")]
    changed, long = (days.parse_window(key) for key in ("2026-03-08", "2026-03-16"))
    assert (changed.end - changed.start).total_seconds() / 3600 == (23 if "York" in zone else 24)
    assert len(pc.unique(whole[1]["event_start"]).drop_null()) > 1
    for window, rows in zip((changed, long), whole, strict=True):
        ends = (window_at(moment, Cadence.HOUR) for moment in (window.start, window.end))
        for hour in (*ends, parse_window(f"{window.key}T16", Cadence.HOUR)):
            own = rows_of(score(store, HOURS, hour), window)
            assert own.equals(rows_of(rows, hour)), (window.key, hour.key)


def test_window_lengths_that_there_are() -> None:
    """A window is 15 minutes, an hour or a day, in any zone; other lengths are a SettingsError, and so are intervals of
    `aggregate` that a window would cut."""
    with pytest.raises(SettingsError, match='one of "15min", "hour", "day"'):
        SensorSettings(window=Cadence.WEEK)
    quarters = SensorAnomaly(settings=SensorSettings(window=Cadence.QUARTER_HOUR), zone="Asia/Kathmandu")
    assert quarters.parse_window("2026-03-01T1015").cadence is Cadence.QUARTER_HOUR
    assert (quarters.schedule, SensorAnomaly().schedule) == ("0 5/15 * * * *", "0 5 * * * *")
    hourly = DataSettings(aggregate={"every": "1h", "value": "mean"})
    assert SensorSettings(data=hourly).step_us == HOUR_US
    for length, zone in ((Cadence.QUARTER_HOUR, "UTC"), (Cadence.DAY, "Asia/Kolkata")):
        with pytest.raises(ValueError, match="must divide the 15 minutes of a window"):
            SensorSettings(window=length, timezone=zone, data=hourly)


def test_windows_of_15_minutes_have_four_ticks_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule is that of the length, also where the app setting has its default; another value of it wins."""
    store, variable = open_store(str(tmp_path)), "FLEETSCORE_SENSOR_ANOMALY_SCHEDULE"
    store.write("settings/sensor_anomaly.toml", b'window = "15min"')
    found = []
    for value in ("", "0 5 * * * *", "0 9 * * * *"):
        monkeypatch.setenv(variable, value)
        schedule = find_workload(store, "sensor_anomaly").schedule
        assert schedule is not None
        found.append(schedule.text)
    assert found == ["0 5/15 * * * *", "0 5/15 * * * *", "0 9 * * * *"]
    monkeypatch.setenv(variable, "0 5 * * * *")
    store.delete("settings/sensor_anomaly.toml")
    hourly = find_workload(store, "sensor_anomaly").schedule
    assert hourly is not None and hourly.text == "0 5 * * * *"


def test_window_between_quarters_is_refused(tmp_path: Path) -> None:
    """Days of a zone that lay no whole quarters from UTC are an InputError that says so, not another day's readings."""
    settings = SensorSettings(window=Cadence.DAY, timezone="Africa/Monrovia")
    days = SensorAnomaly(settings=settings, zone="Africa/Monrovia")
    store = open_store(str(tmp_path))
    assert score_nothing(store, days, "1973-05-01") == 0
    with pytest.raises(InputError, match="whole quarters"):
        score_nothing(store, days, "1971-05-01")


def score_nothing(store: Store, kind: SensorAnomaly, key: str) -> int:
    """How many partitions an empty store has in a window."""
    return kind.discover(
        RunContext(store, kind, kind.parse_window(key), read_pins(store, kind.name))
    ).expected.num_rows


def use_quarters(store: Store) -> SensorAnomaly:
    """The workload with windows of 15 minutes by its settings."""
    weights = "\n".join(f"{name} = {getattr(SETTINGS.detect, name)}" for name in DetectSettings.__slots__)
    lines = (
        f'window = "15min"\nalarms_per_sensor_day = {SETTINGS.alarms_per_sensor_day}\n[detect]\n{weights}\n'
    )
    lines += f"[events]\ngap_minutes = {SETTINGS.events.gap_minutes}\n"
    store.write("settings/sensor_anomaly.toml", lines.encode())
    kind = get_workload(store, "sensor_anomaly")
    assert isinstance(kind, SensorAnomaly)
    return kind


def outcomes(store: Store, key: str) -> dict[str, tuple[str, str]]:
    """What became of each sensor in the newest round of a window, and why."""
    newest = newest_round(store, "sensor_anomaly", key)
    assert newest is not None
    lines = read_ledger(store, newest.request.run).select(["partition", "outcome", "cause"]).to_pylist()
    return {line["partition"].removeprefix("pump/"): (line["outcome"], line["cause"]) for line in lines}


def test_sensor_that_reports_hourly_is_late_only_when_its_reading_was_due(
    copy: Callable[[str], Store],
) -> None:
    """In windows of 15 minutes a sensor that reports hourly is scored where it reports, skipped as `not_due` where it does
    not, without a need for attention, and late from the window on in which its next reading should have been."""
    store = copy("hourly")
    use_quarters(store)
    start = SPIKE.next(2)
    take_out(store, "hourly", quarters_of(start.next())[0])
    found = {}
    for window in [*quarters_of(start), *quarters_of(start.next())[:2]]:
        assert run_window(store, "sensor_anomaly", window.key).state is RunState.PUBLISHED
        found[window.key[-4:]] = outcomes(store, window.key)["hourly"]
    waits, late = ("skipped", "not_due"), ("late", "no_readings")
    assert list(found.values()) == [("scored", ""), waits, waits, waits, late, late]
    for key, bad in ((quarters_of(start)[1].key, 0), (quarters_of(start.next())[0].key, 1)):
        newest = newest_round(store, "sensor_anomaly", key)
        assert newest is not None and count_bad(newest.counts) == bad


def take_out(store: Store, name: str, window: Window) -> pa.Table:
    """Take the sensor's readings out of the file of a window of 15 minutes; gives them."""
    path = f"data/sensor_anomaly/{int((window.start - FIRST.start).total_seconds()):08d}.parquet"
    with store.open(path) as file:
        table = pq.read_table(file)
    own = pc.equal(table["sensor"], name)
    with store.sink(path) as sink:
        pq.write_table(table.filter(pc.invert(own)), sink)
    return table.filter(own)


def test_window_without_any_reading_due_is_idle(copy: Callable[[str], Store]) -> None:
    """Where no sensor has a reading due, the window ends unpublished with "No data is expected", which needs no attention."""
    store = copy("idle")
    use_quarters(store)
    before, window = quarters_of(SPIKE.next(2))[:2]
    run_window(store, "sensor_anomaly", before.key)
    for name in ("wave", "long"):
        take_out(store, name, window)
        now = datetime.now(UTC)
        retire_partition(store, "sensor_anomaly", f"pump/{name}", why="sold", now=now, requested_by="test")
    ended = run_window(store, "sensor_anomaly", window.key)
    assert ended.state is RunState.UNPUBLISHED and is_idle(ended), ended.error


def test_late_data_of_a_quarter_and_events_over_windows(copy: Callable[[str], Store]) -> None:
    """Late data brings up its own quarter and no other, as it is without state; an event that goes on over windows keeps its
    id, and counts once."""
    store = copy("late")
    kind = use_quarters(store)
    windows = [*quarters_of(SPIKE)[1:], quarters_of(SPIKE.next())[0]]
    held = take_out(store, "long", windows[1])
    for window in windows:
        assert run_window(store, kind.name, window.key).state is RunState.PUBLISHED
    with store.sink("data/sensor_anomaly/belated.parquet") as file:
        pq.write_table(held, file)
    late = [w.key for w in windows if find_late(store, kind, w.key, run_id(kind.name, w.key))]
    assert late == [windows[1].key]
    submission = submit_retry(store, run_id(kind.name, late[0]), datetime.now(UTC), "test", only=Only.MISSING)
    assert execute(store, submission.request).state is RunState.PUBLISHED
    rows = read_results(
        store, read_manifest(store, kind.name, late[0]), ["ts", "sensor", "value", "severity", "anomaly"]
    )
    whole = rows_of(score(copy("whole"), HOURS, SPIKE), windows[1]).select(rows.column_names)
    order = [("sensor", "ascending"), ("ts", "ascending")]
    assert rows.cast(whole.schema).sort_by(order).equals(whole.sort_by(order))
    events = [read_events(store, read_manifest(store, kind.name, w.key)).to_pylist() for w in windows]
    ids = [{row["event"] for row in rows if row["partition"] == "pump/wave"} for rows in events]
    assert len(ids) == 4 and set.union(*ids) == ids[0] == ids[-1] and len(ids[0]) == 1
    report = list_anomalies(store, datetime.now(UTC), workload=kind.name)
    [wave] = [e for one in report.incidents for e in one.events if e.partition == "pump/wave"]
    assert {wave.event} == ids[0] and wave.window == windows[-1].key and wave.end >= windows[-1].start


def test_switch_of_the_length_never_publishes_a_reading_twice(copy: Callable[[str], Store]) -> None:
    """After `window` is changed the timer goes on where the published windows end, parts of them are refused by name, runs of
    them are not taken for shorter windows, and their results can be read as before."""
    store = copy("switched")
    run_window(store, "sensor_anomaly", SPIKE.key)
    kind, name, now = use_quarters(store), "sensor_anomaly", datetime.now(UTC)
    due = list_due(store, kind, RunPolicy(), SPIKE.end + timedelta(minutes=36))
    assert [window.key[-5:] for window in due] == ["T0600", "T0615"]
    for text, said in ((quarters_of(SPIKE)[3].key, f"overlaps {SPIKE.key}"), (SPIKE.key, "is an hour")):
        with pytest.raises(InputError, match=said):
            submit_run(store, name, text, now, "test")
    with pytest.raises(InputError, match="another length"):
        submit_retry(store, run_id(name, SPIKE.key), now, "test", only=Only.ALL)
    assert submit_late(store, name, now) is None
    [view] = [one for one in read_overview(store, now).workloads if one.name == name]
    assert view.published == SPIKE.key and view.calendar.cells() == []
    fleet = Fleet(store.url)
    before = fleet.results(name, SPIKE.key)
    assert fleet.results(name).equals(before) and before.num_rows == 25
    assert run_window(store, name, due[0].key).state is RunState.PUBLISHED
    assert fleet.results(name).num_rows == 7 and fleet.results(name, SPIKE.key).equals(before)
    store.write("settings/sensor_anomaly.toml", b'window = "day"\ntimezone = "Asia/Kolkata"\n')
    days = get_workload(store, name)
    [day] = list_due(store, days, RunPolicy(), SPIKE.end + timedelta(days=2))
    assert day.key == "2026-03-18"
    with pytest.raises(InputError, match=f"overlaps ({SPIKE.key}|{due[0].key})"):
        submit_run(store, name, "2026-03-17", now, "test")


@pytest.mark.parametrize("length", ["days", "week", "index", "Hour"])
def test_a_length_that_there_is_not_is_told_with_those_that_there_are(store: Store, length: str) -> None:
    """The error lists what the workload takes, and no length of other workloads."""
    store.write("settings/sensor_anomaly.toml", f'window = "{length}"\n'.encode())
    with pytest.raises(SettingsError, match=r"settings/sensor_anomaly\.toml, line 1") as refused:
        _ = find_workload(store, "sensor_anomaly").ready().settings
    for known in ("15min", "hour", "day"):
        assert known in refused.value.message
    assert all(f"{one}," not in refused.value.message for one in ("week", "month"))
    assert "month" not in str(refused.value)
