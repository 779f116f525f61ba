"""Fixtures of the operations' tests: the toy workload, a folder store, a started app, and commands run in this process."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetscore.cli.__main__ import run_command
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.store import open_store
from fleetscore.store.base import Store

HERE = Path(__file__).resolve().parent
PIPELINE = HERE.parent / "pipeline"  # the toy workload and the app's host live there
DASHBOARD = HERE.parent / "dashboard"  # and the browser there
sys.path[:0] = [str(folder) for folder in (HERE, PIPELINE, DASHBOARD) if str(folder) not in sys.path]

from app_host import Host, running  # noqa: E402  # in the folders that were just added
from month_story import Month, lived_month  # noqa: E402
from notice_receiver import Receiver, receiving  # noqa: E402


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workload for this process and those it starts."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=toy_workload:Toy")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PIPELINE), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("FLEETSCORE_STORE", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder store with nothing in it."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command in this process against the test's store; gives its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        Path(store.url.removeprefix("file://")).mkdir(exist_ok=True)
        place = [] if "--host" in arguments else ["--store", store.url]
        code = run_command([*arguments, *place])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """A month of three workloads that the app lived through, with what went wrong in it; tests leave it as it is."""
    with lived_month(tmp_path_factory.mktemp("month")) as month:
        yield month


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A web server that takes notices."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Host]:
    """A running app with a store of its own, which posts its notices to the receiver."""
    toy = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": str(PIPELINE)}
    folder = tmp_path_factory.mktemp("app")
    with running(
        Host(folder, FLEETSCORE_WEBHOOK_URL=receiver.url, FLEETSCORE_WEBHOOK_PRIVATE="1", **toy)
    ) as host:
        yield host


@pytest.fixture
def host_store(host: Host) -> Store:
    """The running app's store."""
    return host.store
