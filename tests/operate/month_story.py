"""A month that the real app lived through: runs start over HTTP and by timers, weekly ones go to Batch, faults come and go."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import month_estate as estate
from app_host import ROOT, Host, running, wait_until
from notice_receiver import Receiver, receiving

from devbatch.process import ServiceProcess, start_service
from fleetscore.fleet.remote import RemoteFleet
from fleetscore.models.pins import read_pins
from fleetscore.operations.attention.lines import WorkloadAttention
from fleetscore.runs.manifests import read_manifest

POOL = """[[pools]]
id = "weekly"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true
"""
NEVER = "0 0 0 30 2 *"  # no such day


@dataclass(frozen=True)
class Month:
    """The app after the month, what it told on the way, and what the doctor said while the pool got no nodes."""

    host: Host
    receiver: Receiver
    verdicts: dict[str, dict[str, str]]  # workload -> window -> verdict, as the backfills gave them
    before_late: tuple[WorkloadAttention, ...]  # what wanted somebody while the late data had not come
    damaged: str  # the model set whose files were damaged
    diagnosis: dict[str, Any]


@contextmanager
def lived_month(folder: Path) -> Iterator[Month]:
    """Write the data and live through the month; the app and the Batch service run until the end."""
    with receiving() as receiver, batch_service(folder) as service:
        settings = _settings(service, receiver)
        host = Host(folder, **settings, FLEETSCORE_BATCH_PLACEMENT="batch")
        for write in (estate.write_stores, estate.write_servers, estate.write_sensors):
            write(host.store)
        with running(host):
            weeks, diagnosis = _live_weeks(host, service)
        with running(Host(folder, **settings)) as host:  # the same app with its placement left to it
            days = _live_days(host)
            hours, before_late, damaged = _live_hours(host)
            verdicts = {"store_sales": weeks, "server_load": days, "sensor_anomaly": hours}
            yield Month(host, receiver, verdicts, before_late, damaged, diagnosis)


@contextmanager
def batch_service(folder: Path) -> Iterator[ServiceProcess]:
    """The local Batch service with one pool that has no nodes of its own; its nodes run the worker from this checkout."""
    (folder / "pools.toml").write_text(POOL)
    options = ["--pool", str(folder / "pools.toml"), "--boot-seconds", "0", "--time-scale", "60"]
    options += [
        "--image",
        f"fleetscore-worker={sys.executable} -m worker_image",
        "--env",
        f"PYTHONPATH={ROOT}",
    ]
    service = start_service(folder / "batch", *options)
    try:
        yield service
    finally:
        service.stop()


def _settings(service: ServiceProcess, receiver: Receiver) -> dict[str, str]:
    names = ("SENSOR_ANOMALY", "STORE_SALES", "SERVER_LOAD")
    return {f"FLEETSCORE_{name}_SCHEDULE": NEVER for name in names} | {
        "FLEETSCORE_HOUSEKEEPING_SCHEDULE": "0 0 0 1 1 *",  # a timer's own has to fire some day
        "FLEETSCORE_BATCH_ENDPOINT": service.url,
        "FLEETSCORE_BATCH_POOL": "weekly",
        "FLEETSCORE_BATCH_IMAGE": "fleetscore-worker",
        "REQUESTS_CA_BUNDLE": service.ca_path,
        "FLEETSCORE_WEBHOOK_URL": receiver.url,
        "FLEETSCORE_WEBHOOK_PRIVATE": "1",
        "FLEETSCORE_WORKLOADS": "",
        "PYTHONPATH": str(ROOT),
    }


def _live_weeks(host: Host, service: ServiceProcess) -> tuple[dict[str, str], dict[str, Any]]:
    """Five weeks of sales on Batch: in the third the account has no quota left, in the fifth the region has no nodes."""
    train(host, "store_sales", "2018-W47", "2020-W23")
    verdicts = backfill(host, "store_sales", "2020-W23", estate.QUOTA_WEEK)
    service.control("quota", {"spot_cores": 0})
    asked = start_backfill(host, "store_sales", estate.QUOTA_WEEK, "2020-W26")
    wait_until(lambda: not host.get("doctor")["healthy"])
    diagnosis = host.get("doctor")
    verdicts |= ended_backfill(host, asked)
    service.control("quota", {"spot_cores": None})
    verdicts |= backfill(host, "store_sales", "2020-W26", estate.OUTAGE_WEEK)
    service.control("pools/weekly", {"resize_error": "AllocationFailed"})
    verdicts |= backfill(host, "store_sales", estate.OUTAGE_WEEK, "2020-W28")
    return verdicts, diagnosis


def _live_days(host: Host) -> dict[str, str]:
    train(host, "server_load", "2020-05-05", "2020-06-01")
    return backfill(host, "server_load", "2020-06-01", "2020-07-01")


def _live_hours(host: Host) -> tuple[dict[str, str], tuple[WorkloadAttention, ...], str]:
    """The sensors' hours: late data comes an hour after its window, and for three hours the model set is damaged."""
    train(host, "sensor_anomaly", "2020-05-31T00", "2020-06-01T00")
    verdicts = backfill(host, "sensor_anomaly", "2020-06-01T00", "2020-06-18T15")
    before_late = tuple(RemoteFleet(host.url, host.key).attention("sensor_anomaly"))
    estate.write_late_readings(host.store)
    host.fire("watchdog_timer")
    wait_until(lambda: read_manifest(host.store, "sensor_anomaly", estate.LATE_HOUR).round == 2)
    host.ended(f"sensor_anomaly-{estate.LATE_HOUR}-r2")
    verdicts |= backfill(host, "sensor_anomaly", "2020-06-18T15", estate.CORRUPT_HOURS[0])
    train(host, "sensor_anomaly", "2020-06-15T00", "2020-06-16T00")
    damaged = read_pins(host.store, "sensor_anomaly").current
    damage_models(host, damaged)
    verdicts |= backfill(host, "sensor_anomaly", *estate.CORRUPT_HOURS)
    assert host.post("models/sensor_anomaly/rollback", {"why": "The new set is damaged."}).ok
    verdicts |= backfill(host, "sensor_anomaly", estate.CORRUPT_HOURS[1], "2020-07-01T00")
    return verdicts, before_late, damaged


