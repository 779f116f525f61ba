"""Anomalies from run to incident: what a window publishes, what is told of it, and what muting leaves out."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deltalake
import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.cli.__main__ import run_command
from fleetscore.dashboard.anomalies_page import show_anomalies
from fleetscore.dashboard.forms import carry_out
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.views import read_view, read_view_request
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.operations.anomalies import Anomaly, AnomalyReport, group_incidents, list_anomalies
from fleetscore.operations.attention.mutes import list_mutes, mute
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.normal_incidents import _of_device, request_mute
from fleetscore.operations.notices.ended_runs import notices_of
from fleetscore.operations.table_sync import repair_tables, sync_tables, windows_without_events
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import Manifest
from fleetscore.runs import delta_log
from fleetscore.runs.event_tables import commit_events
from fleetscore.runs.manifests import read_events, read_manifest
from fleetscore.runs.normal_marks import list_normal_events
from fleetscore.runs.run_records import read_run
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import events_table, manifest_path
from fleetscore.windows import Cadence, parse_window

FIRST = parse_window("2026-03-01T00", Cadence.HOUR)
SPIKE = FIRST.next(4 * 24 + 5)
NOW = SPIKE.next(3).start
AT = datetime(2026, 3, 5, 5, tzinfo=UTC)


def put_readings(folder: Path) -> None:
    """Five days of three sensors on two pumps, a reading every ten minutes; two sensors of one pump fail at once on the last day."""
    store = open_store(str(folder))
    count = 5 * 144
    wave = 5 * np.sin(2 * np.pi * np.arange(count) / 144)
    start_us = int(FIRST.start.timestamp()) * 1_000_000
    times = pa.array(start_us + np.arange(count) * 600_000_000).view(pa.timestamp("us", tz="UTC"))
    tables = []
    for seed, (device, sensor) in enumerate((("p1", "flow"), ("p1", "heat"), ("p2", "flow"))):
        value = 50 + wave + np.random.default_rng(seed).normal(0, 1, count)
        if device == "p1":
            place = (SPIKE.ordinal - FIRST.ordinal) * 6
            value[place + 4 : place + 8] += 25  # into the next window
        tables.append(
            pa.table({"ts": times, "device": [device] * count, "sensor": [sensor] * count, "value": value})
        )
    with store.sink("data/sensor_anomaly/readings.parquet") as file:
        pq.write_table(pa.concat_tables(tables), file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three trained sensors and two published windows: the one in which two sensors fail, and the next."""
    place = tmp_path_factory.mktemp("anomalies") / "store"
    put_readings(place)
    store = open_store(str(place))
    assert run_training(store, "sensor_anomaly", FIRST.key, FIRST.next(72).key).state == "published"
    for window in (SPIKE, SPIKE.next()):
        assert run_window(store, "sensor_anomaly", window.key).state == "published"
    return place


def test_manifest_lists_the_files_of_events(folder: Path) -> None:
    """A window publishes its events as of its end; the next window goes on with the same ids."""
    store = open_store(str(folder))
    before, after = (
        read_events(store, read_manifest(store, "sensor_anomaly", w.key)) for w in (SPIKE, SPIKE.next())
    )
    assert before["partition"].to_pylist() == ["p1/flow", "p1/heat"]
    assert before["group"].to_pylist() == ["p1", "p1"] and before["window"].to_pylist() == [SPIKE.key] * 2
    assert set(before["event"].to_pylist()) <= set(after["event"].to_pylist())
    earlier = dict(zip(before["event"].to_pylist(), before["readings"].to_pylist(), strict=True))
    later = dict(zip(after["event"].to_pylist(), after["readings"].to_pylist(), strict=True))
    assert all(later[event] > count for event, count in earlier.items())
    assert all(low < 50 < high < value for low, high, value in zip(
        *(before[name].to_pylist() for name in ("expected_low", "expected_high", "value")), strict=True))  # fmt: skip


def test_events_are_a_table_that_its_readers_read(folder: Path) -> None:
    """deltalake, polars and DuckDB read all windows' events from `tables/<workload>.events/`, an event that goes on once in each window."""
    store = open_store(str(folder))
    published = pa.concat_tables(
        read_events(store, read_manifest(store, "sensor_anomaly", w.key)) for w in (SPIKE, SPIKE.next())
    )
    table = deltalake.DeltaTable(folder / "tables" / "sensor_anomaly.events")
    found = pa.table(table.to_pyarrow_dataset().to_table()).select(published.column_names)
    order = [("window", "ascending"), ("event", "ascending")]
    assert found.sort_by(order).to_pylist() == published.sort_by(order).to_pylist()
    assert polars.read_delta(str(folder / "tables" / "sensor_anomaly.events")).height == published.num_rows
    newest = duckdb.sql('select event, max("window") as newest from found group by event').fetchall()
    assert newest and {window for _, window in newest} == {SPIKE.next().key}


