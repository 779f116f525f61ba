"""A running local Batch service, and the unmodified client that talks to it over TLS."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AccessToken

ROOT = Path(__file__).parents[2]
SCORER = f"{sys.executable} -c \"import sys; print('entry point', sys.argv[1:])\""


class Credential:
    """A token credential as production code gets one."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the Batch scope."""
        assert scopes == ("https://batch.core.windows.net//.default",)
        return AccessToken("a-token", int(time.time()) + 3600)


@dataclass
class Service:
    """A service process, a client for it, and its control endpoint."""

    url: str
    ca_path: str
    process: subprocess.Popen[bytes]
    data: Path

    def client(self, **options: Any) -> BatchClient:
        """An unmodified client; `options` are those of the client."""
        return BatchClient(self.url, Credential(), connection_verify=self.ca_path, **options)

    def control(self, path: str, **body: Any) -> Any:
        """Posts to the control endpoint."""
        reply = requests.post(f"{self.url}/_control/{path}", json=body, verify=self.ca_path, timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.json()


def start_service(data: Path, *options: str) -> Service:
    """Starts a service and waits until it has written where it listens."""
    command = [sys.executable, "-m", "devbatch", "start", "--data", str(data), *options]
    with (data.parent / f"{data.name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    address = data / "address.json"
    until(lambda: address.exists() or process.poll() is not None, timeout_s=20)
    assert process.poll() is None, (data.parent / f"{data.name}.log").read_text()
    told = json.loads(address.read_text())
    assert told["pid"] == process.pid
    return Service(told["url"], told["ca_path"], process, data)


def stop_service(service: Service) -> None:
    """Asks a service to stop and waits for it."""
    service.process.terminate()
    assert service.process.wait(10) == 0


def until(holds: Callable[[], Any], timeout_s: float = 10) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the whole session: a minute of cloud time takes a tenth of a second."""
    data = tmp_path_factory.mktemp("devbatch") / "data"
    options = ("--time-scale", "600", "--boot-seconds", "60", "--env", "FROM_IMAGE=yes")
    running = start_service(data, *options, "--image", f"registry.test/scorer={SCORER}")
    yield running
    stop_service(running)


@pytest.fixture
def client(service: Service) -> BatchClient:
    """A client that does not retry, so that each request is one request."""
    return service.client(retry_total=0)


def machine(containers: bool = False) -> m.VirtualMachineConfiguration:
    """A machine configuration as production code writes it."""
    return m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
        container_configuration=m.BatchContainerConfiguration(type="dockerCompatible")
        if containers
        else None,
    )


def make_pool(client: BatchClient, *, containers: bool = False, **options: Any) -> str:
    """Creates a pool with a fresh id."""
    pool_id = f"pool-{uuid.uuid4().hex[:12]}"
    options = {"vm_size": "Standard_D4ads_v5", **options}
    client.create_pool(
        m.BatchPoolCreateOptions(id=pool_id, virtual_machine_configuration=machine(containers), **options)
    )
    return pool_id


def make_job(client: BatchClient, pool_id: str, **options: Any) -> str:
    """Creates a job with a fresh id."""
    job_id = f"job-{uuid.uuid4().hex[:12]}"
    client.create_job(
        m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id), **options)
    )
    return job_id


def python(code: str) -> str:
    """A command line that runs Python code without a shell."""
    return f'{sys.executable} -c "{code}"'


def task(task_id: str, code: str = "pass", **options: Any) -> m.BatchTaskCreateOptions:
    """A task that runs Python code."""
    return m.BatchTaskCreateOptions(id=task_id, command_line=python(code), **options)


def completed(client: BatchClient, job_id: str, task_id: str, timeout_s: float = 10) -> m.BatchTask:
    """The task, once it is completed."""

    def ended() -> m.BatchTask | None:
        found = client.get_task(job_id, task_id)
        return found if found.state == "completed" else None

    return until(ended, timeout_s)


def running(client: BatchClient, job_id: str, task_id: str) -> m.BatchTask:
    """The task, once its process has written its first line."""

    def started() -> m.BatchTask | None:
        found = client.get_task(job_id, task_id)
        if found.state != "running":
            return None
        files = [file.name for file in client.list_task_files(job_id, task_id, recursive=True)]
        return found if "wd/started" in files else None

    return until(started)


#: Code of a task that says that it runs and then never ends.
ENDLESS = "import time; open('started', 'w').close(); time.sleep(600)"


def text_of(client: BatchClient, job_id: str, task_id: str, path: str = "stdout.txt") -> str:
    """The content of a task's file."""
    return b"".join(client.download_task_file(job_id, task_id, path)).decode()
