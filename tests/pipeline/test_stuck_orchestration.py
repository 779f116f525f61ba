"""A run whose orchestration stands still on a control queue that nothing reads, on the real app, is taken over once."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from app_host import ROOT, Host, running, wait_until
from toy_workload import write_lines

from devhost.faults import Faults
from fleetscore.records import FINAL, RunRecord, to_json
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.run_records import read_run
from fleetscore.store.paths import run_path

PARTITIONS = 16  # the most that there may be; fewer shards' orchestrations lie on the dead one
FOR = timedelta(hours=3)  # longer than twice the longest step


def _window_of_two_queues() -> tuple[str, int]:
    """A window whose run lies on another queue than the orchestrations that take it over, and the number of the first."""
    faults = Faults(partition_count=PARTITIONS)
    for hour in range(24):
        window = f"2026-01-01T{hour:02}"
        first, *later = (
            faults.partition_of(f"toy-{window}{more}") for more in ("", "-takeover-1", "-takeover-2")
        )
        if first not in later:
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


def _take_over(host: Host, run: str, dead: int) -> int:
    """Let the watchdog take the run over until it has ended; how often that was.

    Its shards' own orchestration has a name by chance, whose queue is the dead one for one in eight.
    """
    for takeovers in range(1, 5):
        _stand_still(host, read_run(host.store, run))
        with running(host):
            host.fire("watchdog_timer")
            wait_until(partial(_has_turned, host, run, dead, takeovers))
        if read_run(host.store, run).state in FINAL:
            break
    return takeovers


def _has_turned(host: Host, run: str, dead: int, takeovers: int) -> bool:
    """Whether the run has ended, or the shards of this takeover stand still as well."""
    return read_run(host.store, run).state in FINAL or _count_dead(host, dead) > takeovers


def _count_dead(host: Host, dead: int) -> int:
    """How many orchestrations lie on the dead queue."""
    faults = Faults(partition_count=PARTITIONS)
    [path] = (host.folder / "host").glob("*.sqlite")
    with sqlite3.connect(path) as data:
        names = [name for (name,) in data.execute("SELECT id FROM instance").fetchall()]
    data.close()
    return sum(faults.partition_of(name) == dead for name in names)


@pytest.mark.slow
def test_a_run_on_a_dead_queue_is_taken_over_and_published_once(tmp_path: Path) -> None:
    """The watchdog gives it a new orchestration; the first, when its queue is read again, changes nothing."""
    window, dead = _window_of_two_queues()
    queues = {
        "AzureFunctionsJobHost__extensions__durableTask__storageProvider__partitionCount": str(PARTITIONS)
    }
    host = Host(
        tmp_path,
        FLEETSCORE_WORKLOADS="toy=toy_workload:Toy",
        PYTHONPATH=str(ROOT / "tests" / "pipeline"),
        **queues,
    )
    write_lines(host.store, window, [("a", 1, "ok"), ("b", 2, "ok")])
    host.options = ("--dead-partition", str(dead))
    run = f"toy-{window}"
    with running(host):
        assert host.post("runs", {"workload": "toy", "window": window}).status_code == 202
        host.fire("watchdog_timer")
    record = read_run(host.store, run)
    assert (record.state, record.takeovers) == ("requested", 0)
    takeovers = _take_over(host, run, dead)
    record, manifest = read_run(host.store, run), read_manifest(host.store, "toy", window)
    assert (record.state, record.counts, manifest.run) == ("published", {"scored": 2}, run)
    assert record.takeovers == takeovers
    host.options = ()
    with running(host):
        wait_until(lambda: host.manage(run).json()["runtimeStatus"] not in ("Pending", "Running"))
    assert read_run(host.store, run) == record
    assert read_manifest(host.store, "toy", window) == manifest
    assert not list(host.store.list(f"runs/{run}-r2/"))
