"""HTTP triggers: routes, keys, the request as the function sees it and the answer as the client does."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devhost.auth import Gate
from devhost.errors import LoadError, WorkerLostError
from devhost.functions import HTTP, FunctionIndex, FunctionInfo
from devhost.json_text import as_json, without_surrogates
from devhost.pool import FunctionFailedError
from devhost.routes import Route, compile_route

_RESERVED = ("admin", "runtime")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # what RFC 9110 calls a token
_HOP_HEADERS = ("content-length", "transfer-encoding", "connection")

Invoke = Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Endpoint:
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
        endpoints = [
            _make_endpoint(info, expand, prefix.strip("/"))
            for info in [*index.of_kind(HTTP), *index.left_out]
            if info.kind == HTTP
        ]
        self._endpoints = sorted(endpoints, key=lambda endpoint: endpoint.route.order)

    def describe(self, base_url: str) -> list[str]:
        """Return a line for every HTTP function: name, methods and URL."""
        return [
            f"{each.info.name}: [{','.join(each.methods) or 'all methods'}] {base_url}/{each.route.template}"
            for each in self._endpoints
        ]

    async def answer(self, request: web.Request, url: str) -> web.Response | None:
        """Run the function whose route, constraints and methods fit; None when there is none.

        `url` is the request's address as the function sees it.
        Without the key the answer is 401; for a function that this host cannot run it is 501 with the reason.
        """
        path = request.rel_url.raw_path.lstrip("/")
        for endpoint in self._endpoints:
            parameters = endpoint.route.match(path)
            if parameters is not None and (not endpoint.methods or request.method in endpoint.methods):
                return await self._run(endpoint, request, url, parameters)
        return None

    async def _run(
        self, endpoint: _Endpoint, request: web.Request, url: str, parameters: dict[str, str]
    ) -> web.Response:
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        if not self._gate.opens_function(endpoint.level, endpoint.info.name, given):
            return web.Response(status=401)
        if endpoint.info.left_out:
            return web.json_response({"Message": endpoint.info.left_out}, status=501)
        try:
            result = await self._invoke(
                endpoint.info, _payload(request, url, parameters, await request.read())
            )
        except (FunctionFailedError, WorkerLostError):
            return web.Response(status=500)
        return _response(result["http"]) if "http" in result else web.Response(status=204)


def _make_endpoint(info: FunctionInfo, expand: Callable[[str], str], prefix: str) -> _Endpoint:
    own = expand(str(info.trigger.get("route") or info.name)).strip("/")
    template = "/".join(part for part in (prefix, own) if part)
    if template.split("/")[0].lower() in _RESERVED:
        raise LoadError(
            f"Function {info.name}: the route '{template}' begins with a word that the host keeps for itself"
        )
    methods = tuple(str(each).upper() for each in info.trigger.get("methods") or ())
    return _Endpoint(info, compile_route(template), methods, str(info.trigger.get("authLevel") or "function"))


def _payload(request: web.Request, url: str, parameters: dict[str, str], body: bytes) -> dict[str, Any]:
    query: dict[str, str] = {}
    for key in dict.fromkeys(request.query):
        values = [value for value in request.query.getall(key) if value]
        if values:
            query[key] = ",".join(values)
    headers = {key.lower(): ",".join(request.headers.getall(key)) for key in request.headers}
    return {
        "method": request.method,
        "url": url,
        "headers": headers,
        "query": query,
        "params": parameters,
        "body": body,
    }


def _response(result: dict[str, Any]) -> web.Response:
    if "text" in result:
        return _sniffed(result["text"])
    response = _checked(result["status"], result["body"], result["headers"])
    for cookie in result["cookies"]:
        response.headers.add("Set-Cookie", cookie)
    return response


def _checked(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    """Return the answer; raises ValueError where clients could not read it, or would wait for another one."""
    if not 200 <= status <= 999:
        raise ValueError(f"the function's answer has the status {status}; expected 200 to 999")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", value):
            raise ValueError(
                f"the function's answer has the header {name!r}: {value!r}, which HTTP cannot carry"
            )
    kept = {name: value for name, value in headers.items() if name.lower() not in _HOP_HEADERS}
    return web.Response(status=status, body=body, headers=kept)


def _sniffed(text: str) -> web.Response:
    """Answer with a returned text: a JSON object with `body` is a response object, other JSON is indented."""
    value = as_json(text)
    if isinstance(value, dict) and "body" in {key.lower() for key in value}:
        return _from_object({key.lower(): each for key, each in value.items()})
    if isinstance(value, dict | list):
        return web.Response(text=_indented(value), content_type="application/json")
    return web.Response(text=text, content_type="text/plain", charset="utf-8")


def _from_object(value: dict[str, Any]) -> web.Response:
    status = int(value.get("status") or value.get("statuscode") or 200)
    body = value["body"]
    headers = {str(key): str(each) for key, each in (value.get("headers") or {}).items()}
    text = without_surrogates(body) if isinstance(body, str) else _indented(body)
    default = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json; charset=utf-8"
    if not any(key.lower() == "content-type" for key in headers):
        headers["Content-Type"] = default
    return _checked(status, text.encode(), headers)


def _indented(value: Any) -> str:
    return without_surrogates(json.dumps(value, indent=2, ensure_ascii=False))
