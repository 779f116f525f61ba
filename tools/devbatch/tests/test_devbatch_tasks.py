"""Tasks, through the unmodified client: what runs, how it ends, and what follows."""

import json
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from batch_requests import (
    ENDLESS,
    Client,
    client_of,
    code_of,
    completed,
    make_job,
    make_pool,
    running,
    task,
    text_of,
    until,
)
from devbatch.process import ServiceProcess


@pytest.fixture(scope="module")
def pool(service: ServiceProcess) -> str:
    """A pool with eight slots on one node."""
    return make_pool(client_of(service), target_dedicated_nodes=1, task_slots_per_node=8)


@pytest.fixture
def job(client: Client, pool: str) -> str:
    """A job on the pool."""
    return make_job(client, pool)


def constraints(**options: Any) -> m.BatchTaskConstraints:
    """Constraints of a task."""
    return m.BatchTaskConstraints(**options)


def test_task_sees_its_environment(client: Client, pool: str) -> None:
    """A task has AZ_BATCH_*, the job's and its own settings (its own win), and starts in its directory."""
    common = [
        m.EnvironmentSetting(name="SHARED", value="job"),
        m.EnvironmentSetting(name="BOTH", value="job"),
    ]
    job_id = make_job(client, pool, common_environment_settings=common)
    own = [m.EnvironmentSetting(name="BOTH", value="task")]
    code = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    client.create_task(job_id, task("t", code, environment_settings=own))
    found = completed(client, job_id, "t")
    environment, directory = json.loads(text_of(client, job_id, "t"))
    assert environment["AZ_BATCH_TASK_ID"] == "t"
    assert environment["AZ_BATCH_JOB_ID"] == job_id
    assert environment["AZ_BATCH_POOL_ID"] == pool
    assert environment["AZ_BATCH_NODE_ID"] == found.node_info.node_id
    assert environment["AZ_BATCH_NODE_IS_DEDICATED"] == "true"
    assert environment["AZ_BATCH_TASK_WORKING_DIR"] == directory
    assert environment["AZ_BATCH_TASK_DIR"] + "/wd" == directory
    root = environment["AZ_BATCH_NODE_ROOT_DIR"]
    assert environment["AZ_BATCH_NODE_STARTUP_DIR"] == f"{root}/startup"
    assert environment["AZ_BATCH_NODE_MOUNTS_DIR"] == f"{root}/fsmounts"
    assert int(environment["AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES"]) > 0
    assert (environment["SHARED"], environment["BOTH"], environment["FROM_IMAGE"]) == ("job", "task", "yes")
    assert not any(name.startswith("PYTEST") for name in environment)


def test_commands_run_without_a_shell(client: Client, job: str) -> None:
    """`$NAME` and `&&` reach the program as they are."""
    client.create_task(job, m.BatchTaskCreateOptions(id="t", command_line="echo $HOME && true"))
    assert completed(client, job, "t").execution_info.exit_code == 0
    assert text_of(client, job, "t") == "$HOME && true\n"


def test_failed_task_tells_exit_code_and_cause(client: Client, job: str) -> None:
    """A non-zero exit is a failure by the user's program, with code, times, node and stderr."""
    client.create_task(job, task("t", "import sys; print('why', file=sys.stderr); sys.exit(7)"))
    found = completed(client, job, "t")
    info = found.execution_info
    assert (info.exit_code, info.result, info.retry_count) == (7, "failure", 0)
    assert (info.failure_info.category, info.failure_info.code) == ("usererror", "FailureExitCode")
    assert info.start_time <= info.end_time
    assert found.node_info.pool_id
    assert text_of(client, job, "t", "stderr.txt") == "why\n"


def test_non_zero_exits_are_retried_up_to_the_limit(client: Client, job: str) -> None:
    """`maxTaskRetryCount` 2 means three runs; each retry is counted, none is a requeue."""
    client.create_task(
        job, task("t", "import sys; sys.exit(1)", constraints=constraints(max_task_retry_count=2))
    )
    info = completed(client, job, "t").execution_info
    assert (info.retry_count, info.requeue_count, info.exit_code) == (2, 0, 1)
    node = completed(client, job, "t").node_info
    recent = client.get_node(node.pool_id, node.node_id).recent_tasks
    assert sum(one.job_id == job for one in recent) == 3


