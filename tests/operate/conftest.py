"""Fixtures of the operations' tests: the toy workload, a folder store, a started app, and commands run in this process."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetscore.cli.__main__ import run_command
from fleetscore.stores import open_store
from fleetscore.stores.base import Store
from fleetscore.workloads import EXTRA_WORKLOADS

SPINE = Path(__file__).resolve().parent.parent / "spine"  # the toy workload and the app's host live there
if str(SPINE) not in sys.path:
    sys.path.insert(0, str(SPINE))

from app_host import Host  # noqa: E402  # in the folder that was just added


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workload for this process and those it starts."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=toy_workload:Toy")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SPINE), os.environ.get("PYTHONPATH", "")]))
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
        code = run_command([*arguments, "--store", store.url])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running app with a store of its own."""
    host = Host(
        tmp_path_factory.mktemp("app"), FLEETSCORE_WORKLOADS="toy=toy_workload:Toy", PYTHONPATH=str(SPINE)
    )
    host.start()
    yield host
    host.kill()


@pytest.fixture
def host_store(host: Host) -> Store:
    """The running app's store."""
    return open_store(str(host.folder / "store"))
