"""Pools and nodes, through the unmodified client: sizes, formulas, preemption, quota."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from batch_requests import (
    ENDLESS,
    UNTIL_TOLD,
    Client,
    client_of,
    code_of,
    completed,
    make_job,
    make_pool,
    running,
    task,
    tell,
    text_of,
    until,
)
from devbatch.nodes import NODES_LIMIT
from devbatch.process import ServiceProcess, start_service

FORMULA = (Path(__file__).parent / "spot_first.formula").read_text()
FIXED = "$TargetDedicatedNodes = 1; $TargetLowPriorityNodes = 2; $NodeDeallocationOption = requeue;"
EMPTY = "$TargetDedicatedNodes = 0; $TargetLowPriorityNodes = 0;"

NO_LIMITS = dict.fromkeys(("dedicated_cores", "spot_cores", "pools", "active_jobs"))


@pytest.fixture(scope="module")
def slow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose clock moves when a test says so: boots take 30 s of real time."""
    service = start_service(tmp_path_factory.mktemp("slow") / "data", "--boot-seconds", "30")
    yield service
    service.stop()


@pytest.fixture
def own_service(slow_service: ServiceProcess) -> Iterator[ServiceProcess]:
    """The slow service with nothing in it and no quota."""
    yield slow_service
    slow_service.control("quota", NO_LIMITS)
    client = client_of(slow_service)
    for job in client.list_jobs():
        client.begin_delete_job(job.id)
    for pool in client.list_pools():
        client.begin_delete_pool(pool.id)
    until(lambda: not [*client.list_pools(), *client.list_jobs()])


def nodes_of(client: Client, pool_id: str) -> Any:
    """The nodes of a pool."""
    return list(client.list_nodes(pool_id))


def wait_for_node(client: Client, pool_id: str, state: str) -> None:
    """Waits until the only node of a pool is in a state, or already runs something."""
    until(lambda: nodes_of(client, pool_id)[0].state in (state, "running"))


def steady(client: Client, pool_id: str) -> Any:
    """The pool, once it is not being resized."""

    def found() -> Any:
        pool = client.get_pool(pool_id)
        return pool if pool.allocation_state == "steady" else None

    return until(found)


def idle(client: Client, pool_id: str, count: int) -> Any:
    """The nodes of a pool, once so many of them are up and all are idle."""

    def found() -> Any:
        nodes = nodes_of(client, pool_id)
        return nodes if len(nodes) == count and all(node.state == "idle" for node in nodes) else None

    return until(found)


def test_nodes_take_time_to_come(own_service: ServiceProcess) -> None:
    """Nodes are created, then start, then idle, at the pace of the cloud's clock; tasks wait meanwhile."""
    client = client_of(own_service)
    pool_id = make_pool(client, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t"))
    assert client.get_pool(pool_id).allocation_state == "resizing"
    for state, later in (("creating", "starting"), ("starting", "idle")):
        assert nodes_of(client, pool_id)[0].state == state
        assert client.get_task(job_id, "t").state == "active"
        own_service.control("clock", {"seconds": 15})
        wait_for_node(client, pool_id, later)
    completed(client, job_id, "t")
    assert client.get_pool(pool_id).allocation_state == "steady"


def test_node_counts_tell_kinds_apart(client: Client) -> None:
    """Node counts come by pool, state, and kind."""
    pool_id = make_pool(client, target_dedicated_nodes=1, target_low_priority_nodes=2)
    idle(client, pool_id, 3)
    (counts,) = client.list_pool_node_counts(filter=f"poolId eq '{pool_id}'")
    assert (counts.dedicated.idle, counts.dedicated.total) == (1, 1)
    assert (counts.low_priority.idle, counts.low_priority.total) == (2, 2)


def test_existence_of_a_pool(client: Client) -> None:
    """`pool_exists` is true for a pool; for none the client raises instead of answering false."""
    assert client.pool_exists(make_pool(client))
    with pytest.raises(ResourceNotFoundError):
        client.pool_exists("no-such-pool")


def test_resize_up_and_to_zero(client: Client) -> None:
    """A pool grows and goes back to no nodes; the client's poller ends when it is steady."""
    pool_id = make_pool(client)
    client.begin_resize_pool(
        pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=2), polling_interval=0.05
    ).wait(10)
    assert client.get_pool(pool_id).current_dedicated_nodes == 2
    client.begin_resize_pool(
        pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=0), polling_interval=0.05
    ).wait(10)
    assert not nodes_of(client, pool_id)


