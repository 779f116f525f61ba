"""What becomes of offloaded shards without a commit: pure, from what the service and the workers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetscore.batch.interface import JobState, TaskState
from fleetscore.errors import StoreError
from fleetscore.settings import RunPolicy

ENDED = frozenset({"completed", "terminating", "deleting", "missing"})
"""States of a job that runs no task any more."""
_SETTLED = "Every shard is committed or given up."


@dataclass(frozen=True, slots=True)
class Check:
    """Where the offloaded shards stand: `reasons` says of those that will never be committed why; `open`
    ones are worth waiting for.
    """

    open: int
    reasons: Mapping[str, str]
    terminate: str = ""  # end the job, for this reason


def decide(
    missing: Sequence[int],
    over: Mapping[int, TaskState],
    given_up: Mapping[int, str],
    job: JobState,
    problems: Sequence[str],
    policy: RunPolicy,
    waited_s: float,
    cancelled: bool,
) -> Check:
    """What becomes of shards without a commit: pure, from what the service and the workers say."""
    reasons = {str(shard): _describe(over[shard], policy.shard_limit_s) for shard in missing if shard in over}
    reasons |= {str(shard): given_up[shard] for shard in missing if shard in given_up}
    left = [shard for shard in missing if str(shard) not in reasons]
    said = "; ".join(problem.rstrip(".") for problem in problems)
    trouble = f" The pool says: {said}." if said else ""
    held = "" if job.state == "active" else f" The job is {job.state}."  # as of one that somebody disabled
    if cancelled:
        why = "The run was cancelled."
    elif job.state in ENDED:
        why = f"Its Batch job is {job.state}" + (f" ({job.reason})." if job.reason else ".") + trouble
    elif not left:
        why = _SETTLED  # what is still running tries in vain
    elif waited_s > policy.job_limit_s:
        why = f"Its Batch job ran into the limit of {policy.job_limit_s:.0f} s.{held}{trouble}"
    elif waited_s > policy.start_limit_s and not (job.running or job.succeeded or job.failed or over):
        why = f"No node started a task within {policy.start_limit_s:.0f} s.{held}{trouble}"
    else:
        return Check(len(left), reasons)
    reasons |= {str(shard): why for shard in left}
    return Check(0, reasons, "" if job.state in ENDED else why)


def decide_unanswered(
    missing: Sequence[int],
    given_up: Mapping[int, str],
    error: StoreError,
    policy: RunPolicy,
    waited_s: float,
    cancelled: bool,
) -> Check:
    """What becomes of shards without a commit while Batch does not answer; raises `error` while they may
    still come.

    Workers commit without the service, so that an outage costs nothing until the job must have ended by its
    own limit.
    """
    reasons = {str(shard): given_up[shard] for shard in missing if shard in given_up}
    left = [shard for shard in missing if str(shard) not in reasons]
    if cancelled:
        why = "The run was cancelled."
    elif waited_s > policy.job_limit_s:
        why = f"Its Batch job is over its limit of {policy.job_limit_s:.0f} s. {error.message} {error.fix}".strip()
    elif left:
        raise error
    else:
        why = _SETTLED
    return Check(0, reasons | {str(shard): why for shard in left})


def _describe(task: TaskState, limit_s: float) -> str:
    times = f" after {task.retries} retries" if task.retries else ""
    failure = f" {task.failure}" if task.failure else ""
    return f"Its Batch task {_ending(task, limit_s)}{times}.{failure} See logs/{task.task}.stderr.txt of the run."


def _ending(task: TaskState, limit_s: float) -> str:
    """How a task ended, in words: the service ends one at its time limit with a code that is not the
    program's.
    """
    if task.started is None and task.exit_code is None:
        return "never started"
    if not task.failure.startswith("TaskEnded"):
        code = "no exit code" if task.exit_code is None else f"exit code {task.exit_code}"
        return f"ended with {code}"
    ran_s = (task.ended - task.started).total_seconds() if task.started and task.ended else 0.0
    if ran_s >= limit_s:
        return f"was ended by its time limit of {limit_s:.0f} s (shard_limit_s)"
    return "was ended by the service or by a request"