def test_round_without_events_leaves_none_in_the_table(folder: Path, tmp_path: Path) -> None:
    """A later round of a window that has no events takes those before out of the table; a manifest of an earlier version adds none."""
    store = open_store(str(tmp_path / "store"))
    for entry in open_store(str(folder)).list("tables/sensor_anomaly.events/"):
        store.write(entry.path, open_store(str(folder)).read(entry.path))
    manifest = read_manifest(open_store(str(folder)), "sensor_anomaly", SPIKE.key)
    now = datetime.now(UTC)
    elsewhere = replace(
        manifest, round=2, events=(replace(manifest.events[0], path="runs/r/events.parquet"),)
    )
    commit_events(store, elsewhere, now)
    assert _event_windows(tmp_path / "store") == {SPIKE.key, SPIKE.next().key}
    commit_events(store, replace(manifest, round=2, events=()), now)
    assert _event_windows(tmp_path / "store") == {SPIKE.next().key}
    commit_events(store, manifest, now)  # late: the round before
    assert _event_windows(tmp_path / "store") == {SPIKE.next().key}


def test_a_process_that_missed_a_round_takes_its_events_out(folder: Path, tmp_path: Path) -> None:
    """Another process committed the events of round 1: a round 2 without events, by one that read the log before, removes them."""
    store, _ = _copied(folder, tmp_path)
    manifest = read_manifest(store, "sensor_anomaly", SPIKE.next().key)
    log = [e.path for e in store.list("tables/sensor_anomaly.events/_delta_log/")]
    last = store.read(log[-1])
    store.delete(log[-1])
    delta_log.read_snapshot(store, events_table("sensor_anomaly"))
    store.write(log[-1], last)
    commit_events(store, replace(manifest, round=2, events=()), datetime.now(UTC))
    assert _event_windows(tmp_path / "store") == {SPIKE.key}


def test_a_lost_log_of_events_is_said_and_made_anew(folder: Path, tmp_path: Path) -> None:
    """Without its log the doctor counts the windows that the table of events lacks; `repair --tables` commits them, once."""
    store, _ = _copied(folder, tmp_path)
    for entry in list(store.list("tables/sensor_anomaly.events/_delta_log/")):
        store.delete(entry.path)
    delta_log._known.clear()
    now = datetime.now(UTC)
    told = [
        f for f in examine(store, AppSettings(store=store.url), lambda: now).findings if f.check == "tables"
    ]
    assert [f.detail for f in told] == [
        f"tables/sensor_anomaly.events/ lacks 2 published windows, {SPIKE.key} first."
    ]
    assert [one.state for one in repair_tables(store, now, dry_run=True)] == ["missing"] * 2
    assert [one.state for one in repair_tables(store, now)] == ["committed"] * 2
    assert repair_tables(store, now) == windows_without_events(store, "sensor_anomaly") == []
    assert _event_windows(tmp_path / "store") == {SPIKE.key, SPIKE.next().key}


def test_events_that_a_vacuum_took_before_their_commit_are_found_again(folder: Path, tmp_path: Path) -> None:
    """Killed between manifest and commit, then vacuumed: the watchdog writes the same file and commits both tables."""
    store, _ = _copied(folder, tmp_path)
    manifest = read_manifest(store, "sensor_anomaly", SPIKE.next().key)
    for table in ("sensor_anomaly", "sensor_anomaly.events"):
        store.delete(f"tables/{table}/_delta_log/{1:020d}.json")
    store.delete(manifest.events[0].path)
    delta_log._known.clear()
    assert [one.state for one in sync_tables(store, datetime.now(UTC))] == ["committed"]
    data = store.read(manifest.events[0].path)
    assert hashlib.sha256(data).hexdigest() == manifest.events[0].sha256
    assert _event_windows(tmp_path / "store") == {SPIKE.key, SPIKE.next().key}


