"""The admin routes: run a function by name, list functions, report the state of the host."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from devhost.auth import Gate
from devhost.callers import is_json
from devhost.clock import stamp, utc_now
from devhost.errors import WorkerLostError
from devhost.functions import ACTIVITY, QUEUE, TIMER, FunctionIndex, FunctionInfo
from devhost.json_text import JsonError, parse_json, write_json
from devhost.pool import FunctionFailedError
from devhost.timers import run_once

Invoke = Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]]


class AdminApi:
    """Answers requests below `/admin/`."""

    def __init__(self, index: FunctionIndex, gate: Gate, invoke: Invoke) -> None:
        self._index = index
        self._gate = gate
        self._invoke = invoke
        self._started = time.monotonic()
        self._running: set[asyncio.Task[None]] = set()

    async def answer(self, request: web.Request, path: str) -> web.Response:
        """Answer one request."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        if not self._gate.opens_admin(given):
            return web.Response(status=401)
        match [request.method, *(part.lower() for part in parts[1:])]:
            case ["GET", "host", "status"]:
                uptime_ms = int((time.monotonic() - self._started) * 1000)
                return web.json_response(
                    {"id": "devhost", "state": "Running", "version": "4", "processUptime": uptime_ms}
                )
            case ["GET" | "POST", "host", "ping"]:
                return web.Response()
            case ["GET", "warmup"]:
                return await self._warm_up()
            case ["GET", "functions"]:
                return web.json_response([_describe(info) for info in self._index.functions])
            case ["GET", "functions", _]:
                info = self._index.by_name(parts[2])
                return web.Response(status=404) if info is None else web.json_response(_describe(info))
            case ["POST", "functions", _]:
                body = await request.read()
                if not is_json(request.headers, bool(body.strip())):
                    return _refusal("Only application/json request content is supported", 415)
                return await self._run(parts[2], body)
        return web.Response(status=404)

    async def _warm_up(self) -> web.Response:
        """Run the app's warm-up, if it has one, and answer when it has ended."""
        if self._index.warm_up is not None:
            await self._run_alone(self._index.warm_up, {"input": None})
        return web.Response()

    async def _run(self, name: str, body: bytes) -> web.Response:
        """Run a function that is not an HTTP one, in the background."""
        for left_out in self._index.left_out:
            if left_out.name.lower() == name.lower():
                return _refusal(left_out.left_out, 501)
        info = self._index.by_name(name)
        if info is None:
            return web.Response(status=404)
        try:
            document = parse_json(body) if body.strip() else {}
        except JsonError:
            document = None
        if not isinstance(document, dict):
            return _refusal('The body is not a JSON object; expected {"input": "..."}')
        work = self._work(info, document.get("input"))
        if work is None:
            return _refusal(f"{info.name} is of type {info.kind}, which cannot be run from here")
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return web.Response(status=202)

    def _work(self, info: FunctionInfo, given: Any) -> Coroutine[Any, Any, None] | None:
        text = given if isinstance(given, str) or given is None else write_json(given)
        if info.kind == TIMER:
            return run_once(info, self._invoke, None, False)
        if info.kind == ACTIVITY:
            return self._run_alone(info, {"input": text})
        if info.kind == QUEUE:
            now = stamp(utc_now())
            metadata = {"Id": "admin", "DequeueCount": 1, "PopReceipt": "", "InsertionTime": now}
            metadata |= {"ExpirationTime": now, "NextVisibleTime": now}
            return self._run_alone(info, {"body": text or "", "metadata": metadata})
        return None

    async def _run_alone(self, info: FunctionInfo, payload: dict[str, Any]) -> None:
        with contextlib.suppress(FunctionFailedError, WorkerLostError):  # logged by the caller
            await self._invoke(info, payload)


def _describe(info: FunctionInfo) -> dict[str, Any]:
    return {"name": info.name, "config": {"bindings": info.bindings}}


def _refusal(text: str, status: int = 400) -> web.Response:
    return web.json_response({"Message": text}, status=status)
