"""The stores of the chaos suite: every kind and a fleet of one's own, trained once, and what an undisturbed run publishes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from fleetscore.capabilities import MakesSamples, require
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, fitted, pin_models, telemetry, write_rows
from tests.model_fleets.conftest import SETTINGS as VANS
from tests.store_sales.conftest import ORIGIN, Chain
from tests.store_sales.conftest import SETTINGS as SALES

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Span:
    """The windows of a workload that the suite runs; `end` is exclusive."""

    windows: tuple[str, ...]
    end: str


SPANS: Mapping[str, Span] = {
    "sensor_anomaly": Span(("2026-03-04T00", "2026-03-04T01", "2026-03-04T02"), "2026-03-04T03"),
    "store_sales": Span((str(ORIGIN),), str(ORIGIN + 1)),
    "server_load": Span(("2016-06-25", "2016-06-26"), "2016-06-27"),
    "vans": Span(("2026-11-21", "2026-11-22", "2026-11-23"), "2026-11-24"),
}
Rows = dict[tuple[str, str], list[str]]
"""Workload and window -> the published rows as text, sorted."""


@dataclass(frozen=True)
class Undisturbed:
    """A folder with input and models, in which nothing ran yet, one in which every window ran, and the rows of those."""

    fresh: Path
    ran: Path
    rows: Rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Input and models of all kinds, and what running every window in peace publishes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    store = open_store(str(folder / "fresh"))
    for name in ("sensor_anomaly", "server_load"):
        require(get_workload(store, name), MakesSamples).samples(store, scale=0.02, seed=7)
    store.write("settings/server_load.toml", b'candidates = ["forest"]\nforest_trees = 5\n')
    Chain().write(store)  # type: ignore[arg-type]  # a folder store
    store.write("settings/store_sales.toml", SALES.encode())
    store.write("settings/vans.toml", VANS.encode())
    vans = [f"VAN-{n}" for n in range(40)]
    for day in range(3):
        frame = telemetry(vans, start=MIDNIGHT + timedelta(days=day))
        write_rows(store, frame, f"2026-11-{21 + day}.parquet")
    pin_models(store, {van: fitted(at) for at, van in enumerate(vans)})
    run_training(store, "sensor_anomaly", "2026-03-02T00", "2026-03-02T04")
    run_training(store, "server_load", "2016-06-15", "2016-06-20")
    run_training(store, "store_sales", "0", str(ORIGIN))
    shutil.copytree(folder / "fresh", folder / "ran")
    ran = open_store(str(folder / "ran"))
    for name, span in SPANS.items():
        for window in span.windows:
            record = run_window(ran, name, window)
            assert record.state == "published", record.error
    return Undisturbed(folder / "fresh", folder / "ran", rows_of(ran))


def rows_of(store: Store, names: Iterable[str] = tuple(SPANS)) -> Rows:
    """The published rows of every window of the suite; none for one that is not published."""
    found: Rows = {}
    for name in names:
        for window in SPANS[name].windows:
            rows = read_results(store, read_manifest(store, name, window)).to_pylist()
            found[name, window] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return found


def command(
    *arguments: str, store: str, timeout_s: float = 100.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `fleetscore` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fleetscore", *arguments, "--store", store],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


def backfill(name: str) -> list[str]:
    """The arguments of the backfill of the workload's windows."""
    span = SPANS[name]
    return ["backfill", name, "--from", span.windows[0], "--to", span.end]


def repaired(store_url: str) -> list[str]:
    """Repair what can be repaired; gives the commands that are advised for runs of which too much is lost."""
    done = command("repair", "--yes", "--json", store=store_url)
    left = [one for one in json.loads(done.stdout)["repairs"] if one["state"] != "repaired"]
    assert all(" Score its window again: fleetscore retry " in one["action"] for one in left), done.stderr
    return sorted({one["action"].partition(" Score its window again: ")[2] for one in left})


def recover(store_url: str, undisturbed: Undisturbed, names: Iterable[str] = tuple(SPANS)) -> None:
    """What an operator does after trouble: doctor, repair, a backfill of each of the workloads; then every window has its rows."""
    for advised in repaired(store_url):  # where plan and ledger of a run are lost, nothing tells its outcomes
        done = command(*advised.split()[1:], store=store_url)
        assert done.returncode in (0, 10), done.stdout + done.stderr
    assert repaired(store_url) == []
    for name in names:
        done = command(*backfill(name), store=store_url)
        assert done.returncode in (0, 10), done.stdout + done.stderr
    store = open_store(store_url)
    assert rows_of(store, names) == {key: rows for key, rows in undisturbed.rows.items() if key[0] in names}
    found = json.loads(command("doctor", "--json", store=store_url).stdout)["findings"]
    assert [
        one for one in found if one["check"] in ("state", "store", "models") and one["state"] == "wrong"
    ] == []
