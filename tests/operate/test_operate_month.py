"""A month of three workloads through the real app: every window ran, and one command finds each planted fault."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import month_estate as estate
import pytest
from app_host import Host, running, wait_until
from month_faults import FAULTS, FURTHER_CAUSES, Fault
from month_story import Month
from notice_receiver import Receiver
from toy_workload import write_lines

from fleetscore.cli.__main__ import run_command
from fleetscore.models.pins import read_pins
from fleetscore.runs.index import list_runs
from fleetscore.runs.manifests import read_manifest
from fleetscore.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Told = Callable[..., str]
LATE_RUN = f"sensor_anomaly-{estate.LATE_HOUR}"


@pytest.fixture
def ask(month: Month, capsys: pytest.CaptureFixture[str]) -> Told:
    """What one command against the month's app prints."""

    def tell(*arguments: str) -> str:
        capsys.readouterr()
        code = run_command([*arguments, "--host", month.host.url, "--key", month.host.key])
        said = capsys.readouterr()
        assert code in (0, 1), said.err
        return said.out

    return tell


@pytest.fixture
def ask_store(month: Month, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The JSON that one command against the month's store prints."""

    def tell(*arguments: str) -> Any:
        capsys.readouterr()
        assert run_command([*arguments, "--json", "--store", month.host.store.url]) == 0
        return json.loads(capsys.readouterr().out)

    return tell


def test_every_window_of_the_month_ran_once_and_only_planted_faults_are_not_good(month: Month) -> None:
    """720 hours, 30 days and 5 weeks; the windows that are not good are those that something is wrong with, no more and no fewer."""
    hours, days, weeks = (month.verdicts[name] for name in ("sensor_anomaly", "server_load", "store_sales"))
    assert (sorted(hours), sorted(days), sorted(weeks)) == (estate.hours(), estate.days(), estate.WEEKS)
    faulty = {
        hour
        for first, stop in (estate.DEAD_HOURS, estate.CORRUPT_HOURS, (estate.LATE_HOUR, "2020-06-18T15"))
        for hour in estate.hours()
        if first <= hour < stop
    }
    assert {hour for hour, verdict in hours.items() if verdict != "good"} == faulty
    assert {day for day, verdict in days.items() if verdict != "good"} == {
        day for day in estate.days() if day >= estate.SPOILT_DAY
    }
    unpublished = {week for week, verdict in weeks.items() if verdict == "unpublished"}
    assert unpublished == {estate.QUOTA_WEEK, estate.OUTAGE_WEEK}
    lines = list_runs(month.host.store, limit=10_000)
    ran = Counter((line.workload, line.window) for line in lines if line.purpose == "score")
    assert len(ran) == 720 + 30 + 5
    assert [window for window, rounds in ran.items() if rounds > 1] == [("sensor_anomaly", estate.LATE_HOUR)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_one_command_finds_each_fault(ask_store: Callable[..., Any], fault: Fault) -> None:
    """`look` has it with its cause, its first and last window, a partition, and what happened to it."""
    told = {each["workload"]: each["looks"] for each in ask_store("look")}
    found = [look for look in told[fault.workload] if look["newest"]["first_cause"] == fault.cause]
    ((oldest, newest),) = [
        (look["oldest"], look["newest"]) for look in found if look["oldest"]["window"] == fault.first
        and look["oldest"]["first_partition"] == fault.partition
    ]  # fmt: skip
    assert newest["window"] == fault.last
    seen = newest if fault.window == fault.last else oldest
    assert (seen["run"], seen["first_partition"]) == (fault.run, fault.partition)
    assert fault.detail in seen["first_detail"]


def test_nothing_else_needs_attention(ask_store: Callable[..., Any]) -> None:
    """Each line is a planted fault, or what made one: nobody is sent where nothing is wrong."""
    told = {
        (each["workload"], look["newest"]["first_cause"])
        for each in ask_store("look")
        for look in each["looks"]
    }
    assert told == {(fault.workload, fault.cause) for fault in FAULTS} | FURTHER_CAUSES


def test_a_person_reads_every_fault_in_one_table(ask: Told) -> None:
    """`look` without --json, asked of the app: a few lines for each, with its windows, cause, partition, and what happened to it last."""
    blocks = re.split(r"\n(?=\S)", ask("look"))
    for fault in FAULTS:
        words = [fault.workload, fault.first, fault.last, fault.cause, fault.partition]
        words += [fault.detail] if fault.window == fault.last else []
        assert any(all(word in block for word in words) for block in blocks), fault.name


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_run_and_story_of_a_fault_say_what_happened(ask: Told, fault: Fault) -> None:
    """`show` and `explain`, asked of the app and read by a person, name the cause and what happened."""
    for told in (ask("show", fault.run), ask("explain", fault.run, fault.partition)):
        assert fault.cause in told
        assert fault.detail in told


def test_late_data_needs_attention_until_it_comes(month: Month, ask_store: Callable[..., Any]) -> None:
    """`look`, asked by the client of the command before the data came, has the hour with a sensor that lacks; afterwards it has not."""
    (sensors,) = month.before_late
    found = [look.newest for look in sensors.looks if look.newest.window == estate.LATE_HOUR]
    assert [(cell.first_cause, cell.first_partition, cell.bad) for cell in found] == [
        ("no_readings", f"{estate.LATE}/current", 3)
    ]
    assert estate.LATE_HOUR not in json.dumps(ask_store("look", "--workload", "sensor_anomaly"))


def test_late_data_was_scored_alone_and_its_run_says_so(
    month: Month, ask: Told, ask_store: Callable[..., Any]
) -> None:
    """The first round lacks the sensors, the second has only them to score, and the manifest keeps both."""
    first, second = ask_store("show", LATE_RUN), ask_store("show", f"{LATE_RUN}-r2")
    assert (first["verdict"], first["record"]["counts"]["late"]) == ("with_failures", 3)
    assert (second["verdict"], second["record"]["request"]["who"]) == ("good", "late data")
    assert f"late data, only missing, after {LATE_RUN}" in ask("show", f"{LATE_RUN}-r2")
    manifest = read_manifest(month.host.store, "sensor_anomaly", estate.LATE_HOUR)
    assert [published.run for published in manifest.history] == [LATE_RUN]
    kept = ask_store("explain", f"{LATE_RUN}-r2", estate.SENSORS[0])
    assert (kept["scored_by"], kept["output"]["is_published"]) == (LATE_RUN, True)


def test_the_doctor_names_the_pool_while_it_fails(month: Month) -> None:
    """While the account had no quota: the check of Batch is wrong, and says what the service said."""
    wrong = [finding for finding in month.diagnosis["findings"] if finding["state"] == "wrong"]
    assert [finding["check"] for finding in wrong] == ["batch"]
    assert "AccountLowPriorityCoreQuotaReached" in wrong[0]["detail"]
    assert "quota" in wrong[0]["fix"]


def test_the_doctor_names_a_damaged_model_set_that_is_pinned(month: Month, ask: Told) -> None:
    """After the rollback nothing pinned is damaged; pinned again, the damaged set is told by its version."""
    assert month.host.get("doctor")["healthy"]
    pinned = read_pins(month.host.store, "sensor_anomaly").current
    assert month.host.post("models/sensor_anomaly/pin", {"version": month.damaged, "why": "A test."}).ok
    try:
        assert any("models" in line and month.damaged in line for line in ask("doctor").splitlines())
    finally:
        assert month.host.post("models/sensor_anomaly/pin", {"version": pinned, "why": "It works."}).ok


def test_a_notice_was_sent_of_each_fault(month: Month) -> None:
    """The webhook got a notice of the first window of each: published with failures, drift, or failed."""
    told = {(notice["kind"], notice["run"]) for notice in month.receiver.taken}
    kinds = {"drifted": "drift", "corrupt_model": "run_failed", "shard_lost": "run_failed"}
    for fault in FAULTS:
        assert (kinds.get(fault.cause, "published_with_failures"), fault.run) in told, fault.name


def test_a_backfill_of_what_is_missing_would_run_the_unpublished_hours_alone(
    ask_store: Callable[..., Any],
) -> None:
    """A dry run over the whole month: the hours of the damaged model set, and no finished work."""
    preview = ask_store(
        "backfill", "sensor_anomaly", "--from", "2020-06-01T00", "--to", "2020-07-01T00", "--dry-run"
    )
    would = [window["window"] for window in preview["windows"] if window["runs"]]
    assert (preview["total"], preview["would_run"]) == (720, 3)
    assert would == [
        hour for hour in estate.hours() if estate.CORRUPT_HOURS[0] <= hour < estate.CORRUPT_HOURS[1]
    ]


def test_any_result_of_the_month_can_be_replayed_and_every_run_is_billed(
    ask_store: Callable[..., Any],
) -> None:
    """The same rows from the same bytes; costs count each run: windows, late data, trainings."""
    assert ask_store("replay", "sensor_anomaly-2020-06-02T07", "pump-3/flow")["same"]
    assert ask_store("replay", "store_sales-2020-W24", "S02")["same"]
    counted: Counter[str] = Counter()
    for each in ask_store("costs"):
        counted[each["workload"]] += each["runs"]
    assert counted == {"sensor_anomaly": 720 + 1 + 2, "server_load": 30 + 1, "store_sales": 5 + 1}


def test_a_batch_account_that_nobody_reaches(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that needs it ends failed with the reason, `show` has it, `doctor` names the account, and a notice is sent."""
    dead = {"FLEETSCORE_BATCH_ENDPOINT": "https://127.0.0.1:1", "FLEETSCORE_BATCH_PLACEMENT": "batch"}
    pipeline = str(Path(__file__).resolve().parent.parent / "pipeline")
    host = Host(
        tmp_path,
        FLEETSCORE_WORKLOADS="toy=toy_workload:Toy",
        PYTHONPATH=pipeline,
        FLEETSCORE_WEBHOOK_URL=receiver.url,
        FLEETSCORE_WEBHOOK_PRIVATE="1",
        **dead,
    )
    store = open_store(str(tmp_path / "store"))
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    with running(host):
        run = host.post("runs", {"workload": "toy", "window": "2026-01-01T00"}).json()["id"]
        host.ended(run, 150)
        wait_until(lambda: receiver.of_run(run) == ["run_failed"], 60)
    monkeypatch.setenv("FLEETSCORE_BATCH_ENDPOINT", dead["FLEETSCORE_BATCH_ENDPOINT"])
    capsys.readouterr()
    assert run_command(["show", run, "--store", store.url]) == 0
    assert "Batch" in capsys.readouterr().out
    assert run_command(["doctor", "--store", store.url]) == 1
    assert "Batch could not be reached" in capsys.readouterr().out
