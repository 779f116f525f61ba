"""What offloading needs of a batch service, whichever it is; implemented by compute.batch.BatchCompute."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ShardTaskSpec:
    """One task: its id, and the environment that names the shard for the worker."""

    task: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job: its id, what all its tasks share, and the limits that end them."""

    job: str
    run: str
    image: str
    environment: Mapping[str, str]
    task_limit_s: float
    job_limit_s: float
    retries: int
    tags: Mapping[str, str] = field(default_factory=dict)  # metadata beside the run's id


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands; `state` is the service's own word, "missing" when there is no such job."""

    state: str
    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    reason: str = ""  # why it ended, where it did


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task: whether it is over for good, its last try's exit code and times (None: not known yet), what
    the service says of a failure.
    """

    task: str
    is_over: bool
    exit_code: int | None = None
    failure: str = ""
    retries: int = 0
    requeues: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class PoolState:
    """How a pool stands: nodes by kind, the target, slots of a node, and what keeps it from growing."""

    state: str
    usable_nodes: int
    current_dedicated: int
    current_spot: int
    target_dedicated: int
    target_spot: int
    most_dedicated: int  # that it may grow to
    most_spot: int
    slots_per_node: int
    vm_size: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a pool is sized: whether by a formula, when the service last evaluated it, with what result, and
    how often it does.
    """

    by_formula: bool
    evaluated: datetime | None = None
    interval_s: float = 0.0
    result: str = ""
    error: str = ""


class Compute(Protocol):
    """Every call may be repeated: submitting twice, terminating twice, all change nothing the second time."""

    def submit(self, job: JobSpec, tasks: Sequence[ShardTaskSpec]) -> None:
        """Have the job with exactly these tasks, and let it end when they have; CapacityError when the
        service refuses it.
        """
        ...

    def job_state(self, job: str) -> JobState:
        """How the job stands."""
        ...

    def list_tasks(self, job: str) -> list[TaskState]:
        """The job's tasks; none when there is no such job."""
        ...

    def terminate(self, job: str, reason: str) -> None:
        """End the job and its tasks."""
        ...

    def read_output(self, job: str, task: str, name: str) -> bytes:
        """A task's stdout.txt or stderr.txt; empty when there is none (any more)."""
        ...

    def pool_state(self) -> PoolState:
        """How the pool stands; CapacityError when it is missing."""
        ...

    def evaluation(self) -> Evaluation:
        """When the pool's formula was last evaluated."""
        ...

    def resize_pool(self, nodes: int, job: str = "") -> None:
        """Have so many Spot nodes; a pool with a formula is left alone.

        With 0 nodes, so is a pool that other jobs than `job` use; its own tasks finish first.
        """
        ...

    def wake_pool(self, seen: str) -> str:
        """Request an evaluation of the pool's formula, unless none took place since the request before.

        `seen` is what that request returned; returns what the next one takes. A service that restarts its
        schedule at each request would never evaluate if requests came more often than its interval.
        """
        ...


def job_id(run: str, plan: str) -> str:
    """A job's id for a run as `plan` has it: two stores with a run of that name do not share a job, nor
    does one that was emptied.

    >>> job_id("sensor_anomaly-2018-08-28T23", "plan-1"), len(job_id("x" * 99, "plan-1"))
    ('sensor_anomaly-2018-08-28T23-7366ed111df3fc08', 64)
    """
    return f"{run[:47]}-{hashlib.sha256(f'{run} {plan}'.encode()).hexdigest()[:16]}"


def task_id(shard: int) -> str:
    """A task's id for a shard."""
    return f"shard-{shard:05d}"


def shard_of_task(task: str) -> int:
    """The shard of a task's id.

    >>> shard_of_task(task_id(42))
    42
    """
    return int(task.removeprefix("shard-"))
