"""Batch that cannot be asked, refuses, forgets or ends tasks: runs that need it no more are published, all others end with a reason."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from activities.keep_logs import keep_logs
from fleetscore.batch import azure_batch
from fleetscore.errors import CapacityError, StoreError
from fleetscore.pipeline.offload import check_shards, job_of
from fleetscore.pipeline.offload_usage import write_usage
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.status import committed_shards
from fleetscore.store.base import Store
from tests.offload.conftest import cloud_with
from tests.offload.local_app import App, Cloud, doubled, lines, rows_of, write_rules
from tests.offload.test_offload_pools import submitted
from tests.pipeline.app_host import running, wait_until

DENIED = {"kind": "error", "status": 403, "code": "AuthorizationFailed", "count": 1_000_000}


@pytest.fixture
def own_cloud(azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A local Batch service that the test may kill; this process trusts it."""
    with cloud_with(azurite, tmp_path) as cloud:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", cloud.service.ca_path)
        yield cloud


@pytest.fixture
def own_app(own_cloud: Cloud, tmp_path: Path) -> Iterator[App]:
    """A host of its own that scores everything on that service."""
    with running(App(tmp_path, own_cloud.environment() | {"FLEETSCORE_BATCH_PLACEMENT": "batch"})) as app:
        yield app


def data_of(app: App, window: str, data: list[tuple[str, int, str]]) -> None:
    """Write the toy's input of a window."""
    text = "".join(f"{key},{value},{how}\n" for key, value, how in data)
    app.store.write(f"data/toy/{window}.csv", text.encode())


def is_submitted(app: App, run: str) -> bool:
    """Whether the run's job is there with its tasks."""
    return app.store.stat(f"runs/{run}/offload.json") is not None


def slow(count: int) -> list[tuple[str, int, str]]:
    """Partitions that each take their time."""
    return lines(count, **{f"p{i}": "slow" for i in range(count)})


def details(app: App, run: str) -> set[str]:
    """What the ledger says of the failed partitions."""
    return {line["detail"] for line in read_ledger(app.store, run).to_pylist() if line["outcome"] == "failed"}


@pytest.mark.slow
def test_an_outage_after_the_last_commit_does_not_hold_the_run(own_cloud: Cloud, store: Store) -> None:
    """With every shard committed a dead service is not asked, and what the job took is left out of the record."""
    write_rules(store)
    run, compute = submitted(store, own_cloud, "local", "2026-05-01T00")
    wait_until(lambda: len(committed_shards(store, run)) == 2)
    own_cloud.service.process.kill()
    check = check_shards(store, compute, run, datetime.now(UTC))
    assert (check.open, dict(check.reasons)) == (0, {})
    assert write_usage(store, compute, run, datetime.now(UTC)) is None


@pytest.mark.slow
def test_an_outage_ends_with_its_reason_when_the_job_must_be_over(own_cloud: Cloud, store: Store) -> None:
    """A dead service costs looks until the job's own limit; then every shard has the reason, with the error."""
    write_rules(store, slow_s=5.0, job_limit_s=1000.0)
    run, compute = submitted(store, own_cloud, "formula", "2026-05-01T01")
    own_cloud.service.process.kill()
    own_cloud.service.process.wait()
    with pytest.raises(StoreError, match="could not be reached"):
        check_shards(store, compute, run, datetime.now(UTC))
    later = datetime.fromtimestamp(time.time() + 1001, UTC)
    check = check_shards(store, compute, run, later)
    assert check.open == 0
    assert all("limit of 1000 s" in why and "could not be reached" in why for why in check.reasons.values())
    assert set(check.reasons) == {"0", "1"}


@pytest.mark.slow
def test_a_service_killed_while_all_tasks_run_costs_nothing(own_app: App, own_cloud: Cloud) -> None:
    """The workers go on, commit and announce; the run is published without the service."""
    window = "2026-05-02T00"
    write_rules(own_app.store, slow_s=0.3)
    data_of(own_app, window, slow(20))
    run = own_app.run(window)
    compute = own_cloud.compute()
    wait_until(
        lambda: is_submitted(own_app, run) and compute.job_state(job_of(own_app.store, run)).running == 2
    )
    own_cloud.service.process.kill()
    assert own_app.ended(run)["state"] == "published"
    assert rows_of(own_app.store, window) == doubled(20)


