"""A month of three workloads through the real app, with faults planted, each found from the command line in one command."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from app_host import Host, wait_until
from notice_receiver import Receiver
from toy_workload import write_lines

from fleetscore.cli.__main__ import run_command
from fleetscore.manifest import read_manifest
from fleetscore.model_sets import pin_version, read_model_set, read_pins
from fleetscore.stores import open_store
from fleetscore.stores.base import Store
from fleetscore.workloads import get_workload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = datetime(2026, 6, 1, tzinfo=UTC)
HOURS = 36  # of sensor readings: the first six are trained on
SENSORS = 12
DEAD, FROZEN, LATE, CORRUPT = 10, 14, 18, 22  # hours with a fault
Tell = Callable[..., Any]


def hour_key(hour: int) -> str:
    """The window of an hour."""
    return f"{START + timedelta(hours=hour):%Y-%m-%dT%H}"


def run_of(hour: int) -> str:
    """The first run of an hour."""
    return f"sensor_anomaly-{hour_key(hour)}"


def write_hour(
    store: Store, hour: int, *, without: tuple[int, ...] = (), frozen: int = -1, part: str = ""
) -> None:
    """An hour of readings, one a minute; some sensors missing, one frozen."""
    values = np.random.default_rng(hour).normal(50.0, 5.0, (SENSORS, 60))
    lines = ["ts,device,sensor,value"]
    for sensor in [s for s in range(SENSORS) if s not in without]:
        readings = np.full(60, 50.0) if sensor == frozen else values[sensor]
        lines += [f"{hour_key(hour)}:{m:02d}:00Z,pump,{sensor},{v:.4f}" for m, v in enumerate(readings)]
    store.write(f"data/sensor_anomaly/{hour_key(hour)}{part}.csv", "\n".join(lines).encode())


def backfill(host: Host, workload: str, first: str, stop: str, only: str = "missing") -> dict[str, str]:
    """Run the windows through the app; gives the verdict of each."""
    asked = {"workload": workload, "from": first, "to": stop, "only": only, "max_parallel": 2}
    started = host.post("backfills", asked).json()["id"]
    wait_until(lambda: host.get(f"backfills/{started}")["state"] == "Completed", 240)
    return {window["window"]: window["verdict"] for window in host.get(f"backfills/{started}")["windows"]}


def train(host: Host, workload: str, first: str, stop: str) -> None:
    """Train through the app."""
    run = host.post("training", {"workload": workload, "from": first, "to": stop}).json()["id"]
    wait_until(lambda: host.get(f"runs/{run}")["state"] in ("published", "failed", "unpublished"), 240)
    assert host.get(f"runs/{run}")["state"] == "published"


@pytest.fixture
def tell(host: Host, capsys: pytest.CaptureFixture[str]) -> Tell:
    """One command against the app's store: its exit code and what it told."""

    def ask(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = run_command([*arguments, "--json", "--store", (host.folder / "store").as_uri()])
        return code, json.loads(capsys.readouterr().out)

    return ask


def fire(host: Host, timer: str) -> None:
    """Let a timer fire now."""
    answer = requests.post(f"{host.url}/admin/functions/{timer}", json={"input": ""}, timeout=30)
    assert answer.status_code == 202


def test_a_month_of_sensors_with_every_fault_found(
    host: Host, host_store: Store, receiver: Receiver, tell: Tell
) -> None:
    """Dead and frozen sensors, late data, a corrupt model and a killed run: one command tells each, and somebody was told of each."""
    for hour in range(HOURS):
        faults: dict[int, dict[str, Any]] = {
            DEAD: {"without": (3,)},
            FROZEN: {"frozen": 5},
            LATE: {"without": (7,)},
        }
        write_hour(host_store, hour, **faults.get(hour, {}))
    train(host, "sensor_anomaly", hour_key(0), hour_key(6))
    verdicts = backfill(host, "sensor_anomaly", hour_key(6), hour_key(CORRUPT))
    assert {w for w, verdict in verdicts.items() if verdict != "good"} == {hour_key(DEAD), hour_key(LATE)}

    code, status = tell("show", run_of(DEAD))
    assert (code, "pump/3" in status["first_cause"], "no_readings" in status["first_cause"]) == (
        0,
        True,
        True,
    )
    _, story = tell("explain", run_of(DEAD), "pump/3")
    assert (story["outcome"], story["cause"]) == ("late", "no_readings")
    _, drift = tell("drift", run_of(FROZEN))
    assert (drift["drifted"], drift["worst"][0]["partition"], drift["worst"][0]["worst"]) == (
        1,
        "pump/5",
        "spread",
    )

    write_hour(host_store, LATE, without=tuple(s for s in range(SENSORS) if s != 7), part="-late")
    fire(host, "watchdog_timer")
    wait_until(lambda: read_manifest(host_store, "sensor_anomaly", hour_key(LATE)).round == 2, 60)
    host.ended(f"{run_of(LATE)}-r2")
    code, status = tell("show", f"{run_of(LATE)}-r2")
    assert (status["verdict"], status["record"]["request"]["who"]) == ("good", "late data")
    assert len(read_manifest(host_store, "sensor_anomaly", hour_key(LATE)).history) == 1

    version = read_pins(host_store, "sensor_anomaly").current
    model_set = read_model_set(host_store, "sensor_anomaly", version)
    for name in model_set.files:
        host_store.write(f"models/sensor_anomaly/{version}/{name}", b"not a model")
    run = host.post("runs", {"workload": "sensor_anomaly", "window": hour_key(CORRUPT)}).json()["id"]
    assert host.ended(run)["verdict"] == "unpublished"
    code, diagnosis = tell("doctor")
    wrong = [finding for finding in diagnosis["findings"] if finding["state"] == "wrong"]
    assert (code, [finding["check"] for finding in wrong], version in wrong[0]["detail"]) == (
        1,
        ["models"],
        True,
    )
    train(host, "sensor_anomaly", hour_key(0), hour_key(6))
    assert read_pins(host_store, "sensor_anomaly").current != version
    _, preview = tell(
        "backfill", "sensor_anomaly", "--from", hour_key(6), "--to", hour_key(HOURS), "--dry-run"
    )
    assert preview["would_run"] == HOURS - CORRUPT
    assert set(backfill(host, "sensor_anomaly", hour_key(6), hour_key(HOURS)).values()) == {
        "good",
        "with_failures",
    }
    assert host_store.stat(f"runs/{run_of(7)}-r2/run.json") is None  # finished work was not repeated

    _, replayed = tell("replay", run_of(30), "pump/1")
    assert replayed["same"]
    _, months = tell("costs", "--workload", "sensor_anomaly")
    assert (
        sum(month["runs"] for month in months) == HOURS - 6 + 2 + 2
    )  # windows, two more rounds, two trainings
    told = {(notice["kind"], notice["run"]) for notice in receiver.taken}
    assert {
        ("published_with_failures", run_of(DEAD)),
        ("drift", run_of(FROZEN)),
        ("run_failed", run_of(CORRUPT)),
    } <= told


def test_a_month_of_sales_and_servers(host: Host, host_store: Store, tell: Tell) -> None:
    """Weeks and days through the app; the samples' planted defects are the causes that `show` tells, and the index lists every run."""
    for name, scale in (("store_sales", 0.9), ("server_load", 0.02)):
        workload = get_workload(name)
        report = workload.samples(host_store, scale=scale)
        own = b"rounds = 20\n" if name == "store_sales" else b""
        host_store.write(f"settings/{name}.toml", own + b"[run]\nerror_threshold = 0.9\n")
        facts = report.facts
        first = facts.get("train_from") or report.first.next(-20).key
        train(host, name, first, facts.get("train_to") or report.first.key)
        verdicts = backfill(host, name, report.first.key, report.stop.key)
        assert len(verdicts) >= 3
        assert "unpublished" not in verdicts.values()
        for window in verdicts:
            _, status = tell("show", f"{name}-{window}")
            bad = sum(
                n for outcome, n in status["record"]["counts"].items() if outcome not in ("scored", "skipped")
            )
            assert bool(bad) == (verdicts[window] == "with_failures")
            assert bool(status["first_cause"]) == bool(bad)
        _, runs = tell("runs", "--workload", name)
        assert len(runs) == len(verdicts) + 1


def test_a_batch_account_that_nobody_reaches(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that needs it ends failed with the reason, `show` tells it, `doctor` names the account, and somebody is told."""
    dead = {"FLEETSCORE_BATCH_ENDPOINT": "https://127.0.0.1:1", "FLEETSCORE_BATCH_PLACEMENT": "batch"}
    spine = str(Path(__file__).resolve().parent.parent / "spine")
    host = Host(
        tmp_path,
        FLEETSCORE_WORKLOADS="toy=toy_workload:Toy",
        PYTHONPATH=spine,
        FLEETSCORE_WEBHOOK_URL=receiver.url,
        **dead,
    )
    store = open_store(str(tmp_path / "store"))
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    host.start()
    try:
        run = host.post("runs", {"workload": "toy", "window": "2026-01-01T00"}).json()["id"]
        wait_until(lambda: host.get(f"runs/{run}")["state"] in ("failed", "unpublished"), 150)
    finally:
        host.kill()
    monkeypatch.setenv("FLEETSCORE_BATCH_ENDPOINT", dead["FLEETSCORE_BATCH_ENDPOINT"])
    capsys.readouterr()
    assert run_command(["show", run, "--store", store.url]) == 0
    assert "Batch" in capsys.readouterr().out
    assert run_command(["doctor", "--store", store.url]) == 1
    assert "Batch could not be reached" in capsys.readouterr().out
    assert receiver.of_run(run) == ["run_failed"]


def test_a_pinned_version_of_old_is_still_there(host_store: Store) -> None:
    """Model sets are never overwritten by training: the first version can be pinned again by name."""
    history = read_pins(host_store, "sensor_anomaly").history
    pins = pin_version(host_store, "sensor_anomaly", history[0].after, who="test")
    assert pins.current == history[0].after
