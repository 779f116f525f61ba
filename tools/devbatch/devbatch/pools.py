"""Pools: created, sized by request or by formula, and removed."""

import math
from collections.abc import Mapping
from typing import Any, Final

from devbatch.account import Account
from devbatch.autoscale import FormulaError, Sample, Samples, evaluate, parse, rendered
from devbatch.errors import ServiceError, conflict, invalid_property
from devbatch.nodes import reach_targets, release_node
from devbatch.properties import accept_properties
from devbatch.records import Autoscale, AutoscaleRun, Measured, Pool, ResizeError
from devbatch.rules import check_node_count, check_pool, read_interval
from devbatch.settings import PoolFile
from devbatch.specs import (
    DeallocationOption,
    EnableAutoscaleSpec,
    PoolPatch,
    PoolSpec,
    RemoveSpec,
    ResizeSpec,
    read_spec,
)
from devbatch.tasks import is_ready

ENABLE_AUTOSCALE_EVERY_S: Final = 30.0
SAMPLE_VISIBLE_AFTER_S: Final = 60.0
DEFAULT_INTERVAL: Final = "PT15M"
REMOVE_LIMIT: Final = 100


def create_pool(account: Account, body: dict[str, Any], boot_s: float | None = None) -> Pool:
    """Adds a pool and starts its nodes. Raises ServiceError: 400, 409 PoolExists, 409 PoolQuotaReached."""
    body = accept_properties(body, PoolSpec)
    spec = read_spec(body, PoolSpec)
    check_pool(spec)
    if spec.id.lower() in account.pools:
        account.usable_pool(spec.id)
        raise conflict("PoolExists", f"The specified pool {spec.id!r} already exists.")
    if account.quota.pools is not None and len(account.pools) >= account.quota.pools:
        raise conflict("PoolQuotaReached", f"The account may have {account.quota.pools} pools and has them.")
    pool = Pool(body, spec, account.settings.boot_s if boot_s is None else boot_s)
    if spec.enable_auto_scale:
        pool.autoscale = _read_autoscale(
            account, spec.auto_scale_formula or "", spec.auto_scale_evaluation_interval
        )
    pool.target_dedicated = spec.target_dedicated_nodes or 0
    pool.target_spot = spec.target_low_priority_nodes or 0
    account.pools[spec.id.lower()] = pool
    reach_targets(account, pool, "requeue")
    return pool


def create_from_file(account: Account, entry: PoolFile) -> Pool:
    """Adds a pool that a pool file describes; an injected resize error holds from the start."""
    pool = create_pool(
        account, entry.body | {"targetDedicatedNodes": None, "targetLowPriorityNodes": None}, entry.boot_s
    )
    if entry.resize_error is not None:
        pool.refusal = ResizeError(entry.resize_error, "Nodes are refused by configuration.")
    pool.target_dedicated = entry.body.get("targetDedicatedNodes") or 0
    pool.target_spot = entry.body.get("targetLowPriorityNodes") or 0
    reach_targets(account, pool, "requeue")
    return pool


def change_pool(pool: Pool, changes: Mapping[str, Any]) -> None:
    """Applies a PATCH; raises ServiceError (400) for what is not changeable here."""
    body = pool.body | accept_properties(changes, PoolPatch)
    spec = read_spec(body, PoolSpec)
    check_pool(spec)
    pool.body, pool.spec = body, spec
    pool.stamps.touch()


def delete_pool(account: Account, pool: Pool) -> None:
    """Removes a pool once its nodes are gone; their tasks are requeued and wait for a pool of that name."""
    pool.stamps.enter("deleting")
    pool.autoscale = None
    for node in list(pool.nodes.values()):
        release_node(account, pool, node, "requeue")
    account.wake()


def resize_pool(account: Account, pool: Pool, wanted: ResizeSpec) -> None:
    """Sets a pool's targets; one that is not given stays. Raises ServiceError: 400, 409."""
    if pool.autoscale is not None:
        raise conflict(
            "OperationNotValidOnPool", f"Automatic scaling of pool {pool.id} is enabled; disable it first."
        )
    _refuse_resizing(pool)
    dedicated, spot = wanted.target_dedicated_nodes, wanted.target_low_priority_nodes
    if dedicated is None and spot is None:
        raise ServiceError(
            400, "MissingRequiredProperty", "A resize names targetDedicatedNodes or targetLowPriorityNodes."
        )
    for count in (dedicated or 0, spot or 0):
        check_node_count(count)
    pool.target_dedicated = pool.target_dedicated if dedicated is None else dedicated
    pool.target_spot = pool.target_spot if spot is None else spot
    reach_targets(account, pool, wanted.node_deallocation_option)


