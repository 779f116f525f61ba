"""Upgrades and rollbacks of the app with runs in flight: what its `defaultVersion` decides on Azure and on the local host."""

import time
from pathlib import Path
from typing import Any

import pytest
import requests
from app_host import Host, running, wait_until
from toy_workload import write_lines

from fleetscore.runs.manifests import read_manifest, read_results

_VERSION = "AzureFunctionsJobHost__extensions__durableTask__defaultVersion"
_OLD, _NEW = "7", "8"


class _VersionedHost(Host):
    """The app on the local host, under a version that each start may change."""

    def start_as(self, version: str) -> None:
        """End the host, if it runs, and start it under that version."""
        self.kill()
        self._environment[_VERSION] = version
        self.start()

    def versions(self, run: str) -> set[str]:
        """The versions of the run's orchestrations, children included, that have not ended."""
        answer = requests.get(
            f"{self.url}/runtime/webhooks/durabletask/instances",
            params={"runtimeStatus": "Running,Pending"},
            headers={"x-functions-key": self.master_key},
            timeout=30,
        )
        return {
            each["version"] for each in answer.json() if run in str(each["instanceId"]) + str(each["input"])
        }


def _start_slow_run(host: Host, window: str) -> str:
    """Start a run of a few seconds and return its id once its orchestration runs."""
    host.store.write("settings/toy.toml", b"slow_s = 0.5\n")
    write_lines(host.store, window, [(f"p{i}", i, "slow") for i in range(8)])
    run = str(host.post("runs", {"workload": "toy", "window": window}).json()["id"])
    wait_until(lambda: host.get(f"runs/{run}")["state"] not in ("requested", "published"))
    return run


def _rows(host: Host, window: str) -> list[tuple[str, int]]:
    table = read_results(host.store, read_manifest(host.store, "toy", window))
    return sorted(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def _host(folder: Path) -> _VersionedHost:
    toy: dict[str, Any] = {
        "FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    return _VersionedHost(folder, **toy, **{_VERSION: _OLD})


def test_an_upgrade_finishes_the_runs_in_flight(tmp_path: Path) -> None:
    """A run that began under the old version keeps it and is published by the newer app."""
    with running(_host(tmp_path)) as host:
        run = _start_slow_run(host, "2026-02-01T00")
        assert host.versions(run) == {_OLD}
        host.start_as(_NEW)
        assert host.ended(run)["state"] == "published"
        assert _rows(host, "2026-02-01T00") == [(f"p{i}", 2 * i) for i in range(8)]


@pytest.mark.slow
def test_a_rollback_leaves_newer_runs_for_the_newer_app(tmp_path: Path) -> None:
    """After a rollback the newer app's run waits untouched, runs of the older app work, and the next upgrade ends it."""
    with running(_host(tmp_path)) as host:
        host.start_as(_NEW)
        run = _start_slow_run(host, "2026-02-02T00")
        host.start_as(_OLD)
        other = _start_slow_run(host, "2026-02-02T01")
        assert host.ended(other)["state"] == "published"
        time.sleep(1.0)
        assert host.get(f"runs/{run}")["state"] not in ("published", "failed")
        assert host.versions(run) == {_NEW}
        host.start_as(_NEW)
        assert host.ended(run)["state"] == "published"
        assert _rows(host, "2026-02-02T00") == [(f"p{i}", 2 * i) for i in range(8)]
