"""Pools, nodes, jobs and tasks as the API writes them; without decisions."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from devbatch.account import Account, utc_text
from devbatch.durations import NO_LIMIT
from devbatch.errors import ServiceError
from devbatch.records import AutoscaleRun, Execution, Job, Node, Pool, Stamps, Task
from devbatch.tasks import max_retries

NODE_COUNT_STATES: Final[Mapping[str, str]] = {
    "creating": "creating",
    "idle": "idle",
    "offline": "offline",
    "preempted": "preempted",
    "rebooting": "rebooting",
    "reimaging": "reimaging",
    "running": "running",
    "starting": "starting",
    "startTaskFailed": "starttaskfailed",
    "leavingPool": "leavingpool",
    "unknown": "unknown",
    "unusable": "unusable",
    "waitingForStartTask": "waitingforstarttask",
    "deallocated": "deallocated",
    "deallocating": "deallocating",
    "upgradingOS": "upgradingos",
}


def error_shape(error: ServiceError) -> dict[str, Any]:
    """The part of an error body that also stands inside the answer for a task of a collection."""
    values = [{"key": key, "value": value} for key, value in error.details.items()]
    return {"code": error.code, "message": {"lang": "en-US", "value": error.message}, "values": values}


def pool_shape(account: Account, pool: Pool) -> dict[str, Any]:
    """A pool as GET answers it."""
    scaling = pool.autoscale
    changed: dict[str, Any] = {
        "taskSlotsPerNode": pool.spec.task_slots_per_node,
        "enableAutoScale": scaling is not None,
        "currentDedicatedNodes": pool.count(dedicated=True),
        "currentLowPriorityNodes": pool.count(dedicated=False),
        "targetDedicatedNodes": pool.target_dedicated,
        "targetLowPriorityNodes": pool.target_spot,
        "allocationState": pool.allocation.state,
        "allocationStateTransitionTime": utc_text(pool.allocation.since),
        "resizeErrors": [
            {"code": error.code, "message": error.message, "values": []} for error in pool.resize_errors
        ]
        or None,
        "autoScaleFormula": scaling and scaling.formula,
        "autoScaleRun": scaling and scaling.latest and autoscale_shape(scaling.latest),
        "resizeTimeout": pool.spec.resize_timeout or "PT15M",
    }
    return _without_none(
        pool.body | {"url": f"{account.url}/pools/{pool.id}"} | _stamped(pool.stamps) | changed
    )


def autoscale_shape(run: AutoscaleRun) -> dict[str, Any]:
    """The outcome of a formula's evaluation."""
    error: dict[str, Any] | None = None
    if run.error_code is not None:
        error = {"code": run.error_code, "message": run.error_message, "values": []}
    return _without_none({"timestamp": utc_text(run.timestamp), "results": run.results, "error": error})


def node_shape(account: Account, pool: Pool, node: Node) -> dict[str, Any]:
    """A node as GET answers it."""
    return _without_none(
        {
            "id": node.id,
            "url": f"{account.url}/pools/{pool.id}/nodes/{node.id}",
            "state": node.state,
            "schedulingState": "enabled" if node.is_schedulable else "disabled",
            "stateTransitionTime": utc_text(node.stamps.since),
            "allocationTime": utc_text(node.stamps.created),
            "lastBootTime": _time(node.booted),
            "ipAddress": "127.0.0.1",
            "affinityId": f"TVM:{node.id}",
            "vmSize": pool.spec.vm_size,
            "isDedicated": node.is_dedicated,
            "nodeAgentInfo": node.booted and {"version": "devbatch", "lastUpdateTime": utc_text(node.booted)},
            "totalTasksRun": node.total_tasks_run,
            "totalTasksSucceeded": node.total_tasks_succeeded,
            "runningTasksCount": len(node.running),
            "runningTaskSlotsCount": sum(task.spec.required_slots for task in node.running),
            "recentTasks": [_recent_shape(account, task) for task in (*node.recent_tasks, *node.running)],
        }
    )


def node_counts_shape(pool: Pool) -> dict[str, Any]:
    """The nodes of a pool by state, dedicated and Spot apart."""

    def counts(dedicated: bool) -> dict[str, int]:
        states = [node.state for node in pool.nodes.values() if node.is_dedicated == dedicated]
        by_state = {name: states.count(state) for name, state in NODE_COUNT_STATES.items()}
        return by_state | {"total": len(states)}

    return {"poolId": pool.id, "dedicated": counts(True), "lowPriority": counts(False)}