def damage_models(host: Host, version: str) -> None:
    """Turn a bit in the middle of every file of the model set but its card."""
    for entry in list(host.store.list(f"models/sensor_anomaly/{version}/")):
        if not entry.path.endswith(".json"):
            data = bytearray(host.store.read(entry.path))
            data[len(data) // 2] ^= 1
            host.store.write(entry.path, bytes(data))


def train(host: Host, workload: str, first: str, stop: str) -> None:
    """Train through the app on the windows [first, stop)."""
    started = host.post("training", {"workload": workload, "from": first, "to": stop})
    assert started.ok, started.text
    status = host.ended(started.json()["id"], 120)
    assert status["state"] == "published", status["first_cause"]


def start_backfill(host: Host, workload: str, first: str, stop: str) -> str:
    """Ask the app for the windows [first, stop); gives the backfill's id."""
    asked = {"workload": workload, "from": first, "to": stop, "max_parallel": 2 * (os.cpu_count() or 1)}
    started = host.post("backfills", asked)
    assert started.ok, started.text
    return str(started.json()["id"])


def ended_backfill(host: Host, backfill: str) -> dict[str, str]:
    """Wait for the backfill's end; gives the verdict of each window."""
    wait_until(lambda: host.get(f"backfills/{backfill}")["state"] == "Completed", 1200)
    return {window["window"]: window["verdict"] for window in host.get(f"backfills/{backfill}")["windows"]}


def backfill(host: Host, workload: str, first: str, stop: str) -> dict[str, str]:
    """Have the app score the windows [first, stop); gives the verdict of each."""
    return ended_backfill(host, start_backfill(host, workload, first, stop))
