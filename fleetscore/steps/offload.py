"""Offload a run's large shards to Batch, and look after them until each is committed or given up with a reason."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from fleetscore.app_settings import AppSettings
from fleetscore.compute.base import Compute, EndedTask, JobSpec, JobState, ShardTaskSpec
from fleetscore.errors import StoreError
from fleetscore.layout import run_path
from fleetscore.settings import RunPolicy, read_run_policy
from fleetscore.status import committed_shards
from fleetscore.steps.plan import read_plan, read_shard_plans
from fleetscore.steps.score import is_cancelled
from fleetscore.stores.base import Store
from fleetscore.workloads import EXTRA_WORKLOADS

_ENDED = {"completed", "terminating", "deleting", "missing"}
_log = logging.getLogger("fleetscore.offload")


@dataclass(frozen=True, slots=True)
class Check:
    """Where the offloaded shards stand: `reasons` says of those that will never be committed why; `open` ones are worth waiting for."""

    open: int
    reasons: Mapping[str, str]
    terminate: str = ""  # end the job, for this reason


def connect_compute(app: AppSettings) -> Compute:
    """The Batch pool that the settings name."""
    from fleetscore.compute.batch import BatchCompute  # imported here: a run without Batch needs no Azure SDK

    return BatchCompute.connect(app.batch_endpoint, app.batch_pool, app.identity_client_id)


def offloaded_shards(store: Store, run: str) -> list[int]:
    """The shards that the plan places on Batch, ascending."""
    return [
        shard.shard for shard in read_shard_plans(store, read_plan(store, run)) if shard.placement == "batch"
    ]


def submit_shards(store: Store, compute: Compute, app: AppSettings, run: str) -> str:
    """Have one task per offloaded shard in the run's job, and wake the pool; gives the job's id. A second call changes nothing."""
    from fleetscore.compute.batch import job_id, task_id

    head, policy = read_plan(store, run), read_run_policy(store, read_plan(store, run).request.workload)
    job = JobSpec(
        job=job_id(run),
        run=run,
        image=app.batch_image,
        environment=worker_environment(app, run, head.request.purpose),
        task_limit_s=policy.shard_limit_s,
        job_limit_s=policy.job_limit_s,
        retries=policy.max_attempts
        + 2,  # a killer among thousands is found in four deaths and set aside in the fifth try
    )
    tasks = [ShardTaskSpec(task_id(s), {"FLEETSCORE_SHARD": str(s)}) for s in offloaded_shards(store, run)]
    compute.submit(job, tasks)
    try:
        compute.wake_pool()
    except StoreError as error:  # the pool's own interval comes anyway
        _log.warning("%s: %s", run, error)
    return job.job


def worker_environment(app: AppSettings, run: str, purpose: str) -> dict[str, str]:
    """What every worker of the run is told: where the store and the queue are, and who it is."""
    own = {name: os.environ[name] for name in (EXTRA_WORKLOADS,) if os.environ.get(name)}
    return own | {
        "FLEETSCORE_STORE": app.store,
        "FLEETSCORE_RUN": run,
        "FLEETSCORE_PURPOSE": purpose,
        "FLEETSCORE_IDENTITY_CLIENT_ID": app.worker_client_id,
        "FLEETSCORE_QUEUE__queueServiceUri": app.queue_service,
        "FLEETSCORE_COMPLETION_QUEUE": app.completion_queue,
        "OMP_NUM_THREADS": "1",  # slots share a node's cores
    }


def check_shards(store: Store, compute: Compute, run: str, submitted: datetime, now: datetime) -> Check:
    """See which offloaded shards are committed, and ask Batch about the others; ends the job where it is to be ended."""
    from fleetscore.compute.batch import job_id, shard_of_task

    job = job_id(run)
    missing = sorted(set(offloaded_shards(store, run)) - set(committed_shards(store, run)))
    if not missing:
        return Check(0, {})
    ended = {shard_of_task(task.task): task for task in compute.ended_tasks(job)}
    policy = read_run_policy(store, read_plan(store, run).request.workload)
    problems = compute.pool_state().problems
    waited_s = (now - submitted).total_seconds()
    check = decide(
        missing, ended, compute.job_state(job), problems, policy, waited_s, is_cancelled(store, run)
    )
    if check.terminate:
        compute.terminate(job, check.terminate)
    return check


def decide(
    missing: Sequence[int],
    ended: Mapping[int, EndedTask],
    job: JobState,
    problems: Sequence[str],
    policy: RunPolicy,
    waited_s: float,
    cancelled: bool,
) -> Check:
    """What becomes of shards without a commit: pure, from what the service says."""
    reasons = {str(shard): _describe(ended[shard]) for shard in missing if shard in ended}
    left = [shard for shard in missing if shard not in ended]
    trouble = f" The pool says: {'; '.join(problems)}." if problems else ""
    if cancelled:
        why = "The run was cancelled."
    elif job.state in _ENDED:
        why = f"Its Batch job is {job.state}" + (f" ({job.reason})." if job.reason else ".") + trouble
    elif waited_s > policy.job_limit_s:
        why = f"Its Batch job ran into the limit of {policy.job_limit_s:.0f} s."
    elif waited_s > policy.start_limit_s and not (job.running or job.succeeded or job.failed or ended):
        why = f"No node started a task within {policy.start_limit_s:.0f} s.{trouble}"
    else:
        return Check(len(left), reasons)
    reasons |= {str(shard): why for shard in left}
    return Check(0, reasons, "" if job.state in _ENDED else why)


def keep_logs(store: Store, compute: Compute, run: str) -> int:
    """Copy stdout and stderr of every ended task to runs/<run>/logs/; gives how many files were kept."""
    from fleetscore.compute.batch import job_id

    job = job_id(run)
    names = [(task.task, name) for task in compute.ended_tasks(job) for name in ("stdout.txt", "stderr.txt")]
    with ThreadPoolExecutor(16) as pool:
        kept = pool.map(lambda pair: _keep_log(store, compute, run, job, *pair), names)
        return sum(kept)


def _keep_log(store: Store, compute: Compute, run: str, job: str, task: str, name: str) -> bool:
    data = compute.read_output(job, task, name)
    if data:
        store.write(run_path(run, f"logs/{task}.{name}"), data)
    return bool(data)


def _describe(task: EndedTask) -> str:
    code = "never started" if task.exit_code is None else f"exit code {task.exit_code}"
    times = f" after {task.retries} retries" if task.retries else ""
    return f"Its Batch task ended with {code}{times}. {task.failure} See logs/{task.task}.stderr.txt of the run.".replace(
        "  ", " "
    )