@pytest.mark.slow
def test_a_lost_role_does_not_hold_a_run_whose_workers_commit(own_app: App, own_cloud: Cloud) -> None:
    """From submission on every request is refused, and the run is published all the same."""
    window = "2026-05-02T01"
    write_rules(own_app.store, slow_s=0.1)
    data_of(own_app, window, slow(20))
    run = own_app.run(window)
    wait_until(lambda: is_submitted(own_app, run))
    own_cloud.service.control("faults", DENIED)
    assert own_app.ended(run)["state"] == "published"
    assert rows_of(own_app.store, window) == doubled(20)


@pytest.mark.slow
def test_a_lost_role_ends_a_run_whose_workers_do_not_commit(own_app: App, own_cloud: Cloud) -> None:
    """With workers that take too long and every look refused, the run ends by the job's limit and names the role."""
    window = "2026-05-02T02"
    write_rules(own_app.store, slow_s=30.0, check_s=2.0)
    data_of(own_app, window, slow(20))
    own_cloud.service.control("faults", DENIED | {"operation": "list_tasks"})
    run = own_app.run(window)
    wait_until(lambda: is_submitted(own_app, run))
    write_rules(own_app.store, slow_s=30.0, check_s=2.0, job_limit_s=15.0)
    assert own_app.ended(run)["state"] == "unpublished"
    said = details(own_app, run)
    assert said and all("limit of 15 s" in why and "Azure Batch Data Contributor" in why for why in said)


@pytest.mark.slow
def test_a_deleted_job_ends_its_run_with_the_reason(own_app: App, own_cloud: Cloud) -> None:
    """Whoever deletes the job takes its tasks; the shards without a commit say that it is missing."""
    window = "2026-05-02T03"
    write_rules(own_app.store, slow_s=5.0, check_s=2.0)
    data_of(own_app, window, slow(20))
    run = own_app.run(window)
    compute = own_cloud.compute()
    wait_until(
        lambda: is_submitted(own_app, run) and compute.job_state(job_of(own_app.store, run)).running == 2
    )
    compute._client.begin_delete_job(job_of(own_app.store, run))
    assert own_app.ended(run)["state"] == "unpublished"
    assert all("Batch job is missing" in why for why in details(own_app, run))


@pytest.mark.slow
def test_a_deleted_pool_ends_its_run_with_the_reason(own_cloud: Cloud, store: Store) -> None:
    """Tasks of a pool that is gone wait until the start limit, and the reason names the pool."""
    write_rules(store, start_limit_s=2.0)
    run, compute = submitted(store, own_cloud, "formula", "2026-05-02T04")
    compute._client.begin_delete_pool("formula")
    time.sleep(2.5)
    check = check_shards(store, compute, run, datetime.now(UTC))
    assert check.open == 0
    assert all("'formula' does not exist" in why for why in check.reasons.values())


@pytest.mark.slow
def test_a_task_at_its_time_limit_says_so(own_cloud: Cloud, store: Store) -> None:
    """A shard that takes too long as a whole is not tried for ever: the reason names the limit and its setting."""
    write_rules(store, slow_s=2.0, shard_limit_s=10.0)
    run, compute = submitted(store, own_cloud, "local", "2026-05-02T05", behaviour="slow")
    reasons = wait_until(lambda: check_shards(store, compute, run, datetime.now(UTC)).reasons, 200)
    assert all("time limit of 10 s (shard_limit_s)" in why for why in reasons.values()), reasons


