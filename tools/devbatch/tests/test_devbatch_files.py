"""Files of tasks, through the unmodified client."""

from datetime import timedelta
from pathlib import Path

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from batch_requests import (
    Client,
    client_of,
    code_of,
    completed,
    make_job,
    make_pool,
    task,
    text_of,
    until,
)
from devbatch.errors import ServiceError
from devbatch.files import find_file
from devbatch.process import ServiceProcess

WRITES = "import os; os.mkdir('sub'); open('sub/out.json', 'w').write('0123456789'); print('hello')"


@pytest.fixture(scope="module")
def pool(service: ServiceProcess) -> str:
    """A pool of one node."""
    return make_pool(client_of(service), target_dedicated_nodes=1)


@pytest.fixture(scope="module")
def job(service: ServiceProcess, pool: str) -> str:
    """A job whose task `t` has written a file."""
    client = client_of(service)
    job_id = make_job(client, pool)
    client.create_task(job_id, task("t", WRITES))
    completed(client, job_id, "t")
    return job_id


def test_files_are_listed_by_directory(client: Client, job: str) -> None:
    """A task has stdout.txt, stderr.txt and wd; with `recursive` what is below wd as well, sizes included."""
    assert [file.name for file in client.list_task_files(job, "t")] == ["stderr.txt", "stdout.txt", "wd"]
    every = {file.name: file for file in client.list_task_files(job, "t", recursive=True)}
    assert every["wd/sub"].is_directory
    assert every["wd/sub/out.json"].properties.content_length == 10


def test_files_are_read_whole_and_in_part(client: Client, job: str) -> None:
    """A file is read by its path, a slash inside included, and by byte range with both ends included."""
    assert text_of(client, job, "t") == "hello\n"
    assert text_of(client, job, "t", "wd/sub/out.json") == "0123456789"
    part = client.download_task_file(job, "t", "wd/sub/out.json", ocp_range="bytes=2-4")
    assert b"".join(part) == b"234"
    rest = client.download_task_file(job, "t", "wd/sub/out.json", ocp_range="bytes=7-")
    assert b"".join(rest) == b"789"


def test_file_properties_are_told(client: Client, job: str) -> None:
    """Properties come without the content: size, kind, mode, time and address."""
    properties = client.get_task_file_properties(job, "t", "wd/sub/out.json")
    assert properties.content_length == 10
    assert properties.is_directory is False
    assert properties.file_mode.startswith("0o100")
    assert properties.url.endswith("wd/sub/out.json")
    assert client.get_task_file_properties(job, "t", "wd").is_directory is True


def test_missing_file_is_known_by_its_type_alone(client: Client, job: str) -> None:
    """A download of no such file raises ResourceNotFoundError, and the client leaves its code unread."""
    with pytest.raises(ResourceNotFoundError) as missing:
        client.download_task_file(job, "t", "nothing.txt")
    assert code_of(missing) is None


def test_no_path_leads_out_of_the_task(tmp_path: Path) -> None:
    """Neither `..`, an absolute path nor a link that the task made reads a file outside its directory."""
    root = tmp_path / "task"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", "wd/../../secret", str(tmp_path / "secret"), "link"):
        with pytest.raises(ServiceError) as refused:
            find_file(root, name)
        assert refused.value.code == "FileNotFound"


def test_deleted_file_is_gone(client: Client, pool: str) -> None:
    """A file can be removed on its own."""
    job_id = make_job(client, pool)
    client.create_task(job_id, task("t", WRITES))
    completed(client, job_id, "t")
    client.delete_task_file(job_id, "t", "wd/sub/out.json")
    assert "wd/sub/out.json" not in [
        file.name for file in client.list_task_files(job_id, "t", recursive=True)
    ]


def test_task_that_has_not_run_has_no_files(client: Client) -> None:
    """Asking for the files of a waiting task is a conflict."""
    job_id = make_job(client, "no-such-pool")
    client.create_task(job_id, task("t"))
    with pytest.raises(ResourceExistsError) as refused:
        list(client.list_task_files(job_id, "t"))
    assert code_of(refused) == "TaskFilesUnavailable"


def test_files_go_after_their_retention_time(client: Client, pool: str) -> None:
    """Once the retention time is over the files are cleaned up, and the answer says so."""
    job_id = make_job(client, pool)
    limits = m.BatchTaskConstraints(retention_time=timedelta(seconds=0.2))
    client.create_task(job_id, task("t", constraints=limits))
    completed(client, job_id, "t")

    def code() -> str | None:
        try:
            list(client.list_task_files(job_id, "t"))
        except ResourceExistsError as error:
            return str(error.error and error.error.code)
        return None

    assert until(code) == "TaskFilesCleanedup"


def test_files_go_with_their_node(client: Client) -> None:
    """When its node has left the pool, a completed task stays known and its output is lost."""
    pool_id = make_pool(client, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t"))
    completed(client, job_id, "t")
    client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=0))
    until(lambda: not list(client.list_nodes(pool_id)))
    with pytest.raises(ResourceExistsError) as refused:
        list(client.list_task_files(job_id, "t"))
    assert code_of(refused) == "TaskFilesUnavailable"
    assert client.get_task(job_id, "t").execution_info.exit_code == 0