def test_the_log_of_events_gets_checkpoints_and_loses_what_is_old(folder: Path, tmp_path: Path) -> None:
    """Housekeeping writes a checkpoint after ten commits, and forty days later removes the commits before it."""
    store, manifest = _copied(folder, tmp_path)
    for number in range(2, 12):
        commit_events(store, replace(manifest, round=number), datetime.now(UTC))
    sweep(store, datetime.now(UTC))
    assert store.stat(delta_log.checkpoint_path("sensor_anomaly.events", 11)) is not None
    swept = sweep(store, datetime.now(UTC) + timedelta(days=40))
    assert swept.files["table log"] == 11
    assert _event_windows(tmp_path / "store") == {SPIKE.key, SPIKE.next().key}


def _copied(folder: Path, tmp_path: Path) -> tuple[Store, Manifest]:
    """A store of the test's own, and the manifest of its first window."""
    shutil.copytree(folder, tmp_path / "store")
    store = open_store(str(tmp_path / "store"))
    delta_log._known.clear()
    return store, read_manifest(store, "sensor_anomaly", SPIKE.key)


def _event_windows(root: Path) -> set[str]:
    table = deltalake.DeltaTable(root / "tables" / "sensor_anomaly.events")
    return set(pa.table(table.to_pyarrow_dataset().to_table())["window"].to_pylist())


def test_two_sensors_of_a_device_are_one_incident(folder: Path) -> None:
    """Events of a device that overlap are one incident, with the newest state of each event and its peak."""
    report = list_anomalies(open_store(str(folder)), NOW)
    (incident,) = report.incidents
    assert incident.groups == ("p1",) and len(incident.events) == 2
    assert {event.partition for event in incident.events} == {"p1/flow", "p1/heat"}
    assert incident.start == SPIKE.start + timedelta(minutes=40) and incident.is_open
    assert all(event.value > 65 and event.detector for event in incident.events)
    assert report.until == SPIKE.next().end


@pytest.mark.parametrize("damaged", ["manifest", "events"])
def test_a_damaged_window_costs_no_other_its_incidents(folder: Path, tmp_path: Path, damaged: str) -> None:
    """A window whose manifest is cut, or whose events are gone, is left out by name; the others are listed, in command and page."""
    store, manifest = _copied(folder, tmp_path)
    path = manifest_path("sensor_anomaly", SPIKE.key) if damaged == "manifest" else manifest.events[0].path
    if damaged == "manifest":
        store.write(path, store.read(path)[:100])
    else:
        store.delete(path)
    report = list_anomalies(store, NOW)
    assert len(report.incidents) == 1 and report.until == SPIKE.next().end
    (why,) = report.unread
    assert path in why
    page = show_anomalies(report, Links()).content
    assert "A window is left out" in str(page) and path in str(page)


def test_since_and_device_restrict(folder: Path) -> None:
    """Another device has no incident, nor has the time after; what is no time or no such kind is an InputError."""
    store = open_store(str(folder))
    assert list_anomalies(store, NOW, device="p2").incidents == ()
    assert len(list_anomalies(store, NOW, device="p1", since="2026-03-05").incidents) == 1
    assert list_anomalies(store, NOW, since=SPIKE.next(2).start.isoformat()).incidents == ()
    with pytest.raises(InputError, match="no time"):
        list_anomalies(store, NOW, since="soon")
    with pytest.raises(InputError, match="finds no events"):
        list_anomalies(store, NOW, workload="server_load")


def test_an_event_that_began_before_since_keeps_its_peak(folder: Path) -> None:
    """Of an event that went on after `since`, peak and value are those of its worst reading, whenever it was."""
    store = open_store(str(folder))
    (whole,) = list_anomalies(store, NOW).incidents
    (later,) = list_anomalies(store, NOW, since=SPIKE.next().start.isoformat()).incidents
    peaks = {event.event: (event.peak, event.value, event.severity) for event in whole.events}
    assert later.events and all(
        (event.peak, event.value, event.severity) == peaks[event.event] for event in later.events
    )
    assert min(event.peak for event in later.events) < SPIKE.next().start


def test_a_device_that_there_is_not_is_refused(folder: Path) -> None:
    """A name that no partition of the newest window begins with is an InputError with those like it; without windows none is."""
    store = open_store(str(folder))
    with pytest.raises(InputError, match="no device 'p11'") as caught:
        list_anomalies(store, NOW, device="p11", since="2026-03-05")
    assert caught.value.field == "device" and "'p1'" in caught.value.fix
    assert list_anomalies(open_store(str(folder.parent / "empty")), NOW, device="p11").until is None


