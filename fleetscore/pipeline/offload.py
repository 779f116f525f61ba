"""Offload a run's large shards to Batch, and look after them until each is committed or given up with a reason."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from fleetscore.errors import MissingBlobError, StoreError
from fleetscore.pipeline.score import is_cancelled
from fleetscore.process_environment import SCORING_ENVIRONMENT
from fleetscore.records import from_json, to_json
from fleetscore.registry import EXTRA_WORKLOADS, read_policy
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.runs.status import committed_shards
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.paths import given_up_folder, pool_waking_path, run_path
from fleetscore.telemetry import worker_settings

_ENDED = {"completed", "terminating", "deleting", "missing"}
_SETTLED = "Every shard is committed or given up."
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


@dataclass(frozen=True, slots=True)
class Check:
    """Where the offloaded shards stand: `reasons` says of those that will never be committed why; `open` ones are worth waiting for."""

    open: int
    reasons: Mapping[str, str]
    terminate: str = ""  # end the job, for this reason


@dataclass(frozen=True, slots=True)
class Usage:
    """What the offloaded shards took, from the service's times: usage.json. A node counts from its first to its last task, with its start.

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


def offloaded_shards(store: Store, run: str) -> list[int]:
    """The shards that the plan places on Batch, ascending."""
    return [
        shard.shard for shard in read_shard_plans(store, read_plan(store, run)) if shard.placement == "batch"
    ]


def job_of(store: Store, run: str) -> str:
    """The id of the run's Batch job, whether it is submitted or not."""
    return job_id(run, read_plan(store, run).table)


def submit_shards(store: Store, compute: Compute, app: AppSettings, run: str, now: datetime) -> str:
    """Have one task per offloaded shard in the run's job, and wake the pool; gives the job's id. A second call changes nothing."""
    job = job_of(store, run)
    if is_cancelled(store, run):
        return job
    head = read_plan(store, run)
    policy = read_policy(store, head.request.workload)
    pool = compute.pool_state()
    submission = Submission(
        job, now, app.batch_pool, pool.usable_nodes > 0, pool.vm_size, pool.slots_per_node
    )
    store.create(run_path(run, "offload.json"), to_json(submission))
    spec = JobSpec(
        job=job,
        run=run,
        image=app.batch_image,
        environment=worker_environment(app, run, head.request.purpose),
        task_limit_s=policy.shard_limit_s,
        job_limit_s=policy.job_limit_s,
        retries=policy.max_attempts
        + 2,  # a killer is found in up to four deaths and set aside in the fifth try
    )
    compute.submit(
        spec, [ShardTaskSpec(task_id(s), {"FLEETSCORE_SHARD": str(s)}) for s in offloaded_shards(store, run)]
    )
    _wake(store, compute, run, app.batch_pool, policy.pool_nodes)
    return job


