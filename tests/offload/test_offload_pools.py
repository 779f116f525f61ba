"""Pools: a cold one is woken, a fixed one comes and goes with its run, one that never starts is given up with the reason."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.batch.azure_batch import BatchCompute
from fleetscore.batch.interface import JobSpec, ShardTaskSpec
from fleetscore.errors import BugError, CapacityError, SettingsError
from fleetscore.pipeline import capacity
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.offload import check_shards, job_of, submit_shards
from fleetscore.pipeline.offload_decisions import Check
from fleetscore.pipeline.offload_usage import keep_logs, release_pool
from fleetscore.pipeline.plan import commit_plan, make_plan
from fleetscore.records import RunRequest
from fleetscore.runs.run_records import request_run
from fleetscore.store.base import Store
from tests.offload.local_app import Cloud, lines, write_rules
from tests.pipeline.app_host import wait_until
from tests.pipeline.toy_workload import write_lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def trusted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process trusts the certificate of the local Batch service, as the app does."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", cloud.service.ca_path)
    yield


def settings(cloud: Cloud, store: Store, pool: str) -> AppSettings:
    """The app's settings for a pool, everything forced to Batch, without a queue."""
    told = cloud.environment(store.url, pool) | {
        "FLEETSCORE_BATCH_PLACEMENT": "batch",
        "FLEETSCORE_QUEUE__queueServiceUri": "",
    }
    return read_app_settings(told)


def submitted(
    store: Store, cloud: Cloud, pool: str, window: str, count: int = 20, behaviour: str = "ok"
) -> tuple[str, BatchCompute]:
    """A run of the window that is planned and submitted; gives its id and the pool's client."""
    app, compute, run = settings(cloud, store, pool), cloud.compute(pool), f"toy-{pool}-{window}"
    write_lines(store, window, lines(count, **{f"p{i}": behaviour for i in range(count)}))
    request = RunRequest(run, "toy", window, 1, NOW, "test")
    request_run(store, request)
    commit_plan(store, request, app, NOW)
    submit_shards(store, compute, app, run, datetime.now(UTC))
    return run, compute


def looked_after(store: Store, compute: BatchCompute, run: str, timeout_s: float = 60.0) -> Check:
    """Look after the run's shards, as the orchestration does, until none is open."""

    def look() -> Check | None:
        check = check_shards(store, compute, run, datetime.now(UTC))
        return None if check.open else check

    return wait_until(look, timeout_s)


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_a_cold_pool_is_woken_long_before_its_interval(cloud: Cloud, store: Store) -> None:
    """The formula is evaluated hourly by itself, and saw nothing at submitting; looking after the shards has it evaluated again."""
    write_rules(store)
    run, compute = submitted(store, cloud, "formula", "2026-04-01T00")
    assert looked_after(store, compute, run, 45.0) == Check(0, {})
    assert collect_run(store, run).counts == {"scored": 20}


@pytest.mark.slow
def test_waking_never_keeps_a_service_from_evaluating(
    unkind_cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each request starts a new schedule, looks every half second still bring nodes by the second evaluation, and a task starts."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", unkind_cloud.service.ca_path)
    write_rules(store)
    run, compute = submitted(store, unkind_cloud, "formula", "2026-04-01T00")
    evaluations = {compute.evaluation().evaluated}

    def has_target() -> bool:
        check_shards(store, compute, run, datetime.now(UTC))
        pool = compute.pool_state()
        evaluations.add(compute.evaluation().evaluated)
        time.sleep(0.5)
        return pool.target_dedicated + pool.target_spot > 0

    wait_until(has_target)
    assert (
        len(evaluations) <= 1 + 2
    )  # the one before, and one an interval: no task starts later than two of them
    wait_until(lambda: any(task.started for task in compute.list_tasks(job_of(store, run))))


def test_one_request_is_made_per_evaluation(unkind_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the service has evaluated again nothing is requested, and never of a pool without a formula."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", unkind_cloud.service.ca_path)
    compute = unkind_cloud.compute("formula")
    evaluated = compute.wake_pool("")
    requests = requests_to_enable(unkind_cloud)
    assert requests >= 1
    assert compute.wake_pool(evaluated) == evaluated
    assert unkind_cloud.compute("fixed").wake_pool("x") == "x"
    assert requests_to_enable(unkind_cloud) == requests
    wait_until(lambda: compute.wake_pool(evaluated) != evaluated, 20)
    assert requests_to_enable(unkind_cloud) > requests


