"""Answering requests on a bound socket, and dropping clients that never finish their headers."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from devhost.accepting import Acceptor

_log = logging.getLogger("devhost")
_BODY_LIMIT_BYTES = 100 * 1024 * 1024
_HEADERS_TIMEOUT_S = 30.0
_IDLE_TIMEOUT_S = 130.0  # between two requests of one connection

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(
    answer: Answer, listener: socket.socket, closing: contextlib.AsyncExitStack, drain_s: float
) -> None:
    """Begin to answer requests on a bound socket; `closing` ends that, giving open requests `drain_s`
    seconds.

    What `answer` raises is logged and becomes an empty 500.
    """
    silent: set[Any] = set()  # connections that have not sent a whole request yet

    async def safely(request: web.Request) -> web.StreamResponse:
        silent.discard(request.protocol)
        if not _is_text(request.headers):
            return web.json_response({"Message": "A header is no UTF-8 text."}, status=400)
        try:
            return await answer(request)
        except web.HTTPException:
            raise
        except Exception:
            _log.exception("%s %s could not be answered.", request.method, request.path)
            return web.Response(status=500)

    app = web.Application(client_max_size=_BODY_LIMIT_BYTES)
    app.router.add_route("*", "/{path:(?s:.*)}", safely)  # an escaped line break, too
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_s, keepalive_timeout=_IDLE_TIMEOUT_S)
    await runner.setup()
    closing.push_async_callback(runner.cleanup)
    acceptor = Acceptor(listener, lambda: _connect(runner, silent))
    closing.callback(acceptor.close)
    acceptor.start()


def _connect(runner: web.AppRunner, silent: set[Any]) -> Any:
    """The protocol of a new connection, which is closed when its first headers take too long."""
    server = runner.server
    assert server is not None  # noqa: S101  # the runner was set up before anything is accepted
    connection = server()
    silent.add(connection)
    asyncio.get_running_loop().call_later(_HEADERS_TIMEOUT_S, _drop, silent, connection)
    return connection


def _drop(silent: set[Any], connection: Any) -> None:
    if connection in silent:
        silent.discard(connection)
        connection.force_close()


def _is_text(headers: Mapping[str, str]) -> bool:
    """Return whether all headers are text; Azure's servers answer others as malformed, too."""
    return not any("\udc80" <= sign <= "\udcff" for pair in headers.items() for part in pair for sign in part)
