"""The local cloud of these tests: Azurite, the local Batch service with workers as processes, and the real app on the local host."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devbatch.process import start_service
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.offload.local_app import HERE, ROOT, TOYS, WORKLOADS, App, Cloud, worker_command
from tests.pipeline.app_host import running

sys.path[:0] = [str(folder) for folder in (TOYS, HERE) if str(folder) not in sys.path]

UNKIND = ("--enable-autoscale", "after-interval", "--foreign-environment")
POOLS = """
[[pools]]
id = "local"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true
dedicated_nodes = 1
spot_nodes = 1

[[pools]]
id = "fixed"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true

[[pools]]
id = "empty"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true

[[pools]]
id = "formula"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true
autoscale_formula = "@{formula}"
autoscale_interval = "{interval}"
autoscale_parameters = {{ maxSpot = 1, maxDedicated = 1 }}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests here start services and follow whole runs: on a busy machine that takes minutes."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(900), append=False)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workloads for this process."""
    monkeypatch.setenv(EXTRA_WORKLOADS, WORKLOADS)


@pytest.fixture(scope="session")
def cloud(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Storage and Batch for the whole session; two nodes of two slots that are up at once."""
    with cloud_with(azurite, tmp_path_factory.mktemp("batch"), *service_options()) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def unkind_cloud(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The same with a service that starts a new schedule whenever autoscale is enabled, and with foreign nodes."""
    with cloud_with(azurite, tmp_path_factory.mktemp("unkind"), *UNKIND) as cloud:
        yield cloud


@contextmanager
def cloud_with(azurite: str, folder: Path, *options: str) -> Iterator[Cloud]:
    """Storage and a local Batch service with further options; a minute of its clock takes a second."""
    pools = folder / "pools.toml"
    interval = "PT5M" if "after-interval" in options else "PT60M"
    pools.write_text(POOLS.format(formula=ROOT / "infra" / "autoscale.formula", interval=interval))
    all_options = ["--pool", str(pools), "--boot-seconds", "0", "--time-scale", "60", *options]
    all_options += ["--image", f"fleetscore-worker={worker_command()}"]
    all_options += ["--env", f"PYTHONPATH={os.pathsep.join(map(str, (ROOT, TOYS, HERE)))}"]
    service = start_service(folder / "data", *all_options)
    try:
        yield Cloud(azurite, service)
    finally:
        service.stop()


def service_options() -> list[str]:
    """Further options of the local Batch service: the suite passes with each that makes it more like an unkind Azure."""
    return os.environ.get("FLEETSCORE_TEST_BATCH_OPTIONS", "").split()


@pytest.fixture
def store(new_store: Callable[[str], Store]) -> Store:
    """A store with nothing in it."""
    return new_store("store")


@pytest.fixture
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Store]:
    """Makes stores by name: folders, or containers where tasks are users who cannot write in folders."""

    def made(name: str) -> Store:
        if "--foreign-environment" not in service_options():
            return open_store(str(tmp_path / name))
        return open_store(request.getfixturevalue("cloud").environment()["FLEETSCORE_STORE"])

    return made


@pytest.fixture(scope="module")
def app(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A host that scores everything on Batch, with a store and a queue of its own, for the tests of a module."""
    settings = cloud.environment() | {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
    with running(App(tmp_path_factory.mktemp("app"), settings)) as app:
        yield app


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """No fault outlives its test."""
    yield
    if "cloud" in request.fixturenames:
        request.getfixturevalue("cloud").service.control("faults", method="DELETE")
