"""Shards as tasks of Azure Batch, through the unmodified azure-batch client (traps and shapes: azure-batch
15.1, API 2025-06-01).
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError

from fleetscore.batch.interface import Evaluation, JobSpec, JobState, PoolState, ShardTaskSpec, TaskState
from fleetscore.errors import BugError, CapacityError, SettingsError, StoreError

_CHUNK = 100  # tasks that one request may carry
_SUBMIT_TRIES = 8
_LIMITS_S = {"connection_timeout": 20.0, "read_timeout": 40.0, "timeout": 60.0}
"""Of one try, and of a request with the client's retries, after which no further try begins. Batch itself ends
a request after 30 s; the client's own limits let one that hangs hold its look for 20 minutes.
"""
_DONE_ALREADY = {"TaskExists", "JobExists", "JobCompleted", "JobBeingTerminated", "JobTerminating"}


class BatchCompute:
    """One pool of one Batch account."""

    def __init__(self, client: BatchClient, pool: str) -> None:
        self._client = client
        self._pool = pool

    @classmethod
    def connect(cls, endpoint: str, pool: str, client_id: str = "") -> BatchCompute:
        """Connect with this process's identity; to an emulator on loopback with a token that means nothing
        elsewhere.

        SettingsError for plain http: the service takes tokens over TLS only.
        """
        parts = urlsplit(endpoint)
        if parts.scheme != "https" or not parts.hostname:
            raise SettingsError(
                f"FLEETSCORE_BATCH_ENDPOINT is {endpoint!r}.",
                fix="Expected https://account.region.batch.azure.com.",
                field="FLEETSCORE_BATCH_ENDPOINT",
            )
        credential = _EmulatorToken() if _is_loopback(parts.hostname) else _identity(client_id)
        return cls(BatchClient(endpoint, credential, **_LIMITS_S), pool)

    def submit(self, job: JobSpec, tasks: Sequence[ShardTaskSpec]) -> None:
        """See Compute.submit. The job ends by itself only from when all tasks are in: with none it would
        end at once.
        """
        with _explained(f"job {job.job}"):
            if self._create(job):
                self._add_tasks(job.job, [_task(spec, job) for spec in tasks])
                self._client.update_job(
                    job.job, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob")
                )

    def job_state(self, job: str) -> JobState:
        """See Compute.job_state."""
        with _explained(f"job {job}"):
            try:
                found = self._client.get_job(job)
                counts = self._client.get_job_task_counts(job).task_counts
            except ResourceNotFoundError:
                return JobState("missing")
        return JobState(
            state=str(_word(found.state)),
            waiting=counts.active,
            running=counts.running,
            succeeded=counts.succeeded,
            failed=counts.failed,
            reason=(found.execution_info.termination_reason or "") if found.execution_info else "",
        )

    def list_tasks(self, job: str) -> list[TaskState]:
        """See Compute.list_tasks."""
        with _explained(f"tasks of {job}"):
            try:
                tasks = self._client.list_tasks(job, select=["id", "state", "executionInfo", "nodeInfo"])
                return [_task_state(task) for task in tasks]
            except ResourceNotFoundError:
                return []

    def terminate(self, job: str, reason: str) -> None:
        """See Compute.terminate. The poller is not waited for: it never raises, and the state is read
        anyway.
        """
        with _explained(f"job {job}"):
            try:
                self._client.begin_terminate_job(job, {"terminateReason": reason})  # type: ignore[arg-type]  # its options class is not exported
            except ResourceNotFoundError:
                return
            except ResourceExistsError as error:
                _raise_unless_done(error)

    def read_output(self, job: str, task: str, name: str) -> bytes:
        """See Compute.read_output."""
        with _explained(f"{name} of {task}"):
            try:
                return b"".join(self._client.download_task_file(job, task, name))
            except (
                ResourceNotFoundError,
                ResourceExistsError,
            ):  # never written, or cleaned away with its node
                return b""

    def pool_state(self) -> PoolState:
        """See Compute.pool_state."""
        with _explained(f"pool {self._pool}"):
            try:
                pool = self._client.get_pool(self._pool)
                counts = [c for c in self._client.list_pool_node_counts() if c.pool_id == self._pool]
            except ResourceNotFoundError as error:
                raise CapacityError(
                    f"The Batch pool {self._pool!r} does not exist.",
                    fix="Deploy it (infra/), or set FLEETSCORE_BATCH_POOL.",
                    field="FLEETSCORE_BATCH_POOL",
                ) from error
        kinds = [kind for c in counts for kind in (c.dedicated, c.low_priority) if kind is not None]
        return PoolState(
            state=str(_word(pool.allocation_state)),
            usable_nodes=sum(kind.idle + kind.running for kind in kinds),
            current_dedicated=pool.current_dedicated_nodes or 0,
            current_spot=pool.current_low_priority_nodes or 0,
            target_dedicated=pool.target_dedicated_nodes or 0,
            target_spot=pool.target_low_priority_nodes or 0,
            most_dedicated=_most(pool, "maxDedicated", pool.target_dedicated_nodes),
            most_spot=_most(pool, "maxSpot", pool.target_low_priority_nodes),
            slots_per_node=pool.task_slots_per_node or 1,
            vm_size=pool.vm_size or "",
            problems=tuple(_problem(error) for error in pool.resize_errors or ()),
        )

    def evaluation(self) -> Evaluation:
        """See Compute.evaluation."""
        with _explained(f"pool {self._pool}"):
            pool = self._client.get_pool(self._pool)
        last = pool.auto_scale_run
        return Evaluation(
            by_formula=bool(pool.enable_auto_scale),
            evaluated=last.timestamp if last else None,
            interval_s=pool.auto_scale_evaluation_interval.total_seconds()
            if pool.auto_scale_evaluation_interval
            else 0.0,
            result=(last.results or "") if last else "",
            error=f"{last.error.code}: {last.error.message}" if last and last.error else "",
        )

    def resize_pool(self, nodes: int, job: str = "") -> None:
        """See Compute.resize_pool. Nodes that go finish their tasks first."""
        with _explained(f"pool {self._pool}"):
            if self._client.get_pool(self._pool).enable_auto_scale or (nodes == 0 and self._is_in_use(job)):
                return
            options = m.BatchPoolResizeOptions(
                target_dedicated_nodes=0,
                target_low_priority_nodes=nodes,
                node_deallocation_option="taskcompletion",
            )
            try:
                self._client.begin_resize_pool(self._pool, options)
            except ResourceExistsError as error:
                if _code(error) != "PoolBeingResized":
                    raise

    def _is_in_use(self, own_job: str) -> bool:
        """Whether another job of the pool still has tasks to run."""
        jobs = self._client.list_jobs(filter="state eq 'active'", select=["id", "poolInfo"])
        return any(
            (counts := self._client.get_job_task_counts(job.id).task_counts).active or counts.running
            for job in jobs
            if job.id != own_job and job.pool_info and job.pool_info.pool_id == self._pool
        )

    def wake_pool(self, seen: str) -> str:
        """See Compute.wake_pool. The formula alone is posted: naming the interval would start a new
        schedule.
        """
        with _explained(f"pool {self._pool}"):
            pool = self._client.get_pool(self._pool)
            newest = _newest_evaluation(pool)
            if not pool.enable_auto_scale or newest == seen:
                return seen
            options = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=pool.auto_scale_formula)
            try:
                self._client.enable_pool_auto_scale(self._pool, options)
            except HttpResponseError as error:
                # being resized, or enabled by another run just now
                if error.status_code not in (409, 429, 503):
                    raise
                return seen
            return newest

    def _create(self, job: JobSpec) -> bool:
        """Create the job; False when it exists and has all it needs already."""
        options = m.BatchJobCreateOptions(
            id=job.job,
            pool_info=m.BatchPoolInfo(pool_id=self._pool),
            all_tasks_complete_mode="noaction",
            constraints=m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=job.job_limit_s)),
            common_environment_settings=[
                m.EnvironmentSetting(name=k, value=v) for k, v in sorted(job.environment.items())
            ],
            metadata=[
                m.BatchMetadataItem(name=name, value=value)
                for name, value in {"run": job.run, **job.tags}.items()
            ],
        )
        try:
            self._client.create_job(options)
        except ResourceExistsError as error:
            if _code(error) != "JobExists":  # every 409 comes as this type: the quota of active jobs too
                raise
            found = self._client.get_job(job.job)
            if not any(item.name == "run" and item.value == job.run for item in found.metadata or ()):
                raise BugError(f"Batch job {job.job} belongs to another run.") from error
            return bool(_word(found.all_tasks_complete_mode) == "noaction" and _word(found.state) == "active")
        return True

    def _add_tasks(self, job: str, tasks: list[m.BatchTaskCreateOptions]) -> None:
        for start in range(0, len(tasks), _CHUNK):
            waiting = tasks[start : start + _CHUNK]
            for attempt in range(_SUBMIT_TRIES):
                waiting = self._add_chunk(job, waiting)
                if not waiting:
                    break
                time.sleep(min(0.2 * 2**attempt, 5.0))
            else:
                raise CapacityError(
                    f"{len(waiting)} tasks of {job} could not be added.", fix="Try again later."
                )

    def _add_chunk(self, job: str, tasks: list[m.BatchTaskCreateOptions]) -> list[m.BatchTaskCreateOptions]:
        """Add up to 100 tasks; gives those to be sent again. A task that exists already was added by an
        earlier try.
        """
        results = (
            self._client.create_task_collection(job, m.BatchTaskGroup(task_values=tasks)).result_values or []
        )
        again = set()
        for result in results:
            code = result.error.code if result.error else ""
            if _word(result.status) == "servererror":
                again.add(result.task_id)
            elif _word(result.status) == "clienterror" and code != "TaskExists":
                raise BugError(f"Batch refused task {result.task_id}: {code}. {_message(result.error)}")
        return [task for task in tasks if task.id in again]


class _EmulatorToken:
    """A token for the local Batch service, which looks at its form only."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        del scopes, options
        return AccessToken("local", int(datetime.now(UTC).timestamp()) + 3600)


