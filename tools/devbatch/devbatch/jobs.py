"""Jobs: created, changed, stopped and removed, and their changes of state when tasks end."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from devbatch.account import Account, remove_directory
from devbatch.durations import parse_duration
from devbatch.errors import conflict
from devbatch.properties import accept_properties
from devbatch.records import Ending, Job, Task
from devbatch.rules import check_job
from devbatch.running import kill_group
from devbatch.specs import JobPatch, JobSpec, read_spec

_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "terminating": ("JobBeingTerminated", "The job is being terminated."),
    "completed": ("JobCompleted", "The job is already in a completed state."),
    "deleting": ("JobBeingDeleted", "The job is being deleted."),
}


def create_job(account: Account, body: dict[str, Any]) -> Job:
    """Adds a job; its pool need not exist. Raises ServiceError: 400, 409 JobExists, 409 at the quota."""
    body = accept_properties(body, JobSpec)
    spec = read_spec(body, JobSpec)
    check_job(spec)
    if spec.id.lower() in account.jobs:
        raise conflict("JobExists", f"The specified job {spec.id!r} already exists.")
    active = sum(job.state != "completed" for job in account.jobs.values())
    if account.quota.active_jobs is not None and active >= account.quota.active_jobs:
        raise conflict(
            "ActiveJobAndScheduleQuotaReached",
            f"The account has {active} active jobs and may have {account.quota.active_jobs}.",
        )
    job = Job(body, spec, account.clock.wall_s(), _limit_s(spec))
    account.jobs[spec.id.lower()] = job
    settle_job(account, job)  # a job that ends with its tasks and has none ends at once
    account.wake()
    return job


def change_job(account: Account, job: Job, changes: Mapping[str, Any]) -> None:
    """Applies a PATCH.

    Raises ServiceError: 400 for a property that cannot be changed, 409 for an ended job.
    """
    refuse_ended(job)
    body = job.body | accept_properties(changes, JobPatch)
    spec = read_spec(body, JobSpec)
    check_job(spec)
    if spec.pool_info != job.spec.pool_info and job.state != "disabled":
        raise conflict("JobNotDisabled", "The pool of a job changes only while the job is disabled.")
    job.body, job.spec, job.limit_s = body, spec, _limit_s(spec)
    job.stamps.touch()
    settle_job(account, job)
    account.wake()


def terminate_job(account: Account, job: Job, reason: str) -> None:
    """Stops a job: running tasks fail, waiting ones stay active. Raises ServiceError (409)."""
    refuse_ended(job)
    job.terminate_reason = reason
    job.stamps.enter("terminating")
    stop_running(job, "terminated")
    settle_job(account, job)


def delete_job(account: Account, job: Job) -> None:
    """Removes a job, its tasks and their files, as soon as nothing of it runs."""
    if job.state == "deleting":
        raise conflict(*_REFUSALS["deleting"])
    job.stamps.enter("deleting")
    stop_running(job, "deleted")
    settle_job(account, job)


def disable_job(account: Account, job: Job, tasks: Literal["requeue", "terminate", "wait"]) -> None:
    """Disables a job: no task starts; running ones are requeued, ended, or finish."""
    refuse_ended(job)
    job.stamps.enter("disabling")
    if tasks != "wait":
        stop_running(job, "requeued" if tasks == "requeue" else "terminated")
    settle_job(account, job)


def enable_job(account: Account, job: Job) -> None:
    """Enables a disabled job: its tasks start again."""
    refuse_ended(job)
    job.stamps.enter("active")
    settle_job(account, job)
    account.wake()


def settle_job(account: Account, job: Job) -> None:
    """Moves a job to its next state where it is due; to be called whenever one of its tasks has ended."""
    if job.running:
        return
    if job.state == "disabling":
        job.stamps.enter("disabled")
    elif job.state == "deleting":
        account.jobs.pop(job.spec.id.lower(), None)
        for task in job.tasks.values():
            forget_files(task)
    elif job.state == "terminating":
        job.stamps.enter("completed")
        job.ended = account.clock.utc()
    elif job.state == "active" and job.spec.on_all_tasks_complete == "terminatejob" and not job.waiting:
        terminate_job(account, job, "AllTasksComplete")


def enforce_limit(account: Account, job: Job) -> None:
    """Terminates a job whose wall-clock limit is over."""
    if job.limit_s is None or job.state not in ("active", "disabling", "disabled"):
        return
    if account.clock.wall_s() - job.started_s >= job.limit_s:
        terminate_job(account, job, "MaxWallClockTimeExpiry")


def refuse_ended(job: Job) -> None:
    """Raises ServiceError (409) when the job is ending or has ended."""
    if job.state in _REFUSALS:
        raise conflict(*_REFUSALS[job.state])


def stop_running(job: Job, ending: Ending) -> None:
    """Stops every running task of the job."""
    for task in job.running:
        stop_task(task, ending)


def stop_task(task: Task, ending: Ending) -> None:
    """Kills a running attempt.

    The first reason is kept. The task's next state is set when its process has ended.
    """
    task.ending = task.ending or ending
    if task.process_group is not None:
        kill_group(task.process_group)


def forget_files(task: Task) -> None:
    """Removes the files of a task."""
    if task.directory is not None:
        remove_directory(task.directory)


def _limit_s(spec: JobSpec) -> float | None:
    text = spec.constraints.max_wall_clock_time
    return None if text is None else parse_duration(text, "constraints.maxWallClockTime")
