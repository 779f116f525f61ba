"""What offloading needs of a batch service, whichever it is; implemented by compute.batch.BatchCompute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ShardTaskSpec:
    """One task: its id, and the environment that tells the worker which shard to score."""

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
class EndedTask:
    """A task that will not run again: its exit code (None: it never started), and what the service says of a failure."""

    task: str
    exit_code: int | None
    failure: str
    retries: int
    requeues: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """How a pool stands: nodes by kind, what is asked for, slots of a node, and what keeps it from growing."""

    state: str
    usable_nodes: int
    current_dedicated: int
    current_spot: int
    target_dedicated: int
    target_spot: int
    slots_per_node: int
    vm_size: str
    problems: tuple[str, ...] = ()


class Compute(Protocol):
    """Every call may be repeated: submitting twice, terminating twice, all change nothing the second time."""

    def submit(self, job: JobSpec, tasks: Sequence[ShardTaskSpec]) -> None:
        """Have the job with exactly these tasks, and let it end when they have; CapacityError when the service refuses it."""
        ...

    def job_state(self, job: str) -> JobState:
        """How the job stands."""
        ...

    def ended_tasks(self, job: str) -> list[EndedTask]:
        """The job's tasks that are over."""
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

    def wake_pool(self) -> None:
        """Have the pool's size worked out again now, not at the next interval."""
        ...
