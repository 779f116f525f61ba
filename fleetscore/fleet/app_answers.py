"""Addresses of an app, and the errors that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from fleetscore.errors import (
    AccessError,
    CapacityError,
    FleetscoreError,
    InputError,
    MissingBlobError,
    SignInError,
    StoreError,
)
from fleetscore.typed_json import decode_json

if TYPE_CHECKING:
    import requests

NO_APP_ANSWER = "no_app_answer"
"""The code of an answer by what stands before the app, such as its host where it lost a worker."""

_KINDS: dict[int, type[FleetscoreError]] = {
    400: InputError,
    401: SignInError,
    403: AccessError,
    404: MissingBlobError,
    422: InputError,
    503: CapacityError,
}


def check_address(url: str) -> str:
    """The app's address without what follows it; InputError for what cannot be one.

    >>> check_address("http://localhost:7071/api/")
    'http://localhost:7071'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{url!r} is not the address of an app.",
            fix=f"Write http://{url} for a host of this machine."
            if "://" not in url
            else "Write https://...",
            field="host",
        )
    return url.rstrip("/").removesuffix("/api")


def part(text: str) -> str:
    """The text as one segment of a path, or as a value of a query."""
    return quote(text, safe="")


def needs_store(what: str) -> InputError:
    """The error of what an app does not do."""
    return InputError(
        f"An app {what}.",
        fix="Use a store: --store URL on the command line, connect(STORE_URL) in Python.",
        code="needs_store",
    )


def error_of(response: requests.Response) -> FleetscoreError:
    """The core error that the app answered; a plain one where a gateway or another app answered."""
    status = response.status_code
    try:
        fields = decode_json(response.content, dict[str, dict[str, str]])["error"]
    except (msgspec.DecodeError, KeyError):
        if status in (401, 403):
            return InputError(
                "The app requires a function key.", fix="Give it as --key, or in FLEETSCORE_KEY.", field="key"
            )
        return StoreError(
            f"{response.url} answered {status} {response.reason}: {response.text[:200]}",
            code=NO_APP_ANSWER if status >= 500 else "",
        )
    kind = _KINDS.get(status, FleetscoreError)
    return kind(
        fields.get("message", ""),
        fix=fields.get("fix", ""),
        field=fields.get("field", ""),
        code=fields.get("code", ""),
    )
