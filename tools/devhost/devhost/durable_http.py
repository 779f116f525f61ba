"""The Durable management API: the same handler behind the public prefix and the workers' own."""

import base64
import logging
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from devhost import records, rewind
from devhost.callers import is_json
from devhost.clock import from_micros, parse_stamp, seconds_stamp, to_micros
from devhost.decisions import is_disagreement
from devhost.engine import Engine
from devhost.errors import RequestError
from devhost.history import compact, parse
from devhost.json_text import JsonError, as_json, encode_json, parse_json, plain_json, write_compact
from devhost.links import Links
from devhost.records import Filter, Instance
from devhost.store import Store

_log = logging.getLogger(__name__)
_STATUSES = (
    "Running",
    "Completed",
    "ContinuedAsNew",
    "Failed",
    "Canceled",
    "Terminated",
    "Pending",
    "Suspended",
)
_TOKEN = "x-ms-continuation-token"  # noqa: S105  # the name of a header
_SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_PAGE, _LARGEST_INT = 100, 2**31 - 1
_LONGEST_SPAN_S, _LONGEST_WAIT_S = 2**63 / 1e7, 86400.0
_INVALID_JSON = "Invalid JSON content"
_NOTHING_TO_READ = "Error reading JToken from JsonReader. Path '', line 0, position 0."
_JSON_ERROR = "Newtonsoft.Json.JsonReaderException"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, taken apart; `query` has its names in lower case."""

    request: web.Request
    parts: list[str]
    query: dict[str, str]
    links: Links


class DurableApi:
    """Answers requests below the management prefix."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    async def answer(self, request: web.Request, path: str, links: Links) -> web.Response:
        """Answer one request; `path` is what follows the prefix, still escaped."""
        parts = unquote(path).strip("/").split("/")
        query = _query(request)
        try:
            handler = self._find(request.method, parts)
            return _nothing(404) if handler is None else await handler(_Call(request, parts, query, links))
        except RequestError as error:
            return _error(error)

    def _find(self, method: str, parts: list[str]) -> Callable[[_Call], Awaitable[web.Response]] | None:
        head, count = parts[0].lower(), len(parts)
        if head == "orchestrators" and method == "POST" and count in (2, 3):
            return self._start
        if head != "instances":
            return None
        if count == 1:
            return {"GET": self._list, "DELETE": self._purge_many}.get(method)
        if count == 2:
            return {"GET": self._status, "DELETE": self._purge_one}.get(method)
        if method != "POST":
            return None
        verb = parts[2].lower()
        if verb == "raiseevent" and count == 4:
            return self._raise_event
        verbs = {"terminate": self._terminate, "suspend": self._suspend, "resume": self._resume}
        verbs |= {"rewind": self._rewind, "restart": self._restart}
        return verbs.get(verb) if count == 3 else None

    # -- starting --------------------------------------------------------------------------------------------

    async def _start(self, call: _Call) -> web.Response:
        body = await call.request.read()
        if not is_json(call.request.headers, bool(body.strip())):
            raise RequestError(415, "Only application/json request content is supported")
        input_text = _json_text(body) if body.strip() else None
        wanted = call.parts[2] if len(call.parts) == 3 else None
        instance_id = await self._engine.start_instance(
            call.parts[1], wanted, input_text, call.query.get("version")
        )
        return await self._started(instance_id, call)

    async def _started(self, instance_id: str, call: _Call) -> web.Response:
        """Answer with where to follow the instance or, if asked to wait, with how it ended."""
        timeout_s, interval_s = _seconds(call.query, "timeout"), _seconds(call.query, "pollinginterval")
        if timeout_s is not None and interval_s is not None:
            if interval_s > timeout_s:
                timeout, interval = call.query["timeout"], call.query["pollinginterval"]
                raise RequestError(
                    400, f"Total timeout {timeout} should be bigger than retry timeout {interval}"
                )
            instance = await self._engine.wait_for_end(instance_id, min(max(timeout_s, 0.0), _LONGEST_WAIT_S))
            if instance is not None and instance.status == "Completed":
                return _json(200, as_json(instance.output))
            if instance is not None and instance.has_ended:
                return _json(200, _status_json(instance, shows_input=True))
        body = call.links.check_status(instance_id)
        return _json(202, body, {"Location": body["statusQueryGetUri"], "Retry-After": "10"})

    async def _restart(self, call: _Call) -> web.Response:
        old = await self._store.read(records.get_instance, call.parts[1])
        if old is None:
            raise RequestError(
                400,
                "InstanceId does not match a valid orchestration instance.",
                f"No instance with ID '{call.parts[1]}' was found. (Parameter 'instanceId')",
                "System.ArgumentException",
            )
        new_id = None if _flag(call.query, "restartwithnewinstanceid", True) else old.id
        instance_id = await self._engine.start_instance(old.name, new_id, old.input, old.version)
        return await self._started(instance_id, call)

    # -- reading ---------------------------------------------------------------------------------------------

    async def _status(self, call: _Call) -> web.Response:
        instance = await self._engine.get(call.parts[1])
        if instance is None:
            return _nothing(404)
        shows_input = _flag(call.query, "showinput", True)
        body = _status_json(instance, shows_input)
        if _flag(call.query, "showhistory", False) and instance.status != "Pending":
            events = parse(await self._store.read(records.history_chunks, instance.id))
            shows_output = _flag(call.query, "showhistoryoutput", False)
            body["historyEvents"] = (
                None if is_disagreement(instance.output) else compact(events, shows_input, shows_output)
            )
        if not instance.has_ended:
            here = f"{call.links.base}/instances/{quote(instance.id, safe=':')}"
            query = call.request.rel_url.raw_query_string
            location = f"{here}?{query}" if query else here
            return _json(202, body, {"Location": location, "Retry-After": "5"})
        is_error = instance.status == "Failed" and _flag(
            call.query, "returninternalservererroronfailure", False
        )
        return _json(500 if is_error else 200, body)

    async def _list(self, call: _Call) -> web.Response:
        limit = _page_size(call.query.get("top"))
        after = _read_token(call.request.headers.get(_TOKEN, ""))
        found = await self._store.read(records.list_instances, _filter(call.query), after, limit + 1)
        shows_input = _flag(call.query, "showinput", True)
        token = _make_token(found[limit - 1].id) if len(found) > limit else ""
        return _json(200, [_status_json(each, shows_input) for each in found[:limit]], {_TOKEN: token})

    # -- deleting --------------------------------------------------------------------------------------------

    async def _purge_one(self, call: _Call) -> web.Response:
        deleted = await self._store.write(records.purge_one, call.parts[1])
        return _json(200, {"instancesDeleted": deleted}) if deleted else _nothing(404)

    async def _purge_many(self, call: _Call) -> web.Response:
        if not call.query.get("createdtimefrom"):
            return _json(400, "Please provide value for 'createdTimeFrom' parameter.")
        deleted = await self._store.write(records.purge, _filter(call.query))
        return _json(200, {"instancesDeleted": deleted}) if deleted else _nothing(404)

    # -- changing --------------------------------------------------------------------------------------------

    async def _raise_event(self, call: _Call) -> web.Response:
        await self._engine.require_live(call.parts[1])
        if call.request.content_type.lower() != "application/json":
            raise RequestError(400, "Only application/json request content is supported")
        body = await call.request.read()
        if not body.strip():
            raise RequestError(400, _INVALID_JSON, _NOTHING_TO_READ, _JSON_ERROR)
        given = write_compact(parse_json(_json_text(body)))
        await self._engine.raise_event(call.parts[1], call.parts[3], given)
        return _nothing(202)

    async def _terminate(self, call: _Call) -> web.Response:
        await self._engine.terminate(call.parts[1], call.query.get("reason", ""))
        return _nothing(202)

    async def _suspend(self, call: _Call) -> web.Response:
        await self._engine.suspend(call.parts[1], call.query.get("reason", ""))
        return _nothing(202)

    async def _resume(self, call: _Call) -> web.Response:
        await self._engine.resume(call.parts[1], call.query.get("reason", ""))
        return _nothing(202)

    async def _rewind(self, call: _Call) -> web.Response:
        woken = await self._store.write(rewind.rewind, call.parts[1], call.query.get("reason", ""))
        await self._engine.wake(woken)
        return _nothing(202)


