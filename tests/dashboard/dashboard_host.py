"""The app on the local host over a given store, with keys demanded as in Azure."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DashboardHost:
    """Where the app listens, and the key that opens its doors."""

    url: str
    key: str

    def page(self, query: str = "", key: str | None = None) -> requests.Response:
        """GET the dashboard with the key as a header."""
        headers = {"x-functions-key": self.key if key is None else key}
        return requests.get(f"{self.url}/api/dashboard?{query}", headers=headers, timeout=30)

    def address(self, query: str = "") -> str:
        """The address with the key in it, as people keep it."""
        return f"{self.url}/api/dashboard?code={self.key}" + (f"&{query}" if query else "")


@contextmanager
def dashboard_host(store_url: str, folder: Path) -> Iterator[DashboardHost]:
    """Start the host and kill it at the end; its history and its log are in `folder`."""
    data = folder / "host"
    address = data / "address.json"
    address.unlink(missing_ok=True)  # of a host before
    command = [
        sys.executable,
        "-m",
        "devhost",
        "start",
        str(ROOT),
        "--port",
        "0",
        "--data",
        str(data),
        "--enable-auth",
    ]
    environment = {**os.environ, "FLEETSCORE_STORE": store_url, "OMP_NUM_THREADS": "1"}
    with (folder / "host.log").open("wb") as log:
        host = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 60
            while not address.exists():
                assert host.poll() is None, (folder / "host.log").read_text()
                assert time.monotonic() < deadline, "the host did not start"
                time.sleep(0.05)
            keys = json.loads((data / "keys.json").read_text())
            yield DashboardHost(json.loads(address.read_text())["url"], keys["host"]["default"])
        finally:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()
