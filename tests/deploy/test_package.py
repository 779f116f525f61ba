"""The package that azd deploys: built, small enough, and enough to train and score every shipped kind in a clean environment."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from app_host import wait_until

from fleetscore.store import open_store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly
from fleetscore.workloads.server_load.workload import ServerLoad
from fleetscore.workloads.store_sales.workload import StoreSales

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "infra" / "package.py"
PACKAGE = runpy.run_path(str(SCRIPT))
FINAL = {"published", "unpublished", "failed", "cancelled"}
KINDS = {"sensor_anomaly": SensorAnomaly, "store_sales": StoreSales, "server_load": ServerLoad}
WATCHED = ("matplotlib", "rich", "click", "polars", "skops")
# What a worker of the deployed app holds before it has scored anything, and what the template plans for it.
LOAD_ALL = """
import resource, sys, time
began = time.process_time()
import function_app, sklearn.svm, sklearn.ensemble, lightgbm, numba, pandas, pyarrow.parquet, scipy.stats, azure.batch
import fleetscore.pipeline.score, fleetscore.pipeline.train
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, *sys.modules)
"""


@pytest.fixture(scope="module", params=PACKAGE["python_versions"]())
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for a version of Python that this machine has, built as azd builds it."""
    version = request.param
    if PACKAGE["find_python"](version) is None:
        pytest.skip(f"no Python {version} on this machine")
    out: Path = tmp_path_factory.mktemp("package") / version
    command = [sys.executable, str(SCRIPT), "--python", version, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # noqa: T201 - pytest shows it with a failure only
    return out


def clean_python(package: Path, folder: Path) -> tuple[str, dict[str, str]]:
    """A Python without any package, and the environment in which it finds the package's and the local host's code only."""
    python = PACKAGE["find_python"](package.name)
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    path = [package / PACKAGE["SITE"], package, ROOT / "tools" / "devhost"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",  # a deployed package is read-only
        "NUMBA_CACHE_DIR": str(folder / "numba"),
    }
    return str(folder / "bin" / "python"), environment


@contextmanager
def served(package: Path, folder: Path, store: Path) -> Iterator[tuple[str, str]]:
    """The local host with the package alone; its address and a key of the app."""
    python, environment = clean_python(package, folder / "python")
    data = folder / "host"
    data.mkdir()
    command = [
        python,
        "-m",
        "devhost",
        "start",
        str(package),
        "--port",
        "0",
        "--data",
        str(data),
        "--enable-auth",
    ]
    with (folder / "host.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=package,
            env=environment | {"FLEETSCORE_STORE": store.as_uri()},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: (data / "address.json").exists() or process.poll() is not None, 120)
        assert process.poll() is None, (folder / "host.log").read_text()
        keys = json.loads((data / "keys.json").read_text())
        yield json.loads((data / "address.json").read_text())["url"], keys["host"]["default"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_package_trains_and_scores_every_kind(package: Path, tmp_path: Path) -> None:
    """Over HTTP, with nothing installed but the package, each shipped kind is trained and a window of it published."""
    folder = tmp_path / "store"
    store = open_store(str(folder))
    reports = {name: kind().samples(store, scale=0.02) for name, kind in KINDS.items()}
    with served(package, tmp_path, folder) as (url, key):
        headers = {"x-functions-key": key}

        def asked(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = requests.post(f"{url}/api/{path}", json=body, headers=headers, timeout=120)
            assert answer.status_code == 202, answer.text
            run = answer.json()["id"]
            wait_until(lambda: state(run)["state"] in FINAL, 300)
            return state(run)

        def state(run: str) -> dict[str, Any]:
            return dict(requests.get(f"{url}/api/runs/{run}", headers=headers, timeout=60).json())

        for kind, report in reports.items():
            span = {"workload": kind, "from": report.facts["train_from"], "to": report.facts["train_to"]}
            trained = asked("training", span)
            assert trained["state"] == "published", trained
            scored = asked("runs", {"workload": kind, "window": report.first.key})
            assert scored["state"] == "published", scored
            manifest = json.loads(store.read(f"results/{kind}/{report.first.key}/manifest.json"))
            assert sum(file["rows"] for file in manifest["files"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_loaded_process_stays_below_what_the_template_plans(package: Path, tmp_path: Path) -> None:
    """All that scoring and training import takes the planned 320 MB at most, and nothing of the command line."""
    python, environment = clean_python(package, tmp_path / "python")
    began = time.monotonic()
    command = [python, "-c", LOAD_ALL]
    said = subprocess.run(
        command, cwd=package, env=environment, capture_output=True, text=True, check=True
    ).stdout
    cpu_s, peak_bytes, *modules = said.split()
    print(f"{package.name}: {cpu_s} CPU s, {time.monotonic() - began:.1f} s, {int(peak_bytes) / 1e6:.0f} MB")  # noqa: T201
    assert int(peak_bytes) < 340_000_000
    assert not set(WATCHED) & set(modules)
    compiled = [
        path for path in package.rglob("*.pyc") if f"cpython-{package.name.replace('.', '')}" in path.name
    ]
    assert len(compiled) > 1000