def _query(request: web.Request) -> dict[str, str]:
    """Return the query with its names in lower case; a repeated name's values are joined by commas."""
    joined: dict[str, list[str]] = {}
    for key, value in request.query.items():
        joined.setdefault(key.lower(), []).append(value)
    return {key: ",".join(values) for key, values in joined.items()}


def _json_text(body: bytes) -> str:
    """Return the body as JSON text; raises RequestError 400 when it is not JSON."""
    try:
        return plain_json(body)
    except JsonError as error:
        raise RequestError(400, _INVALID_JSON, str(error), _JSON_ERROR) from error


def _status_json(instance: Instance, shows_input: bool) -> dict[str, Any]:
    is_text = instance.status in ("Failed", "Terminated", "Suspended")
    version = {} if instance.version is None else {"version": instance.version}
    return version | {
        "name": instance.name,
        "instanceId": instance.id,
        "runtimeStatus": instance.status,
        "input": as_json(instance.input) if shows_input else None,
        "customStatus": as_json(instance.custom_status),
        "output": instance.output if is_text else as_json(instance.output),
        "createdTime": seconds_stamp(from_micros(instance.created)),
        "lastUpdatedTime": seconds_stamp(from_micros(instance.updated)),
    }


def _filter(query: dict[str, str]) -> Filter:
    statuses = _statuses(query.get("runtimestatus", ""))
    return Filter(
        _moment(query, "createdtimefrom"),
        _moment(query, "createdtimeto"),
        statuses or None,
        query.get("instanceidprefix", ""),
    )


