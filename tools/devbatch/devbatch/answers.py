"""Answers and preconditions that all operations share: empty ones, pages, ETags, refusals."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from devbatch.account import Account
from devbatch.control import ACCOUNT, read_json
from devbatch.errors import ServiceError
from devbatch.odata import one_page, refuse_expand, select_fields
from devbatch.records import Stamps
from devbatch.shapes import error_shape

T = TypeVar("T")

_METADATA: Final = "https://devbatch.local/$metadata"


def account_of(request: web.Request) -> Account:
    """The account behind a request."""
    return request.app[ACCOUNT]


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body of a request as an object; raises ServiceError (400) InvalidRequestBody."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise ServiceError(400, "InvalidRequestBody", "The body must be a JSON object.")
    return body


def done(status: int, request: web.Request, stamps: Stamps | None = None, location: str = "") -> web.Response:
    """An answer without a body, with the resource's ETag and time of change where it has them."""
    headers = {"DataServiceId": location or str(request.url.with_query(None))}
    if stamps is not None:
        headers |= stamp_headers(stamps)
    if location:
        headers["Location"] = location
    return web.Response(status=status, headers=headers)


def one(
    request: web.Request, kind: str, fields: Mapping[str, Any], stamps: Stamps | None = None
) -> web.Response:
    """The answer to a GET of one resource."""
    refuse_expand(request.query)
    body = {"odata.metadata": f"{_METADATA}#{kind}/@Element"} | select_fields(
        fields, request.query.get("$select"), kind
    )
    return json_answer(body, headers=stamp_headers(stamps) if stamps is not None else {})


def many(
    request: web.Request, kind: str, records: Iterable[T], shape: Callable[[T], Mapping[str, Any]]
) -> web.Response:
    """The answer to a GET of a list.

    Filtered, selected, and cut into pages with an absolute link to the next.
    """
    page, next_index = one_page(list(records), shape, request.query, kind)
    body: dict[str, Any] = {"odata.metadata": f"{_METADATA}#{kind}", "value": page}
    if next_index is not None:
        url = (
            account_of(request).url
            + request.rel_url.update_query({"$skiptoken": str(next_index)}).human_repr()
        )
        body["odata.nextLink"] = url
    return json_answer(body)


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer as the service marks it."""
    content_type = {"Content-Type": "application/json;odata=minimalmetadata"}
    return web.Response(
        status=status, body=msgspec.json.encode(body), headers=content_type | dict(headers or {})
    )


def refusal(error: ServiceError) -> web.Response:
    """The answer to a refused request."""
    if error.status == HTTPStatus.NOT_MODIFIED:
        return web.Response(status=error.status)
    shape = error_shape(error)
    shape["message"]["value"] += f"\nRequestId:{uuid.uuid4()}"
    kind = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors"
    body = {"odata.metadata": f"{_METADATA}#{kind}/@Element"} | shape
    return json_answer(body, error.status, error.headers)


def check_conditions(request: web.Request, stamps: Stamps) -> None:
    """Raises ServiceError.

    412 when If-Match does not hold, 304 when If-None-Match names the present version.
    """
    if_match, if_none_match = (  # the client puts an ETag in quotes, the service does not
        value and value.strip('"') for value in map(request.headers.get, ("If-Match", "If-None-Match"))
    )
    if if_match not in (None, "*", stamps.etag):
        raise ServiceError(
            HTTPStatus.PRECONDITION_FAILED, "ConditionNotMet", "The resource has changed since that ETag."
        )
    if if_none_match in ("*", stamps.etag):
        raise ServiceError(HTTPStatus.NOT_MODIFIED, "NotModified", "The resource has not changed.")


def stamp_headers(stamps: Stamps) -> dict[str, str]:
    """ETag and Last-Modified of a resource."""
    return {"ETag": stamps.etag, "Last-Modified": format_datetime(stamps.modified, usegmt=True)}