def test_resize_while_resizing_is_a_conflict(own_service: ServiceProcess) -> None:
    """A second resize, or a formula, is refused until the first has ended or is stopped."""
    client = client_of(own_service)
    pool_id = make_pool(client, target_dedicated_nodes=1)
    with pytest.raises(ResourceExistsError) as refused:
        client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=2))
    assert code_of(refused) == "PoolBeingResized"
    with pytest.raises(ResourceExistsError) as no_formula:
        client.enable_pool_auto_scale(pool_id, m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=FIXED))
    assert code_of(no_formula) == "PoolBeingResized"
    client.begin_stop_pool_resize(pool_id)
    pool = steady(client, pool_id)
    assert (pool.target_dedicated_nodes, pool.resize_errors[0].code) == (0, "ResizeStopped")


def test_resize_of_a_pool_that_scales_itself_is_a_conflict(client: Client) -> None:
    """Targets and formula exclude each other; disabling the formula keeps the targets and allows a resize."""
    pool_id = make_pool(client, enable_auto_scale=True, auto_scale_formula=FIXED)
    with pytest.raises(ResourceExistsError):
        client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=0))
    idle(client, pool_id, 3)
    client.disable_pool_auto_scale(pool_id)
    pool = steady(client, pool_id)
    assert (pool.enable_auto_scale, pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (
        False,
        1,
        2,
    )
    client.begin_resize_pool(
        pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=0, target_low_priority_nodes=0)
    )
    until(lambda: not nodes_of(client, pool_id))


@pytest.mark.parametrize(
    ("option", "state", "requeues"),
    [("requeue", "active", 1), ("terminate", "completed", 0), ("taskcompletion", "completed", 0)],
)
def test_scale_in_treats_running_tasks_as_asked(
    client: Client, option: str, state: str, requeues: int
) -> None:
    """A node that leaves requeues its tasks, ends them, or waits for them; retries are never used up."""
    pool_id = make_pool(client, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t", UNTIL_TOLD))
    running(client, job_id, "t")
    client.begin_resize_pool(
        pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option=option)
    )
    if option == "taskcompletion":
        assert nodes_of(client, pool_id)[0].state == "leavingpool"
        tell(client, job_id, "t")
    until(lambda: not nodes_of(client, pool_id))
    found = client.get_task(job_id, "t")
    assert (found.state, found.execution_info.requeue_count, found.execution_info.retry_count) == (
        state,
        requeues,
        0,
    )
    if option == "taskcompletion":
        assert found.execution_info.exit_code == 0


def test_nodes_are_removed_by_name(client: Client) -> None:
    """Removing a node lowers the target; a name that is not in the pool is 404."""
    pool_id = make_pool(client, target_dedicated_nodes=2)
    first, second = idle(client, pool_id, 2)
    with pytest.raises(ResourceNotFoundError) as missing:
        client.begin_remove_nodes(pool_id, m.BatchNodeRemoveOptions(node_ids=["nobody"]))
    assert code_of(missing) == "NodeNotFound"
    client.begin_remove_nodes(pool_id, m.BatchNodeRemoveOptions(node_ids=[first.id]))
    until(lambda: len(nodes_of(client, pool_id)) == 1)
    assert nodes_of(client, pool_id)[0].id == second.id
    assert client.get_pool(pool_id).target_dedicated_nodes == 1


