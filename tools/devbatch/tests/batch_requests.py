"""Requests that the tests make of the local Batch service, through the unmodified client."""

import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError

from devbatch.process import ServiceProcess

T = TypeVar("T")
#: The client. Its models have every field optional; tests ask for fields outright, and a None fails them.
Client: TypeAlias = Any


class Credential:
    """A token credential as production code gets one."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the Batch scope."""
        assert scopes == ("https://batch.core.windows.net//.default",)
        return AccessToken("a-token", int(time.time()) + 3600)


def client_of(service: ServiceProcess, **options: Any) -> Client:
    """A client as production code makes it; `options` are those of the client."""
    return BatchClient(service.url, Credential(), connection_verify=service.ca_path, **options)


def until(holds: Callable[[], T | None], timeout_s: float = 10) -> T:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s")


def code_of(refused: pytest.ExceptionInfo[HttpResponseError]) -> str | None:
    """The service's code of a refusal."""
    error: Any = refused.value.error  # its own model, not the one that azure-core declares
    return None if error is None else error.code


def machine(containers: bool = False) -> m.VirtualMachineConfiguration:
    """A machine configuration as production code writes it."""
    return m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
        container_configuration=m.BatchContainerConfiguration(type="dockerCompatible")
        if containers
        else None,
    )


def make_pool(client: Client, *, containers: bool = False, **options: Any) -> str:
    """Creates a pool with a fresh id."""
    pool_id = f"pool-{uuid.uuid4().hex[:12]}"
    options = {"vm_size": "Standard_D4ads_v5", **options}
    client.create_pool(
        m.BatchPoolCreateOptions(id=pool_id, virtual_machine_configuration=machine(containers), **options)
    )
    return pool_id


def make_job(client: Client, pool_id: str, **options: Any) -> str:
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


def completed(client: Client, job_id: str, task_id: str, timeout_s: float = 10) -> Any:
    """The task, once it is completed."""

    def ended() -> Any:
        found = client.get_task(job_id, task_id)
        return found if found.state == "completed" else None

    return until(ended, timeout_s)


def running(client: Client, job_id: str, task_id: str) -> Any:
    """The task, once its process has written its first line."""

    def started() -> Any:
        found = client.get_task(job_id, task_id)
        if found.state != "running":
            return None
        files = [file.name for file in client.list_task_files(job_id, task_id, recursive=True)]
        return found if "wd/started" in files else None

    return until(started)


#: Code of a task that says that it runs and then never ends.
ENDLESS = "import time; open('started', 'w').close(); time.sleep(600)"

#: Code of a task that says that it runs and ends when it is told to.
UNTIL_TOLD = (
    "import os, time; print(os.getcwd(), flush=True); open('started', 'w').close(); "
    "[time.sleep(0.01) for _ in iter(lambda: os.path.exists('told'), True)]"
)


def tell(client: Client, job_id: str, task_id: str) -> None:
    """Lets a task that runs UNTIL_TOLD end."""
    Path(text_of(client, job_id, task_id).strip(), "told").touch()


def text_of(client: Client, job_id: str, task_id: str, path: str = "stdout.txt") -> str:
    """The content of a task's file."""
    return b"".join(client.download_task_file(job_id, task_id, path)).decode()
