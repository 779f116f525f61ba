"""The app on the local host, as tests start, ask, kill and restart it; it demands keys, as in Azure."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests

from fleetscore.fleet.embedded_host import host_environment
from fleetscore.registry import kinds_with_own_workload, schedule_variable
from fleetscore.store import open_store
from fleetscore.store.base import Store

ROOT = Path(__file__).resolve().parents[2]
NEVER = "0 0 0 30 2 *"  # no such day: a test's host starts no windows of its own
FINAL = {"published", "unpublished", "failed", "cancelled"}
Truth = TypeVar("Truth")
AnyHost = TypeVar("AnyHost", bound="Host")


class Host:
    """The app on the local host, with a data folder that survives a kill.

    `store` is that of the environment's FLEETSCORE_STORE, else `folder`/store. `key` opens the app's endpoints, `master_key` those of the
    host as well.
    """

    options: tuple[str, ...] = ()
    """Further options of `devhost start`."""

    def __init__(self, folder: Path, app: Path = ROOT, **environment: str) -> None:
        self.folder, self.app = folder, app
        quiet = {schedule_variable(kind): NEVER for kind in kinds_with_own_workload()}
        self._environment = host_environment((folder / "store").as_uri()) | quiet | environment
        self.store: Store = open_store(self._environment["FLEETSCORE_STORE"])
        self.process: subprocess.Popen[bytes] | None = None
        self.url = self.key = self.master_key = ""

    def start(self) -> None:
        """Start and wait until it listens."""
        data = self.folder / "host"
        data.mkdir(parents=True, exist_ok=True)
        (data / "address.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "devhost", "start", str(self.app), "--port", "0"]
        command += ["--data", str(data), "--enable-auth", *self.options]
        with (self.folder / "host.log").open("ab") as log:
            self.process = process = subprocess.Popen(
                command, cwd=self.app, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: (data / "address.json").exists() or process.poll() is not None)
        assert process.poll() is None, self.log()
        self.url = json.loads((data / "address.json").read_text())["url"]
        keys = json.loads((data / "keys.json").read_text())
        self.key, self.master_key = keys["host"]["default"], keys["master"]

    def kill(self) -> None:
        """SIGKILL to the host and its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def post(self, path: str, body: Any) -> requests.Response:
        """POST JSON to the app."""
        return requests.post(f"{self.url}/api/{path}", json=body, headers=self.headers, timeout=30)

    def ask(self, path: str) -> requests.Response:
        """GET an endpoint of the app."""
        return requests.get(f"{self.url}/api/{path}", headers=self.headers, timeout=30)

    def get(self, path: str) -> Any:
        """The JSON that GET answers."""
        return self.ask(path).json()

    def fire(self, timer: str) -> None:
        """Let a timer fire, now."""
        url, headers = f"{self.url}/admin/functions/{timer}", {"x-functions-key": self.master_key}
        answer = requests.post(url, json={"input": ""}, headers=headers, timeout=30)
        assert answer.status_code == 202, answer.text

    def manage(self, instance: str, verb: str = "") -> requests.Response:
        """Ask the durable API for an instance's status (GET), or for `verb` of it (POST), as an operator with the master key."""
        url = f"{self.url}/runtime/webhooks/durabletask/instances/{instance}" + (f"/{verb}" if verb else "")
        method = "POST" if verb else "GET"
        return requests.request(method, url, headers={"x-functions-key": self.master_key}, timeout=30)

    def ended(self, run: str, timeout_s: float = 400.0) -> Any:
        """Wait for the run's end and give its status."""
        wait_until(lambda: self.get(f"runs/{run}")["state"] in FINAL, timeout_s)
        return self.get(f"runs/{run}")

    def dashboard(self, query: str = "") -> str:
        """The address of a view of the dashboard, with the key in it, as people keep it."""
        return f"{self.url}/api/dashboard?code={self.key}" + (f"&{query}" if query else "")

    def log(self) -> str:
        """What the host has said."""
        return (self.folder / "host.log").read_text(errors="replace")

    @property
    def headers(self) -> dict[str, str]:
        """The key as a header."""
        return {"x-functions-key": self.key}


@contextmanager
def running(host: AnyHost) -> Iterator[AnyHost]:
    """The host, started, and killed in the end."""
    host.start()
    try:
        yield host
    finally:
        host.kill()


def wait_until(condition: Callable[[], Truth | None], timeout_s: float = 110.0) -> Truth:
    """What the condition gives as soon as it is true; fail when it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain"
        time.sleep(0.01)
    return found