def test_killed_process_shows_its_signal_and_is_retried(client: Client, job: str) -> None:
    """A process that dies by SIGKILL, as one out of memory does, exits with 137 and uses up its retries."""
    limits = constraints(max_task_retry_count=1)
    client.create_task(job, task("t", "import os; os.kill(os.getpid(), 9)", constraints=limits))
    info = completed(client, job, "t").execution_info
    assert (info.exit_code, info.retry_count, info.failure_info.code) == (137, 1, "FailureExitCode")


def test_jobs_retry_count_is_the_default_of_its_tasks(client: Client, pool: str) -> None:
    """A task without its own retry count takes the job's."""
    job_id = make_job(client, pool, constraints=m.BatchJobConstraints(max_task_retry_count=1))
    client.create_task(job_id, task("t", "import sys; sys.exit(1)"))
    assert completed(client, job_id, "t").execution_info.retry_count == 1


def test_program_that_does_not_exist_is_not_retried(client: Client, job: str) -> None:
    """What fails before the program runs has no exit code and uses up no retry."""
    client.create_task(
        job,
        m.BatchTaskCreateOptions(
            id="t", command_line="no-such-program", constraints=constraints(max_task_retry_count=3)
        ),
    )
    info = completed(client, job, "t").execution_info
    assert (info.exit_code, info.retry_count, info.failure_info.code) == (None, 0, "CommandProgramNotFound")


@pytest.mark.parametrize(
    ("command", "name"), [("echo 'open", "X"), ("echo \x00", "X"), ("echo x", "A=B"), ("/", "X")]
)
def test_commands_that_cannot_be_started_fail_their_task_only(
    client: Client, job: str, command: str, name: str
) -> None:
    """An open quote, a NUL, an impossible variable name or a folder as program fails the task only."""
    environment = [m.EnvironmentSetting(name=name, value="1")]
    options = m.BatchTaskCreateOptions(id="t", command_line=command, environment_settings=environment)
    client.create_task(job, options)
    assert completed(client, job, "t").execution_info.failure_info.code == "CommandLaunchFailed"


def test_wall_clock_limit_ends_a_task_and_all_its_processes(client: Client, job: str) -> None:
    """At its limit a task is killed with its children, fails with 0xC000013A, and is not retried."""
    child = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    limits = constraints(max_wall_clock_time=timedelta(seconds=1), max_task_retry_count=3)
    client.create_task(job, task("t", child, constraints=limits))
    info = completed(client, job, "t").execution_info
    assert (info.result, info.retry_count, info.failure_info.code) == ("failure", 0, "TaskEnded")
    assert (info.failure_info.category, info.exit_code & 0xFFFFFFFF) == ("servererror", 0xC000013A)
    assert "maxWallClockTime" in info.failure_info.message
    assert not _alive(int(text_of(client, job, "t")))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a file of the kernel
            return stat.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_terminated_tasks_fail_and_completed_ones_are_a_conflict(client: Client, job: str) -> None:
    """Terminate ends a running and a waiting task alike; a second time it is 409 TaskCompleted."""
    client.create_task(job, task("runs", ENDLESS))
    client.create_task(job, task("waits", required_slots=9))
    running(client, job, "runs")
    for name in ("runs", "waits"):
        client.terminate_task(job, name)
        info = completed(client, job, name).execution_info
        assert (info.result, info.failure_info.code) == ("failure", "TaskEnded")
    with pytest.raises(ResourceExistsError) as refused:
        client.terminate_task(job, "runs")
    assert code_of(refused) == "TaskCompleted"


def test_only_failed_tasks_are_reactivated(client: Client, job: str) -> None:
    """A failed task runs again with its retries restored; one that succeeded is a conflict."""
    code = (
        "import os, sys; p = os.environ['AZ_BATCH_NODE_SHARED_DIR'] + '/' + os.environ['AZ_BATCH_JOB_ID']; "
    )
    code += "seen = os.path.exists(p); open(p, 'w').close(); sys.exit(not seen)"
    client.create_task(job, task("t", code))
    assert completed(client, job, "t").execution_info.exit_code == 1
    client.reactivate_task(job, "t")
    assert completed(client, job, "t").execution_info.exit_code == 0
    with pytest.raises(ResourceExistsError) as refused:
        client.reactivate_task(job, "t")
    assert code_of(refused) == "TaskCompleted"


