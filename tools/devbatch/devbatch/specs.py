"""What requests may say: typed views of request bodies, and the rules the service checks before it accepts them.

The body as sent is kept beside the view and echoed on reads, so fields that do not matter here survive a round trip.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from devbatch.durations import parse_duration
from devbatch.errors import ServiceError, invalid_property, unsupported

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEPENDENCIES_LIMIT_CHARACTERS: Final = 64_000
_MISSING: Final = re.compile(r"missing required field `(?P<name>[^`]+)`")
_AT: Final = re.compile(r"at `\$\.?(?P<path>[^`]*)`")

JobAction = Literal["none", "disable", "terminate"]
DeallocationOption = Literal["requeue", "terminate", "taskcompletion"]


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """Base of the typed views; unknown fields are left alone."""


class EnvironmentSetting(Spec, frozen=True):
    """One environment variable."""

    name: str
    value: str = ""


class Metadata(Spec, frozen=True):
    """One name and value that the service stores and does not read."""

    name: str
    value: str


class ContainerSettings(Spec, frozen=True):
    """The image that a task runs in."""

    image_name: str


class TaskConstraints(Spec, frozen=True):
    """Limits of one task; durations are ISO 8601 text."""

    max_wall_clock_time: str | None = None
    retention_time: str | None = None
    max_task_retry_count: int | None = None


class IdRange(Spec, frozen=True):
    """Whole-number task ids, both ends included."""

    start: int
    end: int


class Dependencies(Spec, frozen=True):
    """The tasks that must succeed before this one may run."""

    task_ids: list[str] = []
    task_id_ranges: list[IdRange] = []


class ExitOptions(Spec, frozen=True):
    """What a way of ending does to the job and to dependent tasks."""

    job_action: JobAction | None = None
    dependency_action: Literal["satisfy", "block"] | None = None


class ExitCode(Spec, frozen=True):
    """Exit options of one exit code."""

    code: int
    exit_options: ExitOptions


class ExitCodeRange(Spec, frozen=True):
    """Exit options of a range of exit codes, both ends included."""

    start: int
    end: int
    exit_options: ExitOptions


class ExitConditions(Spec, frozen=True):
    """Exit options by the way a task ended."""

    exit_codes: list[ExitCode] = []
    exit_code_ranges: list[ExitCodeRange] = []
    pre_processing_error: ExitOptions | None = None
    file_upload_error: ExitOptions | None = None
    default: ExitOptions | None = None

    def options(self) -> list[ExitOptions]:
        """Every set of exit options that is given."""
        single = (self.pre_processing_error, self.file_upload_error, self.default)
        codes = [entry.exit_options for entry in self.exit_codes]
        ranges = [entry.exit_options for entry in self.exit_code_ranges]
        return [*codes, *ranges, *(options for options in single if options is not None)]


class TaskSpec(Spec, frozen=True):
    """A task as a client describes it."""

    id: str
    command_line: str
    container_settings: ContainerSettings | None = None
    environment_settings: list[EnvironmentSetting] = []
    constraints: TaskConstraints = TaskConstraints()
    required_slots: int = 1
    depends_on: Dependencies | None = None
    exit_conditions: ExitConditions | None = None


class JobConstraints(Spec, frozen=True):
    """Limits of one job, and the default retry count of its tasks."""

    max_wall_clock_time: str | None = None
    max_task_retry_count: int = 0


class PoolInfo(Spec, frozen=True):
    """Where a job's tasks run."""

    pool_id: str | None = None


class JobSpec(Spec, frozen=True):
    """A job as a client describes it."""

    id: str
    pool_info: PoolInfo
    priority: int = 0
    uses_task_dependencies: bool = False
    constraints: JobConstraints = JobConstraints()
    common_environment_settings: list[EnvironmentSetting] = []
    on_all_tasks_complete: Literal["noaction", "terminatejob"] = "noaction"
    on_task_failure: Literal["noaction", "performexitoptionsjobaction"] = "noaction"
    metadata: list[Metadata] = []


class MachineConfiguration(Spec, frozen=True):
    """The part of a pool's machine configuration that matters: whether it runs containers."""

    container_configuration: dict[str, Any] | None = None


class SchedulingPolicy(Spec, frozen=True):
    """How tasks are laid on nodes."""

    node_fill_type: Literal["spread", "pack", "Spread", "Pack"] = "spread"