def stop_resize(account: Account, pool: Pool) -> None:
    """Stops a resize: nodes that are being created are removed, and the targets are the nodes that remain."""
    for node in list(pool.nodes.values()):
        if node.state == "creating":
            release_node(account, pool, node, "requeue")
    pool.target_dedicated = pool.count(dedicated=True)
    pool.target_spot = pool.count(dedicated=False)
    pool.resize_errors = [ResizeError("ResizeStopped", "The resize was stopped by a request.")]


def remove_nodes(account: Account, pool: Pool, wanted: RemoveSpec) -> None:
    """Removes nodes by id and lowers the targets by as many.

    Raises ServiceError: 400, 404 NodeNotFound, 409.
    """
    if pool.autoscale is not None:
        raise conflict(
            "OperationNotValidOnPool", f"Automatic scaling of pool {pool.id} is enabled; disable it first."
        )
    _refuse_resizing(pool)
    if not 1 <= len(wanted.node_list) <= REMOVE_LIMIT:
        count = len(wanted.node_list)
        raise invalid_property("nodeList", count, f"1 to {REMOVE_LIMIT} nodes are removed at a time")
    nodes = [account.node(pool.id, node_id) for node_id in wanted.node_list]
    for node in nodes:
        pool.target_dedicated -= node.is_dedicated
        pool.target_spot -= not node.is_dedicated
        release_node(account, pool, node, wanted.node_deallocation_option)


def enable_autoscale(account: Account, pool: Pool, wanted: EnableAutoscaleSpec) -> None:
    """Turns automatic scaling on, or changes it; either way a new schedule begins.

    Its first evaluation is due at once, or after the interval where the settings say so. Raises ServiceError:
    400 for the formula or the interval, 409 PoolBeingResized, 503 within 30 seconds of the last request.
    """
    _refuse_frequent_enable(account, pool)
    _refuse_resizing(pool)
    formula = wanted.auto_scale_formula or (pool.autoscale and pool.autoscale.formula)
    if not formula:
        raise ServiceError(
            400, "MissingRequiredProperty", "A pool without automatic scaling needs autoScaleFormula."
        )
    interval = wanted.auto_scale_evaluation_interval or pool.body.get("autoScaleEvaluationInterval")
    latest = pool.autoscale.latest if pool.autoscale else None
    pool.autoscale = _read_autoscale(account, formula, interval)
    pool.autoscale.latest = latest
    if account.settings.enable_autoscale == "after-interval":
        pool.autoscale.due_s += pool.autoscale.interval_s
    pool.body = pool.body | {"autoScaleEvaluationInterval": interval or DEFAULT_INTERVAL}
    pool.enabled_autoscale_s = account.clock.now_s()
    pool.stamps.touch()
    account.wake()


def disable_autoscale(pool: Pool) -> None:
    """Turns automatic scaling off; the targets stay as they are."""
    pool.autoscale = None
    pool.stamps.touch()


def try_formula(account: Account, pool: Pool, formula: str) -> AutoscaleRun:
    """The result of a formula now, without effect. Raises ServiceError (409) unless autoscale is enabled."""
    if pool.autoscale is None:
        raise conflict("OperationNotValidOnPool", f"Automatic scaling of pool {pool.id} is not enabled.")
    return _evaluated(account, pool, formula)[0]


def run_autoscale(account: Account, pool: Pool) -> None:
    """Evaluates the pool's formula if it is due, and sets the targets; after an error they stay."""
    scaling = pool.autoscale
    if scaling is None or account.clock.now_s() < scaling.due_s:
        return
    scaling.due_s = account.clock.now_s() + scaling.interval_s
    scaling.latest, results = _evaluated(account, pool, scaling.formula)
    if results is None:
        return
    pool.target_dedicated = _target(results, "$TargetDedicatedNodes", pool.target_dedicated)
    pool.target_spot = _target(results, "$TargetLowPriorityNodes", pool.target_spot)
    present = (pool.count(dedicated=True), pool.count(dedicated=False))
    if present != (pool.target_dedicated, pool.target_spot):
        reach_targets(account, pool, _scale_in_option(results))


