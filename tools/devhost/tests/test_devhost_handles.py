"""A host without a file handle left: it waits, logs that once, and serves again when there are some."""

import contextlib
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

_APP = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="ready")
def ready(req: func.HttpRequest) -> str:
    return "yes"
"""


def _open_handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_host_without_file_handles_waits_and_serves_again(make_host: Any, wait_until: Any) -> None:
    """Connections that cannot be accepted cost one line of the log and no processor time; later ones are answered."""
    host = make_host(_APP, "--workers", "1").start()
    assert requests.get(f"{host.url}/api/ready", timeout=60).text == "yes"
    pid, parts = host.process.pid, urlsplit(host.url)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_open_handles(pid), hard))
    before_s, size = _cpu_s(pid), len(host.log)
    with contextlib.ExitStack() as clients:
        for _ in range(20):
            clients.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=60))
        wait_until(lambda: "No connection can be accepted" in host.log)
        time.sleep(3)  # for as long as it pauses, and tries again
        assert host.log.count("No connection can be accepted") == 1
        assert len(host.log) - size < 2_000
        assert _cpu_s(pid) - before_s < 1.5
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert requests.get(f"{host.url}/api/ready", timeout=60).text == "yes"
    assert "Connections are accepted again." in host.log
    assert host.stop() == 0