def test_formula_is_tried_without_effect(client: Client) -> None:
    """An evaluation answers with results, or with an error inside the answer; the pool stays as it is."""
    pool_id = make_pool(client, enable_auto_scale=True, auto_scale_formula=FIXED)
    run = client.evaluate_pool_auto_scale(
        pool_id, m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=FORMULA)
    )
    assert "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0" in run.results
    assert run.error is None
    bad = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="x = 5 % 2;")
    assert client.evaluate_pool_auto_scale(pool_id, bad).error.code == "AutoScalingFormulaSyntaxError"
    assert client.get_pool(pool_id).target_dedicated_nodes == 1


def test_evaluation_needs_a_pool_that_scales_itself(client: Client) -> None:
    """A formula cannot be tried on a pool whose automatic scaling is off."""
    options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=FIXED)
    with pytest.raises(ResourceExistsError):
        client.evaluate_pool_auto_scale(make_pool(client), options)


def test_enabling_again_evaluates_at_once_but_not_too_often(own_service: ServiceProcess) -> None:
    """Enabling again evaluates the formula at once, and within 30 s of the last request it is 503."""
    client = client_of(own_service, retry_total=0)
    pool_id = make_pool(client)
    interval = timedelta(minutes=5)
    options = m.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=EMPTY, auto_scale_evaluation_interval=interval
    )
    client.enable_pool_auto_scale(pool_id, options)
    first = until(lambda: (found := client.get_pool(pool_id)).auto_scale_run and found)
    assert first.auto_scale_evaluation_interval == interval
    again = m.BatchPoolEnableAutoScaleOptions(auto_scale_evaluation_interval=timedelta(minutes=6))
    with pytest.raises(HttpResponseError) as refused:
        client.enable_pool_auto_scale(pool_id, again)
    assert (refused.value.status_code, code_of(refused)) == (503, "TooManyEnableAutoScaleRequests")
    own_service.control("clock", {"seconds": 31})
    client.enable_pool_auto_scale(pool_id, again)
    until(lambda: client.get_pool(pool_id).auto_scale_run.timestamp > first.auto_scale_run.timestamp)
    assert client.get_pool(pool_id).auto_scale_formula == EMPTY


def test_enabling_while_nodes_come_is_a_conflict(own_service: ServiceProcess) -> None:
    """A pool that is being resized is 409 PoolBeingResized, also where its own formula resizes it."""
    client = client_of(own_service, retry_total=0)
    pool_id = make_pool(client, enable_auto_scale=True, auto_scale_formula=FIXED)
    until(lambda: client.get_pool(pool_id).target_low_priority_nodes == 2)
    with pytest.raises(ResourceExistsError) as refused:
        client.enable_pool_auto_scale(pool_id, m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=FIXED))
    assert code_of(refused) == "PoolBeingResized"


def test_enabling_may_start_a_new_schedule_only(tmp_path: Path) -> None:
    """With `--enable-autoscale after-interval` each request delays the next evaluation by an interval."""
    service = start_service(tmp_path / "data", "--enable-autoscale", "after-interval", "--boot-seconds", "0")
    client = client_of(service, retry_total=0)
    interval = timedelta(minutes=5)
    pool_id = make_pool(
        client, enable_auto_scale=True, auto_scale_formula=EMPTY, auto_scale_evaluation_interval=interval
    )
    created = until(lambda: client.get_pool(pool_id).auto_scale_run)
    options = m.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=FIXED, auto_scale_evaluation_interval=interval
    )
    for _ in range(3):
        service.control("clock", {"seconds": 290})
        client.enable_pool_auto_scale(pool_id, options)
    assert client.get_pool(pool_id).auto_scale_run.timestamp == created.timestamp
    service.control("clock", {"seconds": 299})
    assert client.get_pool(pool_id).target_low_priority_nodes == 0
    service.control("clock", {"seconds": 1})
    until(lambda: client.get_pool(pool_id).target_low_priority_nodes == 2)
    service.stop()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"auto_scale_formula": "x = ;"}, "AutoScalingFormulaSyntaxError"),
        (
            {"auto_scale_formula": FIXED, "auto_scale_evaluation_interval": timedelta(minutes=4)},
            "InvalidPropertyValue",
        ),
        (
            {"auto_scale_formula": FIXED, "auto_scale_evaluation_interval": timedelta(hours=169)},
            "InvalidPropertyValue",
        ),
        ({}, "MissingRequiredProperty"),
    ],
)
def test_bad_autoscale_settings_are_refused(client: Client, options: dict[str, Any], code: str) -> None:
    """A formula that does not parse, an interval outside 5 minutes to 168 hours, and no formula are 400."""
    with pytest.raises(HttpResponseError) as refused:
        client.enable_pool_auto_scale(make_pool(client), m.BatchPoolEnableAutoScaleOptions(**options))
    assert (refused.value.status_code, code_of(refused)) == (400, code)


