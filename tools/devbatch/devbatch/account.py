"""The account: the state of the service, and how its parts are found."""

import asyncio
import heapq
import shutil
from datetime import UTC, datetime
from pathlib import Path

from devbatch.clock import ServiceClock
from devbatch.errors import conflict, not_found
from devbatch.records import Job, Node, Pool, Task
from devbatch.settings import Quota, Settings


class Account:
    """Pools, jobs and quotas of one service, by lower-case id; ids keep their case and are unique without it.

    All changes are made on one event loop. `wake` makes the engine step at once; `attempts` owns the running
    tasks, so that an unexpected error in one of them stops the service.
    """

    def __init__(self, settings: Settings, url: str, attempts: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.url = url
        self.attempts = attempts
        self.clock = ServiceClock(settings.time_scale)
        self.quota: Quota = settings.quota
        self.pools: dict[str, Pool] = {}
        self.jobs: dict[str, Job] = {}
        self.changed = asyncio.Event()
        self._retained: list[tuple[float, int, Path]] = []

    def wake(self) -> None:
        """Makes the engine step at once."""
        self.changed.set()

    def pool(self, pool_id: str) -> Pool:
        """The pool, or ServiceError (404) PoolNotFound."""
        try:
            return self.pools[pool_id.lower()]
        except KeyError:
            raise not_found("Pool", pool_id) from None

    def usable_pool(self, pool_id: str) -> Pool:
        """The pool, or ServiceError: 404, or 409 PoolBeingDeleted."""
        pool = self.pool(pool_id)
        if pool.stamps.state == "deleting":
            raise conflict("PoolBeingDeleted", f"The pool {pool_id} is being deleted.")
        return pool

    def node(self, pool_id: str, node_id: str) -> Node:
        """The node, or ServiceError (404) PoolNotFound or NodeNotFound."""
        try:
            return self.pool(pool_id).nodes[node_id.lower()]
        except KeyError:
            raise not_found("Node", node_id) from None

    def job(self, job_id: str) -> Job:
        """The job, or ServiceError (404) JobNotFound."""
        try:
            return self.jobs[job_id.lower()]
        except KeyError:
            raise not_found("Job", job_id) from None

    def task(self, job_id: str, task_id: str) -> Task:
        """The task, or ServiceError (404) JobNotFound or TaskNotFound."""
        try:
            return self.job(job_id).tasks[task_id.lower()]
        except KeyError:
            raise not_found("Task", task_id) from None

    def pool_of(self, job: Job) -> Pool | None:
        """The pool that a job names; None while it does not exist."""
        return self.pools.get((job.spec.pool_info.pool_id or "").lower())

    def retain(self, directory: Path, seconds: float) -> None:
        """Schedules the removal of a task's files so many unscaled seconds from now."""
        entry = (self.clock.wall_s() + seconds, len(self._retained), directory)
        heapq.heappush(self._retained, entry)

    def next_cleanup_s(self) -> float | None:
        """When files are next to be removed, in unscaled seconds."""
        return self._retained[0][0] if self._retained else None

    def clean_up(self) -> None:
        """Removes the task files whose retention is over."""
        while self._retained and self._retained[0][0] <= self.clock.wall_s():
            remove_directory(heapq.heappop(self._retained)[2])


def remove_directory(directory: Path) -> None:
    """Removes a directory if it is there."""
    if directory.exists():
        shutil.rmtree(directory)


def utc_text(moment: datetime) -> str:
    """A time as the service writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