def test_deleted_task_is_gone_and_its_id_free(client: Client, job: str) -> None:
    """Delete stops a running task; the same id can be added again and runs."""
    client.create_task(job, task("t", ENDLESS))
    running(client, job, "t")
    client.delete_task(job, "t")
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_task(job, "t")
    assert code_of(missing) == "TaskNotFound"
    client.create_task(job, task("t"))
    assert completed(client, job, "t").execution_info.exit_code == 0


def test_constraints_are_replaced(client: Client, job: str) -> None:
    """PUT replaces the constraints of a task; what it leaves out goes back to its default."""
    client.create_task(job, task("t", required_slots=9, constraints=constraints(max_task_retry_count=5)))
    found = client.get_task(job, "t")
    found.constraints = m.BatchTaskConstraints(retention_time=timedelta(hours=1))
    client.replace_task(job, "t", found)
    kept = client.get_task(job, "t").constraints
    assert (kept.max_task_retry_count, kept.retention_time) == (0, timedelta(hours=1))


def test_collections_tell_each_tasks_fate(client: Client, job: str) -> None:
    """One call adds the valid tasks and reports the others' errors inside the 200."""
    client.create_task(job, task("old"))
    group = m.BatchTaskGroup(task_values=[task("new"), task("OLD"), task("bad id")])
    results = client.create_task_collection(job, group).result_values
    assert [one.status for one in results] == ["success", "clienterror", "clienterror"]
    assert [one.error and one.error.code for one in results] == [None, "TaskExists", "InvalidPropertyValue"]


def test_collections_are_limited(client: Client, job: str) -> None:
    """More than 100 tasks in one call are refused as a whole; a body over 1 MB is 413."""
    many = m.BatchTaskGroup(task_values=[task(f"t{number}", required_slots=9) for number in range(101)])
    with pytest.raises(HttpResponseError, match="at most 100"):
        client.create_task_collection(job, many)
    big = m.BatchTaskGroup(task_values=[task("big", "#" * (1024 * 1024))])
    with pytest.raises(HttpResponseError) as refused:
        client.create_task_collection(job, big)
    assert (refused.value.status_code, code_of(refused)) == (413, "RequestBodyTooLarge")
    assert not list(client.list_tasks(job))


def test_helper_of_the_client_adds_many_and_adding_again_changes_nothing(client: Client, job: str) -> None:
    """`create_tasks` adds 250 tasks in chunks, and a second time none is added twice."""
    tasks = [task(f"t{number}", required_slots=9) for number in range(250)]
    for _ in range(2):
        client.create_tasks(job, tasks, max_concurrency=2)
        counts = client.get_job_task_counts(job)
        assert (counts.task_counts.active, counts.task_slot_counts.active) == (250, 2250)


def test_helper_of_the_client_splits_what_is_too_large(client: Client, job: str) -> None:
    """`create_tasks` halves a chunk that the service refuses as larger than 1 MB, until all tasks are in."""
    tasks = [task(f"t{number}", "#" * 30_000, required_slots=9) for number in range(60)]
    client.create_tasks(job, tasks)
    assert client.get_job_task_counts(job).task_counts.active == 60


def test_lists_come_in_pages(client: Client, job: str) -> None:
    """Pages follow each other through the client, with filter and selection kept, each task once."""
    client.create_tasks(job, [task(f"t{number}", required_slots=9) for number in range(23)])
    pages = client.list_tasks(
        job, max_results=5, filter="state eq 'active' and id ne 't7'", select=["id"]
    ).by_page()
    sizes, names = [], []
    for page in pages:
        tasks = list(page)
        sizes.append(len(tasks))
        names += [one.id for one in tasks]
        assert tasks[0].state is None
    assert sizes == [5, 5, 5, 5, 2]
    assert sorted(names) == sorted(f"t{number}" for number in range(23) if number != 7)


def test_counts_add_up(client: Client, job: str) -> None:
    """Counts of tasks and of slots: completed is succeeded plus failed."""
    client.create_task(job, task("good", required_slots=2))
    client.create_task(job, task("bad", "import sys; sys.exit(1)"))
    client.create_task(job, task("runs", ENDLESS, required_slots=3))
    client.create_task(job, task("waits", required_slots=9))
    for name in ("good", "bad"):
        completed(client, job, name)
    running(client, job, "runs")
    counts = client.get_job_task_counts(job)
    expected = {"active": 1, "running": 1, "completed": 2, "succeeded": 1, "failed": 1}
    assert dict(counts.task_counts) == expected
    assert dict(counts.task_slot_counts) == {
        "active": 9,
        "running": 3,
        "completed": 3,
        "succeeded": 2,
        "failed": 1,
    }
    client.terminate_task(job, "runs")


