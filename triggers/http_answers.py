"""HTTP answers: records as JSON, and errors with a code, a sentence, what to do, and the field at fault."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import azure.functions as func
import msgspec

from fleetscore.errors import (
    AccessError,
    CapacityError,
    ConflictError,
    FleetscoreError,
    InputError,
    MissingBlobError,
    ModelError,
    SignInError,
)
from fleetscore.exhaustion import EXHAUSTED, is_exhausted
from fleetscore.typed_json import decode_json
from triggers.bodies import ChangeBody
from triggers.callers import requester
from triggers.queries import check_query
from triggers.warm_scoring import warm_scoring_soon

_log = logging.getLogger("fleetscore.http")
_STATUS = {
    SignInError: 401,
    AccessError: 403,
    InputError: 400,
    ModelError: 422,
    MissingBlobError: 404,
    ConflictError: 409,
    CapacityError: 503,
}
"""The first that fits counts."""

_EXHAUSTED = {
    "code": EXHAUSTED,
    "message": "The app lacks memory, threads or file handles at the moment.",
    "fix": "Ask again in a few seconds. If it stays so, see the app's log, and give the app more.",
    "field": "",
}
_JSON_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

Body = TypeVar("Body")
Value = TypeVar("Value")


def answer_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> func.HttpResponse:
    """The value as a JSON answer."""
    return func.HttpResponse(
        msgspec.json.encode(value, enc_hook=_plain_text),
        status_code=status,
        headers={**_JSON_HEADERS, **(headers or {})},
        mimetype="application/json",
    )


def _plain_text(value: Any) -> str:
    """The text of a kind of string, such as markup; TypeError for anything else that JSON has no form for."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def answer_error(error: Exception) -> func.HttpResponse:
    """The error as a JSON answer; an unexpected one is logged with its traceback and answered without it.

    A lack of memory, threads or file handles passes, and is answered as 503 with the code `exhausted`.
    """
    if is_exhausted(error):
        _log.warning("A request met a lack of memory, threads or file handles: %s", error)
        return answer_json({"error": _EXHAUSTED}, 503, {"Retry-After": "1"})
    if not isinstance(error, FleetscoreError):
        _log.exception("Unexpected error in an HTTP function", exc_info=error)
        fields = {
            "code": "unexpected_error",
            "message": "Something went wrong here.",
            "fix": "See the app's log.",
            "field": "",
        }
        return answer_json({"error": fields}, 500)
    fields = {"code": error.code, "message": error.message, "fix": error.fix, "field": error.field}
    return answer_json({"error": fields}, status_of(error))


def status_of(error: FleetscoreError) -> int:
    """The HTTP status of the error."""
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)


def handle_errors(
    handler: Callable[..., Awaitable[func.HttpResponse]],
) -> Callable[..., Awaitable[func.HttpResponse]]:
    """The handler, answering its errors as JSON; a query parameter that it does not have is one."""

    @functools.wraps(handler)
    async def guarded(**arguments: Any) -> func.HttpResponse:
        try:
            check_query(arguments["req"], handler.__name__)
            return await handler(**arguments)
        except Exception as error:
            return answer_error(error)
        finally:
            warm_scoring_soon()

    return guarded


def read_body(req: func.HttpRequest, kind: type[Body]) -> Body:
    """The request's JSON body as `kind`, with the signed-in caller's name where it has `requested_by`;
    InputError names the field that is missing, unknown or of another type.
    """
    try:
        body = decode_json(req.get_body() or b"{}", kind)
        if isinstance(body, ChangeBody):
            return cast(Body, _signed(body))
        return body
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        raise InputError(
            f"The body is not as expected: {f'{field}: ' if field else ''}{message}.",
            fix="GET /api/openapi.json describes it.",
            field=field or _named(message),
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(
            f"The body is not JSON: {error}.", fix="Send a JSON object.", field="body"
        ) from error


def _signed(body: ChangeBody) -> ChangeBody:
    """The body in the signed-in caller's name, or as it was where nobody is."""
    return msgspec.structs.replace(body, requested_by=requester(body.requested_by), who=msgspec.UNSET)


async def run_in_thread(function: Callable[..., Value], *arguments: Any, **named: Any) -> Value:
    """Call a blocking function on a thread, so that the app's one event loop stays free."""
    return await asyncio.to_thread(function, *arguments, **named)


def _named(message: str) -> str:
    """The field that a message like 'Object missing required field `window`' names."""
    return message.split("`")[1] if message.count("`") >= 2 and "field" in message else "body"
