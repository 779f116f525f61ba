"""Offload a run's large shards to Batch, and look after them until each is committed or given up with a
reason.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime

from fleetscore.app_settings import AppSettings
from fleetscore.batch.completions import announced_shards
from fleetscore.batch.interface import (
    Compute,
    JobSpec,
    JobState,
    ShardTaskSpec,
    TaskState,
    job_id,
    shard_of_task,
    task_id,
)
from fleetscore.errors import CapacityError, MissingBlobError, SettingsError, StoreError
from fleetscore.models.trust import TRUSTED
from fleetscore.pipeline.offload_decisions import Check, decide, decide_unanswered
from fleetscore.pipeline.score import is_cancelled
from fleetscore.process_environment import SCORING_ENVIRONMENT
from fleetscore.records import to_json
from fleetscore.registry import EXTRA_WORKLOADS, read_policy
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.runs.status import committed_shards
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.paths import given_up_folder, pool_waking_path, run_path
from fleetscore.store.state_files import read_truth
from fleetscore.telemetry import worker_settings

_log = logging.getLogger("fleetscore.offload")


@dataclass(frozen=True, slots=True)
class Submission:
    """When a run's job was submitted, and to which pool: offload.json, written once."""

    job: str
    submitted: datetime
    pool: str
    was_warm: bool
    vm_size: str
    slots_per_node: int
    schema: int = 1


def offloaded_shards(store: Store, run: str) -> list[int]:
    """The shards that the plan places on Batch, ascending."""
    return [
        shard.shard for shard in read_shard_plans(store, read_plan(store, run)) if shard.placement == "batch"
    ]


def job_of(store: Store, run: str) -> str:
    """The id of the run's Batch job, whether it is submitted or not."""
    return job_id(run, read_plan(store, run).table)


def submit_shards(store: Store, compute: Compute, app: AppSettings, run: str, now: datetime) -> str:
    """Have one task per offloaded shard in the run's job, and wake the pool; gives the job's id. A second
    call changes nothing.
    """
    job = job_of(store, run)
    if is_cancelled(store, run):
        return job
    head = read_plan(store, run)
    policy = read_policy(store, head.request.workload)
    pool = compute.pool_state()
    submission = Submission(
        job, now, app.batch_pool, pool.usable_nodes > 0, pool.vm_size, pool.slots_per_node
    )
    spec = JobSpec(
        job=job,
        run=run,
        image=app.batch_image,
        environment=worker_environment(app, run, head.request.purpose),
        task_limit_s=policy.shard_limit_s,
        job_limit_s=policy.job_limit_s,
        retries=policy.max_attempts
        + 2,  # a killer is found in up to four deaths and set aside in the fifth try
        tags={"workload": head.request.workload, **policy.tags},
    )
    compute.submit(
        spec, [ShardTaskSpec(task_id(s), {"FLEETSCORE_SHARD": str(s)}) for s in offloaded_shards(store, run)]
    )
    store.create(run_path(run, "offload.json"), to_json(submission))
    _wake(store, compute, run, app.batch_pool, policy.pool_nodes)
    return job


def worker_environment(app: AppSettings, run: str, purpose: str) -> dict[str, str]:
    """The environment of every worker of the run: where the store, the queue and telemetry are, and its
    identity.
    """
    own = {name: os.environ[name] for name in (EXTRA_WORKLOADS, TRUSTED) if os.environ.get(name)}
    return (
        {**SCORING_ENVIRONMENT, **own}
        | worker_settings()
        | {
            "FLEETSCORE_STORE": app.store,
            "FLEETSCORE_RUN": run,
            "FLEETSCORE_PURPOSE": purpose,
            "FLEETSCORE_IDENTITY_CLIENT_ID": app.worker_client_id,
            "FLEETSCORE_QUEUE__queueServiceUri": app.queue_service,
            "FLEETSCORE_COMPLETION_QUEUE": app.completion_queue,
        }
    )


