"""Scheduling decisions, as pure functions: the node of each task, and the next state after an attempt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from devbatch.records import Ending, Failure
from devbatch.specs import ExitOptions, TaskSpec

FillType = Literal["pack", "spread"]
#: 0xC000013A as a signed number: the documented exit code of a task that hit its wall-clock limit.
TIME_LIMIT_EXIT_CODE: Final = -1073741510


@dataclass(frozen=True, slots=True)
class Attempt:
    """The end of one attempt of a task.

    Its exit code, a failure before it started, or why it was stopped (ending).
    """

    exit_code: int | None = None
    failure: Failure | None = None
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Requeue:
    """The task runs again and no retry is used up."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The task runs again and one retry is used up."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The task is completed; with a failure, or without."""

    exit_code: int | None
    failure: Failure | None


def assign_nodes(
    required_slots: Iterable[int], free_slots: Sequence[int], fill: FillType
) -> list[tuple[int, int]]:
    """(task index, node index) for each task that fits now, in the tasks' order.

    `pack` fills the fullest node that has room, `spread` the emptiest. A task too large for what is free is
    passed over, so it does not block smaller ones behind it.
    """
    free = list(free_slots)
    assigned = []
    for task, needed in enumerate(required_slots):
        if not any(free):
            break
        fitting = [node for node, slots in enumerate(free) if slots >= needed]
        if fitting:
            best = min if fill == "pack" else max
            node = best(fitting, key=lambda index: (free[index], -index if fill == "spread" else index))
            free[node] -= needed
            assigned.append((task, node))
    return assigned


def after_attempt(attempt: Attempt, retry_count: int, max_retries: int) -> Requeue | Retry | Complete:
    """The next step after an attempt.

    Only a non-zero exit of the task's own is retried; preemption and requeue never use up retries; what went
    wrong before the command ran is not retried; -1 retries without limit.
    """
    match attempt.ending:
        case "preempted" | "requeued":
            return Requeue()
        case "terminated" | "deleted":
            return Complete(None, Failure("usererror", "TaskEnded", "Task was ended by user request."))
        case "wall clock":
            message = "Task was ended: it ran longer than its maxWallClockTime."
            return Complete(TIME_LIMIT_EXIT_CODE, Failure("servererror", "TaskEnded", message))
    if attempt.failure is not None:
        return Complete(None, attempt.failure)
    if attempt.exit_code == 0:
        return Complete(0, None)
    if max_retries == -1 or retry_count < max_retries:
        return Retry()
    message = "The task exited with an exit code representing a failure."
    return Complete(attempt.exit_code, Failure("usererror", "FailureExitCode", message))


def exit_options(task: TaskSpec, completed: Complete) -> ExitOptions:
    """The exit options that apply to the way a task ended; the service's defaults where the task gives none.

    By default a success does nothing to the job and satisfies dependents; a failure terminates the job (when
    the job acts on failures at all) and blocks dependents.
    """
    given = _given_options(task, completed) or ExitOptions()
    failed = completed.failure is not None
    return ExitOptions(
        job_action=given.job_action or ("terminate" if failed else "none"),
        dependency_action=given.dependency_action or ("block" if failed else "satisfy"),
    )


def _given_options(task: TaskSpec, completed: Complete) -> ExitOptions | None:
    conditions = task.exit_conditions
    if conditions is None:
        return None
    if completed.failure is not None and completed.failure.code == "TaskEnded":
        return conditions.default
    if completed.exit_code is None:
        return conditions.pre_processing_error or conditions.default
    for mapping in conditions.exit_codes:
        if mapping.code == completed.exit_code:
            return mapping.exit_options
    for span in conditions.exit_code_ranges:
        if span.start <= completed.exit_code <= span.end:
            return span.exit_options
    return conditions.default if completed.failure is not None else None
