"""Fixtures of the command line's tests: the program as a subprocess and in this process, and stores with something in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscore.cli.__main__ import run_command
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

HERE = Path(__file__).resolve().parent
PIPELINE = HERE.parent / "pipeline"  # the toy workload lives there
sys.path[:0] = [str(folder) for folder in (HERE, PIPELINE) if str(folder) not in sys.path]

from said import Command, Said  # noqa: E402  # beside this file


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workload for this process and those it starts, and let no environment choose a store."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=toy_workload:Toy")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PIPELINE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("FLEETSCORE_STORE", raising=False)
    monkeypatch.delenv("FLEETSCORE_KEY", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder store with nothing in it."""
    (tmp_path / "store").mkdir()
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, against the test's store or another."""

    own = store

    def run(*arguments: str, store: Store = own) -> Said:
        capsys.readouterr()
        code = run_command([*arguments, "--store", store.url])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def program(store: Store) -> Command:
    """Run a command as its own process, against the test's store."""

    def run(*arguments: str) -> Said:
        environment = os.environ | {"FLEETSCORE_STORE": store.url}
        done = subprocess.run(
            [sys.executable, "-m", "fleetscore", *arguments],
            env=environment, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def estate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the smallest sample estate of sensors, models trained on it, and one published hour."""
    folder = tmp_path_factory.mktemp("estate") / "store"
    store = open_store(str(folder))
    report = SensorAnomaly().samples(store, scale=0.05)
    run_training(store, "sensor_anomaly", report.first.next(-2).key, report.first.key)
    run_window(store, "sensor_anomaly", report.first.key)
    return folder


@pytest.fixture
def estate(estate_folder: Path, store: Store, tmp_path: Path) -> Store:
    """The test's own store, holding a copy of the sample estate."""
    shutil.copytree(estate_folder, tmp_path / "store", dirs_exist_ok=True)
    return store