def test_real_formula_scales_a_pool_up_and_to_zero(service: ServiceProcess, client: Client) -> None:
    """Under a real formula waiting tasks bring nodes, and after the keep-warm window there are none again."""
    pool_id = make_pool(
        client,
        enable_auto_scale=True,
        auto_scale_formula=FORMULA,
        auto_scale_evaluation_interval=timedelta(minutes=5),
        task_slots_per_node=4,
    )
    job_id = make_job(client, pool_id)
    client.create_tasks(job_id, [task(f"t{number}") for number in range(12)])
    until(lambda: client.get_job_task_counts(job_id).task_counts.succeeded == 12)
    assert nodes_of(client, pool_id)
    service.control("clock", {"seconds": 20 * 60})
    assert nodes_of(client, pool_id)
    service.control("clock", {"seconds": 15 * 60})
    until(lambda: not nodes_of(client, pool_id))
    assert client.get_pool(pool_id).auto_scale_run.error is None


def test_samples_come_to_sight_a_minute_late(own_service: ServiceProcess) -> None:
    """A formula sees a task only when the sample that counted it is a minute old."""
    client = client_of(own_service)
    formula = "seen = max(0, $PendingTasks.GetSample(1)); $TargetDedicatedNodes = 0;"
    pool_id = make_pool(client, enable_auto_scale=True, auto_scale_formula=formula)
    client.create_task(make_job(client, pool_id), task("t"))

    def seen() -> str:
        options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
        return str(client.evaluate_pool_auto_scale(pool_id, options).results)

    own_service.control("clock", {"seconds": 31})
    assert "seen=0" in seen()
    own_service.control("clock", {"seconds": 61})
    until(lambda: "seen=1" in seen())