def test_dependent_tasks_wait_for_success(client: Client, pool: str) -> None:
    """A task runs after those it depends on have succeeded, not after a failure that does not satisfy it."""
    job_id = make_job(client, pool, uses_task_dependencies=True)
    satisfies = m.ExitConditions(default=m.ExitOptions(dependency_action="satisfy"))
    client.create_task(job_id, task("1"))
    client.create_task(job_id, task("2", "import sys; sys.exit(1)"))
    client.create_task(job_id, task("3", "import sys; sys.exit(1)", exit_conditions=satisfies))
    ranged = m.BatchTaskDependencies(task_id_ranges=[m.BatchTaskIdRange(start=1, end=1)])
    client.create_task(job_id, task("after-1", depends_on=ranged))
    client.create_task(job_id, task("after-2", depends_on=m.BatchTaskDependencies(task_ids=["1", "2"])))
    client.create_task(job_id, task("after-3", depends_on=m.BatchTaskDependencies(task_ids=["3"])))
    for name in ("1", "2", "3", "after-1", "after-3"):
        completed(client, job_id, name)
    assert client.get_task(job_id, "after-2").state == "active"


def test_dependencies_need_a_job_that_uses_them(client: Client, job: str) -> None:
    """`dependsOn` in a job without `usesTaskDependencies` is refused."""
    with pytest.raises(HttpResponseError) as refused:
        client.create_task(job, task("t", depends_on=m.BatchTaskDependencies(task_ids=["x"])))
    assert code_of(refused) == "TaskDependenciesNotSpecifiedOnJob"


def test_long_dependency_lists_are_refused(client: Client, pool: str) -> None:
    """The ids in `dependsOn` have at most 64,000 characters together."""
    job_id = make_job(client, pool, uses_task_dependencies=True)
    names = [f"{number:064}" for number in range(1001)]
    with pytest.raises(HttpResponseError) as refused:
        client.create_task(job_id, task("t", depends_on=m.BatchTaskDependencies(task_ids=names)))
    assert code_of(refused) == "TaskDependencyListTooLong"


def test_job_actions_need_a_job_that_performs_them(client: Client, job: str) -> None:
    """An exit condition with a jobAction is refused while the job's onTaskFailure is noaction."""
    conditions = m.ExitConditions(default=m.ExitOptions(job_action="terminate"))
    with pytest.raises(HttpResponseError) as refused:
        client.create_task(job, task("t", exit_conditions=conditions))
    assert code_of(refused) == "InvalidPropertyValue"


@pytest.mark.parametrize(
    ("code", "conditions", "state"),
    [
        (0, None, "active"),
        (3, None, "completed"),
        (3, {"exitCodes": [{"code": 3, "exitOptions": {"jobAction": "none"}}]}, "active"),
        (
            3,
            {"exitCodeRanges": [{"start": 1, "end": 5, "exitOptions": {"jobAction": "disable"}}]},
            "disabled",
        ),
        (3, {"default": {"jobAction": "none"}}, "active"),
    ],
)
def test_exit_options_act_on_the_job(
    client: Client, pool: str, code: int, conditions: dict[str, Any] | None, state: str
) -> None:
    """With `performexitoptionsjobaction` a failure terminates the job, unless its exit options differ."""
    job_id = make_job(client, pool, task_failure_mode="performexitoptionsjobaction")
    body = task("t", f"import sys; sys.exit({code})")
    if conditions is not None:
        body["exitConditions"] = conditions
    client.create_task(job_id, body)
    completed(client, job_id, "t")
    until(lambda: client.get_job(job_id).state == state)
    reason = "TaskFailed" if state == "completed" else None
    assert client.get_job(job_id).execution_info.termination_reason == reason


