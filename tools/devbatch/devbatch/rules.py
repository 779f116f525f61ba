"""The rules that the service checks before it accepts a pool, a job or a task; pure."""

import re
from typing import Final

from devbatch.durations import parse_duration
from devbatch.errors import ServiceError, invalid_property
from devbatch.specs import JobSpec, PoolSpec, TaskSpec

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEPENDENCIES_LIMIT_CHARACTERS: Final = 64_000
_VM_SIZE: Final = re.compile(r"(?:standard|basic)_[a-z]+\d+[a-z0-9_-]*", re.IGNORECASE)
_INT32_MAX: Final = 2**31 - 1
RETIRED_AGENTS: Final = frozenset(f"batch.node.ubuntu {release}" for release in ("16.04", "18.04", "20.04"))


def check_id(identifier: str) -> None:
    """Raises ServiceError (400) unless the id has 1 to 64 letters, digits, hyphens and underscores."""
    if _ID.fullmatch(identifier) is None:
        raise invalid_property(
            "id", identifier, "an id has 1 to 64 characters: letters, digits, hyphens and underscores"
        )


def check_job(job: JobSpec) -> None:
    """Raises ServiceError (400) for what the service does not accept in a job. Its pool need not exist."""
    check_id(job.id)
    if job.pool_info.pool_id is None:
        raise ServiceError(
            400,
            "MissingRequiredProperty",
            "A job names the pool that it runs on.",
            {"PropertyName": "poolInfo.poolId"},
        )
    if not -1000 <= job.priority <= 1000:
        raise invalid_property("priority", job.priority, "a priority lies between -1000 and 1000")
    _check_duration(job.constraints.max_wall_clock_time, "constraints.maxWallClockTime")
    _check_retries(job.constraints.max_task_retry_count)


def check_task(task: TaskSpec, job: JobSpec, pool: PoolSpec | None) -> None:
    """Raises ServiceError (400) for what the service does not accept in a task of this job."""
    check_id(task.id)
    _check_duration(task.constraints.max_wall_clock_time, "constraints.maxWallClockTime")
    _check_duration(task.constraints.retention_time, "constraints.retentionTime")
    _check_retries(task.constraints.max_task_retry_count or 0)
    if task.required_slots < 1:
        raise invalid_property("requiredSlots", task.required_slots, "a task takes at least one slot")
    _check_dependencies(task, job)
    _check_exit_conditions(task, job)
    if task.container_settings is None and not task.command_line.strip():
        raise invalid_property("commandLine", "", "only a container task may leave it to the entry point")
    if pool is not None and pool.runs_containers != (task.container_settings is not None):
        expected = "must be set, for" if pool.runs_containers else "must not be set, for"
        raise invalid_property(
            "containerSettings",
            task.container_settings and task.container_settings.image_name,
            f"it {expected} pool {pool.id} has {'a' if pool.runs_containers else 'no'} containerConfiguration",
        )


def _check_dependencies(task: TaskSpec, job: JobSpec) -> None:
    if task.depends_on is None:
        return
    if not job.uses_task_dependencies:
        raise ServiceError(
            400,
            "TaskDependenciesNotSpecifiedOnJob",
            "The task depends on others, but the job does not set usesTaskDependencies.",
        )
    if sum(map(len, task.depends_on.task_ids)) > _DEPENDENCIES_LIMIT_CHARACTERS:
        raise ServiceError(
            400,
            "TaskDependencyListTooLong",
            f"The ids in dependsOn exceed {_DEPENDENCIES_LIMIT_CHARACTERS} characters; use ranges.",
        )


def _check_exit_conditions(task: TaskSpec, job: JobSpec) -> None:
    if task.exit_conditions is None or job.on_task_failure != "noaction":
        return
    actions = [options.job_action for options in task.exit_conditions.options() if options.job_action]
    if actions:
        raise invalid_property(
            "exitConditions", actions[0], "a jobAction needs a job whose onTaskFailure is not noaction"
        )


def check_pool(pool: PoolSpec) -> None:
    """Raises ServiceError (400) for what the service does not accept in a pool."""
    check_id(pool.id)
    if _VM_SIZE.fullmatch(pool.vm_size) is None:
        raise invalid_property("vmSize", pool.vm_size, "a size such as Standard_D4ads_v5 is expected")
    agent = pool.virtual_machine_configuration.node_agent_sku_id
    if agent in RETIRED_AGENTS:
        raise invalid_property("nodeAgentSKUId", agent, "the service supports this node agent no more")
    if not 1 <= pool.task_slots_per_node <= min(256, 4 * cores_of(pool.vm_size)):
        raise invalid_property(
            "taskSlotsPerNode",
            pool.task_slots_per_node,
            f"{pool.vm_size} takes 1 to {min(256, 4 * cores_of(pool.vm_size))} slots, four per core",
        )
    targets = (pool.target_dedicated_nodes, pool.target_low_priority_nodes)
    if pool.enable_auto_scale and targets != (None, None):
        raise invalid_property("targetDedicatedNodes", targets, "a pool that scales itself has no targets")
    if pool.enable_auto_scale and not pool.auto_scale_formula:
        raise ServiceError(
            400,
            "MissingRequiredProperty",
            "enableAutoScale needs autoScaleFormula.",
            {"PropertyName": "autoScaleFormula"},
        )
    for count in targets:
        check_node_count(count or 0)
    if pool.auto_scale_evaluation_interval is not None:
        read_interval(pool.auto_scale_evaluation_interval)


def check_node_count(count: int) -> None:
    """Raises ServiceError (400) for a number of nodes that is negative or beyond 32 bits."""
    if not 0 <= count <= _INT32_MAX:
        raise invalid_property(
            "targetDedicatedNodes", count, f"a number of nodes is not negative, and at most {_INT32_MAX}"
        )


def read_interval(text: str) -> float:
    """Seconds of an autoscale evaluation interval.

    Raises ServiceError (400) outside 5 minutes to 168 hours.
    """
    seconds = parse_duration(text, "autoScaleEvaluationInterval")
    if seconds is None or not 300 <= seconds <= 168 * 3600:
        raise invalid_property(
            "autoScaleEvaluationInterval", text, "an interval lies between 5 minutes and 168 hours"
        )
    return seconds


def cores_of(vm_size: str) -> int:
    """The number of cores in a size's name: `Standard_D4ads_v5` has 4.

    A name without a number counts as 1.
    """
    match = re.search(r"_[A-Z]+(\d+)", vm_size, re.IGNORECASE)
    return max(1, int(match[1])) if match else 1


def _check_duration(text: str | None, name: str) -> None:
    if text is not None:
        parse_duration(text, name)


def _check_retries(count: int) -> None:
    if count < -1:
        raise invalid_property("maxTaskRetryCount", count, "a retry count is -1 (no limit), 0 or more")
