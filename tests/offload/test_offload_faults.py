"""What breaks while shards are on Batch costs time, never a row: each fault ends with a complete ledger and the rows of a calm run."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetscore.batch.completions import read_completion
from fleetscore.errors import InputError
from fleetscore.pipeline.offload import job_of, worker_environment
from fleetscore.pipeline.score import read_shard_record
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store import open_store
from fleetscore.store.queue import send
from tests.offload.conftest import service_options
from tests.offload.local_app import (
    ROOT,
    App,
    Cloud,
    doubled,
    lines,
    markers_of,
    rows_of,
    usage_of,
    write_rules,
)
from tests.offload.stormy_storage import Storm, stormy
from tests.pipeline.app_host import running, wait_until
from tests.pipeline.toy_workload import write_lines


def start(
    app: App, window: str, data: list[tuple[str, int, str]], workload: str = "toy", **rules: Any
) -> str:
    """Write the window's data and start its run."""
    write_rules(app.store, **rules)
    text = "".join(f"{key},{value},{how}\n" for key, value, how in data)
    app.store.write(f"data/{workload}/{window}.csv", text.encode())
    if workload != "toy":
        write_lines(app.store, window, data)
    return app.run(window, workload)


def slow(count: int, every: int = 2) -> list[tuple[str, int, str]]:
    """Partitions of which every other takes its time."""
    return lines(count, **{f"p{i}": "slow" for i in range(0, count, every)})


def assert_whole(app: App, run: str, window: str, count: int) -> None:
    """The run is published, its ledger has one line per partition, and its rows are those of a calm run."""
    status = app.ended(run)
    assert (status["state"], status["record"]["counts"]) == ("published", {"scored": count})
    assert read_ledger(app.store, run).num_rows == count
    assert rows_of(app.store, window) == doubled(count)


def test_a_worker_killed_mid_shard_is_replaced(app: App) -> None:
    """SIGKILL to the process that a marker names: Batch tries again, and nobody loses a row."""
    window = "2026-02-01T00"
    run = start(app, window, slow(20), slow_s=0.1)
    marker = wait_until(lambda: markers_of(app.store, run))[0]
    os.kill(marker.pid, signal.SIGKILL)
    assert_whole(app, run, window, 20)
    assert usage_of(app.store, run).retries == 1


@pytest.mark.slow
def test_repeated_preemption_costs_nobody_a_row_and_accuses_nobody(app: App, cloud: Cloud) -> None:
    """The Spot node is taken three times while it works; its tasks start again elsewhere, and nothing is quarantined."""
    window = "2026-02-01T01"
    run = start(app, window, slow(40, every=1), slow_s=0.1)
    for _ in range(3):
        wait_until(lambda: markers_of(app.store, run))
        cloud.service.control("preempt", {"pool": "local", "restore_seconds": 20})
        wait_until(lambda: cloud.compute().pool_state().usable_nodes == 2)
    assert_whole(app, run, window, 40)
    assert usage_of(app.store, run).requeues >= 1


@pytest.mark.slow
def test_completion_messages_may_come_twice_out_of_order_for_nobody_and_as_nonsense(app: App) -> None:
    """Duplicates, groups that do not exist, runs that do not exist, and bytes that are no message: the run is published all the same."""
    window = "2026-02-01T02"
    run = start(app, window, slow(30), slow_s=0.1)
    queue = (
        f"{app.settings['FLEETSCORE_QUEUE__queueServiceUri']}/{app.settings['FLEETSCORE_COMPLETION_QUEUE']}"
    )
    wait_until(lambda: app.store.stat(f"runs/{run}/offload.json"))
    for message in (2, 1, 0, 0, 99):
        send(queue, f'{{"run": "{run}", "group": {message}}}'.encode())
    for text in (b'{"run": "toy-nobody", "group": 0}', b"nonsense", b'{"run": 7}'):
        send(queue, text)
    assert_whole(app, run, window, 30)
    wait_until(lambda: "group 0 is not waited for any more" in app.log())
    with pytest.raises(InputError, match="no completion message"):
        read_completion(b"nonsense")


