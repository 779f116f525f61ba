"""A Prometheus server of the tests' own (Debian's package), which scrapes one address every second."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: collector
    honor_labels: true
    static_configs: [{{targets: ["{target}"]}}]
"""


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The vector that the expression gives now; what the server refuses fails the test."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        assert answer.status_code == 200, answer.text
        found: Any = answer.json()["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]


@contextlib.contextmanager
def scraping(target: str) -> Iterator[Prometheus]:
    """A new, empty server that scrapes host:port, stopped and removed in the end."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.fail("Prometheus is not installed: run `make prometheus` (or `apt-get install prometheus`)")
    folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
    (folder / "prometheus.yml").write_text(CONFIG.format(target=target))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        _wait_for(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{server.url}/-/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"Prometheus did not start:\n{log.read_text()}")
