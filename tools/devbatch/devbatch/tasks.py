"""Tasks: added, started, ended, repeated and removed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from devbatch.account import Account
from devbatch.durations import parse_duration
from devbatch.errors import ServiceError, conflict
from devbatch.fields import has_field
from devbatch.jobs import (
    disable_job,
    forget_files,
    refuse_ended,
    settle_job,
    stop_task,
    terminate_job,
)
from devbatch.nodes import release_task
from devbatch.properties import accept_properties
from devbatch.records import Execution, Failure, Job, Node, Pool, Task
from devbatch.rules import check_task
from devbatch.running import run_attempt
from devbatch.scheduling import Attempt, Complete, Requeue, Retry, after_attempt, exit_options
from devbatch.specs import TaskConstraints, TaskReplacement, TaskSpec, read_spec

COLLECTION_LIMIT: Final = 100
_RETENTION_S: Final = 7 * 86_400.0


def add_task(account: Account, job: Job, body: dict[str, Any]) -> Task:
    """Adds a task. Raises ServiceError: 400, 409 TaskExists, 409 for a job that has ended."""
    refuse_ended(job)
    body = accept_properties(body, TaskSpec)
    spec = read_spec(body, TaskSpec)
    pool = account.pool_of(job)
    check_task(spec, job.spec, pool.spec if pool is not None else None)
    if spec.id.lower() in job.tasks:
        raise conflict("TaskExists", f"The specified task {spec.id!r} already exists.")
    task = Task(body, spec, job)
    job.tasks[spec.id.lower()] = task
    job.waiting[spec.id.lower()] = task
    account.wake()
    return task


def add_collection(account: Account, job: Job, bodies: list[dict[str, Any]]) -> list[Task | ServiceError]:
    """Adds up to 100 tasks, each on its own: the task, or why it was not added, in the order given."""
    refuse_ended(job)
    if len(bodies) > COLLECTION_LIMIT:
        raise ServiceError(
            400,
            "InvalidRequestBody",
            f"A collection has at most {COLLECTION_LIMIT} tasks; this one has {len(bodies)}.",
        )
    results: list[Task | ServiceError] = []
    for body in bodies:
        try:
            results.append(add_task(account, job, body))
        except ServiceError as error:
            results.append(error)
    return results


def replace_constraints(task: Task, body: Mapping[str, Any]) -> None:
    """Replaces a task's constraints (PUT): what is not given goes back to its default.

    The other properties of a task, which a client sends back as it read them, change nothing. Raises
    ServiceError (400) for a property that tasks do not have.
    """
    given = {
        name: value for name, value in body.items() if name == "constraints" or not has_field("tasks", name)
    }
    changed = task.body | {"constraints": {}} | accept_properties(given, TaskReplacement)
    task.spec = read_spec(changed, TaskSpec)
    task.body = changed
    task.stamps.touch()


def terminate_task(account: Account, task: Task) -> None:
    """Ends a waiting or running task as a failure; raises ServiceError (409) TaskCompleted."""
    if task.state == "completed":
        raise conflict("TaskCompleted", f"The task {task.spec.id} is already completed.")
    if task.state == "running":
        stop_task(task, "terminated")
    else:
        ended = Failure("usererror", "TaskEnded", "Task was ended by user request.")
        _complete(account, task, Complete(None, ended))


def reactivate_task(account: Account, task: Task) -> None:
    """Makes a failed task active again with all its retries; raises ServiceError (409) for any other."""
    refuse_ended(task.job)
    if task.state != "completed":
        raise conflict(
            "TaskNotCompleted", f"The task {task.spec.id} is {task.state}; only a failed one restarts."
        )
    if task.succeeded:
        raise conflict("TaskCompleted", f"The task {task.spec.id} has succeeded; only a failed one restarts.")
    task.retry_count = 0
    _wait_again(account, task)


def delete_task(account: Account, task: Task) -> None:
    """Removes a task from its job at once, and its files when it has stopped."""
    key = task.spec.id.lower()
    del task.job.tasks[key]
    task.job.waiting.pop(key, None)
    if task.state == "running":
        stop_task(task, "deleted")
    else:
        forget_files(task)
    settle_job(account, task.job)


def start_task(account: Account, task: Task, node: Node, pool: Pool) -> None:
    """Starts a waiting task on a node; its next state is set when the attempt has ended."""
    del task.job.waiting[task.spec.id.lower()]
    task.job.running.add(task)
    task.node, task.pool, task.ending = node, pool, None
    task.execution = Execution(started=account.clock.utc())
    task.stamps.enter("running")
    node.running.add(task)
    node.total_tasks_run += 1
    node.stamps.enter("running")
    account.attempts.create_task(_attempt(account, task, node, pool))


async def _attempt(account: Account, task: Task, node: Node, pool: Pool) -> None:
    attempt = await run_attempt(task, node, pool, account.settings, account.url)
    finish_attempt(account, task, node, pool, replace(attempt, ending=attempt.ending or task.ending))


def finish_attempt(account: Account, task: Task, node: Node, pool: Pool, attempt: Attempt) -> None:
    """Frees the node and moves the task to its next state: active again, or completed."""
    job = task.job
    job.running.discard(task)
    release_task(account, node, task)
    account.wake()
    if attempt.ending == "deleted":
        forget_files(task)
        settle_job(account, job)
        return
    match after_attempt(attempt, task.retry_count, max_retries(task)):
        case Requeue():
            task.requeue_count += 1
            task.last_requeue = account.clock.utc()
            _wait_again(account, task)
            settle_job(account, job)
        case Retry():
            task.retry_count += 1
            task.last_retry = account.clock.utc()
            _wait_again(account, task)
            settle_job(account, job)
        case Complete() as completed:
            node.total_tasks_succeeded += completed.failure is None
            pool.succeeded_count += completed.failure is None
            pool.failed_count += completed.failure is not None
            _complete(account, task, completed)


def max_retries(task: Task) -> int:
    """The task's own retry limit, else the job's."""
    own = task.spec.constraints.max_task_retry_count
    return task.job.spec.constraints.max_task_retry_count if own is None else own


def is_ready(task: Task) -> bool:
    """Whether every task that a waiting task depends on has ended in a way that satisfies it."""
    depends = task.spec.depends_on
    if depends is None:
        return True
    if not all(_satisfies(task.job, task_id) for task_id in depends.task_ids):
        return False
    return all(
        _satisfies(task.job, str(number))
        for span in depends.task_id_ranges
        for number in range(span.start, span.end + 1)
    )


def _satisfies(job: Job, task_id: str) -> bool:
    task = job.tasks.get(task_id.lower())
    if task is None or task.state != "completed":
        return False
    completed = Complete(task.execution.exit_code, task.execution.failure)
    return exit_options(task.spec, completed).dependency_action == "satisfy"


def _wait_again(account: Account, task: Task) -> None:
    task.execution = Execution()
    task.node = None
    task.stamps.enter("active")
    task.job.waiting[task.spec.id.lower()] = task
    account.wake()


def _complete(account: Account, task: Task, completed: Complete) -> None:
    task.job.waiting.pop(task.spec.id.lower(), None)
    task.execution.ended = account.clock.utc()
    task.execution.exit_code, task.execution.failure = completed.exit_code, completed.failure
    task.stamps.enter("completed")
    _retain_files(account, task, task.spec.constraints)
    _act_on_job(account, task, completed)
    settle_job(account, task.job)
    account.wake()


def _retain_files(account: Account, task: Task, constraints: TaskConstraints) -> None:
    if task.directory is None:
        return
    given = constraints.retention_time
    seconds = _RETENTION_S if given is None else parse_duration(given, "constraints.retentionTime")
    if seconds is not None:
        account.retain(task.directory, seconds)


def _act_on_job(account: Account, task: Task, completed: Complete) -> None:
    """Applies the exit options to the job, where the job acts on them."""
    job = task.job
    if job.spec.on_task_failure != "performexitoptionsjobaction" or job.state != "active":
        return
    action = exit_options(task.spec, completed).job_action
    if action == "terminate":
        terminate_job(account, job, "TaskFailed")
    elif action == "disable":
        disable_job(account, job, "requeue")
