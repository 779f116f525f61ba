"""Who calls: the identity that App Service authentication or a token names, its role, and the name on
record.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from fleetscore.app_settings import AppSettings
from fleetscore.errors import AccessError, SettingsError, SignInError
from fleetscore.requesters import check_claimed, signed_name
from fleetscore.typed_json import decode_json

READER, OPERATOR = "reader", "operator"
PRINCIPAL = "x-ms-client-principal"
MODES = ("easyauth", "tokens")

_NAMES = (
    "preferred_username",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
    "upn",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "email",
)
_APPS = ("azp", "appid")
_OBJECTS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")
_ROLES = frozenset({"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})
_HEADER_LENGTH = 64_000
_FIX = f"Assign one of the app roles {READER} and {OPERATOR} to them in the app registration."

_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in person or application."""

    name: str
    roles: frozenset[str]
    by: Literal["session", "token"]


class _Claim(msgspec.Struct, frozen=True):
    typ: Annotated[str, msgspec.Meta(max_length=1000)]
    val: str


class _Principal(msgspec.Struct, frozen=True):
    """The header of App Service authentication, decoded."""

    claims: tuple[_Claim, ...]
    auth_typ: str = ""


def identify(headers: Mapping[str, str], app: AppSettings) -> Caller:
    """The caller of a request by its bearer token, else by the header of App Service authentication where
    FLEETSCORE_AUTH says that it stands in front.

    SignInError where neither names anybody, SettingsError where the settings of authentication are not
    usable.
    """
    check_auth(app)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        from triggers.tokens import read_claims

        return _caller_of(read_claims(token.strip(), app.auth_issuer, audiences_of(app)), "token")
    principal = headers.get(PRINCIPAL, "")
    if principal and app.auth == "easyauth":
        return _caller_of(_claims_of(principal), "session")
    raise SignInError("Nobody is signed in.", fix="Sign in, or send a bearer token of the app registration.")


def check_auth(app: AppSettings) -> None:
    """SettingsError unless the settings of authentication are complete."""
    if app.auth not in MODES:
        raise SettingsError(
            f"FLEETSCORE_AUTH is {app.auth[:50]!r}.",
            fix=f"Expected one of {', '.join(MODES)}, or nothing.",
            field="FLEETSCORE_AUTH",
        )
    for name, value in (("ISSUER", app.auth_issuer), ("AUDIENCE", ",".join(audiences_of(app)))):
        if not value:
            field = f"FLEETSCORE_AUTH_{name}"
            raise SettingsError(
                f"{field} is empty, and FLEETSCORE_AUTH is {app.auth}.", fix="Set both.", field=field
            )


def audiences_of(app: AppSettings) -> tuple[str, ...]:
    """The audiences that a token may be for."""
    return tuple(text.strip() for text in app.auth_audience.split(",") if text.strip())


def check_role(caller: Caller, *, changes: bool) -> None:
    """AccessError unless the caller's roles allow to read, or to change something."""
    if OPERATOR in caller.roles or (READER in caller.roles and not changes):
        return
    has = ", ".join(sorted(caller.roles & {READER})) or "none of the app's roles"
    needed = OPERATOR if changes else f"{READER} or {OPERATOR}"
    raise AccessError(f"{caller.name} has {has}; this needs the role {needed}.", fix=_FIX, field="roles")


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Within it the caller is the one of this request."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def requester(claimed: str) -> str:
    """The name on record for what this request asks for: the signed-in one, else the claimed one; InputError
    for a claimed one that looks signed-in.
    """
    caller = _caller.get()
    return signed_name(caller.name) if caller else check_claimed(claimed)


def _claims_of(header: str) -> list[tuple[str, str]]:
    """The claims of the header; SignInError where it is not what App Service sends."""
    try:
        if len(header) > _HEADER_LENGTH:
            raise ValueError(f"it has {len(header)} characters")
        principal = decode_json(base64.b64decode(header, validate=True), _Principal)
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise SignInError(f"The header {PRINCIPAL} cannot be read: {error}.", fix="Sign in again.") from error
    if principal.auth_typ != "aad":
        raise SignInError(
            f"The identity is of the provider {principal.auth_typ[:50]!r}, not of Entra ID.",
            fix="Sign in at /.auth/login/aad.",
        )
    return [(claim.typ, claim.val) for claim in principal.claims]


def _caller_of(claims: Iterable[tuple[str, Any]], by: Literal["session", "token"]) -> Caller:
    """The caller that the claims describe; an application is named by its client id. SignInError for
    nobody.
    """
    found: dict[str, list[str]] = {}
    for kind, value in claims:
        values = value if isinstance(value, list) else [value]
        found.setdefault(kind, []).extend(text for text in values if isinstance(text, str) and text.strip())
    people = [found[kind][0] for kind in _NAMES if found.get(kind)]
    apps = [f"app {found[kind][0]}" for kind in _APPS if found.get(kind)]
    objects = [f"object {found[kind][0]}" for kind in _OBJECTS if found.get(kind)]
    names = [*people, *apps, *objects]
    if not names:
        raise SignInError("The identity has no name.", fix=f"Expected one of the claims {', '.join(_NAMES)}.")
    roles = frozenset(role for kind in _ROLES for role in found.get(kind, ()))
    return Caller(names[0], roles, by)
