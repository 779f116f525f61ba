"""Typed views of request bodies, with every property that the service's types have.

The body as accepted is kept beside the view and echoed on reads, so properties that do not matter here
survive a round trip. `UNSUPPORTED` names the properties that exist and are not carried out.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, TypeVar

import msgspec

from devbatch.errors import ServiceError, invalid_property
from devbatch.properties import accept_properties

_MISSING: Final = re.compile(r"missing required field `(?P<name>[^`]+)`")
_AT: Final = re.compile(r"at `\$\.?(?P<path>[^`]*)`")

JobAction = Literal["none", "disable", "terminate"]
DeallocationOption = Literal["requeue", "terminate", "taskcompletion"]


_UNSUPPORTED_OF_JOBS: Final = {
    "jobManagerTask": "Add tasks from the client.",
    "jobPreparationTask": "Prepare inside the tasks.",
    "jobReleaseTask": "Clean up inside the tasks.",
    "maxParallelTasks": "It needs enablement by support in the real service; size the pool instead.",
    "allowTaskPreemption": "It needs enablement by support in the real service; use job priorities.",
    "networkConfiguration": "Tasks use the network of this machine.",
}
_UNSUPPORTED_OF_POOLS: Final = {
    "startTask": "Give nodes what they need with --image and --env.",
    "mountConfiguration": "Give nodes what they need with --image and --env.",
    "applicationPackageReferences": "Use a container image.",
    "networkConfiguration": "Tasks use the network of this machine.",
    "enableInterNodeCommunication": "All nodes are this machine.",
    "userAccounts": "Use autoUser: the local service has no user accounts.",
    "upgradePolicy": "Nodes are never upgraded here.",
}


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """Base of the typed views."""

    UNSUPPORTED: ClassVar[Mapping[str, str]] = {}


class EnvironmentSetting(Spec, frozen=True):
    """One environment variable."""

    name: str
    value: str = ""


class Metadata(Spec, frozen=True):
    """One name and value that the service stores without using it."""

    name: str
    value: str


class ContainerSettings(Spec, frozen=True):
    """The image that a task runs in.

    There is no container here, so all but the name is kept and not carried out.
    """

    image_name: str
    container_run_options: str | None = None
    registry: dict[str, Any] | None = None
    working_directory: Literal["taskWorkingDirectory", "containerImageDefault"] | None = None
    container_host_batch_bind_mounts: list[dict[str, Any]] = []


class AutoUser(Spec, frozen=True):
    """The user that the service makes for a task."""

    scope: Literal["task", "pool"] | None = None
    elevation_level: Literal["nonadmin", "admin"] | None = None


class UserIdentity(Spec, frozen=True):
    """The user that a task runs as."""

    UNSUPPORTED = {"username": "Use autoUser: the local service has no user accounts."}

    auto_user: AutoUser | None = None


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
    """The effect of a task's end on the job and on dependent tasks."""

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

    UNSUPPORTED = {
        "outputFiles": "Let the task upload its own files.",
        "resourceFiles": "Let the task read its input itself.",
        "multiInstanceSettings": "Use one task per process.",
        "applicationPackageReferences": "Use a container image.",
        "affinityInfo": "Let the service choose the node.",
    }

    id: str
    command_line: str
    display_name: str | None = None
    user_identity: UserIdentity | None = None
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

    UNSUPPORTED = {"autoPoolSpecification": "Create a pool and name it in poolInfo.poolId."}

    pool_id: str | None = None


class JobSpec(Spec, frozen=True):
    """A job as a client describes it."""

    UNSUPPORTED = _UNSUPPORTED_OF_JOBS

    id: str
    pool_info: PoolInfo
    display_name: str | None = None
    priority: int = 0
    uses_task_dependencies: bool = False
    constraints: JobConstraints = JobConstraints()
    common_environment_settings: list[EnvironmentSetting] = []
    on_all_tasks_complete: Literal["noaction", "terminatejob"] = "noaction"
    on_task_failure: Literal["noaction", "performexitoptionsjobaction"] = "noaction"
    metadata: list[Metadata] = []


