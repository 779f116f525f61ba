"""Which properties the resources that are listed have: what `$filter` and `$select` may name."""

from collections.abc import Mapping
from typing import Final

from devbatch.properties import property_names
from devbatch.specs import JobConstraints, JobSpec, PoolInfo, PoolSpec, TaskConstraints, TaskSpec

_STAMPED: Final = frozenset(
    {
        "url",
        "eTag",
        "lastModified",
        "creationTime",
        "state",
        "stateTransitionTime",
        "previousState",
        "previousStateTransitionTime",
        "stats",
    }
)
_POOL: Final = _STAMPED | {
    "allocationState",
    "allocationStateTransitionTime",
    "autoScaleRun",
    "currentDedicatedNodes",
    "currentLowPriorityNodes",
    "identity",
    "resizeErrors",
}
_NODE: Final = frozenset(
    {
        "affinityId",
        "allocationTime",
        "endpointConfiguration",
        "errors",
        "id",
        "ipAddress",
        "ipv6Address",
        "isDedicated",
        "lastBootTime",
        "nodeAgentInfo",
        "recentTasks",
        "runningTaskSlotsCount",
        "runningTasksCount",
        "schedulingState",
        "startTask",
        "startTaskInfo",
        "state",
        "stateTransitionTime",
        "totalTasksRun",
        "totalTasksSucceeded",
        "url",
        "virtualMachineInfo",
        "vmSize",
    }
)
_JOB_EXECUTION: Final = frozenset({"startTime", "endTime", "poolId", "schedulingError", "terminateReason"})
_TASK_EXECUTION: Final = frozenset(
    {
        "startTime",
        "endTime",
        "exitCode",
        "containerInfo",
        "failureInfo",
        "retryCount",
        "lastRetryTime",
        "requeueCount",
        "lastRequeueTime",
        "result",
    }
)
_NODE_INFO: Final = frozenset(
    {"affinityId", "nodeUrl", "poolId", "nodeId", "taskRootDirectory", "taskRootDirectoryUrl"}
)
_FILE: Final = frozenset({"creationTime", "lastModified", "contentLength", "contentType", "fileMode"})

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "pools": _POOL | property_names(PoolSpec),
    "nodes": _NODE,
    "poolnodecounts": frozenset({"poolId", "dedicated", "lowPriority"}),
    "jobs": _STAMPED | property_names(JobSpec) | {"executionInfo"},
    "tasks": _STAMPED | property_names(TaskSpec) | {"executionInfo", "nodeInfo"},
    "taskcounts": frozenset({"taskCounts", "taskSlotCounts"}),
    "files": frozenset({"name", "url", "isDirectory", "properties"}),
}
#: What stands below a property, where a path into it is checked.
_BELOW: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("jobs", "executionInfo"): _JOB_EXECUTION,
    ("jobs", "poolInfo"): property_names(PoolInfo),
    ("jobs", "constraints"): property_names(JobConstraints),
    ("tasks", "executionInfo"): _TASK_EXECUTION,
    ("tasks", "nodeInfo"): _NODE_INFO,
    ("tasks", "constraints"): property_names(TaskConstraints),
    ("files", "properties"): _FILE,
}


def has_field(kind: str, path: str) -> bool:
    """Whether resources of a kind have the property that a path such as `executionInfo/exitCode` names."""
    first, _, below = path.partition("/")
    if first not in _FIELDS[kind]:
        return False
    known = _BELOW.get((kind, first))
    return not below or known is None or below.partition("/")[0] in known
