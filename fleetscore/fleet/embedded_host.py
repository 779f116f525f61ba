"""The embedded host: the local Functions host of a store, started when a command needs it and stopped where
it was started.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fleetscore.errors import CapacityError, SettingsError
from fleetscore.fleet.carried import app_folder, service_environment
from fleetscore.operations.outbound.sending import LATER, may_wait
from fleetscore.process_environment import SCORING_ENVIRONMENT

_log = logging.getLogger("fleetscore.cli.embedded")
SCHEDULES = ("start_due_windows",)
"""The app's functions that start due windows."""
ACTIVITIES_SETTING = "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions"
"""Overrides how many activities run at once by host.json, whose number is for an app instance of 2 GB."""
_START_TIMEOUT_S = 60.0
_FULL_BYTES = 1_000_000  # with less than this free, a disk is what ended the host
_STOP_TIMEOUT_S = 45.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a host listens: what it writes to address.json when it is ready."""

    url: str
    pid: int


class EmbeddedHost:
    """The local host of one store: `ensure` finds the one that runs or starts it, `stop` stops it if this
    process started it.

    A host that another command started may go away when that command ends; `ensure` then starts one that
    takes the work up where it was left, since both keep their history in the same folder.
    """

    def __init__(self, store_url: str, folder: Path | None = None, options: Sequence[str] = ()) -> None:
        """Be the host of the store, with its history in `folder`, by default with the store; nothing is
        started yet.

        `options` are further ones of `devhost start`, for a host that is started here.
        """
        self.store_url, self._options = store_url, tuple(options)
        self.folder = folder or host_folder(store_url)
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> str:
        """The URL of the store's host, started now if none runs; CapacityError with its last words if it
        does not start.

        SettingsError on Windows, where the local host does not run.
        """
        check_system()
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock(self.folder / "start.lock"):
            running = self._settled()
            if running is None:
                self._start()
                running = self._wait()
            return running.url

    def find(self) -> Address | None:
        """The host that runs for this store, or None."""
        address = _read_address(self.folder)
        if address is None or not _is_alive(address.pid) or not _answers(address.url):
            return None
        return address

    def stop(self) -> None:
        """Stop the host if this process started it: it finishes what its workers are at and ends."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        waiting = threading.Thread(target=process.wait, daemon=True)
        waiting.start()  # process.wait(timeout) would look every 50 ms only
        with suppress(KeyboardInterrupt):
            waiting.join(_STOP_TIMEOUT_S)
        if waiting.is_alive():
            process.kill()
            waiting.join()
        _send_waiting(self.store_url, self.folder / "host.log")

    def _settled(self) -> Address | None:
        """The running host or None, once a host that is just coming or just going has done so: it holds the
        folder's lock.
        """
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while (
            (running := self.find()) is None
            and _is_locked(self.folder / "lock")
            and time.monotonic() < deadline
        ):
            time.sleep(0.02)
        return running

    def _start(self) -> None:
        """Start the host, which ends by itself should this process be killed."""
        with (self.folder / "host.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*host_command(self.folder), "--end-with", str(os.getpid()), *self._options],
                env=_commands_environment(self.store_url),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the command, which then stops the host in order
            )

    def _wait(self) -> Address:
        assert self._process is not None  # noqa: S101  # _start came before
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            address = _read_address(self.folder)
            if address is not None and address.pid == self._process.pid:
                return address
            time.sleep(0.01)
        code = self._process.poll()
        self.stop()
        ending = "did not become ready" if code is None else f"ended with code {code}"
        if (free_bytes := shutil.disk_usage(self.folder).free) < _FULL_BYTES:
            raise CapacityError(
                f"The local host {ending}: there is no space left on the disk of {self.folder} ({free_bytes:,} bytes).",
                fix="Make space there and run the command again; nothing is lost.",
                code="disk_full",
            )
        raise CapacityError(
            f"The local host {ending}.{_last_words(self.folder / 'host.log')}",
            fix=f"See {self.folder / 'host.log'}.",
        )


def host_command(data_folder: Path, port: int = 0) -> list[str]:
    """The command that runs the app on the local host, with its history in `data_folder`."""
    return [
        sys.executable,
        "-m",
        "devhost",
        "start",
        str(app_folder()),
        "--port",
        str(port),
        "--data",
        str(data_folder),
    ]


def _commands_environment(store_url: str) -> dict[str, str]:
    """The environment of a host that serves one command: the schedules rest, so that only what was
    requested is scored, and what waits to be sent is left to a process that comes after it.
    """
    resting = {f"AzureWebJobs.{name}.Disabled": "true" for name in SCHEDULES}
    return {**host_environment(store_url), **resting, LATER: "1"}


def _send_waiting(store_url: str, log: Path) -> None:
    """Start the process that sends what waits, where the environment names receivers; nobody waits for it."""
    environment = host_environment(store_url)
    if not may_wait(environment):
        return
    with log.open("ab") as said:
        subprocess.Popen(
            [sys.executable, "-m", "fleetscore.operations.waiting", store_url],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the command
        )


def host_environment(store_url: str) -> dict[str, str]:
    """The environment of a host of that store: this process's own, and the variables of scoring where they
    are not set.

    Schedules are in UTC, as on Azure, whatever form the TZ of this process has. Every core may work, at
    activities of a process each.
    """
    return {
        "WEBSITE_TIME_ZONE": "UTC",
        ACTIVITIES_SETTING: str(max(8, os.cpu_count() or 1)),
        **SCORING_ENVIRONMENT,
        **service_environment(os.environ),
        "FLEETSCORE_STORE": store_url,
    }


def host_folder(store_url: str) -> Path:
    """Where the local host of a store keeps its history and its log: inside a folder store, else below the
    home folder.
    """
    if store_url.startswith("file://"):
        return Path(unquote(urlsplit(store_url).path)) / ".fleetscore" / "host"
    return Path.home() / ".fleetscore" / "hosts" / hashlib.sha256(store_url.encode()).hexdigest()[:16]


def check_system() -> None:
    """SettingsError where the local host cannot run: it needs what only Unix systems have."""
    if importlib.util.find_spec("fcntl") is None:
        raise SettingsError(
            "The local host does not run on Windows.",
            fix="Use WSL, or an app: --host URL.",
            code="needs_wsl",
        )


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file's lock, so that two commands never start two hosts on one folder."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_locked(path: Path) -> bool:
    """Whether a process holds the file's lock, as a host does from before its start until after its end."""
    if not path.exists():
        return False
    import fcntl

    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _read_address(folder: Path) -> Address | None:
    try:
        address: dict[str, Any] = json.loads((folder / "address.json").read_text())
        return Address(address["url"], address["pid"])
    except (OSError, ValueError, KeyError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _answers(url: str) -> bool:
    from urllib.request import urlopen  # seldom needed, and long to import while nothing else goes on

    try:
        with urlopen(f"{url}/api/runs?limit=1", timeout=5.0) as response:  # noqa: S310  # the address that the host wrote
            return bool(response.status == 200)
    except OSError as error:
        _log.debug("%s does not answer: %s", url, error)
        return False


def _last_words(log: Path, lines: int = 8) -> str:
    text = log.read_text(errors="replace").strip().splitlines()[-lines:] if log.exists() else []
    return "".join(f"\n  {line}" for line in text)
