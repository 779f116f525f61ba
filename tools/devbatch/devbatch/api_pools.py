"""The operations on pools and nodes, by their place in the REST interface."""

from functools import partial

from aiohttp import web

from devbatch.answers import account_of, check_conditions, done, json_answer, many, one, read_object
from devbatch.pools import (
    change_pool,
    create_pool,
    delete_pool,
    disable_autoscale,
    enable_autoscale,
    remove_nodes,
    resize_pool,
    stop_resize,
    try_formula,
)
from devbatch.records import Pool
from devbatch.shapes import autoscale_shape, node_counts_shape, node_shape, pool_shape
from devbatch.specs import EnableAutoscaleSpec, EvaluateSpec, RemoveSpec, ResizeSpec, read_spec


async def post_pool(request: web.Request) -> web.Response:
    """POST /pools → 201."""
    account = account_of(request)
    pool = create_pool(account, await read_object(request))
    return done(201, request, pool.stamps, f"{account.url}/pools/{pool.id}")


async def list_pools(request: web.Request) -> web.Response:
    """GET /pools → 200."""
    account = account_of(request)
    return many(request, "pools", account.pools.values(), partial(pool_shape, account))


async def get_pool(request: web.Request) -> web.Response:
    """GET /pools/{id} → 200."""
    pool = account_of(request).pool(request.match_info["pool_id"])
    check_conditions(request, pool.stamps)
    return one(request, "pools", pool_shape(account_of(request), pool), pool.stamps)


async def head_pool(request: web.Request) -> web.Response:
    """HEAD /pools/{id} → 200 or 404."""
    pool = account_of(request).pool(request.match_info["pool_id"])
    return done(200, request, pool.stamps)


async def patch_pool(request: web.Request) -> web.Response:
    """PATCH /pools/{id} → 200."""
    pool = _usable(request)
    change_pool(pool, await read_object(request))
    return done(200, request, pool.stamps)


async def remove_pool(request: web.Request) -> web.Response:
    """DELETE /pools/{id} → 202; the pool is gone once its nodes are."""
    pool = _usable(request)
    delete_pool(account_of(request), pool)
    return done(202, request, pool.stamps)


async def post_resize(request: web.Request) -> web.Response:
    """POST /pools/{id}/resize → 202."""
    pool = _usable(request)
    resize_pool(account_of(request), pool, read_spec(await read_object(request), ResizeSpec))
    return done(202, request, pool.stamps)


async def post_stop_resize(request: web.Request) -> web.Response:
    """POST /pools/{id}/stopresize → 202."""
    pool = _usable(request)
    stop_resize(account_of(request), pool)
    return done(202, request, pool.stamps)


async def post_remove_nodes(request: web.Request) -> web.Response:
    """POST /pools/{id}/removenodes → 202."""
    pool = _usable(request)
    remove_nodes(account_of(request), pool, read_spec(await read_object(request), RemoveSpec))
    return done(202, request, pool.stamps)


async def post_enable_autoscale(request: web.Request) -> web.Response:
    """POST /pools/{id}/enableautoscale → 200."""
    pool = _usable(request)
    enable_autoscale(account_of(request), pool, read_spec(await read_object(request), EnableAutoscaleSpec))
    return done(200, request, pool.stamps)


async def post_disable_autoscale(request: web.Request) -> web.Response:
    """POST /pools/{id}/disableautoscale → 200."""
    pool = _usable(request)
    disable_autoscale(pool)
    return done(200, request, pool.stamps)


async def post_evaluate_autoscale(request: web.Request) -> web.Response:
    """POST /pools/{id}/evaluateautoscale → 200, with an error inside when the formula does not evaluate."""
    pool = _usable(request)
    wanted = read_spec(await read_object(request), EvaluateSpec)
    return json_answer(autoscale_shape(try_formula(account_of(request), pool, wanted.auto_scale_formula)))


async def list_nodes(request: web.Request) -> web.Response:
    """GET /pools/{id}/nodes → 200."""
    account = account_of(request)
    pool = account.pool(request.match_info["pool_id"])
    return many(request, "nodes", pool.nodes.values(), partial(node_shape, account, pool))


async def get_node(request: web.Request) -> web.Response:
    """GET /pools/{id}/nodes/{id} → 200."""
    account = account_of(request)
    pool = account.pool(request.match_info["pool_id"])
    node = account.node(pool.id, request.match_info["node_id"])
    return one(request, "nodes", node_shape(account, pool, node))


async def list_node_counts(request: web.Request) -> web.Response:
    """GET /nodecounts → 200."""
    pools = account_of(request).pools.values()
    return many(request, "poolnodecounts", pools, node_counts_shape)


def _usable(request: web.Request) -> Pool:
    """The pool of a request that changes it: not being deleted, and its If-Match holds."""
    pool = account_of(request).usable_pool(request.match_info["pool_id"])
    check_conditions(request, pool.stamps)
    return pool