class JobPatch(Spec, frozen=True):
    """What may be changed of a job."""

    UNSUPPORTED = {
        name: _UNSUPPORTED_OF_JOBS[name]
        for name in ("maxParallelTasks", "allowTaskPreemption", "networkConfiguration")
    }

    priority: int | None = None
    constraints: JobConstraints | None = None
    pool_info: PoolInfo | None = None
    on_all_tasks_complete: Literal["noaction", "terminatejob"] | None = None
    metadata: list[Metadata] | None = None


class ImageReference(Spec, frozen=True):
    """The image of a pool's nodes: of the marketplace, or one's own."""

    publisher: str | None = None
    offer: str | None = None
    sku: str | None = None
    version: str | None = None
    virtual_machine_image_id: str | None = None
    shared_gallery_image_id: str | None = None
    community_gallery_image_id: str | None = None


class ContainerConfiguration(Spec, frozen=True):
    """Says that a pool runs containers; images are not fetched here."""

    type: str
    container_image_names: list[str] = []
    container_registries: list[dict[str, Any]] = []


class MachineConfiguration(Spec, frozen=True):
    """A pool's machine configuration; what does not change what a task sees is kept and not carried out."""

    UNSUPPORTED = {
        "dataDisks": "Tasks see the disks of this machine.",
        "diskEncryptionConfiguration": "Tasks see the disks of this machine.",
        "extensions": "Give nodes what they need with --image and --env.",
        "windowsConfiguration": "Tasks are processes of this machine.",
    }

    image_reference: ImageReference
    node_agent_sku_id: str = msgspec.field(name="nodeAgentSKUId")
    container_configuration: ContainerConfiguration | None = None
    os_disk: dict[str, Any] | None = None
    license_type: str | None = None
    node_placement_configuration: dict[str, Any] | None = None
    security_profile: dict[str, Any] | None = None
    service_artifact_reference: dict[str, Any] | None = None


class SchedulingPolicy(Spec, frozen=True):
    """How tasks are laid on nodes."""

    node_fill_type: Literal["spread", "pack", "Spread", "Pack"] = "spread"


class PoolSpec(Spec, frozen=True):
    """A pool as a client describes it."""

    UNSUPPORTED = _UNSUPPORTED_OF_POOLS

    id: str
    vm_size: str
    virtual_machine_configuration: MachineConfiguration
    display_name: str | None = None
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


class PoolPatch(Spec, frozen=True):
    """What may be changed of a pool."""

    UNSUPPORTED = {
        **_UNSUPPORTED_OF_POOLS,
        "virtualMachineConfiguration": "Delete the pool and create it anew.",
    }

    display_name: str | None = None
    vm_size: str | None = None
    task_slots_per_node: int | None = None
    task_scheduling_policy: SchedulingPolicy | None = None
    metadata: list[Metadata] | None = None


class ResizeSpec(Spec, frozen=True):
    """New targets of a pool; one that is not given stays."""

    target_dedicated_nodes: int | None = None
    target_low_priority_nodes: int | None = None
    resize_timeout: str | None = None
    node_deallocation_option: DeallocationOption = "requeue"


class RemoveSpec(Spec, frozen=True):
    """Nodes to remove, by id."""

    node_list: list[str]
    resize_timeout: str | None = None
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


class TaskReplacement(Spec, frozen=True):
    """What a task's replacement may change."""

    constraints: TaskConstraints = TaskConstraints()


class DisableSpec(Spec, frozen=True):
    """What happens to the running tasks of a job that is disabled."""

    disable_tasks: Literal["requeue", "terminate", "wait"]


S = TypeVar("S", bound=Spec)


def read_spec(body: Mapping[str, Any], kind: type[S]) -> S:
    """The typed view of a body, checked by name and type.

    Raises ServiceError (400): InvalidRequestBody, MissingRequiredProperty, InvalidPropertyValue, or
    UnsupportedByLocalService.
    """
    try:
        return msgspec.convert(accept_properties(body, kind), kind)
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
