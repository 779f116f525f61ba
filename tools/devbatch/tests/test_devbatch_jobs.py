"""Jobs, through the unmodified client."""

from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from batch_requests import (
    ENDLESS,
    UNTIL_TOLD,
    Client,
    client_of,
    code_of,
    completed,
    make_job,
    make_pool,
    running,
    task,
    tell,
    until,
)
from devbatch.process import ServiceProcess


@pytest.fixture(scope="module")
def pool(service: ServiceProcess) -> str:
    """A pool with four slots."""
    return make_pool(client_of(service), target_dedicated_nodes=1, task_slots_per_node=8)


def ended(client: Client, job_id: str) -> Any:
    """The job, once it is completed."""

    def found() -> Any:
        job = client.get_job(job_id)
        return job if job.state == "completed" else None

    return until(found)


def test_job_is_echoed_with_the_services_own_fields(client: Client, pool: str) -> None:
    """A job keeps what it was created with, and "no limit" reads back as the longest duration."""
    metadata = [m.BatchMetadataItem(name="run", value="r1")]
    job = client.get_job(make_job(client, pool, metadata=metadata, priority=5))
    assert job.state == "active"
    assert job.metadata[0].value == "r1"
    assert job.priority == 5
    assert job.constraints.max_wall_clock_time > timedelta(days=10_000_000)
    assert job.execution_info.pool_id == pool
    assert job.all_tasks_complete_mode == "noaction"


@pytest.mark.parametrize("job_id", ["", "a" * 65, "a b", "a.b", "a/b", "é"])
def test_ids_outside_the_alphabet_are_refused(client: Client, job_id: str) -> None:
    """An id has 1 to 64 letters, digits, hyphens and underscores; the refusal names the property."""
    with pytest.raises(HttpResponseError) as refused:
        client.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id="p")))
    assert refused.value.status_code == 400
    assert code_of(refused) == "InvalidPropertyValue"


def test_ids_keep_their_case_and_are_unique_without_it(client: Client, pool: str) -> None:
    """`Job-x` and `job-X` are the same job: found by either name, created once, shown as first written."""
    first = make_job(client, pool).upper()
    client.create_job(m.BatchJobCreateOptions(id=first + "-Aa", pool_info=m.BatchPoolInfo(pool_id=pool)))
    with pytest.raises(ResourceExistsError) as refused:
        client.create_job(m.BatchJobCreateOptions(id=first + "-aA", pool_info=m.BatchPoolInfo(pool_id=pool)))
    assert code_of(refused) == "JobExists"
    assert client.get_job(first.lower() + "-AA").id == first + "-Aa"


def test_job_without_tasks_that_ends_with_its_tasks_ends_at_once(client: Client, pool: str) -> None:
    """`terminatejob` on a job without tasks completes it at once, so no task can be added any more."""
    job_id = make_job(client, pool, all_tasks_complete_mode="terminatejob")
    job = client.get_job(job_id)
    assert (job.state, job.execution_info.termination_reason) == ("completed", "AllTasksComplete")
    with pytest.raises(ResourceExistsError) as refused:
        client.create_task(job_id, task("t"))
    assert code_of(refused) == "JobCompleted"


def test_job_patched_to_end_with_its_tasks_ends_after_the_last(client: Client, pool: str) -> None:
    """Created `noaction`, patched after the tasks are in, a job completes when all of them have."""
    job_id = make_job(client, pool)
    for name in ("a", "b"):
        client.create_task(job_id, task(name))
    client.update_job(job_id, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert ended(client, job_id).execution_info.termination_reason == "AllTasksComplete"
    assert client.get_job_task_counts(job_id).task_counts.succeeded == 2


def test_job_does_not_end_while_tasks_wait(client: Client) -> None:
    """A job patched to `terminatejob` while its tasks still wait for a node stays active."""
    job_id = make_job(client, make_pool(client))
    client.create_task(job_id, task("t"))
    client.update_job(job_id, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert client.get_job(job_id).state == "active"


def test_job_may_name_a_pool_that_does_not_exist(client: Client) -> None:
    """Such a job is accepted, its tasks never run, and its own wall-clock limit ends it."""
    limit = m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=1))
    job_id = make_job(client, "no-such-pool", constraints=limit)
    client.create_task(job_id, task("t"))
    assert ended(client, job_id).execution_info.termination_reason == "MaxWallClockTimeExpiry"
    assert client.get_task(job_id, "t").state == "active"


def test_wall_clock_limit_of_a_job_ends_its_running_tasks(client: Client, pool: str) -> None:
    """A task that runs when its job's limit is over ends as a failure without an exit code."""
    limit = m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=1))
    job_id = make_job(client, pool, constraints=limit)
    client.create_task(job_id, task("t", ENDLESS))
    assert ended(client, job_id).execution_info.termination_reason == "MaxWallClockTimeExpiry"
    info = client.get_task(job_id, "t").execution_info
    assert (info.result, info.exit_code, info.failure_info.code) == ("failure", None, "TaskEnded")


def test_terminated_job_ends_running_tasks_and_leaves_waiting_ones(client: Client, pool: str) -> None:
    """Terminating a job fails its running tasks, leaves waiting ones active, and cannot be repeated."""
    job_id = make_job(client, pool)
    client.create_task(job_id, task("runs", ENDLESS))
    client.create_task(job_id, task("waits", required_slots=9))
    running(client, job_id, "runs")
    client.begin_terminate_job(job_id, {"terminateReason": "Cancelled"})
    assert ended(client, job_id).execution_info.termination_reason == "Cancelled"
    assert client.get_task(job_id, "runs").execution_info.failure_info.code == "TaskEnded"
    assert client.get_task(job_id, "waits").state == "active"
    with pytest.raises(ResourceExistsError) as refused:
        client.begin_terminate_job(job_id, {"terminateReason": "again"})
    assert code_of(refused) == "JobCompleted"


