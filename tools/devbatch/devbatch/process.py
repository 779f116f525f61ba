"""Starts the service as a separate process and waits until it answers; for tests and local clouds."""

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError

import msgspec

from devbatch.errors import ConfigurationError, DevBatchError

_LOOK_EVERY_S: Final = 0.02


class Address(msgspec.Struct, frozen=True):
    """The content of `address.json`: URL, path of the certificate to trust, process id."""

    url: str
    ca_path: str
    pid: int


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A running service; `data` is its folder."""

    url: str
    ca_path: str
    data: Path
    process: subprocess.Popen[bytes]

    def control(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """The answer of the control endpoint to a request below `/_control/`.

        Raises DevBatchError when refused.
        """
        url = f"{self.url}/_control/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)  # noqa: S310 - https on loopback
        context = ssl.create_default_context(cafile=self.ca_path)
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as reply:  # noqa: S310 - as above
                return json.load(reply)
        except HTTPError as error:
            raise DevBatchError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def stop(self, timeout_s: float = 10) -> None:
        """Stops the service and every running task, and waits until its process has ended."""
        self.process.terminate()
        self.process.wait(timeout_s)


def start_service(data: Path, *options: str, timeout_s: float = 100) -> ServiceProcess:
    """Starts `python -m devbatch start --data DATA OPTIONS` and waits for its address.

    Its log is `DATA/service.log`.

    Raises ConfigurationError with the end of the log when it stops before it answers, or takes too long.
    """
    data.mkdir(parents=True, exist_ok=True)
    log_path = data / "service.log"
    command = [sys.executable, "-m", "devbatch", "start", "--data", str(data), *options]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        address = read_address(data)
        if address is not None and address.pid == process.pid:
            return ServiceProcess(address.url, address.ca_path, data, process)
        time.sleep(_LOOK_EVERY_S)
    process.kill()
    raise ConfigurationError(f"The local Batch service did not start: {log_path.read_text()[-2000:]}")


def read_address(data: Path) -> Address | None:
    """The address that the service in a data folder has written, or None while there is none."""
    try:
        return msgspec.json.decode((data / "address.json").read_bytes(), type=Address)
    except FileNotFoundError:
        return None
