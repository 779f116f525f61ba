"""HTTP triggers: routes, keys, the request as the function sees it and the answer as the client does."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devhost.auth import Gate
from devhost.errors import LoadError, WorkerLostError
from devhost.functions import HTTP, FunctionIndex, FunctionInfo
from devhost.pool import FunctionFailedError
from devhost.routes import Route, compile_route

_RESERVED = ("admin", "runtime")
_HOP_HEADERS = ("content-length", "transfer-encoding", "connection")

Invoke = Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Door:
    """One HTTP function behind its route; no methods means all."""

    info: FunctionInfo
    route: Route
    methods: tuple[str, ...]
    level: str


class HttpTriggers:
    """Finds the HTTP function for a request and runs it."""

    def __init__(
        self, index: FunctionIndex, prefix: str, gate: Gate, invoke: Invoke, expand: Callable[[str], str]
    ) -> None:
        self._gate = gate
        self._invoke = invoke
        doors = [_make_door(info, expand, prefix.strip("/")) for info in index.of_kind(HTTP)]
        self._doors = sorted(doors, key=lambda door: door.route.order)

    def describe(self, base_url: str) -> list[str]:
        """Return a line for every HTTP function: name, methods and URL."""
        return [
            f"{door.info.name}: [{','.join(door.methods) or 'all methods'}] {base_url}/{door.route.template}"
            for door in self._doors
        ]

    async def answer(self, request: web.Request) -> web.Response:
        """Run the function whose route, constraints and methods fit; 404 when there is none, 401 without the key."""
        path = request.rel_url.raw_path.lstrip("/")
        for door in self._doors:
            parameters = door.route.match(path)
            if parameters is not None and (not door.methods or request.method in door.methods):
                return await self._run(door, request, parameters)
        return web.Response(status=404)

    async def _run(self, door: _Door, request: web.Request, parameters: dict[str, str]) -> web.Response:
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        if not self._gate.opens_function(door.level, door.info.name, given):
            return web.Response(status=401)
        try:
            result = await self._invoke(door.info, _payload(request, parameters, await request.read()))
        except (FunctionFailedError, WorkerLostError):
            return web.Response(status=500)
        return _response(result["http"]) if "http" in result else web.Response(status=204)


def _make_door(info: FunctionInfo, expand: Callable[[str], str], prefix: str) -> _Door:
    own = expand(str(info.trigger.get("route") or info.name)).strip("/")
    template = "/".join(part for part in (prefix, own) if part)
    if template.split("/")[0].lower() in _RESERVED:
        raise LoadError(
            f"Function {info.name}: the route '{template}' begins with a word that the host keeps for itself"
        )
    methods = tuple(str(each).upper() for each in info.trigger.get("methods") or ())
    return _Door(info, compile_route(template), methods, str(info.trigger.get("authLevel") or "function"))


def _payload(request: web.Request, parameters: dict[str, str], body: bytes) -> dict[str, Any]:
    query: dict[str, str] = {}
    for key in dict.fromkeys(request.query):
        values = [value for value in request.query.getall(key) if value]
        if values:
            query[key] = ",".join(values)
    headers = {key.lower(): ",".join(request.headers.getall(key)) for key in request.headers}
    return {
        "method": request.method,
        "url": str(request.url),
        "headers": headers,
        "query": query,
        "params": parameters,
        "body": body,
    }


def _response(result: dict[str, Any]) -> web.Response:
    if "text" in result:
        return _sniffed(result["text"])
    headers = {key: value for key, value in result["headers"].items() if key.lower() not in _HOP_HEADERS}
    response = web.Response(status=result["status"], body=result["body"], headers=headers)
    for cookie in result["cookies"]:
        response.headers.add("Set-Cookie", cookie)
    return response


def _sniffed(text: str) -> web.Response:
    """Answer with a returned text: a JSON object with `body` is a response object, other JSON is indented."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and "body" in {key.lower() for key in value}:
        return _from_object({key.lower(): each for key, each in value.items()})
    if isinstance(value, dict | list):
        return web.Response(
            text=json.dumps(value, indent=2, ensure_ascii=False), content_type="application/json"
        )
    return web.Response(text=text, content_type="text/plain", charset="utf-8")


def _from_object(value: dict[str, Any]) -> web.Response:
    status = int(value.get("status") or value.get("statuscode") or 200)
    body = value["body"]
    headers = {str(key): str(each) for key, each in (value.get("headers") or {}).items()}
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    default = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json; charset=utf-8"
    if not any(key.lower() == "content-type" for key in headers):
        headers["Content-Type"] = default
    return web.Response(status=status, body=text.encode(), headers=headers)