def test_terminate_without_options_fails_in_the_client(client: Client, pool: str) -> None:
    """`begin_terminate_job` without a body raises before it sends anything, so the job stays active."""
    job_id = make_job(client, pool)
    with pytest.raises(ValueError, match="No value for given attribute"):
        client.begin_terminate_job(job_id)
    assert client.get_job(job_id).state == "active"


def test_extra_options_of_long_operations_fail_after_the_request(client: Client, pool: str) -> None:
    """With an undocumented keyword, `begin_*` raises TypeError although the service has already acted."""
    job_id = make_job(client, pool)
    with pytest.raises(TypeError):
        client.begin_terminate_job(job_id, {"terminateReason": "x"}, retry_total=0)
    assert ended(client, job_id).execution_info.termination_reason == "x"


def test_deleted_job_is_gone(client: Client, pool: str) -> None:
    """Delete answers at once; the poller ends when the job is not found, and the id is free again."""
    job_id = make_job(client, pool)
    client.create_task(job_id, task("t", ENDLESS))
    running(client, job_id, "t")
    client.begin_delete_job(job_id, polling_interval=0.05).wait(10)
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_job(job_id)
    assert code_of(missing) == "JobNotFound"
    client.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))


@pytest.mark.parametrize(("option", "state"), [("requeue", "active"), ("terminate", "completed")])
def test_disabled_job_stops_its_tasks(client: Client, pool: str, option: str, state: str) -> None:
    """Disable requeues or ends what runs; nothing starts until the job is enabled."""
    job_id = make_job(client, pool)
    client.create_task(job_id, task("t", ENDLESS))
    running(client, job_id, "t")
    client.begin_disable_job(job_id, m.BatchJobDisableOptions(disable_tasks=option))
    until(lambda: client.get_job(job_id).state == "disabled")
    found = client.get_task(job_id, "t")
    assert found.state == state
    assert found.execution_info.requeue_count == (1 if option == "requeue" else 0)
    client.create_task(job_id, task("new"))
    assert client.get_task(job_id, "new").state == "active"
    client.begin_enable_job(job_id)
    completed(client, job_id, "new")


def test_disable_may_wait_for_running_tasks(client: Client, pool: str) -> None:
    """With `wait` a job is disabling until its running tasks have ended by themselves."""
    job_id = make_job(client, pool)
    client.create_task(job_id, task("t", UNTIL_TOLD))
    running(client, job_id, "t")
    client.begin_disable_job(job_id, m.BatchJobDisableOptions(disable_tasks="wait"))
    assert client.get_job(job_id).state == "disabling"
    tell(client, job_id, "t")
    until(lambda: client.get_job(job_id).state == "disabled")
    assert client.get_task(job_id, "t").execution_info.exit_code == 0


def test_etags_guard_changes(client: Client, pool: str) -> None:
    """A change under a stale ETag is refused as modified; under the present one it is made."""
    job_id = make_job(client, pool)
    stale = client.get_job(job_id).etag
    client.update_job(job_id, m.BatchJobUpdateOptions(priority=1))
    changes = m.BatchJobUpdateOptions(priority=2)
    with pytest.raises(ResourceModifiedError):
        client.update_job(job_id, changes, etag=stale, match_condition=MatchConditions.IfNotModified)
    fresh = client.get_job(job_id).etag
    client.update_job(job_id, changes, etag=fresh, match_condition=MatchConditions.IfNotModified)
    assert client.get_job(job_id).priority == 2


def test_lists_are_filtered_and_selected(client: Client, pool: str) -> None:
    """A filter on state and id finds the job; a selection leaves out every other field."""
    job_id = make_job(client, pool)
    found = list(
        client.list_jobs(filter=f"state eq 'active' and startswith(id,'{job_id}')", select=["id", "state"])
    )
    assert [dict(job) for job in found] == [{"id": job_id, "state": "active"}]


def test_filters_that_cannot_be_read_are_refused(client: Client) -> None:
    """A filter with an unknown operator is an error, not an empty list."""
    with pytest.raises(HttpResponseError) as refused:
        list(client.list_jobs(filter="state like 'active'"))
    assert code_of(refused) == "InvalidQueryParameterValue"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"job_manager_task": {"id": "m", "commandLine": "x"}}, "jobManagerTask"),
        ({"max_parallel_tasks": 3}, "maxParallelTasks"),
        ({"allow_task_preemption": True}, "allowTaskPreemption"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: Client, pool: str, options: dict[str, Any], name: str
) -> None:
    """What this service cannot do is a 400 that names it and says what to do instead, never ignored."""
    with pytest.raises(HttpResponseError) as refused:
        make_job(client, pool, **options)
    assert code_of(refused) == "UnsupportedByLocalService"
    assert name in str(refused.value)


def test_auto_pools_are_refused(client: Client) -> None:
    """A job names its pool; an auto pool is refused."""
    auto = m.BatchAutoPoolSpecification(pool_lifetime_option="job")
    info = m.BatchPoolInfo(auto_pool_specification=auto)
    with pytest.raises(HttpResponseError, match="autoPoolSpecification"):
        client.create_job(m.BatchJobCreateOptions(id="auto", pool_info=info))