def worker_environment(app: AppSettings, run: str, purpose: str) -> dict[str, str]:
    """What every worker of the run is told: where the store, the queue and telemetry are, and who it is."""
    own = {name: os.environ[name] for name in (EXTRA_WORKLOADS,) if os.environ.get(name)}
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
    store: Store, compute: Compute, run: str, now: datetime, *, asks_batch: bool = True
) -> Check:
    """See which offloaded shards are committed, and ask Batch about the others; ends the job where it is to be ended.

    Without `asks_batch` the marks in the store have to tell, as long as somebody is still to come: messages come by the dozen, and
    only the timer asks Batch and lists all that the attempts wrote.
    """
    job, offloaded = job_of(store, run), set(offloaded_shards(store, run))
    given_up, cancelled = read_given_up(store, run), is_cancelled(store, run)
    if not asks_batch and not cancelled:
        unmarked = offloaded - announced_shards(store, run)
        if not unmarked or unmarked - set(given_up):
            return Check(len(unmarked), {})
    missing = sorted(offloaded - set(committed_shards(store, run)))
    if not missing:
        return Check(0, {})
    over = {shard_of_task(task.task): task for task in compute.list_tasks(job) if task.is_over}
    policy = read_policy(store, read_plan(store, run).request.workload)
    state = compute.job_state(job)
    check = decide(
        missing,
        over,
        given_up,
        state,
        compute.pool_state().problems,
        policy,
        _waited_s(store, run, now),
        cancelled,
    )
    if check.terminate:
        compute.terminate(job, check.terminate)
    elif check.open and not (state.running or over):
        # Formulas see new tasks a minute late, so the evaluation at submitting saw none.
        _wake(store, compute, run, read_submission(store, run).pool, policy.pool_nodes)
    return check


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
    reasons = {str(shard): _describe(over[shard]) for shard in missing if shard in over}
    reasons |= {str(shard): given_up[shard] for shard in missing if shard in given_up}
    left = [shard for shard in missing if str(shard) not in reasons]
    said = "; ".join(problem.rstrip(".") for problem in problems)
    trouble = f" The pool says: {said}." if said else ""
    if cancelled:
        why = "The run was cancelled."
    elif job.state in _ENDED:
        why = f"Its Batch job is {job.state}" + (f" ({job.reason})." if job.reason else ".") + trouble
    elif not left:
        why = _SETTLED  # what is still running tries in vain
    elif waited_s > policy.job_limit_s:
        why = f"Its Batch job ran into the limit of {policy.job_limit_s:.0f} s."
    elif waited_s > policy.start_limit_s and not (job.running or job.succeeded or job.failed or over):
        why = f"No node started a task within {policy.start_limit_s:.0f} s.{trouble}"
    else:
        return Check(len(left), reasons)
    reasons |= {str(shard): why for shard in left}
    return Check(0, reasons, "" if job.state in _ENDED else why)


def read_submission(store: Store, run: str) -> Submission:
    """The run's submission; MissingBlobError where nothing was submitted."""
    return from_json(store.read(run_path(run, "offload.json")), Submission)


def give_up(store: Store, run: str, shard: int, reason: str) -> None:
    """Say that no further attempt at the shard is worth making, and why."""
    store.create(f"{given_up_folder(run)}{shard:05d}", reason.encode())


def read_given_up(store: Store, run: str) -> dict[int, str]:
    """The shards that were given up, with the reason."""
    paths = [entry.path for entry in store.list(given_up_folder(run))]
    return {int(path.rsplit("/", 1)[1]): store.read(path).decode() for path in paths}


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
    """Measure what the run's job took, for its record; None where nothing was submitted."""
    if store.stat(run_path(run, "offload.json")) is None:
        return None
    usage = measure_usage(compute.list_tasks(job_of(store, run)), read_submission(store, run), now)
    store.write(run_path(run, "usage.json"), to_json(usage))
    return usage


def keep_logs(store: Store, compute: Compute, run: str, patience_s: float = 30.0) -> int:
    """Copy stdout and stderr of every task to runs/<run>/logs/; gives how many files were kept.

    Waits `patience_s` at the most for the last tasks to say their last word: a shard is committed before its process ends.
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
    data = compute.read_output(job, task, name)
    if data:
        store.write(run_path(run, f"logs/{task}.{name}"), data)
    return bool(data)


def release_pool(store: Store, compute: Compute, run: str) -> None:
    """Take the nodes away that the run's policy asked for, unless another job uses them."""
    if read_policy(store, read_plan(store, run).request.workload).pool_nodes:
        compute.resize_pool(0)


def _wake(store: Store, compute: Compute, run: str, pool: str, nodes: int) -> None:
    """Have the pool grow for the run; one request per evaluation of its formula, whichever run of the store makes it."""
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


def _describe(task: TaskState) -> str:
    code = "never started" if task.exit_code is None else f"ended with exit code {task.exit_code}"
    times = f" after {task.retries} retries" if task.retries else ""
    failure = f" {task.failure}" if task.failure else ""
    return f"Its Batch task {code}{times}.{failure} See logs/{task.task}.stderr.txt of the run."