def job_shape(account: Account, job: Job) -> dict[str, Any]:
    """A job as GET answers it."""
    constraints = {"maxWallClockTime": NO_LIMIT, "maxTaskRetryCount": 0} | (job.body.get("constraints") or {})
    execution = {
        "startTime": utc_text(job.stamps.created),
        "endTime": _time(job.ended),
        "poolId": job.spec.pool_info.pool_id,
        "terminateReason": job.terminate_reason,
    }
    defaults = {
        "priority": 0,
        "usesTaskDependencies": False,
        "onAllTasksComplete": "noaction",
        "onTaskFailure": "noaction",
    }
    changed = {
        "url": f"{account.url}/jobs/{job.spec.id}",
        "constraints": constraints,
        "executionInfo": _without_none(execution),
    }
    return defaults | job.body | _stamped(job.stamps) | changed


def task_shape(account: Account, task: Task) -> dict[str, Any]:
    """A task as GET answers it."""
    constraints = {
        "maxWallClockTime": NO_LIMIT,
        "retentionTime": "P7D",
        "maxTaskRetryCount": max_retries(task),
    }
    changed = {
        "url": task_url(account, task),
        "requiredSlots": task.spec.required_slots,
        "constraints": constraints | (task.body.get("constraints") or {}),
        "executionInfo": execution_shape(task),
        "nodeInfo": _node_info(account, task),
    }
    return _without_none(task.body | _stamped(task.stamps) | changed)


def task_url(account: Account, task: Task) -> str:
    """Where a task is found."""
    return f"{account.url}/jobs/{task.job.spec.id}/tasks/{task.spec.id}"


def execution_shape(task: Task) -> dict[str, Any]:
    """What is known of a task's runs."""
    execution = task.execution
    result = None
    if task.state == "completed":
        result = "success" if execution.failure is None else "failure"
    return _without_none(
        {
            "startTime": _time(execution.started),
            "endTime": _time(execution.ended),
            "exitCode": execution.exit_code,
            "containerInfo": _container_info(task, execution),
            "failureInfo": _failure_info(execution),
            "retryCount": task.retry_count,
            "lastRetryTime": _time(task.last_retry),
            "requeueCount": task.requeue_count,
            "lastRequeueTime": _time(task.last_requeue),
            "result": result,
        }
    )


def task_counts_shape(job: Job) -> dict[str, Any]:
    """How many tasks of a job, and how many slots, are active, running and completed."""
    completed = [task for task in job.tasks.values() if task.state == "completed"]
    groups: dict[str, Collection[Task]] = {
        "active": job.waiting.values(),
        "running": job.running,
        "completed": completed,
        "succeeded": [task for task in completed if task.succeeded],
        "failed": [task for task in completed if not task.succeeded],
    }
    return {
        "taskCounts": {name: len(tasks) for name, tasks in groups.items()},
        "taskSlotCounts": {
            name: sum(task.spec.required_slots for task in tasks) for name, tasks in groups.items()
        },
    }


def _stamped(stamps: Stamps) -> dict[str, Any]:
    return _without_none(
        {
            "eTag": stamps.etag,
            "lastModified": utc_text(stamps.modified),
            "creationTime": utc_text(stamps.created),
            "state": stamps.state,
            "stateTransitionTime": utc_text(stamps.since),
            "previousState": stamps.previous_state,
            "previousStateTransitionTime": _time(stamps.previous_since),
        }
    )


def _node_info(account: Account, task: Task) -> dict[str, Any] | None:
    if task.node is None or task.pool is None:
        return None
    url = f"{account.url}/pools/{task.pool.id}/nodes/{task.node.id}"
    root = f"workitems/{task.job.spec.id}/job-1/{task.spec.id}"
    return {
        "affinityId": f"TVM:{task.node.id}",
        "nodeUrl": url,
        "poolId": task.pool.id,
        "nodeId": task.node.id,
        "taskRootDirectory": root,
        "taskRootDirectoryUrl": f"{url}/files/{root}",
    }


def _container_info(task: Task, execution: Execution) -> dict[str, Any] | None:
    if execution.container_id is None:
        return None
    state = "running" if task.state == "running" else "exited"
    return {"containerId": execution.container_id, "state": state, "error": ""}


def _failure_info(execution: Execution) -> dict[str, Any] | None:
    failure = execution.failure
    if failure is None:
        return None
    details = [{"name": "Message", "value": failure.message}]
    return {
        "category": failure.category,
        "code": failure.code,
        "message": failure.message,
        "details": details,
    }


def _recent_shape(account: Account, task: Task) -> dict[str, Any]:
    return {
        "taskUrl": task_url(account, task),
        "jobId": task.job.spec.id,
        "taskId": task.spec.id,
        "taskState": task.state,
        "executionInfo": execution_shape(task),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