def _identity(client_id: str) -> Any:
    # slow to import, and not needed locally
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _task(spec: ShardTaskSpec, job: JobSpec) -> m.BatchTaskCreateOptions:
    return m.BatchTaskCreateOptions(
        id=spec.task,
        command_line="",  # the image's own entry point
        container_settings=m.BatchTaskContainerSettings(
            image_name=job.image, container_run_options="--rm --init"
        ),
        environment_settings=[
            m.EnvironmentSetting(name=k, value=v) for k, v in sorted(spec.environment.items())
        ],
        constraints=m.BatchTaskConstraints(
            max_wall_clock_time=timedelta(seconds=job.task_limit_s),
            retention_time=timedelta(days=1),
            max_task_retry_count=job.retries,
        ),
        user_identity=m.UserIdentity(
            # One user for all tasks of a node, so that each may use what another has compiled.
            auto_user=m.AutoUserSpecification(scope="pool", elevation_level="nonadmin")
        ),
    )


def _task_state(task: Any) -> TaskState:
    info = task.execution_info
    is_over = _word(task.state) == "completed"
    if info is None:
        return TaskState(task.id, is_over)
    failure = info.failure_info
    return TaskState(
        task=task.id,
        is_over=is_over,
        exit_code=info.exit_code,
        failure=f"{failure.code}: {failure.message}" if failure else "",
        retries=info.retry_count or 0,
        requeues=info.requeue_count or 0,
        started=info.start_time,
        ended=info.end_time,
        node=(task.node_info.node_id or "") if task.node_info else "",
    )


