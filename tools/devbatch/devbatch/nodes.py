"""Nodes: allocated after a delay, running tasks, preempted, and removed."""

import uuid
from collections.abc import Sequence
from typing import Final

from devbatch.account import Account, remove_directory
from devbatch.errors import ServiceError
from devbatch.jobs import stop_task
from devbatch.records import Node, Pool, ResizeError, Task
from devbatch.rules import cores_of
from devbatch.specs import DeallocationOption

NODES_LIMIT: Final = 5_000
"""Nodes of one pool, whatever the quota: each is simulated in this process."""

_LEAVING_ORDER: Final = ("preempted", "creating", "starting", "idle", "running")


def reach_targets(account: Account, pool: Pool, option: DeallocationOption) -> None:
    """Adds or releases nodes until the pool has its targets.

    Nodes that cannot be allocated are resize errors.
    """
    pool.allocation.enter("resizing")
    pool.resize_errors = []
    for dedicated, target in ((True, pool.target_dedicated), (False, pool.target_spot)):
        missing = target - pool.count(dedicated=dedicated)
        if missing > 0:
            _add_nodes(account, pool, missing, dedicated=dedicated)
        for node in nodes_to_release(list(pool.nodes.values()), -missing, dedicated=dedicated):
            release_node(account, pool, node, option)
    account.wake()


def nodes_to_release(nodes: Sequence[Node], count: int, *, dedicated: bool) -> list[Node]:
    """The nodes to remove first: preempted ones, not yet up, idle, then those with the fewest tasks."""
    staying = [node for node in nodes if node.is_dedicated == dedicated and node.state in _LEAVING_ORDER]
    staying.sort(key=lambda node: (_LEAVING_ORDER.index(node.state), len(node.running)))
    return staying[: max(0, count)]


def release_node(account: Account, pool: Pool, node: Node, option: DeallocationOption) -> None:
    """Removes a node: at once with its tasks stopped, or after them with `taskcompletion`."""
    node.stamps.enter("leavingpool")
    node.due_s = None
    if option in ("requeue", "terminate"):
        for task in node.running:
            stop_task(task, "requeued" if option == "requeue" else "terminated")
    pool.allocation.enter("resizing")
    account.wake()


def preempt_node(account: Account, node: Node, restore_s: float | None) -> None:
    """Preempts a Spot node without notice: its tasks are requeued, its disk is lost.

    It is allocated again after `restore_s` simulated seconds and its boot, or never with None. Raises
    ServiceError (400) for a dedicated node.
    """
    if node.is_dedicated:
        raise ServiceError(
            400, "InvalidPropertyValue", f"The node {node.id} is dedicated; only Spot is preempted."
        )
    node.stamps.enter("preempted")
    node.due_s = None if restore_s is None else account.clock.now_s() + restore_s
    for task in node.running:
        stop_task(task, "preempted")
    wipe_lost_disk(node)
    account.wake()


def advance_node(account: Account, pool: Pool, node: Node) -> None:
    """Moves a node to its next state when that is due: creating, starting, idle.

    Preempted ones start again.
    """
    while node.due_s is not None and account.clock.now_s() >= node.due_s:
        if node.state == "starting":
            node.stamps.enter("idle")
            node.booted = account.clock.utc()
            node.due_s = None
        else:
            node.stamps.enter("starting")
            node.due_s += pool.boot_s / 2


def let_leave(account: Account, pool: Pool) -> None:
    """Removes leaving nodes without tasks; ends the resize when no node is being created or removed."""
    for key, node in list(pool.nodes.items()):
        if node.state == "leavingpool" and not node.running:
            del pool.nodes[key]
            remove_directory(node.directory)
    if not any(node.state in ("creating", "leavingpool") for node in pool.nodes.values()):
        pool.allocation.enter("steady")
        if pool.stamps.state == "deleting" and not pool.nodes:
            account.pools.pop(pool.id.lower(), None)


def release_task(account: Account, node: Node, task: Task) -> None:
    """Removes an ended attempt from its node."""
    node.running.discard(task)
    node.recent_tasks.append(task)
    if node.state == "running" and not node.running:
        node.stamps.enter("idle")
    wipe_lost_disk(node)
    account.wake()


def wipe_lost_disk(node: Node) -> None:
    """Removes the files of a preempted node once no task writes there."""
    if node.state == "preempted" and not node.running:
        remove_directory(node.directory)


def _add_nodes(account: Account, pool: Pool, count: int, *, dedicated: bool) -> None:
    if pool.refusal is not None:
        pool.resize_errors.append(pool.refusal)
        return
    allowed = min(_allowed_by_quota(account, pool, dedicated=dedicated), NODES_LIMIT - len(pool.nodes))
    if allowed < count:
        pool.resize_errors.append(_quota_error(count, allowed, dedicated=dedicated))
        count = allowed
    for _ in range(count):
        node = _new_node(account, pool, dedicated=dedicated)
        pool.nodes[node.id.lower()] = node


def _new_node(account: Account, pool: Pool, *, dedicated: bool) -> Node:
    node_id = f"tvmps_{uuid.uuid4().hex}_{'d' if dedicated else 'p'}"
    directory = account.settings.data / "nodes" / pool.id / node_id
    due_s = account.clock.now_s() + pool.boot_s / 2
    return Node(node_id, dedicated, pool.spec.task_slots_per_node, directory, due_s)


def _allowed_by_quota(account: Account, pool: Pool, *, dedicated: bool) -> int:
    """How many more nodes of this pool's size the account's core quota allows."""
    limit = account.quota.dedicated_cores if dedicated else account.quota.spot_cores
    if limit is None:
        return NODES_LIMIT
    used = sum(
        cores_of(other.spec.vm_size) * sum(node.is_dedicated == dedicated for node in other.nodes.values())
        for other in account.pools.values()
    )
    return max(0, limit - used) // cores_of(pool.spec.vm_size)


def _quota_error(wanted: int, allowed: int, *, dedicated: bool) -> ResizeError:
    code = "AccountCoreQuotaReached" if dedicated else "AccountLowPriorityCoreQuotaReached"
    kind = "dedicated" if dedicated else "Spot"
    return ResizeError(
        code,
        f"{wanted} {kind} nodes were requested; the account's core quota, or the local service, allows {allowed}.",
    )