OPERATIONS = ["create_job", "create_task_collection", "update_job"]


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(name, marks=pytest.mark.slow if name != "create_task_collection" else ())
        for name in OPERATIONS
    ],
)
def test_a_lost_reply_while_submitting_changes_nothing(app: App, cloud: Cloud, operation: str) -> None:
    """The service did what was asked, but nobody heard: asked again, it has one job with each task once."""
    window = f"2026-02-02T0{OPERATIONS.index(operation)}"
    cloud.service.control("faults", {"operation": operation, "kind": "drop", "count": 2})
    run = start(app, window, lines(20))
    assert_whole(app, run, window, 20)
    assert usage_of(app.store, run).tasks == 2


@pytest.mark.slow
def test_a_storm_of_503_from_batch_is_ridden_out(app: App, cloud: Cloud) -> None:
    """Every kind of request is refused a few times, some with Retry-After."""
    window = "2026-02-03T00"
    rules = [
        {"operation": operation, "kind": "error", "status": 503, "code": "ServerBusy", "count": 2}
        for operation in (
            "create_job",
            "create_task_collection",
            "update_job",
            "get_job",
            "list_tasks",
            "get_pool",
        )
    ]
    cloud.service.control("faults", rules)
    run = start(app, window, lines(20))
    assert_whole(app, run, window, 20)


@pytest.mark.slow
def test_two_workers_on_one_shard_commit_it_once(app: App) -> None:
    """A second worker of the same shard, started while the first is at it: one record, one set of rows, both exit 0."""
    window = "2026-02-03T01"
    run = start(app, window, slow(10, every=1), slow_s=0.2)
    wait_until(lambda: markers_of(app.store, run))
    second = worker(app, run, 0)
    assert_whole(app, run, window, 10)
    assert second.wait(60) == 0
    record = read_shard_record(app.store, run, 0)
    assert record is not None and record.counts == {"scored": 10}


def worker(app: App, run: str, shard: int) -> subprocess.Popen[bytes]:
    """One more worker, as Batch would start it."""
    from fleetscore.app_settings import read_app_settings

    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "pipeline"), str(ROOT / "tests" / "offload")])
    own = worker_environment(read_app_settings(app.settings), run, "score") | {"FLEETSCORE_SHARD": str(shard)}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, **own}
    return subprocess.Popen([sys.executable, "-m", "worker_image"], cwd="/tmp", env=environment)  # noqa: S108


@pytest.mark.slow
def test_a_shard_that_runs_out_of_memory_loses_only_who_asked_for_it(app: App) -> None:
    """Who asks for more memory than there is, and who gets its process killed, again and again, are quarantined; the rest is scored."""
    window = "2026-02-03T02"
    run = start(app, window, lines(40, p3="hog", p25="kill"), "heavy", batch_shard_s=2.0)
    status = app.ended(run)
    assert status["record"]["counts"] == {"scored": 38, "quarantined": 2}
    ledger = read_ledger(app.store, run).to_pylist()
    assert {line["partition"]: line["cause"] for line in ledger if line["cause"]} == {
        "p3": "kills_process",
        "p25": "kills_process",
    }
    assert rows_of(app.store, window, "heavy") == doubled(40, ["p3", "p25"])


@pytest.mark.slow
def test_a_partition_that_never_ends_is_set_aside_and_the_rest_of_its_shard_is_scored(app: App) -> None:
    """Each attempt ends itself before its task's time limit, so that Batch tries again and only the loop is quarantined."""
    window = "2026-02-03T04"
    run = start(app, window, lines(20, p3="endless"), shard_limit_s=30.0)
    status = app.ended(run, 600)
    assert (status["state"], status["record"]["counts"]) == ("published", {"scored": 19, "quarantined": 1})
    causes = {line["partition"]: line["cause"] for line in read_ledger(app.store, run).to_pylist()}
    assert causes["p3"] == "kills_process"
    assert rows_of(app.store, window) == doubled(20, ["p3"])


PHASES = {
    "requested": "run.json",
    "planned": "plan.json",
    "submitted": "offload.json",
    "scoring": "crumb.json",
    "first shard committed": "result.json",
}


