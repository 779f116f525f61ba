"""The control endpoint, below `/_control/`: what tests need and the Batch API does not have."""

from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from devbatch.account import Account
from devbatch.errors import ConfigurationError, ServiceError
from devbatch.faults import FaultBook, read_faults
from devbatch.nodes import preempt_node
from devbatch.records import Node, Pool, ResizeError
from devbatch.settings import with_quota

ACCOUNT: Final = web.AppKey("account", Account)
FAULTS: Final = web.AppKey("faults", FaultBook)
T = TypeVar("T")


class _Preempt(msgspec.Struct, forbid_unknown_fields=True):
    pool: str
    node: str | None = None
    count: int = 1
    restore_seconds: float | None = 60.0


class _PoolChange(msgspec.Struct, forbid_unknown_fields=True):
    boot_seconds: float | None = None
    resize_error: str | msgspec.UnsetType | None = msgspec.UNSET


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    seconds: float


def control_routes() -> list[web.RouteDef]:
    """The routes of the control endpoint."""
    return [
        web.get("/_control/faults", _list_faults),
        web.post("/_control/faults", _add_faults),
        web.delete("/_control/faults", _clear_faults),
        web.post("/_control/preempt", _preempt),
        web.get("/_control/quota", _get_quota),
        web.post("/_control/quota", _set_quota),
        web.post("/_control/pools/{pool_id}", _change_pool),
        web.post("/_control/clock", _advance_clock),
    ]


async def _list_faults(request: web.Request) -> web.Response:
    book = request.app[FAULTS]
    return web.json_response({"faults": msgspec.to_builtins(book.rules), "requests": book.requests})


async def _add_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].rules.extend(read_faults(await read_json(request)))
    return await _list_faults(request)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[FAULTS].rules.clear()
    request.app[FAULTS].requests.clear()
    return await _list_faults(request)


async def _preempt(request: web.Request) -> web.Response:
    account = request.app[ACCOUNT]
    wanted = _read(await read_json(request), _Preempt)
    pool = account.pool(wanted.pool)
    named = None if wanted.node is None else account.node(wanted.pool, wanted.node)
    nodes = preemptible(pool)[: wanted.count] if named is None else [named]
    for node in nodes:
        preempt_node(account, node, wanted.restore_seconds)
    return web.json_response({"preempted": [node.id for node in nodes]})


def preemptible(pool: Pool) -> list[Node]:
    """The Spot nodes that are up or being created, busiest first."""
    spot = [
        n for n in pool.nodes.values() if not n.is_dedicated and n.state not in ("preempted", "leavingpool")
    ]
    return sorted(spot, key=lambda node: -len(node.running))


async def _get_quota(request: web.Request) -> web.Response:
    return web.json_response(msgspec.to_builtins(request.app[ACCOUNT].quota))


async def _set_quota(request: web.Request) -> web.Response:
    account = request.app[ACCOUNT]
    try:
        changes = msgspec.convert(await read_json(request), dict[str, int | None])
        account.quota = with_quota(account.quota, changes)
    except (msgspec.ValidationError, ConfigurationError) as error:
        raise ServiceError(400, "InvalidControl", str(error)) from error
    return await _get_quota(request)


async def _change_pool(request: web.Request) -> web.Response:
    """Changes the boot time of nodes, or the injected `resize_error`: a code, or null for none."""
    pool = request.app[ACCOUNT].pool(request.match_info["pool_id"])
    change = _read(await read_json(request), _PoolChange)
    if change.boot_seconds is not None:
        pool.boot_s = change.boot_seconds
    if change.resize_error is not msgspec.UNSET:
        code = change.resize_error
        pool.refusal = None if code is None else ResizeError(str(code), "Injected by the control endpoint.")
    return web.json_response(
        {"boot_seconds": pool.boot_s, "resize_error": pool.refusal and pool.refusal.code}
    )


async def _advance_clock(request: web.Request) -> web.Response:
    account = request.app[ACCOUNT]
    account.clock.advance(_read(await read_json(request), _Advance).seconds)
    account.wake()
    return web.json_response({"now_seconds": account.clock.now_s()})


async def read_json(request: web.Request) -> Any:
    """The body of a request as plain values, `{}` for none; raises ServiceError (400) InvalidRequestBody."""
    body = await request.read()
    if not body:
        return {}
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceError(400, "InvalidRequestBody", f"The body is not JSON: {error}.") from error


def _read(body: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise ServiceError(400, "InvalidControl", str(error)) from error