@pytest.mark.slow
def test_runs_wait_for_the_quota_of_active_jobs(own_app: App, own_cloud: Cloud) -> None:
    """With a quota of one active job, four runs at once are all published, one after the other."""
    own_cloud.service.control("quota", {"active_jobs": 1})
    write_rules(own_app.store, slow_s=0.05, check_s=2.0)
    windows = [f"2026-05-03T0{hour}" for hour in range(4)]
    for window in windows:
        data_of(own_app, window, lines(20))
    runs = [own_app.run(window) for window in windows]
    assert [own_app.ended(run, 110)["state"] for run in runs] == ["published"] * 4


@pytest.mark.slow
def test_a_quota_that_stays_full_ends_the_run_and_is_named(own_app: App, own_cloud: Cloud) -> None:
    """The wait for the quota ends after start_limit_s, with the service's code and what to do."""
    own_cloud.service.control("quota", {"active_jobs": 0})
    write_rules(own_app.store, check_s=2.0, start_limit_s=4.0)
    data_of(own_app, "2026-05-03T05", lines(20))
    status = own_app.ended(own_app.run("2026-05-03T05"))
    assert status["state"] == "failed"
    assert "ActiveJobAndScheduleQuotaReached" in json.dumps(status)


@pytest.mark.slow
def test_a_submission_that_fails_midway_leaves_no_job_in_the_quota(own_app: App, own_cloud: Cloud) -> None:
    """A job without tasks ends by itself at its limit of hours only; with its run it ends at once, and the next one gets its place."""
    own_cloud.service.control("quota", {"active_jobs": 1})
    write_rules(own_app.store, slow_s=0.05, check_s=2.0)
    for hour in (8, 9):
        data_of(own_app, f"2026-05-03T0{hour}", lines(20))
    own_cloud.service.control("faults", DENIED | {"operation": "create_task_collection"})
    status = own_app.ended(own_app.run("2026-05-03T08"))
    assert status["state"] == "failed"
    assert "Azure Batch Data Contributor" in json.dumps(status)
    own_cloud.service.control("faults", method="DELETE")
    assert own_app.ended(own_app.run("2026-05-03T09"), 110)["state"] == "published"


@pytest.mark.slow
def test_logs_that_cannot_be_read_never_keep_the_pool(
    own_cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the files or the list of tasks are refused, the nodes of the run are released."""
    write_rules(store, pool_nodes=1)
    told = own_cloud.environment(store.url, "fixed") | {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    for operation, hour in (("download_task_file", "06"), ("list_tasks", "07")):
        run, compute = submitted(store, own_cloud, "fixed", f"2026-05-02T{hour}")
        wait_until(lambda run=run: len(committed_shards(store, run)) == 2)
        assert compute.pool_state().target_spot == 1
        own_cloud.service.control("faults", DENIED | {"operation": operation})
        answer: dict[str, Any] = keep_logs({"run": run})
        own_cloud.service.control("faults", method="DELETE")
        assert answer["ok"] is (operation == "download_task_file")
        assert compute.pool_state().target_spot == 0
        wait_until(lambda pool=compute: pool.pool_state().state == "steady")


def test_only_an_existing_job_counts_as_created_before(own_cloud: Cloud, store: Store) -> None:
    """The quota of active jobs comes as a conflict too, and is an error with its own code, not a job that exists."""
    own_cloud.service.control("quota", {"active_jobs": 0})
    write_rules(store)
    with pytest.raises(CapacityError, match="ActiveJobAndScheduleQuotaReached") as refused:
        submitted(store, own_cloud, "local", "2026-05-03T06")
    assert refused.value.code == "quota_exceeded"


def test_a_service_that_hangs_is_given_up_within_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that takes connections and says nothing costs a request its limit and the last try, not twenty minutes."""
    limits = azure_batch._LIMITS_S
    assert limits["timeout"] + max(limits["connection_timeout"], limits["read_timeout"]) <= 120.0
    monkeypatch.setattr(azure_batch, "_LIMITS_S", dict.fromkeys(limits, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        compute = azure_batch.BatchCompute.connect(f"https://127.0.0.1:{silent.getsockname()[1]}", "local")
        with pytest.raises(StoreError, match="could not be reached"):
            compute.job_state("any")
    assert time.monotonic() - began < 60.0