@pytest.mark.parametrize(
    "phase", [pytest.param(name, marks=pytest.mark.slow if "commit" in name else ()) for name in PHASES]
)
def test_cancel_at_any_phase_ends_run_and_job_at_once(app: App, cloud: Cloud, phase: str) -> None:
    """The run ends cancelled long before its shards would have, its ledger is complete, nothing is published, and the job is over."""
    window = f"2026-02-04T0{list(PHASES).index(phase)}"
    slow_s = 0.3 if phase == "first shard committed" else 5.0
    run = start(app, window, slow(80, every=1), slow_s=slow_s, check_s=60.0)
    wait_until(lambda: has_file(app, run, PHASES[phase]))
    assert app.post(f"runs/{run}/cancel", {}).status_code == 202
    status = app.ended(run, 20)
    assert status["state"] == "cancelled"
    assert read_ledger(app.store, run).num_rows == 80
    assert app.store.stat(f"results/toy/{window}/manifest.json") is None
    wait_until(lambda: cloud.compute().job_state(job_of(app.store, run)).state in ("completed", "missing"))


def has_file(app: App, run: str, name: str) -> bool:
    """Whether the run has written a file of that name anywhere in its folder."""
    return any(entry.path.endswith(name) for entry in app.store.list(f"runs/{run}/"))


@pytest.mark.slow
@pytest.mark.skipif("--foreign-environment" in service_options(), reason="its tasks cannot write in a folder")
def test_a_host_killed_while_it_waits_takes_the_run_up_again(cloud: Cloud, tmp_path: Path) -> None:
    """Host and workers get SIGKILL while tasks run; started again, the host finds what was committed meanwhile. The store is a folder."""
    window = "2026-02-05T00"
    settings = cloud.environment((tmp_path / "store").as_uri()) | {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
    with running(App(tmp_path, settings)) as app:
        run = start(app, window, slow(40), slow_s=0.2)
        wait_until(lambda: markers_of(app.store, run))
        app.kill()
        wait_until(lambda: has_file(app, run, "result.json"))
        app.start()
        assert_whole(app, run, window, 40)


@pytest.mark.slow
def test_lost_messages_cost_a_timer_and_late_ones_are_dropped(cloud: Cloud, tmp_path: Path) -> None:
    """No message arrives during the run: it ends by its timer. All arrive afterwards: each is dropped with a line in the log."""
    window = "2026-02-05T01"
    settings = cloud.environment() | {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
    nowhere = settings | {
        "FLEETSCORE_QUEUE": settings["FLEETSCORE_QUEUE"].replace(
            "QueueEndpoint=http://127.0.0.1:", "QueueEndpoint=http://127.0.0.1:1"
        )
    }
    with running(App(tmp_path, nowhere)) as app:
        run = start(app, window, lines(20))
        assert_whole(app, run, window, 20)
        app.kill()
    with running(App(tmp_path, settings)) as app:
        wait_until(lambda: app.log().count("is not waited for any more") == 2)
        assert app.get(f"runs/{run}")["state"] == "published"


@pytest.mark.slow
def test_a_storm_of_503_from_storage_is_ridden_out(cloud: Cloud, tmp_path: Path) -> None:
    """Every seventh request of app and workers is refused until twenty were: it takes longer, and nothing else."""
    window = "2026-02-06T00"
    settings = cloud.environment() | {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
    calm = open_store(settings["FLEETSCORE_STORE"])
    write_rules(calm)
    write_lines(calm, window, lines(20))
    storm = Storm(every=7, most=20)
    with (
        stormy(settings["FLEETSCORE_STORE"], storm) as url,
        running(App(tmp_path, settings | {"FLEETSCORE_STORE": url})) as app,
    ):
        run = app.run(window)
        app.store = calm
        assert_whole(app, run, window, 20)
    assert storm.refused == 20


@pytest.mark.slow
def test_shards_that_cannot_be_helped_end_the_run_long_before_its_timer(app: App) -> None:
    """A setting broken while the first shards are at work: those that begin later give up, say why, and the run ends at once."""
    window = "2026-02-07T00"
    run = start(app, window, slow(80, every=1), slow_s=0.2, check_s=600.0)
    wait_until(lambda: len(markers_of(app.store, run)) == 4)
    rules = app.store.read("settings/toy.toml")
    app.store.write("settings/toy.toml", b"no_such_setting = 1\n" + rules)
    status = app.ended(run)
    assert (status["state"], status["record"]["counts"]) == ("unpublished", {"scored": 40, "failed": 40})
    details = {
        line["detail"] for line in read_ledger(app.store, run).to_pylist() if line["outcome"] == "failed"
    }
    assert len(details) == 1 and "no_such_setting" in details.pop()