def test_preempted_tasks_run_again_without_using_up_retries(own_service: ServiceProcess) -> None:
    """A preempted Spot node loses its disk, its tasks are requeued, and restored it takes tasks again."""
    client = client_of(own_service)
    pool_id = make_pool(client, target_low_priority_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t", ENDLESS, constraints=m.BatchTaskConstraints(max_task_retry_count=0)))
    own_service.control("clock", {"seconds": 30})
    node_id = running(client, job_id, "t").node_info.node_id
    told = own_service.control("preempt", {"pool": pool_id, "restore_seconds": 300})
    assert told == {"preempted": [node_id]}
    until(lambda: client.get_task(job_id, "t").state == "active")
    assert client.get_node(pool_id, node_id).state == "preempted"
    assert client.get_pool(pool_id).current_low_priority_nodes == 1  # a preempted node still counts
    with pytest.raises(ResourceExistsError) as gone:
        list(client.list_task_files(job_id, "t"))
    assert code_of(gone) == "TaskFilesUnavailable"
    own_service.control("clock", {"seconds": 330})
    again = running(client, job_id, "t")
    assert again.node_info.node_id == node_id
    assert (again.execution_info.requeue_count, again.execution_info.retry_count) == (1, 0)


def test_idle_node_that_is_preempted_loses_its_disk(service: ServiceProcess, client: Client) -> None:
    """What a completed task left on a Spot node is gone once the node has been taken away."""
    pool_id = make_pool(client, target_low_priority_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t"))
    completed(client, job_id, "t")
    until(lambda: nodes_of(client, pool_id)[0].state == "idle")
    service.control("preempt", {"pool": pool_id})
    with pytest.raises(ResourceExistsError, match="disk lost"):
        list(client.list_task_files(job_id, "t"))


def test_spot_tasks_know_that_they_are(client: Client) -> None:
    """On a Spot node AZ_BATCH_NODE_IS_DEDICATED is false."""
    job_id = make_job(client, make_pool(client, target_low_priority_nodes=1))
    client.create_task(job_id, task("t", "import os; print(os.environ['AZ_BATCH_NODE_IS_DEDICATED'])"))
    completed(client, job_id, "t")
    assert text_of(client, job_id, "t") == "false\n"


def test_preempted_node_may_never_come_back(service: ServiceProcess, client: Client) -> None:
    """Without a restore time a preempted node stays so, and is the first to leave when the pool shrinks."""
    pool_id = make_pool(client, target_low_priority_nodes=2)
    idle(client, pool_id, 2)
    lost = service.control("preempt", {"pool": pool_id, "restore_seconds": None})["preempted"][0]
    client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_low_priority_nodes=1))
    (left,) = until(lambda: (found := nodes_of(client, pool_id)) and len(found) == 1 and found)
    assert (left.id != lost, left.state) == (True, "idle")


def test_core_quota_shows_as_resize_error(own_service: ServiceProcess) -> None:
    """Nodes beyond the core quota do not come; the pool says so and its operation never fails."""
    client = client_of(own_service)
    own_service.control("quota", {"dedicated_cores": 8, "spot_cores": 0})
    pool_id = make_pool(client, target_dedicated_nodes=3, target_low_priority_nodes=1)
    pool = client.get_pool(pool_id)
    assert pool.current_dedicated_nodes == 2
    assert [error.code for error in pool.resize_errors] == [
        "AccountCoreQuotaReached",
        "AccountLowPriorityCoreQuotaReached",
    ]


def test_absurd_numbers_of_nodes_do_not_hold_the_service_up(own_service: ServiceProcess) -> None:
    """Without a quota a pool of two thousand million nodes gets as many as are simulated, and the service answers on."""
    client = client_of(own_service)
    pool_id = make_pool(client, target_dedicated_nodes=2_000_000_000)
    pool = client.get_pool(pool_id)
    assert (pool.current_dedicated_nodes, pool.resize_errors[0].code) == (
        NODES_LIMIT,
        "AccountCoreQuotaReached",
    )
    with pytest.raises(HttpResponseError) as refused:
        make_pool(client, target_dedicated_nodes=2**31)
    assert code_of(refused) == "InvalidPropertyValue"


def test_injected_resize_error_keeps_nodes_from_coming(service: ServiceProcess, client: Client) -> None:
    """While a pool refuses nodes, resizes end steady with the error; once it is lifted they come."""
    pool_id = make_pool(client)
    service.control(f"pools/{pool_id}", {"resize_error": "AllocationTimedOut"})
    client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=1))
    pool = steady(client, pool_id)
    assert (pool.current_dedicated_nodes, pool.resize_errors[0].code) == (0, "AllocationTimedOut")
    service.control(f"pools/{pool_id}", {"resize_error": None})
    client.begin_resize_pool(pool_id, m.BatchPoolResizeOptions(target_dedicated_nodes=1))
    idle(client, pool_id, 1)
    assert client.get_pool(pool_id).resize_errors is None


