"""Chaos: processes killed, files cut, disks full, services gone, clocks that jump.

After it repair and a backfill give an undisturbed run's rows.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conftest import _AZURITE, _node, _read_ports
from fleetscore.store import open_store
from tests.chaos.conftest import ROOT, SPANS, Undisturbed, backfill, command, recover

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEED = int(os.environ.get("FLEETSCORE_CHAOS_SEED", "20261128"))
"""Another seed gives other moments, bytes and files."""


@pytest.fixture
def copied(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A store with input and models in which nothing ran yet."""
    shutil.copytree(undisturbed.fresh, tmp_path / "store")
    return tmp_path / "store"


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder, and their children; not this one."""
    found, parents = [], {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError, IndexError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found + [child for child, parent in parents.items() if parent in found and child not in found]


def kill_at_random(folder: Path, chance: random.Random) -> None:
    """Kill one process of the store, or all of them."""
    alive = processes_of(folder)
    for pid in alive if chance.random() < 0.3 else alive[:1] and [chance.choice(alive)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", SPANS)
def test_killed_at_random_moments(undisturbed: Undisturbed, copied: Path, name: str) -> None:
    """Command, host and workers are killed a few times; started again, the backfill publishes the same rows in the end."""
    chance = random.Random(f"{SEED}{name}")
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "fleetscore", *backfill(name), "--store", str(copied)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(1.0, 6.0))
        kill_at_random(copied, chance)
        process.kill()
        process.wait()
    recover(str(copied), undisturbed, (name,))


@pytest.mark.parametrize("turn", range(2))
def test_files_cut_at_random_bytes(undisturbed: Undisturbed, tmp_path: Path, turn: int) -> None:
    """A power failure that cut a dozen files of state, of any kind and at any byte, costs no window its rows."""
    store, chance = tmp_path / "store", random.Random(f"{SEED}{turn}")
    shutil.copytree(undisturbed.ran, store)
    for file in chance.sample(state_files(store), 12):
        os.truncate(file, chance.randrange(file.stat().st_size))
    recover(str(store), undisturbed)


def state_files(store: Path) -> list[Path]:
    """The files that hold state or hints; not input, settings, models and results, which are restored or made in other ways."""
    found = [
        *store.glob("runs/*/*.json"), *store.glob("runs/*/ledger.parquet"), *store.glob("results/*/*.json"),
        *store.glob("results/*/*/manifest.json"), *store.glob("models/*/pins.json"), *store.glob("models/*/pins/*.json"),
        *store.glob("rates/*.json"), *store.glob("index/*/*.json"), *store.glob("profiles/*/*"),
        *(path for path in store.glob("partials/**/*") if path.is_file()),
    ]  # fmt: skip
    return sorted(path for path in found if path.stat().st_size)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MB; skips where this user may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        [_program("mount"), "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run([_program("umount"), "-l", str(folder)], check=False)


def _program(name: str) -> str:
    """The whole path of a system's program; skips where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def test_full_disk(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A disk that is full in mid-run ends commands with a sentence that says so; with space again nothing is missing."""
    with small_disk(tmp_path / "disk") as disk:
        store = disk / "store"
        shutil.copytree(undisturbed.fresh, store)
        filler = disk / "filler"
        free = shutil.disk_usage(disk).free
        filler.write_bytes(bytes(free - 200_000))
        for name in SPANS:
            done = command(*backfill(name), store=str(store))
            assert done.returncode not in (0, 10), done.stdout
            assert "space" in (done.stdout + done.stderr).lower()
        filler.unlink()
        recover(str(store), undisturbed)


@pytest.mark.timeout(1800)
def test_clock_jumps(undisturbed: Undisturbed, copied: Path) -> None:
    """Windows that ran in 2002 and in 2099 by this machine's clock, and then again in time, have the same rows."""
    library = os.environ.get("FAKETIME_LIBRARY") or next(
        (str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), ""
    )
    if not library:
        pytest.skip("libfaketime is not installed, and FAKETIME_LIBRARY names none")
    for name, year in zip(SPANS, ("2002", "2099", "2002", "2099"), strict=True):
        faked = {"LD_PRELOAD": library, "FAKETIME": f"@{year}-03-04 05:06:07"}
        done = command(
            "run",
            name,
            "--window",
            SPANS[name].windows[0],
            "--force",
            store=str(copied),
            timeout_s=300.0,
            **faked,
        )
        assert done.returncode in (0, 10), done.stdout + done.stderr
    recover(str(copied), undisturbed)


class Azurite:
    """An Azurite of the test's own, with its content on the disk, which can be killed and started again at the same ports."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ports: dict[str, str] = {}
        self.start()
        self.url = f"http://127.0.0.1:{self.ports['blob']}/devstoreaccount1/chaos"

    def start(self) -> None:
        """Start it and wait until it listens."""
        options = ["--location", str(self.folder), "--skipApiVersionCheck", "--disableTelemetry"]
        for service in ("blob", "queue", "table"):
            options += [f"--{service}Port", self.ports.get(service, "0")]
        log = self.folder / f"azurite-{time.monotonic_ns()}.out"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [_node(), str(_AZURITE), *options], cwd=self.folder, stdout=out, stderr=out
            )
        self.ports = _read_ports(log, self.process)

    def kill(self) -> None:
        """Kill it as a power failure would."""
        self.process.kill()
        self.process.wait()


def test_azurite_killed(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The storage service is killed twice under a backfill; with it back, another one publishes every window's rows."""
    azurite, chance = Azurite(tmp_path / "azurite"), random.Random(f"{SEED}azurite")
    try:
        store = open_store(azurite.url)
        for path in undisturbed.fresh.rglob("*"):
            if path.is_file() and ".fleetscore" not in path.parts:
                store.write(path.relative_to(undisturbed.fresh).as_posix(), path.read_bytes())
        for name in ("vans", "sensor_anomaly"):
            process = subprocess.Popen(
                [sys.executable, "-m", "fleetscore", *backfill(name), "--store", azurite.url],
                cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(chance.uniform(3.0, 6.0))
            azurite.kill()
            time.sleep(1.0)
            azurite.start()
            process.kill()
            process.wait()
        recover(azurite.url, undisturbed, ("vans", "sensor_anomaly"))
    finally:
        azurite.kill()