def check_shards(
    store: Store, compute: Compute, run: str, now: datetime, *, reads_batch: bool = True
) -> Check:
    """See which offloaded shards are committed, and read the others from Batch; ends the job where it is to
    be ended.

    Without `reads_batch` the marks in the store decide while workers are still running: messages come by
    the dozen, and only the timer reads Batch and lists all that the attempts wrote.
    """
    job, offloaded = job_of(store, run), set(offloaded_shards(store, run))
    given_up, cancelled = read_given_up(store, run), is_cancelled(store, run)
    if not reads_batch and not cancelled:
        unmarked = offloaded - announced_shards(store, run)
        if not unmarked or unmarked - set(given_up):
            return Check(len(unmarked), {})
    missing = sorted(offloaded - set(committed_shards(store, run)))
    if not missing:
        return Check(0, {})
    policy, waited_s = policy_of(store, run), _waited_s(store, run, now)
    try:
        job_state, over, problems = _read_batch(compute, job)
    except StoreError as error:
        return decide_unanswered(missing, given_up, error, policy, waited_s, cancelled)
    check = decide(missing, over, given_up, job_state, problems, policy, waited_s, cancelled)
    if check.terminate:
        _terminate(compute, run, job, check.terminate)
    elif check.open and not (job_state.running or over):
        # Formulas see new tasks a minute late, so the evaluation at submitting saw none.
        _wake(store, compute, run, read_submission(store, run).pool, policy.pool_nodes)
    return check


def _read_batch(compute: Compute, job: str) -> tuple[JobState, dict[int, TaskState], tuple[str, ...]]:
    """The job's state, its tasks that are over by shard, and the pool's problems; StoreError without an
    answer.

    The state is older than the tasks: of a job that has ended, every task's own end is then known.
    """
    state = compute.job_state(job)
    over = {shard_of_task(task.task): task for task in compute.list_tasks(job) if task.is_over}
    try:
        return state, over, compute.pool_state().problems
    except CapacityError as error:  # the pool was deleted: its tasks wait until the start limit
        return state, over, (error.message,)


def _terminate(compute: Compute, run: str, job: str, why: str) -> None:
    try:
        compute.terminate(job, why)
    except StoreError as error:  # the job ends by its own limit
        _log.warning("%s: job %s could not be ended: %s", run, job, error)


def policy_of(store: Store, run: str) -> RunPolicy:
    """The rules of the run's workload; the defaults while its settings cannot be read, so that no wait is
    endless.
    """
    try:
        return read_policy(store, read_plan(store, run).request.workload)
    except SettingsError as error:
        _log.warning("%s: its settings cannot be read, so the default limits hold: %s", run, error)
        return RunPolicy()


def read_submission(store: Store, run: str) -> Submission:
    """The run's submission; MissingBlobError where nothing was submitted."""
    return read_truth(store, run_path(run, "offload.json"), Submission)


def give_up(store: Store, run: str, shard: int, reason: str) -> None:
    """Say that no further attempt at the shard is worth making, and why."""
    store.create(f"{given_up_folder(run)}{shard:05d}", reason.encode())


def read_given_up(store: Store, run: str) -> dict[int, str]:
    """The shards that were given up, with the reason."""
    paths = [entry.path for entry in store.list(given_up_folder(run))]
    return {int(path.rsplit("/", 1)[1]): store.read(path).decode() for path in paths}


def _wake(store: Store, compute: Compute, run: str, pool: str, nodes: int) -> None:
    """Have the pool grow for the run; one request per evaluation of its formula, whichever run of the store
    makes it.
    """
    seen = _last_evaluation_seen(store, pool)
    try:
        newest = compute.wake_pool(seen)
        if newest != seen:
            store.write(pool_waking_path(pool), newest.encode())
        if nodes:
            compute.resize_pool(nodes)
    except (
        StoreError
    ) as error:  # the formula is evaluated at its interval anyway, and the next look tries again
        _log.warning("%s: %s", run, error)


def _last_evaluation_seen(store: Store, pool: str) -> str:
    try:
        return store.read(pool_waking_path(pool)).decode(errors="replace")
    except MissingBlobError:
        return ""


def _waited_s(store: Store, run: str, now: datetime) -> float:
    if store.stat(run_path(run, "offload.json")) is None:  # cancelled before it was submitted
        return 0.0
    return (now - read_submission(store, run).submitted).total_seconds()
