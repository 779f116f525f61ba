"""Tokens of wait addresses: the holder of one may read the status of that one run, without a function key,
and nothing else.

Pollers such as Data Factory and Logic Apps follow a `Location` without sending headers, so the address
itself has to grant access to its run. A token is an HMAC of the run's id under a secret that lies in the
store, made when it is first needed.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscore.store.base import Store

_SECRETS: dict[str, bytes] = {}
"""URL of a store -> its secret; it never changes."""

SECRET_PATH = "secrets/wait_tokens"  # noqa: S105 - where the secret lies, not the secret


def make_token(store: Store, run: str) -> str:
    """The token of the run, 32 hexadecimal digits; the same at every call."""
    return hmac.new(_secret(store), run.encode(), "sha256").hexdigest()[:32]


def is_valid(store: Store, run: str, token: str) -> bool:
    """Whether the token is the run's; compared in constant time."""
    return hmac.compare_digest(make_token(store, run).encode(), token.encode("utf-8", "replace"))


def _secret(store: Store) -> bytes:
    if store.url not in _SECRETS:
        store.create(SECRET_PATH, secrets.token_bytes(32))
        _SECRETS[store.url] = store.read(SECRET_PATH)
    return _SECRETS[store.url]
