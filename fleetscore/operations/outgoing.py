"""Posting to addresses that settings or callers name: no redirects, and no private networks unless they are
allowed.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from fleetscore.errors import InputError, StoreError

_TIMEOUT_S = 10.0


def check_address(url: str, *, allow_private: bool) -> None:
    """InputError unless the URL is http(s) and all addresses of its host are public; StoreError when the
    host has none now.

    Private, loopback and link-local addresses pass with `allow_private`: from inside, they lead to what the
    app's identity may reach and its caller may not.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{parts.scheme or 'The address'} is no http(s) address.", fix="Give an https URL.")
    if allow_private:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(parts.hostname, parts.port or 443)}
    except (OSError, UnicodeError, ValueError) as error:
        raise StoreError(f"The host {parts.hostname} is not known: {error}.") from error
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_global for address in map(str, found)):
        raise InputError(
            f"The host {parts.hostname} has an address in a private network.",
            fix="Set FLEETSCORE_WEBHOOK_PRIVATE=1 where that is meant.",
        )


def post_json(url: str, body: bytes, *, allow_private: bool, content_type: str = "application/json") -> None:
    """POST the JSON body; StoreError when it is not taken: no answer, a redirect, or no success.

    Messages name the host only, since the rest of a URL may hold a secret.
    """
    import requests

    check_address(url, allow_private=allow_private)
    place = urlsplit(url).netloc.rpartition("@")[2]
    headers = {"content-type": content_type}
    try:
        answer = requests.post(url, data=body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        raise StoreError(f"The webhook at {place} does not answer: {type(error).__name__}.") from error
    if not 200 <= answer.status_code < 300:
        raise StoreError(f"The webhook at {place} answered {answer.status_code}.")