def requests_to_enable(cloud: Cloud) -> int:
    """How often the service was asked to enable autoscale."""
    return int(cloud.service.control("faults", method="GET")["requests"].get("enable_pool_auto_scale", 0))


@pytest.mark.slow
@pytest.mark.usefixtures("trusted")
def test_a_fixed_pool_comes_for_its_run_and_goes_after_it(cloud: Cloud, store: Store) -> None:
    """No node before, so many during, none afterwards; submitting and releasing twice change nothing."""
    write_rules(store, pool_nodes=1)
    assert cloud.compute("fixed").pool_state().target_spot == 0
    run, compute = submitted(store, cloud, "fixed", "2026-04-01T01")
    submit_shards(store, compute, settings(cloud, store, "fixed"), run, datetime.now(UTC))
    assert compute.pool_state().target_spot == 1
    assert looked_after(store, compute, run) == Check(0, {})
    assert keep_logs(store, compute, run) >= 2
    for _ in range(2):
        release_pool(store, compute, run)
    wait_until(lambda: compute.pool_state().current_spot == 0)


@pytest.mark.usefixtures("trusted")
def test_a_pool_that_never_starts_is_given_up_with_its_resize_errors(cloud: Cloud, store: Store) -> None:
    """After start_limit_s the job is ended, and every shard's reason names what the pool says."""
    write_rules(store, start_limit_s=0.2, pool_nodes=1)
    cloud.service.control("pools/fixed", {"resize_error": "AllocationTimedOut"})
    try:
        run, compute = submitted(store, cloud, "fixed", "2026-04-01T02")
        wait_until(lambda: compute.pool_state().problems)
        check = looked_after(store, compute, run)
    finally:
        cloud.service.control("pools/fixed", {"resize_error": None})
    assert "No node started a task" in check.reasons["0"] and "AllocationTimedOut" in check.reasons["0"]
    assert compute.job_state(job_of(store, run)).state in ("terminating", "completed")
    ledger = collect_run(store, run, {int(shard): why for shard, why in check.reasons.items()})
    assert ledger.counts == {"failed": 20}
    release_pool(store, compute, run)


@pytest.mark.usefixtures("trusted")
def test_a_plan_beyond_the_quota_is_refused_before_anything_is_submitted(
    cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account without cores: the refusal names how many to request, nothing is planned, no job exists; showing the plan shows it too."""
    monkeypatch.setattr(capacity, "connect_compute", lambda app: cloud.compute(app.batch_pool))
    write_rules(store)
    write_lines(store, "2026-04-01T03", lines(20))
    request = RunRequest("toy-refused", "toy", "2026-04-01T03", 1, NOW, "test")
    app = settings(cloud, store, "empty")
    with pytest.raises(CapacityError, match="Request at least 2 cores"):
        commit_plan(store, request, app, NOW)
    assert store.stat("runs/toy-refused/plan.json") is None
    assert make_plan(store, request, app, NOW).refusal is not None
    assert store.stat("runs/toy-refused/offload.json") is None


@pytest.mark.usefixtures("trusted")
def test_submitting_twice_is_submitting_once_and_another_run_s_job_is_left_alone(cloud: Cloud) -> None:
    """The same job with the same tasks; a job of that name that belongs to another run is a bug, not a success."""
    compute = cloud.compute()
    job = JobSpec("twice", "run-a", "fleetscore-worker", {}, 60.0, 60.0, 0)
    tasks = [ShardTaskSpec(f"shard-{i:05d}", {"FLEETSCORE_SHARD": str(i)}) for i in range(250)]
    compute.submit(job, tasks)
    compute.submit(job, tasks)
    assert len(compute.list_tasks("twice")) == 250
    with pytest.raises(BugError, match="another run"):
        compute.submit(JobSpec("twice", "run-b", "fleetscore-worker", {}, 60.0, 60.0, 0), tasks)
    compute.terminate("twice", "enough")
    compute.terminate("twice", "enough")
    wait_until(lambda: compute.job_state("twice").state == "completed")


def test_a_pool_that_does_not_exist_and_an_endpoint_without_tls_are_named(cloud: Cloud) -> None:
    """The setting at fault, and what to do."""
    with pytest.raises(CapacityError, match="FLEETSCORE_BATCH_POOL"):
        cloud.compute("nowhere").pool_state()
    with pytest.raises(SettingsError, match="FLEETSCORE_BATCH_ENDPOINT"):
        BatchCompute.connect("http://127.0.0.1:1", "local")