def _message(error: Any) -> str:
    """The first line of an error's message, and its values."""
    text = str(getattr(error.message, "value", error.message)).splitlines()[0] if error.message else ""
    return " ".join([text, *(f"{pair.key}: {pair.value}." for pair in error.error_values or ())]).strip()


def _most(pool: Any, parameter: str, target: int | None) -> int:
    """The nodes that a pool may grow to: the formula's parameter of that name (infra/autoscale.formula),
    else the target now.
    """
    formula = (pool.auto_scale_formula or "") if pool.enable_auto_scale else ""
    found = re.search(rf"^\s*{parameter}\s*=\s*(\d+)\s*;", formula, re.MULTILINE)
    return int(found[1]) if found else target or 0


def _newest_evaluation(pool: Any) -> str:
    """When the service last evaluated the pool's formula, on its clock; "never" before the first time."""
    evaluated = pool.auto_scale_run and pool.auto_scale_run.timestamp
    return evaluated.isoformat() if evaluated else "never"


def _problem(error: Any) -> str:
    details = "; ".join(f"{pair.name}: {pair.value}" for pair in error.error_values or ())
    return f"{error.code}: {error.message}" + (f" ({details})" if details else "")


def _word(value: Any) -> Any:
    """The service's word behind an enum member of the SDK."""
    return getattr(value, "value", value)


def _raise_unless_done(error: HttpResponseError) -> None:
    if _code(error) not in _DONE_ALREADY:
        raise error


def _code(error: HttpResponseError) -> str:
    """The service's code of a refusal; "" without one."""
    return (error.error.code or "") if error.error else ""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours, with the name of the request."""
    try:
        yield
    except HttpResponseError as error:
        code = _code(error)
        if error.status_code in (401, 403):
            fix = "Give the app's identity the role Azure Batch Data Contributor on the Batch account."
            raise StoreError(
                f"Batch refused access to {what} ({code}).", fix=fix, code="batch_denied", retry=False
            ) from error
        if "Quota" in code:
            fix = "Request a higher quota for the Batch account, or let other jobs end first."
            raise CapacityError(f"Batch refused {what}: {code}.", fix=fix, code="quota_exceeded") from error
        raise StoreError(
            f"Batch failed on {what}: {code or error.status_code}.", code="batch_failed"
        ) from error
    except AzureError as error:
        raise StoreError(f"Batch could not be reached for {what}: {error}", code="batch_failed") from error
