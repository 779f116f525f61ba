"""Runs killed with SIGKILL: deltalake, polars and DuckDB read each window whole, old or new."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import polars
import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.operations.table_sync import repair_tables, sync_tables
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.runs import delta_log
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.run_records import read_run, record_planned
from fleetscore.store import open_store
from tests.chaos.conftest import ROOT
from tests.chaos.test_chaos import SEED
from tests.model_fleets.conftest import MIDNIGHT, SETTINGS, fitted, pin_models, telemetry, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VANS = [f"VAN-{n}" for n in range(8)]
WINDOWS = ("2026-11-21", "2026-11-22")
KILLED = WINDOWS[0]
RUN = f"vans-{KILLED}"
RETRY = f"{RUN}-r2"

Rows = frozenset[tuple[str, str, float]]
"""Van, time and value of the rows of a window."""


def by_deltalake(root: str) -> list[dict[str, Any]]:
    """The table as delta-rs reads it."""
    columns = ["window", "van_id", "recorded_at", "kwh"]
    return deltalake.DeltaTable(root).to_pyarrow_table(columns=columns).to_pylist()


def by_polars(root: str) -> list[dict[str, Any]]:
    """The table as polars reads it."""
    return polars.read_delta(root).select("window", "van_id", "recorded_at", "kwh").to_dicts()


def by_duckdb(root: str) -> list[dict[str, Any]]:
    """The table as DuckDB reads it through Arrow; its own extension would have to come from the internet."""
    results = deltalake.DeltaTable(root).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("results", results)
        return (
            connection.execute('select "window", van_id, recorded_at, kwh from results')
            .to_arrow_table()
            .to_pylist()
        )


READERS: tuple[Callable[[str], list[dict[str, Any]]], ...] = (by_deltalake, by_polars, by_duckdb)


def windows_of(rows: list[dict[str, Any]]) -> dict[str, Rows]:
    """The rows by window; a row that is there twice is none of the fleet's."""
    found: dict[str, list[tuple[str, str, float]]] = {}
    for row in rows:
        at = f"{row['recorded_at']:%Y-%m-%dT%H:%M:%S}"
        found.setdefault(row["window"], []).append((row["van_id"], at, row["kwh"]))
    assert all(len(set(values)) == len(values) for values in found.values())
    return {window: frozenset(values) for window, values in found.items()}


@dataclass(frozen=True)
class Fleet:
    """Two published windows; the input of the first has changed since.

    `old` and `new` are its rows before and after a retry, which in `collected` has only to be published.
    """

    folder: Path
    collected: Path
    old: Rows
    new: Rows
    other: Rows

    def check(self, root: str, reader: Callable[[str], list[dict[str, Any]]]) -> Rows:
        """What a reader sees of the window that is retried: old or new, whole; and the other window as ever."""
        seen = windows_of(reader(root))
        assert seen[WINDOWS[1]] == self.other
        assert seen[KILLED] in (self.old, self.new), "a window in part, or mixed of two rounds"
        return seen[KILLED]

    def published(self, store_folder: Path) -> Rows:
        """What the manifest of the window names."""
        store = open_store(str(store_folder))
        rows = read_results(store, read_manifest(store, "vans", KILLED)).to_pylist()
        return windows_of([{**row, "window": KILLED} for row in rows])[KILLED]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Eight vans with a model each, two days."""
    folder = tmp_path_factory.mktemp("fleet") / "store"
    store = open_store(str(folder))
    store.write("settings/vans.toml", SETTINGS.encode())
    for day, window in enumerate(WINDOWS):
        write_rows(store, telemetry(VANS, 6, MIDNIGHT + timedelta(days=day)), f"{window}.parquet")
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    for window in WINDOWS:
        assert run_window(store, "vans", window).state == "published"
    before = windows_of(by_deltalake(root_of(folder)))
    changed = telemetry(VANS, 6).assign(speed=lambda frame: frame.speed + 10)
    write_rows(store, changed, f"{KILLED}.parquet")
    undisturbed, collected = folder.with_name("undisturbed"), folder.with_name("collected")
    shutil.copytree(folder, collected)
    collect(collected)
    shutil.copytree(collected, undisturbed)
    go_on(undisturbed)
    after = windows_of(by_deltalake(root_of(undisturbed)))
    assert len(before[KILLED]) == len(after[KILLED]) == len(VANS) * 6
    assert not before[KILLED] & after[KILLED]
    return Fleet(folder, collected, before[KILLED], after[KILLED], before[WINDOWS[1]])


def collect(folder: Path) -> None:
    """A retry of the first window up to what is published."""
    store, now = open_store(str(folder)), datetime.now(UTC)
    request = submit_retry(store, RUN, now, "test", only=Only.ALL).request
    head = commit_plan(store, request, AppSettings(), now)
    record_planned(store, head, now)
    for shard in range(head.shards):
        score_shard(store, request.run, shard)
    collect_run(store, request.run)


def root_of(folder: Path) -> str:
    """The table's folder."""
    return str(folder / "tables" / "vans")


