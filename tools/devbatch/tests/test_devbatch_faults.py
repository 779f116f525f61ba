"""Faults on request, as the unmodified client meets them."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ServiceRequestError,
    ServiceResponseError,
)

from batch_requests import Client, client_of, code_of, make_job, task, until
from devbatch.errors import DevBatchError
from devbatch.process import ServiceProcess

LOST = (ServiceResponseError, ServiceRequestError)


@pytest.fixture
def faulty(service: ServiceProcess) -> Iterator[ServiceProcess]:
    """The service; whatever faults a test leaves are cleared."""
    service.control("faults", method="DELETE")
    yield service
    service.control("faults", method="DELETE")


def add_fault(service: ServiceProcess, **fault: Any) -> None:
    """Adds one rule."""
    service.control("faults", fault)


def requests_of(service: ServiceProcess, operation: str) -> int:
    """How many requests an operation has had since the faults were cleared."""
    return int(service.control("faults", method="GET")["requests"].get(operation, 0))


def test_errors_come_as_often_as_asked(faulty: ServiceProcess, client: Client) -> None:
    """A 503 rule with count 2 hits two requests of its operation and no other; then all is well."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="get_job", status=503, count=2)
    client.get_job_task_counts(job_id)
    for _ in range(2):
        with pytest.raises(HttpResponseError) as refused:
            client.get_job(job_id)
        assert (refused.value.status_code, code_of(refused)) == (503, "ServerBusy")
    assert client.get_job(job_id).id == job_id


def test_faults_may_start_later(faulty: ServiceProcess, client: Client) -> None:
    """With `skip` 1 the first request passes and the second fails."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="get_job", skip=1)
    client.get_job(job_id)
    with pytest.raises(HttpResponseError):
        client.get_job(job_id)


def test_the_clients_own_retries_ride_out_a_short_storm(faulty: ServiceProcess) -> None:
    """The client as it comes repeats a GET after 503s and succeeds; the service has seen every try."""
    client = client_of(faulty, retry_backoff_factor=0.01)
    job_id = make_job(client, "p")
    add_fault(faulty, operation="get_job", status=503, count=2)
    assert client.get_job(job_id).id == job_id
    assert requests_of(faulty, "get_job") == 3


def test_retry_after_is_obeyed_even_for_a_post(faulty: ServiceProcess) -> None:
    """A 429 with Retry-After makes the client wait that long and post again."""
    client = client_of(faulty)
    job_id = make_job(client, "p")
    fault = {"operation": "create_task", "status": 429, "code": "TooManyRequests", "retry_after_seconds": 1}
    add_fault(faulty, **fault)
    began = time.monotonic()
    client.create_task(job_id, task("t"))
    assert time.monotonic() - began >= 1
    assert requests_of(faulty, "create_task") == 2


@pytest.mark.parametrize("operation", ["create_task", "*"])
def test_dropped_reply_means_that_it_was_done(faulty: ServiceProcess, client: Client, operation: str) -> None:
    """With `drop` the connection breaks although the task was added, so adding it again is a conflict."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation=operation, kind="drop")
    with pytest.raises(LOST):
        client.create_task(job_id, task("t"))
    with pytest.raises(ResourceExistsError) as refused:
        client.create_task(job_id, task("t"))
    assert code_of(refused) == "TaskExists"


def test_dropped_reply_to_a_collection_is_healed_by_adding_again(
    faulty: ServiceProcess, client: Client
) -> None:
    """After a lost reply the repeated collection leaves each task once, all of them reported as existing."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="create_task_collection", kind="drop")
    group = m.BatchTaskGroup(task_values=[task(f"t{number}") for number in range(3)])
    with pytest.raises(LOST):
        client.create_task_collection(job_id, group)
    results = client.create_task_collection(job_id, group).result_values
    assert {one.error.code for one in results} == {"TaskExists"}
    assert client.get_job_task_counts(job_id).task_counts.active == 3


def test_helper_of_the_client_never_gives_up_on_server_errors(faulty: ServiceProcess, client: Client) -> None:
    """`create_tasks` repeats a chunk after every 5xx without a limit, so that a caller needs a deadline."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="create_task_collection", status=500, code="InternalError", count=25)
    client.create_tasks(job_id, [task("t")])
    assert requests_of(faulty, "create_task_collection") == 26
    assert client.get_job_task_counts(job_id).task_counts.active == 1


def test_timeout_means_that_it_was_not_done(faulty: ServiceProcess, client: Client) -> None:
    """With `timeout` the connection breaks after a while and nothing was added."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="create_task", kind="timeout", seconds=0.2)
    with pytest.raises(LOST):
        client.create_task(job_id, task("t"))
    assert client.get_job_task_counts(job_id).task_counts.active == 0


def test_delay_outlasts_the_clients_patience(faulty: ServiceProcess, client: Client) -> None:
    """With `delay` a client with a shorter read timeout gives up, and the operation is still carried out."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="create_task", kind="delay", seconds=0.5)
    with pytest.raises(ServiceResponseError):
        client.create_task(job_id, task("t"), read_timeout=0.2)
    until(lambda: client.get_job_task_counts(job_id).task_counts.active == 1)


def test_long_operations_are_named_without_their_prefix(faulty: ServiceProcess, client: Client) -> None:
    """`begin_terminate_job` and `terminate_job` name the same operation."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="begin_terminate_job", status=500, code="InternalError")
    with pytest.raises(HttpResponseError) as refused:
        client.begin_terminate_job(job_id, {"terminateReason": "x"})
    assert code_of(refused) == "InternalError"
    assert client.get_job(job_id).state == "active"


def test_poller_of_the_client_hides_errors(faulty: ServiceProcess, client: Client) -> None:
    """When polling fails, the client's poller reports Failed without raising, although the job has ended."""
    job_id = make_job(client, "p")
    add_fault(faulty, operation="get_job", status=500, code="InternalError")
    poller = client.begin_terminate_job(job_id, {"terminateReason": "x"})
    assert poller.result(5) is None
    assert poller.status() == "Failed"
    assert client.get_job(job_id).state == "completed"


@pytest.mark.parametrize(
    ("fault", "named"),
    [({"kind": "explode"}, "kind"), ({"times": 1}, "times"), ({"count": 0}, "count")],
)
def test_bad_faults_are_refused(faulty: ServiceProcess, fault: dict[str, Any], named: str) -> None:
    """A rule with an unknown kind or field, or without effect, is refused by name."""
    with pytest.raises(DevBatchError, match=named):
        faulty.control("faults", fault)


def test_control_refusals_name_the_field(faulty: ServiceProcess) -> None:
    """The rest of the control endpoint refuses what it does not know as well."""
    with pytest.raises(DevBatchError, match="gpu_cores"):
        faulty.control("quota", {"gpu_cores": 1})
    with pytest.raises(DevBatchError, match="PoolNotFound"):
        faulty.control("preempt", {"pool": "nowhere"})
    with pytest.raises(DevBatchError, match="UnsupportedByLocalService"):
        faulty.control("weather", {})
