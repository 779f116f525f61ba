"""The app's warm-up: everything that the first run would wait for, nothing that most functions never need, and no thread."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetscore.fleet.embedded_host import host_environment
from fleetscore.pipeline.local import run_training
from fleetscore.store import open_store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

_ROOT = Path(__file__).resolve().parents[2]
_HEAVY = {"duckdb", "lightgbm", "matplotlib", "numba", "pandas", "polars", "scipy", "sklearn"}
_SDKS = {"azure.batch", "azure.identity", "azure.storage.blob"}
_WARM_UP = """
import json, os, sys
from devhost.invocation import Invoker
from devhost.loader import load_app
from pathlib import Path
app = load_app(Path.cwd())
Invoker(app, 1).run_here(app.index.warm_up.name, {"input": None})
warm = set(sys.modules)
threads = len(os.listdir("/proc/self/task"))
"""
_RUN = """
from fleetscore.pipeline.local import run_window
from fleetscore.store import open_store
print(run_window(open_store(sys.argv[1]), "sensor_anomaly", "2026-03-04T05").state)
print(json.dumps(sorted(sys.modules)))
"""


def _told(code: str, *arguments: str, environment: dict[str, str]) -> Any:
    """What the code prints as JSON, in a fresh process in the app's folder."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a host for a store of its own."""
    for name in ("OMP_NUM_THREADS", "JE_ARROW_MALLOC_CONF", "FLEETSCORE_WORKLOADS"):
        monkeypatch.delenv(name, raising=False)
    return host_environment(tmp_path.as_uri())


def test_warm_up_imports_nothing_heavy(environment: dict[str, str]) -> None:
    """The pipeline and Arrow are there afterwards; learning libraries, pandas and the SDKs of other stores are not."""
    code = _WARM_UP + "print(json.dumps([sorted(warm), threads]))"
    modules, threads = _told(code, environment=environment)
    assert {"pyarrow.parquet", "fleetscore.pipeline.score", "fleetscore.pipeline.submit"} <= set(modules)
    assert not (_HEAVY | _SDKS) & set(modules)
    assert threads == 1  # more, and no worker could be forked from the process


def test_warm_up_imports_what_the_store_needs(environment: dict[str, str]) -> None:
    """An app whose store is a container is warm for Blob storage, and still without a thread."""
    code = _WARM_UP + "print(json.dumps([sorted(warm), threads]))"
    container = {"FLEETSCORE_STORE": "https://account.blob.core.windows.net/fleet"}
    modules, threads = _told(code, environment=environment | container)
    assert "azure.storage.blob" in modules
    assert not _HEAVY & set(modules)
    assert threads == 1


def test_runs_do_without_pandas(environment: dict[str, str], tmp_path: Path) -> None:
    """A process that was warmed up plans, scores and publishes sensors without importing pandas or a learning library."""
    store = open_store(tmp_path.as_uri())
    SensorAnomaly().samples(store, scale=0.01)
    run_training(store, "sensor_anomaly", "2026-03-03T00", "2026-03-04T00")
    modules = _told(_WARM_UP + _RUN, tmp_path.as_uri(), environment=environment)
    assert not _HEAVY & set(modules)