def test_quotas_of_pools_and_jobs(own_service: ServiceProcess) -> None:
    """At the quota a further pool or active job is a conflict; completed jobs do not count."""
    client = client_of(own_service)
    own_service.control("quota", {"pools": 1, "active_jobs": 1})
    pool_id = make_pool(client)
    with pytest.raises(ResourceExistsError) as no_pool:
        make_pool(client)
    assert code_of(no_pool) == "PoolQuotaReached"
    make_job(client, pool_id, all_tasks_complete_mode="terminatejob")
    make_job(client, pool_id)
    with pytest.raises(ResourceExistsError) as no_job:
        make_job(client, pool_id)
    assert code_of(no_job) == "ActiveJobAndScheduleQuotaReached"


def test_deleted_pool_leaves_its_jobs_waiting(client: Client) -> None:
    """A pool is gone once its nodes are; its tasks wait again, and run when a pool of that name is there."""
    pool_id = make_pool(client, target_dedicated_nodes=1)
    job_id = make_job(client, pool_id)
    client.create_task(job_id, task("t", ENDLESS))
    running(client, job_id, "t")
    client.begin_delete_pool(pool_id, polling_interval=0.05).wait(10)
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_pool(pool_id)
    assert code_of(missing) == "PoolNotFound"
    until(lambda: client.get_task(job_id, "t").state == "active")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task_slots_per_node": 17}, "taskSlotsPerNode"),
        ({"target_dedicated_nodes": -1}, "negative"),
        ({"enable_auto_scale": True}, "autoScaleFormula"),
        ({"enable_auto_scale": True, "auto_scale_formula": FIXED, "target_dedicated_nodes": 1}, "targets"),
        ({"start_task": m.BatchStartTask(command_line="x")}, "startTask"),
    ],
)
def test_bad_pools_are_refused(client: Client, options: dict[str, Any], named: str) -> None:
    """More than four slots per core, negative targets, and contradictions are 400 and say what is wrong."""
    with pytest.raises(HttpResponseError, match=named) as refused:
        make_pool(client, **options)
    assert refused.value.status_code == 400


def test_pools_come_from_a_file(tmp_path: Path) -> None:
    """A pool file sets size, slots, containers, formula, boot time and resize error, and the quota."""
    (tmp_path / "f.formula").write_text("spot = 20;\n$TargetLowPriorityNodes = spot;")
    (tmp_path / "pools.toml").write_text(
        """
        [[pools]]
        id = "fixed"
        vm_size = "Standard_D2s_v5"
        task_slots_per_node = 2
        containers = true
        dedicated_nodes = 2
        boot_seconds = 0
        [[pools]]
        id = "scaled"
        autoscale_formula = "@f.formula"
        autoscale_interval = "PT10M"
        autoscale_parameters = { spot = 2 }
        [[pools]]
        id = "refused"
        spot_nodes = 3
        resize_error = "AllocationFailed"
        [quota]
        spot_cores = 4
        """
    )
    service = start_service(tmp_path / "data", "--pool", str(tmp_path / "pools.toml"))
    client = client_of(service)
    fixed, scaled, refused = (client.get_pool(name) for name in ("fixed", "scaled", "refused"))
    assert (fixed.vm_size, fixed.task_slots_per_node, fixed.target_dedicated_nodes) == (
        "Standard_D2s_v5",
        2,
        2,
    )
    assert fixed.virtual_machine_configuration.container_configuration.type == "dockerCompatible"
    assert len(idle(client, "fixed", 2)) == 2
    assert scaled.auto_scale_evaluation_interval == timedelta(minutes=10)
    until(lambda: client.get_pool("scaled").resize_errors)
    scaled = client.get_pool("scaled")
    assert (scaled.target_low_priority_nodes, scaled.current_low_priority_nodes) == (2, 1)  # four Spot cores
    assert refused.resize_errors[0].code == "AllocationFailed"
    assert service.control("quota", method="GET")["spot_cores"] == 4
    service.stop()