class PoolSpec(Spec, frozen=True):
    """A pool as a client describes it."""

    id: str
    vm_size: str
    virtual_machine_configuration: MachineConfiguration = MachineConfiguration()
    task_slots_per_node: int = 1
    target_dedicated_nodes: int | None = None
    target_low_priority_nodes: int | None = None
    enable_auto_scale: bool = False
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None
    resize_timeout: str | None = None
    task_scheduling_policy: SchedulingPolicy = SchedulingPolicy()
    metadata: list[Metadata] = []

    @property
    def runs_containers(self) -> bool:
        """Whether tasks of this pool must name an image."""
        return self.virtual_machine_configuration.container_configuration is not None


class ResizeSpec(Spec, frozen=True):
    """New targets of a pool; one that is not given stays."""

    target_dedicated_nodes: int | None = None
    target_low_priority_nodes: int | None = None
    node_deallocation_option: DeallocationOption = "requeue"


class RemoveSpec(Spec, frozen=True):
    """Nodes to remove, by id."""

    node_list: list[str]
    node_deallocation_option: DeallocationOption = "requeue"


class EnableAutoscaleSpec(Spec, frozen=True):
    """A formula and an interval; what is not given stays."""

    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None


class EvaluateSpec(Spec, frozen=True):
    """A formula to try."""

    auto_scale_formula: str


class TerminateSpec(Spec, frozen=True):
    """Why a job is terminated."""

    terminate_reason: str | None = None


class DisableSpec(Spec, frozen=True):
    """What becomes of the running tasks of a job that is disabled."""

    disable_tasks: Literal["requeue", "terminate", "wait"]


_UNSUPPORTED: Final[Mapping[type, Mapping[str, str]]] = {
    TaskSpec: {
        "outputFiles": "Let the task upload its own files.",
        "resourceFiles": "Let the task read its input itself.",
        "multiInstanceSettings": "Use one task per process.",
        "applicationPackageReferences": "Use a container image.",
    },
    JobSpec: {
        "jobManagerTask": "Add tasks from the client.",
        "jobPreparationTask": "Prepare inside the tasks.",
        "jobReleaseTask": "Clean up inside the tasks.",
        "maxParallelTasks": "It needs enablement by support in the real service; size the pool instead.",
        "allowTaskPreemption": "It needs enablement by support in the real service; use job priorities.",
    },
    PoolSpec: {
        "startTask": "Give nodes what they need with --image and --env.",
        "mountConfiguration": "Give nodes what they need with --image and --env.",
        "applicationPackageReferences": "Use a container image.",
    },
}

S = TypeVar("S", bound=Spec)


def read_spec(body: Mapping[str, Any], kind: type[S]) -> S:
    """The typed view of a body, checked by type.

    Raises ServiceError (400): MissingRequiredProperty, InvalidPropertyValue, or UnsupportedByLocalService.
    """
    for name, instead in _UNSUPPORTED.get(kind, {}).items():
        if body.get(name) not in (None, [], False, -1):
            raise unsupported(name, instead)
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error


def _refusal(problem: str) -> ServiceError:
    if missing := _MISSING.search(problem):
        return ServiceError(
            400,
            "MissingRequiredProperty",
            f"A required property was not specified in the request body: {problem}.",
            {"PropertyName": missing["name"]},
        )
    path = _AT.search(problem)
    return invalid_property(path["path"] if path else "body", "", problem)


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
        raise unsupported("poolInfo.autoPoolSpecification", "Create a pool and name it in poolInfo.poolId.")
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
    """Raises ServiceError (400) for a negative number of nodes."""
    if count < 0:
        raise invalid_property("targetDedicatedNodes", count, "a number of nodes is not negative")


def read_interval(text: str) -> float:
    """Seconds of an autoscale evaluation interval; raises ServiceError (400) outside 5 minutes to 168 hours."""
    seconds = parse_duration(text, "autoScaleEvaluationInterval")
    if seconds is None or not 300 <= seconds <= 168 * 3600:
        raise invalid_property(
            "autoScaleEvaluationInterval", text, "an interval lies between 5 minutes and 168 hours"
        )
    return seconds


def cores_of(vm_size: str) -> int:
    """The number of cores that a size's name tells: `Standard_D4ads_v5` has 4. Names without a number count 1."""
    match = re.search(r"_[A-Z]+(\d+)", vm_size, re.IGNORECASE)
    return max(1, int(match[1])) if match else 1


def _check_duration(text: str | None, name: str) -> None:
    if text is not None:
        parse_duration(text, name)


def _check_retries(count: int) -> None:
    if count < -1:
        raise invalid_property("maxTaskRetryCount", count, "a retry count is -1 (no limit), 0 or more")
