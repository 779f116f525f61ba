"""The local cloud of these tests: Azurite, the local Batch service with workers as processes, and the real app on the local host."""

import os
import sys
from collections.abc import Iterator

import pytest

from devbatch.process import start_service
from fleetscore.workloads import EXTRA_WORKLOADS
from tests.offload.local_app import ROOT, TOYS, Cloud, worker_command

if str(TOYS) not in sys.path:
    sys.path.insert(0, str(TOYS))


POOLS = """
[[pools]]
id = "local"
vm_size = "Standard_D2ads_v5"
task_slots_per_node = 2
containers = true
dedicated_nodes = 2
"""


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workload for this process."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=toy_workload:Toy")


@pytest.fixture(scope="session")
def cloud(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Storage and Batch for the whole session; two nodes of two slots that are up at once."""
    data = tmp_path_factory.mktemp("batch") / "data"
    pools = tmp_path_factory.mktemp("pools") / "pools.toml"
    pools.write_text(POOLS)
    options = ["--pool", str(pools), "--boot-seconds", "0", "--time-scale", "60"]
    options += ["--image", f"fleetscore-worker={worker_command()}"]
    options += ["--env", f"PYTHONPATH={ROOT}{os.pathsep}{TOYS}"]
    service = start_service(data, *options)
    yield Cloud(azurite, service)
    service.stop()