@pytest.mark.parametrize("name", ["output_files", "resource_files", "multi_instance_settings"])
def test_unsupported_parts_of_a_task_are_refused_by_name(client: Client, job: str, name: str) -> None:
    """Output files, resource files and multi-instance tasks are a clear 400, never ignored."""
    wire = {"output_files": "outputFiles", "resource_files": "resourceFiles"}.get(
        name, "multiInstanceSettings"
    )
    body = task("t")
    body[wire] = [{"filePattern": "*"}] if name != "multi_instance_settings" else {"numberOfInstances": 2}
    with pytest.raises(HttpResponseError, match=wire) as refused:
        client.create_task(job, body)
    assert code_of(refused) == "UnsupportedByLocalService"


def test_tasks_share_a_node_up_to_its_slots(client: Client) -> None:
    """A node with three slots runs a task of two and one of one together, and keeps the next waiting."""
    pool_id = make_pool(client, target_dedicated_nodes=1, task_slots_per_node=3)
    job_id = make_job(client, pool_id)
    for name, slots in (("two", 2), ("one", 1), ("next", 1)):
        client.create_task(job_id, task(name, ENDLESS, required_slots=slots))
    for name in ("two", "one"):
        running(client, job_id, name)
    node = next(iter(client.list_nodes(pool_id)))
    assert (node.running_tasks_count, node.running_task_slots_count) == (2, 3)
    assert client.get_task(job_id, "next").state == "active"
    client.terminate_task(job_id, "one")
    running(client, job_id, "next")
    client.begin_delete_job(job_id)


def test_jobs_of_higher_priority_go_first(client: Client) -> None:
    """On one slot, tasks of the job with the higher priority start before those that were added earlier."""
    pool_id = make_pool(client, target_dedicated_nodes=0)
    low, high = make_job(client, pool_id), make_job(client, pool_id, priority=10)
    client.create_task(low, task("t"))
    client.create_task(high, task("t"))
    client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=1))
    first, second = completed(client, high, "t"), completed(client, low, "t")
    assert first.execution_info.end_time <= second.execution_info.start_time


def test_container_tasks_run_the_command_of_their_image(client: Client) -> None:
    """The image's command runs with the words of the task's command line after it, or without any."""
    pool_id = make_pool(client, containers=True, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    image = m.BatchTaskContainerSettings(image_name="registry.test/scorer:1.2@sha256:abc")
    for name, words in (("entry", ""), ("words", "a 'b c'")):
        client.create_task(
            job_id, m.BatchTaskCreateOptions(id=name, command_line=words, container_settings=image)
        )
    info = completed(client, job_id, "entry").execution_info
    assert info.container_info.container_id and info.container_info.state == "exited"
    assert text_of(client, job_id, "entry") == "entry point []\n"
    completed(client, job_id, "words")
    assert text_of(client, job_id, "words") == "entry point ['a', 'b c']\n"


def test_unknown_images_fail_before_the_task_runs(client: Client) -> None:
    """An image without a command is a failure without exit code or retry, and names the missing option."""
    pool_id = make_pool(client, containers=True, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    options = m.BatchTaskCreateOptions(
        id="t",
        command_line="",
        container_settings=m.BatchTaskContainerSettings(image_name="registry.test/other"),
        constraints=constraints(max_task_retry_count=2),
    )
    client.create_task(job_id, options)
    info = completed(client, job_id, "t").execution_info
    assert (info.exit_code, info.retry_count, info.failure_info.code) == (None, 0, "ContainerInvalidImage")
    assert "--image registry.test/other=" in info.failure_info.message


def test_container_settings_are_required_exactly_where_the_pool_runs_containers(
    client: Client, job: str
) -> None:
    """A task without an image on a container pool is refused, and so is one with an image elsewhere."""
    containers = make_job(client, make_pool(client, containers=True, target_dedicated_nodes=0))
    image = m.BatchTaskContainerSettings(image_name="x")
    for job_id, settings in ((containers, None), (job, image)):
        with pytest.raises(HttpResponseError, match="containerConfiguration") as refused:
            client.create_task(job_id, task("t", container_settings=settings))
        assert code_of(refused) == "InvalidPropertyValue"


def test_missing_properties_are_named(client: Client, job: str) -> None:
    """A task without a command line is 400 MissingRequiredProperty."""
    with pytest.raises(HttpResponseError, match="commandLine") as refused:
        client.create_task(job, {"id": "t"})
    assert code_of(refused) == "MissingRequiredProperty"
