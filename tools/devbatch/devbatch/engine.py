"""The loop of the service: boots nodes, evaluates formulas, takes samples, enforces limits, starts tasks."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from devbatch.account import Account
from devbatch.autoscale import SAMPLE_PERIOD_S
from devbatch.jobs import enforce_limit
from devbatch.nodes import advance_node, let_leave
from devbatch.pools import measure, run_autoscale
from devbatch.records import Job, Pool, Task
from devbatch.scheduling import assign_nodes
from devbatch.tasks import is_ready, start_task

_LONGEST_WAIT_S: Final = 1.0
_SHORTEST_WAIT_S: Final = 0.002


async def run_engine(account: Account) -> None:
    """Steps the account whenever something changed or is due; runs until cancelled."""
    while True:
        account.changed.clear()
        step(account)
        try:
            async with asyncio.timeout(_wait_s(account)):
                await account.changed.wait()
        except TimeoutError:
            continue


def step(account: Account) -> None:
    """Carries out everything that is due now, once."""
    account.clean_up()
    for job in list(account.jobs.values()):
        enforce_limit(account, job)
    for pool in list(account.pools.values()):
        for node in list(pool.nodes.values()):
            advance_node(account, pool, node)
        _take_samples(account, pool)
        run_autoscale(account, pool)
        let_leave(account, pool)
        start_waiting_tasks(account, pool)


def start_waiting_tasks(account: Account, pool: Pool) -> None:
    """Starts the tasks that fit on the pool's free slots, jobs of higher priority first."""
    nodes = [node for node in pool.nodes.values() if node.free_slots > 0]
    free = [node.free_slots for node in nodes]
    if not free:
        return
    tasks = list(_first_tasks(account, pool, free))
    pack = pool.spec.task_scheduling_policy.node_fill_type.lower() == "pack"
    needed = [task.spec.required_slots for task in tasks]
    for task, node in assign_nodes(needed, free, "pack" if pack else "spread"):
        start_task(account, tasks[task], nodes[node], pool)


def _first_tasks(account: Account, pool: Pool, free_slots: Sequence[int]) -> Iterator[Task]:
    """The tasks that could start now, in order; at most as many as there are free slots."""
    count = sum(free_slots)
    jobs = [job for job in account.jobs.values() if job.state == "active" and account.pool_of(job) is pool]
    for job in sorted(jobs, key=_by_priority):
        for task in job.waiting.values():
            if count == 0:
                return
            if task.spec.required_slots <= max(free_slots) and is_ready(task):
                count -= 1
                yield task


def _by_priority(job: Job) -> int:
    return -job.spec.priority


def _take_samples(account: Account, pool: Pool) -> None:
    """Takes the samples that fell due since the last step, one per 30 simulated seconds."""
    due_s = _next_sample_s(pool)
    while due_s <= account.clock.now_s():
        measure(account, pool, due_s)
        due_s += SAMPLE_PERIOD_S


def _next_sample_s(pool: Pool) -> float:
    return pool.history[-1].at_s + SAMPLE_PERIOD_S if pool.history else 0.0


def _wait_s(account: Account) -> float:
    """Time until the next action is due, in unscaled seconds."""
    simulated = [due_s for pool in account.pools.values() for due_s in _due_times(pool)]
    waits = [(due_s - account.clock.now_s()) / account.clock.scale for due_s in simulated]
    wall_s = account.clock.wall_s()
    waits += [
        job.started_s + job.limit_s - wall_s
        for job in account.jobs.values()
        if job.limit_s is not None and job.state == "active"
    ]
    if (cleanup_s := account.next_cleanup_s()) is not None:
        waits.append(cleanup_s - wall_s)
    return min(_LONGEST_WAIT_S, max(_SHORTEST_WAIT_S, min(waits, default=_LONGEST_WAIT_S)))


def _due_times(pool: Pool) -> Iterator[float]:
    yield _next_sample_s(pool)
    if pool.autoscale is not None:
        yield pool.autoscale.due_s
    yield from (node.due_s for node in pool.nodes.values() if node.due_s is not None)
