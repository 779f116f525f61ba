"""Addresses of an app, and the errors that it answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

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
    """The app's address without a user, a password and what follows it; InputError for what cannot be one.

    >>> check_address("http://ann:secret@localhost:7071/api/")
    'http://localhost:7071'
    """
    if not _is_address(url):
        shown = mask_password(url)
        raise InputError(
            f"{shown!r} is not the address of an app.",
            fix=f"Write http://{shown} for a host of this machine."
            if "://" not in url
            else "Write https://HOST or http://HOST:PORT; in a password, write @ as %40, / as %2F.",
            field="host",
        )
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare.rstrip("/").removesuffix("/api")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def sign_in_of(url: str) -> tuple[str, str] | None:
    """User and password of an address; None where it has none.

    >>> sign_in_of("https://ann:p%40ss@example.com")
    ('ann', 'p@ss')
    """
    parts = urlsplit(url)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None


def mask_password(url: str) -> str:
    """The address with *** for its user and password, also where it is misspelt.

    >>> mask_password("http://ann:a/b@example.com/api")
    'http://***@example.com/api'
    """
    return re.sub(r"^(\w+:/+)?.*@", r"\1***@", url, flags=re.DOTALL)


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
