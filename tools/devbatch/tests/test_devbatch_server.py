"""The service as a process: address, certificate, authorization, command line, and its end."""

import ast
import stat
import sys
import tomllib
from pathlib import Path

import psutil
import pytest
import requests
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from click.testing import CliRunner, Result

from batch_requests import (
    Credential,
    client_of,
    code_of,
    completed,
    make_job,
    running,
    task,
    text_of,
    until,
)
from devbatch.__main__ import main
from devbatch.control import control_routes
from devbatch.errors import ConfigurationError
from devbatch.process import ServiceProcess, read_address, start_service
from devbatch.server import OPERATIONS

DOCS = Path(__file__).parents[1] / "README.md"


def run_cli(*words: str) -> Result:
    """The command line, run to its end inside this process."""
    return CliRunner().invoke(main, words)


def test_only_its_own_certificate_is_trusted(service: ServiceProcess) -> None:
    """Without the service's certificate the client refuses the connection."""
    client = BatchClient(service.url, Credential(), retry_total=0)
    with pytest.raises(ServiceRequestError, match=r"(?i)certificate"):
        client.get_job("x")


def test_account_keys_are_refused(service: ServiceProcess) -> None:
    """Like an account that allows identities only, the service answers a shared key with 403."""
    key = AzureNamedKeyCredential("account", "a2V5")
    client = BatchClient(service.url, key, connection_verify=service.ca_path, retry_total=0)
    with pytest.raises(HttpResponseError) as refused:
        client.get_job("x")
    assert (refused.value.status_code, code_of(refused)) == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/jobs?api-version=2019-01-01", "InvalidQueryParameterValue"),
        ("/jobs", "MissingRequiredQueryParameter"),
        ("/jobschedules?api-version=2025-06-01", "UnsupportedByLocalService"),
    ],
)
def test_other_versions_and_operations_are_refused(service: ServiceProcess, path: str, code: str) -> None:
    """Another api-version, none, and an operation that is not there are 400 with a code that says which."""
    headers = {"Authorization": "Bearer x"}
    reply = requests.get(service.url + path, headers=headers, verify=service.ca_path, timeout=5)
    assert (reply.status_code, reply.json()["code"]) == (400, code)


@pytest.mark.parametrize("body", [b"{", b'{"id": "\xff"}', b"[" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000])
def test_bodies_that_are_not_json_are_refused(service: ServiceProcess, body: bytes) -> None:
    """A broken body, one that is no UTF-8 and one nested without end are 400 InvalidRequestBody."""
    url = f"{service.url}/jobs?api-version=2025-06-01"
    headers = {"Authorization": "Bearer x"}
    reply = requests.post(url, data=body, headers=headers, verify=service.ca_path, timeout=5)
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidRequestBody")


def test_service_tells_its_address_and_cleans_up_when_stopped(tmp_path: Path) -> None:
    """The address is there while the service answers; on stop it goes, and every task's process with it."""
    service = start_service(tmp_path / "data", "--nodes", "1", "--boot-seconds", "0")
    address = read_address(service.data)
    assert address is not None
    assert (address.url, address.pid) == (service.url, service.process.pid)
    assert stat.S_IMODE((service.data / "key.pem").stat().st_mode) == 0o600
    client = client_of(service)
    job_id = make_job(client, "local")
    code = "import os, time; print(os.getpid(), flush=True); open('started', 'w'); time.sleep(600)"
    client.create_task(job_id, task("t", code))
    running(client, job_id, "t")
    pid = int(text_of(client, job_id, "t"))
    service.stop()
    assert service.process.returncode == 0
    assert read_address(service.data) is None
    until(lambda: not psutil.pid_exists(pid))


def test_data_folder_is_used_by_one_service_and_reused_after_a_crash(tmp_path: Path) -> None:
    """A second service on the folder is refused; after a kill the next one starts anew, without old files."""
    first = start_service(tmp_path / "data", "--nodes", "1", "--boot-seconds", "0")
    with pytest.raises(
        ConfigurationError, match=f"in use by the service with process id {first.process.pid}"
    ):
        start_service(first.data)
    client = client_of(first)
    job_id = make_job(client, "local")
    client.create_task(job_id, task("t"))
    completed(client, job_id, "t")
    first.process.kill()
    first.process.wait()
    assert list((first.data / "nodes").rglob("stdout.txt"))
    second = start_service(first.data)
    assert not (second.data / "nodes").exists()
    assert not list(client_of(second).list_jobs())
    second.stop()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--image", "x"], "--image 'x': NAME=VALUE is expected"),
        (["--image", "x="], "the command that stands for the entry point is missing"),
        (["--env", "=1"], "--env '=1'"),
        (["--pool", "no.toml"], "no.toml"),
        (["--nodes", "1", "--slots", "99"], "'local' is refused"),
        (["--time-scale", "0"], "--time-scale"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(
    tmp_path: Path, options: list[str], named: str
) -> None:
    """A bad option ends the command with a message that names it, and nothing was started."""
    done = run_cli("start", "--data", str(tmp_path / "data"), *options)
    assert done.exit_code != 0
    assert named in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert not (tmp_path / "data" / "address.json").exists()


def test_unknown_field_in_a_pool_file_is_named(tmp_path: Path) -> None:
    """A misspelt field of a pool file is refused with file and field."""
    (tmp_path / "p.toml").write_text('[[pools]]\nid = "x"\nslots = 3\n')
    done = run_cli("start", "--data", str(tmp_path / "data"), "--pool", str(tmp_path / "p.toml"))
    assert done.exit_code != 0
    assert "p.toml" in done.stderr and "slots" in done.stderr


def test_documentation_names_every_option_operation_and_control() -> None:
    """Every command-line option, operation and control path is in the documentation."""
    text = DOCS.read_text()
    options = [word for word in run_cli("start", "--help").output.split() if word.startswith("--")]
    operations = [operation for _, _, operation, _ in OPERATIONS]
    paths = [route.path for route in control_routes()]
    assert [word for word in (*options, *operations, *paths) if word not in text] == []


def test_package_stands_on_its_own() -> None:
    """The package imports itself, the standard library and its declared distributions, nothing else."""
    sources = [path.read_text() for path in (DOCS.parent / "devbatch").glob("*.py")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    allowed = {*sys.stdlib_module_names, *project["dependencies"], "devbatch"}
    assert {module.split(".")[0] for module in modules} - allowed == set()
