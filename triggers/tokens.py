"""Bearer tokens of Entra ID: signature, issuer, audience and time are checked against the issuer's public
keys.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
import requests

from fleetscore.errors import CapacityError, SettingsError, SignInError

_ALGORITHMS = ["RS256"]  # what Entra ID signs with; the token's own word is never taken
_LEEWAY_S = 60
_KEPT_S, _ASKED_AGAIN_S = 24 * 3600.0, 60.0
_TIMEOUT_S = 10
_LENGTH = 32_000
_ISSUER_FIX = "Check FLEETSCORE_AUTH_ISSUER, and that the app reaches it."
_ANSWER_BYTES = 1_000_000


class _IssuerKeys:
    """The public keys of one issuer; asked for when first needed, once a day, and for an unknown key at most
    once a minute, so that made-up tokens make no requests.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer, self._lock = issuer, threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = self._asked_at = float("-inf")

    def find(self, key_id: str) -> jwt.PyJWK:
        """The key of that id; SignInError for none, CapacityError where the issuer does not answer."""
        with self._lock:
            now = time.monotonic()
            is_wanting = now - self._read_at > _KEPT_S or key_id not in self._keys
            if is_wanting and now - self._asked_at > _ASKED_AGAIN_S:
                self._asked_at = now
                self._keys = self._read()
                self._read_at = now
            if now - self._read_at > _KEPT_S:
                raise CapacityError("The keys of the issuer of tokens cannot be read.", fix=_ISSUER_FIX)
            if key_id not in self._keys:
                raise _refused("its key is none of the issuer's")
            return self._keys[key_id]

    def _read(self) -> dict[str, jwt.PyJWK]:
        try:
            about = _get_json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != self._issuer:
                raise CapacityError(
                    "The issuer names itself otherwise than FLEETSCORE_AUTH_ISSUER.",
                    fix="Set FLEETSCORE_AUTH_ISSUER to the `issuer` of its openid-configuration.",
                )
            keys = jwt.PyJWKSet.from_dict(_get_json(str(about.get("jwks_uri", "")))).keys
        except (requests.RequestException, ValueError, jwt.PyJWTError) as error:
            message = f"The keys of the issuer of tokens cannot be read: {type(error).__name__}."
            raise CapacityError(message, fix=_ISSUER_FIX) from error
        return {key.key_id: key for key in keys if key.key_id and key.key_type == "RSA"}


_ISSUERS: dict[str, _IssuerKeys] = {}


def read_claims(token: str, issuer: str, audiences: Sequence[str]) -> list[tuple[str, Any]]:
    """The claims of the token; SignInError where it is forged, expired, of another issuer or for others."""
    if len(token) > _LENGTH:
        raise _refused("it is too long")
    try:
        key_id = jwt.get_unverified_header(token).get("kid", "")
        key = _ISSUERS.setdefault(issuer, _IssuerKeys(_checked(issuer))).find(str(key_id))
        claims = jwt.decode(
            token, key.key, algorithms=_ALGORITHMS, audience=list(audiences), issuer=issuer, leeway=_LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )  # fmt: skip
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _refused(str(error)[:200] or type(error).__name__) from error
    return list(claims.items())


def _refused(why: str) -> SignInError:
    return SignInError(
        f"The token is not valid: {why}.", fix="Get a new token of the issuer for this app's registration."
    )


def _checked(address: str) -> str:
    """The address; SettingsError unless it is https, or of this machine."""
    try:
        parts = urlsplit(address)
        is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError as error:
        raise SettingsError(
            "FLEETSCORE_AUTH_ISSUER is no address.",
            fix="Give an https URL.",
            field="FLEETSCORE_AUTH_ISSUER",
        ) from error
    if parts.scheme == "https" or (parts.scheme == "http" and is_local):
        return address
    raise SettingsError(
        "An address of FLEETSCORE_AUTH_ISSUER is not https.", fix="Give an https URL.", field="FLEETSCORE_AUTH_ISSUER"
    )  # fmt: skip


def _get_json(url: str) -> dict[str, Any]:
    with requests.get(_checked(url), timeout=_TIMEOUT_S, allow_redirects=False, stream=True) as answer:
        answer.raise_for_status()
        data = answer.raw.read(_ANSWER_BYTES, decode_content=True)
        if answer.status_code != 200:
            raise ValueError(f"it answered {answer.status_code}")
    found = msgspec.json.decode(data)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found