def _statuses(text: str) -> tuple[str, ...]:
    """Return the statuses that a comma-separated text names; what cannot be read is ignored, as in Azure."""
    known = {status.lower(): status for status in _STATUSES}
    return tuple(known[each.strip().lower()] for each in text.split(",") if each.strip().lower() in known)


def _moment(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return to_micros(parse_stamp(text.replace(" ", "+")))  # a plus that was not escaped
    except (ValueError, OverflowError):
        return None  # ignored, as in Azure


def _flag(query: dict[str, str], name: str, default: bool) -> bool:
    text = query.get(name, "").strip().lower()
    return text == "true" if text in ("true", "false") else default


def _page_size(text: str | None) -> int:
    if text is None or not re.fullmatch("[0-9]{1,10}", text):
        return _PAGE
    return int(text) if 0 < int(text) <= _LARGEST_INT else _PAGE


def _seconds(query: dict[str, str], name: str) -> float | None:
    """Return the seconds of the parameter, None where it has none that can be read: ignored, as in Azure.

    Raises RequestError for those that are no span of time.
    """
    try:
        seconds = float(query.get(name, "").replace("_", "?"))  # which Python reads, and .NET does not
    except ValueError:
        return None
    if math.isnan(seconds):
        raise RequestError(400, "TimeSpan does not accept floating point Not-a-Number values.")
    if abs(seconds) > _LONGEST_SPAN_S:
        raise RequestError(
            500,
            "Something went wrong while processing your request",
            "TimeSpan overflowed because the duration is too long.",
            "System.OverflowException",
        )
    return seconds


def _make_token(instance_id: str) -> str:
    return base64.urlsafe_b64encode(instance_id.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise RequestError(400, f"{_TOKEN} is not one that this host gave") from error


def _nothing(status: int) -> web.Response:
    return web.Response(status=status)


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=encode_json(value),
        headers=_SECURITY_HEADERS | (headers or {}),
        content_type="application/json",
        charset="utf-8",
    )


def _error(error: RequestError) -> web.Response:
    if not error.message:
        return _nothing(error.status)
    if error.is_plain:
        return _json(error.status, error.message)
    body: dict[str, Any] = {"Message": error.message}
    if error.detail:
        body |= {"ExceptionMessage": error.detail, "ExceptionType": error.kind, "StackTrace": ""}
    return _json(error.status, body)
