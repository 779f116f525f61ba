"""The app on the local host, as tests start, ask, kill and restart it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
FINAL = {"published", "unpublished", "failed", "cancelled"}


class Host:
    """The app on the local host, with a data folder that survives a kill."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._environment = {**os.environ, "FLEETSCORE_STORE": (folder / "store").as_uri(), **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Start and wait until it listens."""
        address = self.folder / "host" / "address.json"
        address.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "devhost",
            "start",
            str(ROOT),
            "--port",
            "0",
            "--data",
            str(self.folder / "host"),
        ]
        log = (self.folder / "host.log").open("ab")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
        )
        wait_until(lambda: address.exists() or self.process.poll() is not None)  # type: ignore[union-attr]  # started above
        self.url = json.loads(address.read_text())["url"]

    def kill(self) -> None:
        """SIGKILL to the host and its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def post(self, path: str, body: Any) -> requests.Response:
        """POST JSON to the app."""
        return requests.post(f"{self.url}/api/{path}", json=body, timeout=30)

    def get(self, path: str) -> Any:
        """The JSON that GET answers."""
        return requests.get(f"{self.url}/api/{path}", timeout=30).json()

    def ended(self, run: str) -> Any:
        """Wait for the run's end and give its status."""
        wait_until(lambda: self.get(f"runs/{run}")["state"] in FINAL, 60)
        return self.get(f"runs/{run}")


def wait_until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Wait until the condition holds; fail when it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