def test_windows_that_are_all_older_are_said_to_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the newest window ends before `since`, command and page say so; `since` is at most 92 days before it."""
    assert run_command(["anomalies", "--store", str(folder), "--since", "2026-03-06"]) == 0
    assert f"the newest ends {SPIKE.next().end:%Y-%m-%d %H:%M} UTC" in capsys.readouterr().out
    store = open_store(str(folder))
    _, body = read_view(store, read_view_request([("view", "anomalies"), ("since", "2026-03-06")]), NOW)
    assert "No window is published since" in str(body.content)
    assert list_anomalies(store, NOW, since="2020-01-01").since == SPIKE.next().end - timedelta(days=92)


def test_a_mute_of_many_devices_says_that_it_is_about_all(folder: Path) -> None:
    """The form of an incident of several devices has no pattern: it says that all of the workload is muted."""
    report = list_anomalies(open_store(str(folder)), NOW)
    alone = str(show_anomalies(report, Links()).content)
    many = replace(report.incidents[0], groups=("p1", "p2", "p3"))
    several = str(show_anomalies(replace(report, incidents=(many,)), Links()).content)
    assert "all of sensor_anomaly" in several and "all of sensor_anomaly" not in alone


def test_command_and_its_json_tell_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`fleetscore anomalies` prints each event with its expected range; --json has the report."""
    assert run_command(["anomalies", "--store", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "1 incident" in out and "p1/heat" in out and "expected" in out
    assert run_command(["anomalies", "--store", str(folder), "--json", "--device", "p1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["events"] == 2 and told["incidents"][0]["groups"] == ["p1"]


def test_notice_names_the_worst_where_events_began(folder: Path) -> None:
    """The window in which events began gives a notice with the worst of them; the window in which they only went on gives none."""
    store = open_store(str(folder))
    record = read_run(store, f"sensor_anomaly-{SPIKE.key}")
    (notice,) = [n for n in notices_of(record) if n.kind == "anomalies"]
    assert notice.message.startswith("2 anomalous events began") and "p1/" in notice.message
    assert notice.links["command"] == "fleetscore anomalies"
    after = read_run(store, f"sensor_anomaly-{SPIKE.next().key}")
    assert after.facts["anomalies"]["events"] >= 2
    assert after.facts["anomalies"]["began"] or not [n for n in notices_of(after) if n.kind == "anomalies"]


def test_page_shows_the_expected_range_and_a_form_to_mute(folder: Path) -> None:
    """The dashboard's page of anomalies names each event with its range and can mute them; a muted incident says by whom and why."""
    store = open_store(str(folder))
    data, body = read_view(store, read_view_request([("view", "anomalies")]), NOW)
    assert isinstance(data, AnomalyReport)
    page = str(body.content)
    assert "p1/flow" in page and "<svg" in page and 'name="cause" value="anomaly"' in page
    _, overview = read_view(store, read_view_request([]), NOW)
    assert Links().anomalies("sensor_anomaly").replace("&", "&amp;") in str(overview.content)


def test_muted_incident_is_counted_and_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mute of the device's anomalies hides its incident in the command unless it is asked for, and is told with its reason."""
    place = tmp_path / "store"
    shutil.copytree(folder, place)
    store = open_store(str(place))
    now = datetime.now(UTC)
    mute(
        store,
        "sensor_anomaly",
        why="known leak",
        until="7d",
        now=now,
        requested_by="ana",
        partition="p1/*",
        cause="anomaly",
    )
    report = list_anomalies(store, now)
    assert (
        report.muted == 1
        and report.incidents[0].is_muted
        and "known leak" in report.incidents[0].events[0].muted
    )
    assert run_command(["anomalies", "--store", str(place)]) == 0
    out = capsys.readouterr().out
    assert "1 muted" in out and "p1/heat" not in out
    assert run_command(["anomalies", "--store", str(place), "--muted"]) == 0
    out = capsys.readouterr().out
    assert "p1/heat" in out and "known leak" in out


def test_normal_mark_is_about_one_incident_until_it_is_revoked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`mute --normal` hides the incident's events or one of them, not the sensor's cause, names them for training, and ends by unmute."""
    place = tmp_path / "store"
    shutil.copytree(folder, place)
    store, now = open_store(str(place)), datetime.now(UTC)
    (incident,) = list_anomalies(store, now).incidents
    command = ["mute", "sensor_anomaly", "--why", "flushing", "--until", "7d", "--store", str(place)]
    assert run_command([*command, "--normal", incident.events[1].event, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    muted = {event.event for event in list_anomalies(store, now).incidents[0].events if event.muted}
    assert muted == {incident.events[1].event}
    assert run_command([*command, "--normal", incident.incident]) == 0
    assert "as normal" in capsys.readouterr().out
    assert list_anomalies(store, now).incidents[0].is_muted
    marked = list_normal_events(store, "sensor_anomaly", now)
    assert [(m.partition, m.start, m.end) for m in marked] == [
        (e.partition, e.start, e.end) for e in incident.events
    ]
    acts = list_mutes(store, "sensor_anomaly", now)
    assert not any(act.covers("anomaly") for act in acts)
    assert one["id"] in {act.id for act in acts}
    for act in acts:
        assert run_command(["unmute", "sensor_anomaly", act.id, "--store", str(place)]) == 0
    assert not list_normal_events(store, "sensor_anomaly", now) and not list_anomalies(store, now).muted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"normal": "p1/flow@20260305T0540Z", "cause": "anomaly"}, "muted by itself"),
        ({"normal": "p1/flow@19990101T0000Z"}, "has no incident"),
        ({"normal": "p1/flow@00010101T0000Z"}, "no id of an incident"),
        ({"normal": "\ud800 p1"}, "no id of an incident"),
    ],
)
def test_what_is_no_incident_cannot_be_normal(folder: Path, given: dict[str, str], message: str) -> None:
    """An unknown incident, one beside a cause, and what is no id are refused, and nothing is written."""
    store = open_store(str(folder))
    with pytest.raises((InputError, MissingBlobError), match=message):
        request_mute(store, "sensor_anomaly", why="w", until="7d", now=NOW, requested_by="me", **given)
    assert list_mutes(store, "sensor_anomaly", NOW) == []


def test_form_marks_its_incident_as_normal(folder: Path, tmp_path: Path) -> None:
    """The form's box marks the incident alone, whatever else the form says of cause and partitions."""
    place = tmp_path / "store"
    shutil.copytree(folder, place)
    store, now = open_store(str(place)), datetime.now(UTC)
    (incident,) = list_anomalies(store, now).incidents
    fields = {
        "workload": "sensor_anomaly",
        "cause": "anomaly",
        "partition": "p1/*",
        "why": "w",
        "until": f"{now + timedelta(3):%Y-%m-%d}",
    }
    carry_out(store, fields | {"normal": incident.incident}, now, "ana")
    (act,) = list_mutes(store, "sensor_anomaly", now)
    assert len(act.normal) == 2 and act.requested_by == "ana" and not act.covers("anomaly")
    _, body = read_view(open_store(str(folder)), read_view_request([("view", "anomalies")]), NOW)
    assert f'name="normal" value="{incident.incident}"' in str(body.content)


def event(group: str, minute: int, length: int = 5, sensor: str = "a") -> Anomaly:
    """An event that begins so many minutes after AT."""
    start = AT + timedelta(minutes=minute)
    end = start + timedelta(minutes=length)
    name = f"{group}/{sensor}"
    return Anomaly(
        f"{name}@{minute}", name, group, start, end, False, 1, 3.0, start, 1.0, 0.0, 0.5, "median", "w"
    )


def test_a_device_s_part_of_an_outage_is_named_by_its_first_event() -> None:
    """The id that a list of one device shows means all its events of the outage, the id of a later one that one alone."""
    parts = [event("a", 0), event("b", 1), event("b", 3, sensor="z"), event("c", 2)]
    (outage,) = group_incidents("w", parts, timedelta(hours=2))
    first, second = parts[1].event, parts[2].event
    assert [one.event for one in _of_device(outage, first)] == [first, second]
    assert [one.event for one in _of_device(outage, second)] == [second]
    assert not _of_device(outage, "b/a@9")


def test_many_devices_at_once_are_one_incident() -> None:
    """Three devices within ten minutes are one outage; two are not, and neither are events hours apart."""
    gap = timedelta(hours=2)
    outage = [event("a", 0), event("b", 4), event("c", 9), event("a", 300)]
    found = group_incidents("w", outage, gap)
    assert [one.groups for one in found] == [("a", "b", "c"), ("a",)]
    assert [one.groups for one in group_incidents("w", outage[:2], gap)] == [("a",), ("b",)]
    chained = [event("a", 0, 5, "x"), event("a", 100, 5, "y"), replace(event("a", 400), event="late")]
    assert [len(one.events) for one in group_incidents("w", chained, gap)] == [2, 1]
