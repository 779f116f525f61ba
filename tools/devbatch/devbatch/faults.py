"""Injected faults: which operation fails, how, and how often."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import web

from devbatch.errors import ServiceError

Kind = Literal["error", "drop", "timeout", "delay"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One rule, used up after `count` requests.

    `operation` is the name of an operation as the Python client writes it (`create_task_collection`), or `*`.
    The first `skip` requests pass. Kinds: `error` answers `status` and `code` and does nothing else; `drop`
    carries the request out and closes the connection without an answer; `timeout` does nothing, holds the
    request for `seconds` and closes; `delay` waits `seconds` and then carries the request out.
    """

    operation: str = "*"
    kind: Kind = "error"
    status: int = 503
    code: str = "ServerBusy"
    retry_after_seconds: int | None = None
    seconds: float = 1.0
    count: int = 1
    skip: int = 0


@dataclass(slots=True)
class FaultBook:
    """The active rules, in the order in which they were added, and the number of requests per operation."""

    rules: list[Fault] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    def next_fault(self, operation: str) -> Fault | None:
        """Counts a request, and uses the first rule that matches it."""
        self.requests[operation] = self.requests.get(operation, 0) + 1
        for rule in self.rules:
            if rule.operation in ("*", operation):
                if rule.skip > 0:
                    rule.skip -= 1
                    return None
                rule.count -= 1
                if rule.count == 0:
                    self.rules.remove(rule)
                return rule
        return None


def read_faults(body: Any) -> list[Fault]:
    """The rules of a request, one or a list; raises ServiceError (400) naming the field."""
    try:
        rules = msgspec.convert(body if isinstance(body, list) else [body], list[Fault])
    except msgspec.ValidationError as error:
        raise ServiceError(400, "InvalidFault", str(error)) from error
    for rule in rules:
        rule.operation = rule.operation.removeprefix("begin_")
        if rule.count < 1 or rule.skip < 0 or rule.seconds < 0:
            raise ServiceError(400, "InvalidFault", "count is at least 1; skip and seconds are not negative")
    return rules


async def apply_fault(fault: Fault | None, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handles a request with a fault, or without one."""
    if fault is None:
        return await handler(request)
    if fault.kind == "error":
        headers = {} if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
        raise ServiceError(fault.status, fault.code, "This error was injected.", headers=headers)
    if fault.kind == "drop":
        await handler(request)
        return _closed(request)
    await request.read()  # the request counts although the client may give up meanwhile
    await asyncio.sleep(fault.seconds)
    return _closed(request) if fault.kind == "timeout" else await handler(request)


def _closed(request: web.Request) -> web.StreamResponse:
    """Closes the connection under an answer that is then never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