def measure(account: Account, pool: Pool, at_s: float) -> None:
    """Takes one sample of every sampled variable."""
    nodes = list(pool.nodes.values())
    active, running = 0, 0
    for job in account.jobs.values():
        if account.pool_of(job) is pool and job.state == "active":
            running += len(job.running)
            has_dependencies = job.spec.uses_task_dependencies
            active += sum(map(is_ready, job.waiting.values())) if has_dependencies else len(job.waiting)
    usable = [node for node in nodes if node.state in ("idle", "running")]
    busy = sum(task.spec.required_slots for node in usable for task in node.running)
    slots = sum(node.slots for node in usable)
    values = {
        "$ActiveTasks": active,
        "$RunningTasks": running,
        "$PendingTasks": active + running,
        "$SucceededTasks": pool.succeeded_count,
        "$FailedTasks": pool.failed_count,
        "$PreemptedNodeCount": sum(node.state == "preempted" for node in nodes),
        "$CurrentDedicatedNodes": pool.count(dedicated=True),
        "$CurrentLowPriorityNodes": pool.count(dedicated=False),
        "$UsableNodeCount": len(usable),
        "$CPUPercent": 100.0 * busy / slots if slots else 0.0,
    }
    pool.history.append(Measured(at_s, {name: float(value) for name, value in values.items()}))


def visible_samples(account: Account, pool: Pool) -> Samples:
    """The samples that a formula sees now: those taken at least a minute ago."""
    now_s = account.clock.now_s()
    seen = [one for one in pool.history if one.at_s <= now_s - SAMPLE_VISIBLE_AFTER_S]
    names = seen[-1].values if seen else ()
    return Samples(
        series={name: [Sample(now_s - one.at_s, one.values[name]) for one in seen] for name in names},
        constants={
            "$TaskSlotsPerNode": pool.spec.task_slots_per_node,
            "$TargetDedicatedNodes": pool.target_dedicated,
            "$TargetLowPriorityNodes": pool.target_spot,
            "$CurrentDedicatedNodes": pool.count(dedicated=True),
            "$CurrentLowPriorityNodes": pool.count(dedicated=False),
        },
        now=account.clock.utc(),
    )


def _evaluated(
    account: Account, pool: Pool, formula: str
) -> tuple[AutoscaleRun, dict[str, float | str] | None]:
    now = account.clock.utc()
    try:
        results = evaluate(formula, visible_samples(account, pool))
    except FormulaError as error:
        return AutoscaleRun(now, "", error.code, str(error)), None
    text = rendered(results, dedicated=pool.target_dedicated, spot=pool.target_spot)
    return AutoscaleRun(now, text), results


def _target(results: Mapping[str, float | str], name: str, present: int) -> int:
    value = results.get(name)
    return max(0, math.floor(value)) if isinstance(value, float) else present


def _scale_in_option(results: Mapping[str, float | str]) -> DeallocationOption:
    option = results.get("$NodeDeallocationOption")
    return (
        "taskcompletion"
        if option in ("taskcompletion", "retaineddata")
        else ("terminate" if option == "terminate" else "requeue")
    )


def _read_autoscale(account: Account, formula: str, interval: str | None) -> Autoscale:
    try:
        parse(formula)
    except FormulaError as error:
        raise ServiceError(400, error.code, str(error)) from error
    return Autoscale(formula, read_interval(interval or DEFAULT_INTERVAL), account.clock.now_s())


def _refuse_resizing(pool: Pool) -> None:
    if pool.allocation.state != "steady":
        raise conflict("PoolBeingResized", f"The pool {pool.id} is being resized.")


def _refuse_frequent_enable(account: Account, pool: Pool) -> None:
    last = pool.enabled_autoscale_s
    if last is not None and account.clock.now_s() - last < ENABLE_AUTOSCALE_EVERY_S:
        raise ServiceError(
            503,
            "TooManyEnableAutoScaleRequests",
            "Requests to enable autoscale of a pool must be at least 30 seconds apart.",
        )
