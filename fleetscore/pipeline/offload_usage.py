"""After offloading: what the job took, what its tasks logged, and the job and nodes that were there for the
run only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from fleetscore.batch.interface import Compute, TaskState
from fleetscore.errors import FleetscoreError
from fleetscore.pipeline.offload import Submission, job_of, read_submission
from fleetscore.pipeline.offload_decisions import ENDED
from fleetscore.records import to_json
from fleetscore.registry import read_policy
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path

_log = logging.getLogger("fleetscore.offload")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the offloaded shards took, from the service's times: usage.json. A node counts from its first to
    its last task, with its start.

    Times of tries that died are not in it: the service keeps the last try's only.
    """

    tasks: int
    retries: int
    requeues: int
    nodes: int
    wait_s: float  # from submitting until the first task started
    slot_s: float
    node_s: float
    schema: int = 1


def measure_usage(tasks: Sequence[TaskState], submission: Submission, now: datetime) -> Usage:
    """What the tasks took so far; one that has not ended is counted until now."""
    begun = [(task, task.started) for task in tasks if task.started is not None]
    spans: dict[str, list[datetime]] = {}
    for task, started in begun:
        spans.setdefault(task.node, []).extend((started, task.ended or now))
    first = min((started for _, started in begun), default=now)
    wait_s = max(0.0, (first - submission.submitted).total_seconds())
    boot_s = 0.0 if submission.was_warm else wait_s
    return Usage(
        tasks=len(tasks),
        retries=sum(task.retries for task in tasks),
        requeues=sum(task.requeues for task in tasks),
        nodes=len(spans),
        wait_s=wait_s,
        slot_s=sum(((task.ended or now) - started).total_seconds() for task, started in begun),
        node_s=sum(boot_s + (max(times) - min(times)).total_seconds() for times in spans.values()),
    )


def write_usage(store: Store, compute: Compute, run: str, now: datetime) -> Usage | None:
    """Measure what the run's job took, for its record; None where nothing was submitted or Batch does not
    answer.

    Usage is information only, so that no run waits for it.
    """
    if store.stat(run_path(run, "offload.json")) is None:
        return None
    try:
        tasks = compute.list_tasks(job_of(store, run))
    except FleetscoreError as error:
        _log.warning("%s: what its Batch job took is unknown: %s", run, error)
        return None
    usage = measure_usage(tasks, read_submission(store, run), now)
    store.write(run_path(run, "usage.json"), to_json(usage))
    return usage


def keep_logs(store: Store, compute: Compute, run: str, patience_s: float = 30.0) -> int:
    """Copy stdout and stderr of every task to runs/<run>/logs/; gives how many files were kept.

    Waits `patience_s` at the most for the last tasks to say their last word: a shard is committed before
    its process ends.
    """
    job = job_of(store, run)
    deadline = time.monotonic() + patience_s
    while (
        any(task.started and not task.is_over for task in compute.list_tasks(job))
        and time.monotonic() < deadline
    ):
        time.sleep(0.5)
    begun = [task.task for task in compute.list_tasks(job) if task.started]
    names = [(task, name) for task in begun for name in ("stdout.txt", "stderr.txt")]
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(lambda pair: _keep_log(store, compute, run, job, *pair), names))


def _keep_log(store: Store, compute: Compute, run: str, job: str, task: str, name: str) -> bool:
    try:
        data = compute.read_output(job, task, name)
    except FleetscoreError as error:  # its node is being removed, say
        _log.warning("%s: %s of %s cannot be read: %s", run, name, task, error)
        return False
    if data:
        store.write(run_path(run, f"logs/{task}.{name}"), data)
    return bool(data)


def end_job(store: Store, compute: Compute, run: str) -> None:
    """End the job of a run that has ended, unless it ended by itself.

    One that could not be submitted whole has no task to end with, and would hold its place in the quota of
    active jobs for hours.
    """
    job = job_of(store, run)
    if compute.job_state(job).state not in ENDED:
        compute.terminate(job, "Its run has ended.")


def release_pool(store: Store, compute: Compute, run: str) -> None:
    """Remove the nodes that the run's policy requested, unless another job uses them."""
    if read_policy(store, read_plan(store, run).request.workload).pool_nodes:
        compute.resize_pool(0, job_of(store, run))
