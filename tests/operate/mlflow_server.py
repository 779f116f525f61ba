"""A tracking server of MLflow of the tests' own, in a virtual environment of its own: its pins are not Fleetscore's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
VENV, PINS = ROOT / ".venv-mlflow", ROOT / "requirements-mlflow.txt"


@dataclass(frozen=True)
class Tracking:
    """A running server."""

    url: str

    def get(self, path: str, **query: str) -> Any:
        """What its REST API answers to a GET."""
        return requests.get(f"{self.url}/api/2.0/mlflow/{path}", params=query, timeout=60).json()

    def runs(self, experiment: str) -> list[Any]:
        """All runs of the experiment of that name; none without it."""
        found = self.get("experiments/get-by-name", experiment_name=experiment)
        if "experiment" not in found:
            return []
        body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        answer = requests.post(f"{self.url}/api/2.0/mlflow/runs/search", json=body, timeout=60)
        return list(answer.json().get("runs", []))


def _installed() -> Path:
    """The program `mlflow`, installed where it is missing or of another version; what pip says fails the test."""
    program, stamp = VENV / "bin" / "mlflow", VENV / "pins.txt"
    if program.exists() and stamp.exists() and stamp.read_text() == PINS.read_text():
        return program
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    install = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(PINS)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(
            f"MLflow cannot be installed into {VENV.name} (pip install -r {PINS.name}):\n{done.stderr[-2000:]}"
        )
    stamp.write_text(PINS.read_text())
    return program


@contextlib.contextmanager
def tracking() -> Iterator[Tracking]:
    """A new, empty server, stopped and removed in the end."""
    program, folder = _installed(), Path(tempfile.mkdtemp(prefix="mlflow-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/runs.db",
        "--artifacts-destination",
        f"{folder}/files",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}", process, folder / "log")
        yield Tracking(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.3)
    pytest.fail(f"MLflow's server did not start:\n{log.read_text()[-2000:]}")
