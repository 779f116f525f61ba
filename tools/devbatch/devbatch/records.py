"""The state of the service: pools, nodes, jobs and tasks, in memory, changed only on the event loop."""

import itertools
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from devbatch.clock import ServiceClock
from devbatch.specs import JobSpec, PoolSpec, TaskSpec

_versions = itertools.count(1)

Ending = Literal["preempted", "requeued", "terminated", "wall clock", "deleted"]


class Stamps:
    """When a resource was made and changed, and which state it is and was in."""

    __slots__ = ("created", "etag", "modified", "previous_since", "previous_state", "since", "state")

    def __init__(self, state: str) -> None:
        self.created = self.modified = self.since = ServiceClock.utc()
        self.state = state
        self.previous_state: str | None = None
        self.previous_since: datetime | None = None
        self.etag = ""
        self.touch()

    def touch(self) -> None:
        """Notes a change of the resource's own properties: a new ETag."""
        self.modified = ServiceClock.utc()
        self.etag = f"0x8DE{next(_versions):012X}"

    def enter(self, state: str) -> None:
        """Moves to a state; entering the present one changes nothing."""
        if state != self.state:
            self.previous_state, self.previous_since = self.state, self.since
            self.state, self.since = state, ServiceClock.utc()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed, in the service's words."""

    category: Literal["usererror", "servererror"]
    code: str
    message: str


@dataclass(slots=True)
class Execution:
    """What is known of a task's latest attempt; emptied when the task runs again."""

    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    container_id: str | None = None


@dataclass(eq=False, slots=True)
class Task:
    """A task of a job. `node` and `directory` stay set after it ends, as long as the node is there."""

    body: dict[str, Any]
    spec: TaskSpec
    job: "Job"
    stamps: Stamps = field(default_factory=lambda: Stamps("active"))
    execution: Execution = field(default_factory=Execution)
    retry_count: int = 0
    requeue_count: int = 0
    last_retry: datetime | None = None
    last_requeue: datetime | None = None
    pool: "Pool | None" = None
    node: "Node | None" = None
    directory: Path | None = None
    ending: Ending | None = None  # why the running attempt is being stopped
    process_group: int | None = None

    @property
    def state(self) -> str:
        """active, running or completed."""
        return self.stamps.state

    @property
    def succeeded(self) -> bool:
        """Whether it is completed without a failure."""
        return self.state == "completed" and self.execution.failure is None


@dataclass(eq=False, slots=True)
class Job:
    """A job; `tasks` and `waiting` go by lower-case id, in the order in which they were added."""

    body: dict[str, Any]
    spec: JobSpec
    started_s: float  # unscaled
    limit_s: float | None
    stamps: Stamps = field(default_factory=lambda: Stamps("active"))
    tasks: dict[str, Task] = field(default_factory=dict)
    waiting: dict[str, Task] = field(default_factory=dict)
    running: set[Task] = field(default_factory=set)
    ended: datetime | None = None
    terminate_reason: str | None = None

    @property
    def state(self) -> str:
        """active, disabling, disabled, enabling, terminating, completed or deleting."""
        return self.stamps.state


@dataclass(eq=False, slots=True)
class Node:
    """A machine of a pool. `due_s` is the time of its next change of state, in simulated seconds."""

    id: str
    is_dedicated: bool
    slots: int
    directory: Path
    due_s: float | None
    stamps: Stamps = field(default_factory=lambda: Stamps("creating"))
    booted: datetime | None = None
    running: set[Task] = field(default_factory=set)
    is_schedulable: bool = True
    total_tasks_run: int = 0
    total_tasks_succeeded: int = 0
    recent_tasks: deque[Task] = field(default_factory=lambda: deque(maxlen=10))

    @property
    def state(self) -> str:
        """The node state in the service's words."""
        return self.stamps.state

    @property
    def free_slots(self) -> int:
        """Slots that a task may take now; none unless the node is up and accepts tasks."""
        if self.state not in ("idle", "running") or not self.is_schedulable:
            return 0
        return self.slots - sum(task.spec.required_slots for task in self.running)


@dataclass(frozen=True, slots=True)
class AutoscaleRun:
    """The latest evaluation of a pool's formula."""

    timestamp: datetime
    results: str
    error_code: str | None = None
    error_message: str | None = None


@dataclass(slots=True)
class Autoscale:
    """A pool's automatic scaling; times in simulated seconds."""

    formula: str
    interval_s: float
    due_s: float
    latest: AutoscaleRun | None = None


@dataclass(frozen=True, slots=True)
class ResizeError:
    """Why a resize did not reach its target."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What was true of a pool at one moment, in simulated seconds: the values of the sampled variables."""

    at_s: float
    values: dict[str, float]


@dataclass(eq=False, slots=True)
class Pool:
    """A pool and its nodes. `refusal` is an injected resize error: no node is allocated while it is set."""

    body: dict[str, Any]
    spec: PoolSpec
    boot_s: float
    target_dedicated: int = 0
    target_spot: int = 0
    stamps: Stamps = field(default_factory=lambda: Stamps("active"))
    allocation: Stamps = field(default_factory=lambda: Stamps("steady"))
    nodes: dict[str, Node] = field(default_factory=dict)
    autoscale: Autoscale | None = None
    enabled_autoscale_s: float | None = None
    resize_errors: list[ResizeError] = field(default_factory=list)
    refusal: ResizeError | None = None
    history: deque[Measured] = field(default_factory=lambda: deque(maxlen=2880))  # a day
    succeeded_count: int = 0
    failed_count: int = 0
    id: str = ""

    def __post_init__(self) -> None:
        self.id = self.spec.id

    def count(self, *, dedicated: bool) -> int:
        """Nodes of one kind that are in the pool and not on their way out, preempted ones included."""
        return sum(n.is_dedicated == dedicated and n.state != "leavingpool" for n in self.nodes.values())