@dataclass
class dying_runs:  # noqa: N801 - used as a function
    """The program that makes runs in children; calling it makes one and says whether it was killed."""

    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> dying_runs:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.dying_runs"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __call__(self, folder: Path, **task: Any) -> bool:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"store": str(folder), **task}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer in ("killed", "finished"), "the run failed by itself"
        return answer == "killed"

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()


@dataclass
class watched:  # noqa: N801 - used as a function
    """Reads the table with every engine, over and over, while the block runs; what a reader raised is raised at its end."""

    fleet: Fleet
    folder: Path
    reads: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> watched:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._faults:
            raise self._faults[0]

    def _read(self) -> None:
        while not self._over.is_set() and not self._faults:
            try:
                self.fleet.check(root_of(self.folder), READERS[self.reads % len(READERS)])
            except Exception as error:
                self._faults.append(error)
            self.reads += 1
            self._over.wait(0.05)


def go_on(folder: Path) -> None:
    """The run's next activities, or a retry where none was requested yet."""
    store = open_store(str(folder))
    if store.stat(f"runs/{RETRY}/run.json") is None:
        submit_retry(store, RUN, datetime.now(UTC), "test", only=Only.ALL)
    execute(store, read_run(store, RETRY).request)


def tick(folder: Path) -> None:
    """The watchdog, within its next tick."""
    sync_tables(open_store(str(folder)), datetime.now(UTC))


def repair(folder: Path) -> None:
    """`fleetscore repair --tables`."""
    repair_tables(open_store(str(folder)), datetime.now(UTC))


COMERS: Mapping[str, Callable[[Path], None]] = {"go_on": go_on, "tick": tick, "repair": repair}


@pytest.mark.parametrize("applied", [False, True])
def test_killed_at_every_write_of_publishing(fleet: Fleet, tmp_path: Path, applied: bool) -> None:
    """During and after each kill every engine reads whole windows; the run's next step, the watchdog or the
    repair, whichever comes next, makes the table what the manifest names.
    """
    killed, reads, seen_after, turns = True, 0, set(), 0
    with dying_runs() as make:
        while killed:
            turns += 1
            for comer, come in COMERS.items():
                folder = tmp_path / f"{turns}-{comer}"
                shutil.copytree(fleet.collected, folder)
                with watched(fleet, folder) as watch:
                    killed = make(folder, do="publish", run=RETRY, at=turns, applied=applied)
                reads += watch.reads
                seen_after |= {fleet.check(root_of(folder), reader) for reader in READERS}
                delta_log._known.clear()
                come(folder)
                seen = {fleet.check(root_of(folder), reader) for reader in READERS}
                assert seen == {fleet.published(folder)}, f"write {turns}, then {comer}"
                if comer == "go_on":
                    assert seen == {fleet.new}
                    assert read_run(open_store(str(folder)), RETRY).state == "published"
                shutil.rmtree(folder)
    assert turns > 5
    assert reads >= turns
    assert seen_after == {fleet.old, fleet.new}


def test_whole_runs_killed_at_any_moment(fleet: Fleet, tmp_path: Path) -> None:
    """Killed at moments drawn at random, each time gone on with: every engine reads whole windows throughout, and in
    the end the new rows.
    """
    chance = random.Random(f"{SEED}tables")
    with dying_runs() as make:
        for turn in range(8):
            folder = tmp_path / str(turn)
            shutil.copytree(fleet.folder, folder)
            with watched(fleet, folder):
                make(folder, do="retry", run=RUN, after_s=chance.uniform(0.0, 0.6))
                delta_log._known.clear()
                for comer in chance.sample([tick, repair], 2):
                    comer(folder)
                go_on(folder)
            assert {fleet.check(root_of(folder), reader) for reader in READERS} == {fleet.new}
            shutil.rmtree(folder)
