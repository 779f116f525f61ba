"""A run whose orchestration stands still on a control queue that nothing reads, on the real app, is taken over once."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from app_host import ROOT, Host, running, wait_until
from toy_workload import write_lines

from devhost.faults import Faults
from fleetscore.records import RunRecord, to_json
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.run_records import read_run
from fleetscore.store.paths import run_path

PARTITIONS = 8  # of host.json
FOR = timedelta(hours=3)  # longer than twice the longest step


def _window_of_two_queues() -> tuple[str, int]:
    """A window whose run and whose second orchestration lie on different queues, and the number of the first."""
    faults = Faults(partition_count=PARTITIONS)
    for hour in range(24):
        window = f"2026-01-01T{hour:02}"
        first, second = (faults.partition_of(name) for name in (f"toy-{window}", f"toy-{window}-takeover-1"))
        if first != second:
            return window, first
    raise AssertionError("no window")


def _stand_still(host: Host, record: RunRecord) -> None:
    """Make everything that tells of the run's last step older, while the host is down."""
    request = replace(record.request, requested=record.request.requested - FOR)
    aged = replace(record, request=request, updated=record.updated - FOR)
    host.store.write(run_path(record.request.run, "run.json"), to_json(aged))
    [path] = (host.folder / "host").glob("*.sqlite")
    with sqlite3.connect(path) as data:
        [(created, _)] = data.execute(
            "SELECT created, updated FROM instance WHERE id = ?", [record.instance]
        ).fetchall()
        unit = len(str(created)) - len("1700000000")
        back = int(FOR.total_seconds()) * 10**unit
        data.execute("UPDATE instance SET created = created - ?, updated = updated - ?", [back, back])
    data.close()


@pytest.mark.slow
def test_a_run_on_a_dead_queue_is_taken_over_and_published_once(tmp_path: Path) -> None:
    """The watchdog gives it a new orchestration; the first, when its queue is read again, changes nothing."""
    window, dead = _window_of_two_queues()
    host = Host(
        tmp_path, FLEETSCORE_WORKLOADS="toy=toy_workload:Toy", PYTHONPATH=str(ROOT / "tests" / "pipeline")
    )
    write_lines(host.store, window, [("a", 1, "ok"), ("b", 2, "ok")])
    host.options = ("--dead-partition", str(dead))
    run = f"toy-{window}"
    with running(host):
        assert host.post("runs", {"workload": "toy", "window": window}).status_code == 202
        host.fire("watchdog_timer")
    record = read_run(host.store, run)
    assert (record.state, record.takeovers) == ("requested", 0)
    _stand_still(host, record)
    with running(host):
        host.fire("watchdog_timer")
        assert host.ended(run)["state"] == "published"
    record, manifest = read_run(host.store, run), read_manifest(host.store, "toy", window)
    assert (record.takeovers, record.counts, manifest.run) == (1, {"scored": 2}, run)
    host.options = ()
    with running(host):
        wait_until(lambda: host.manage(run).json()["runtimeStatus"] not in ("Pending", "Running"))
    assert read_run(host.store, run) == record
    assert read_manifest(host.store, "toy", window) == manifest
    assert not list(host.store.list(f"runs/{run}-r2/"))
