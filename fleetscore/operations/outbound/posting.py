"""Posting to addresses that settings or callers name: no redirects, and no private networks unless they are
allowed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from fleetscore.errors import FleetscoreError, InputError, StoreError
from fleetscore.request_logs import hide_paths

if TYPE_CHECKING:
    from requests import Response, Session

NO_ANSWER = "no_answer"
"""The code of the error where the body may have arrived, though no answer came."""

_TIMEOUT_S = (5.0, 20.0)  # to connect, and between bytes of the answer
_TOTAL_S = 30.0
_TEXT_S = 5.0  # to read the answer's text
_ANSWER_BYTES, _ANSWER_LENGTH = 2000, 200
_SECRET_LENGTH = 5  # shorter parts of an address are words such as hook, and say nothing


hide_paths()


def check_address(url: str, *, allow_private: bool) -> None:
    """InputError unless the URL is http(s) and all addresses of its host are public; StoreError when the
    host has none now.

    Private, loopback and link-local addresses pass with `allow_private`: from inside, they lead to what the
    app's identity may reach and its caller may not.
    """
    from fleetscore.operations.outbound.public_addresses import is_public, private_host

    if "\\" in url or any(sign.isspace() or not sign.isprintable() for sign in url):  # read in two ways
        raise InputError(
            "The address holds a backslash, a blank or a sign that is not visible.",
            fix="Write them in the form %5C.",
        )
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{parts.scheme or 'The address'} is no http(s) address.", fix="Give an https URL.")
    if allow_private:
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(parts.hostname, parts.port or 443)}
    except (OSError, UnicodeError, ValueError) as error:
        raise StoreError(f"The host {parts.hostname} is not known: {error}.") from error
    if not all(is_public(address) for address in map(str, found)):
        raise private_host(parts.hostname)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its message repeats the address
        raise InputError("The address is no http(s) address.", fix="Give an https URL.") from None


def post_json(
    url: str,
    body: bytes,
    *,
    allow_private: bool,
    content_type: str = "application/json",
    headers: Mapping[str, str] = MappingProxyType({}),
    receiver: str = "webhook",
    limit_s: float = _TOTAL_S,
) -> str:
    """POST the JSON body and return the start of the answer's text; StoreError when it is not taken: no
    answer, a redirect, or no success. Its code is `no_answer` where the body may have arrived all the same.

    Messages name the `receiver` and its host only, and what the answer repeats of the rest of the URL and of
    further `headers` is left out, since it may hold a secret. It takes `limit_s` at most, however slowly the
    answer arrives.
    """
    place = f"{receiver} at {_split(url).netloc.rpartition('@')[2]}"
    answers: list[tuple[int, str] | FleetscoreError] = []

    def work() -> None:
        try:
            check_address(url, allow_private=allow_private)
            named = {**headers, "content-type": content_type}
            answers.append(_post(url, place, body, named, allow_private))
        except FleetscoreError as error:
            answers.append(error)

    sending = Thread(target=work, name="post", daemon=True)
    sending.start()
    sending.join(limit_s)
    if not answers:
        raise _no_answer(place, f"nothing within {limit_s:.0f} seconds")
    if isinstance(answers[0], FleetscoreError):
        raise answers[0]
    status, text = answers[0]
    if not 200 <= status < 300:
        said = f": {text}" if text else "."
        raise StoreError(f"The {place} answered {status}{said}")
    return text


def _post(
    url: str, place: str, body: bytes, headers: Mapping[str, str], allow_private: bool
) -> tuple[int, str]:
    """Status and text of the answer; StoreError for none."""
    import requests

    try:
        with (
            _session(allow_private) as session,
            session.post(
                url, data=body, headers=dict(headers), timeout=_TIMEOUT_S, allow_redirects=False, stream=True
            ) as answer,
        ):
            return answer.status_code, describe_answer(_read_start(answer), url, headers)
    except (requests.RequestException, ValueError, OSError) as error:  # their texts repeat the URL
        if isinstance(error, requests.ReadTimeout):
            raise _no_answer(place, f"nothing within {_TIMEOUT_S[1]:.0f} seconds") from None
        if _may_have_arrived(error):
            raise _no_answer(place, type(error).__name__) from None
        raise StoreError(f"The {place} does not answer: {type(error).__name__}.") from None


def _session(allow_private: bool) -> Session:
    """A session that connects to public addresses only, or with `allow_private` to all."""
    import requests

    from fleetscore.operations.outbound.public_addresses import PublicAdapter

    session = requests.Session()
    if not allow_private:
        session.mount("http://", PublicAdapter())
        session.mount("https://", PublicAdapter())
    return session


def _no_answer(place: str, why: str) -> StoreError:
    return StoreError(f"The {place} does not answer: {why}.", code=NO_ANSWER)


def _may_have_arrived(error: Exception) -> bool:
    """Whether the connection was made before the error came."""
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectionError | requests.ReadTimeout) and not isinstance(
        reason, NewConnectionError
    )


def _read_start(answer: Response) -> bytes:
    """The start of the answer's text, of what arrives within 5 seconds."""
    import requests

    end, data = time.monotonic() + _TEXT_S, b""
    with contextlib.suppress(requests.RequestException):  # the status has arrived, and decides
        for byte in answer.iter_content(1):
            data += byte
            if len(data) >= _ANSWER_BYTES or time.monotonic() > end:
                break
    return data


def describe_answer(data: bytes, url: str, headers: Mapping[str, str]) -> str:
    """The start of an answer's text for people: control characters are made visible, and parts of the URL
    that follow its host and values of headers, which may be secrets, are left out.
    """
    text = data[:_ANSWER_BYTES].decode("utf-8", "replace").strip()
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _without_secret(visible, url, headers)


def _without_secret(text: str, url: str, headers: Mapping[str, str]) -> str:
    """The first characters of the text, without the parts of the URL that follow its host, and without the
    values of headers.
    """
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    words = re.split(r"[/&=?#:]", f"{user}/{parts.path}/{parts.query}/{parts.fragment}")
    words += [word for name, value in headers.items() if name != "content-type" for word in value.split()]
    secrets = {form for word in words if len(word) >= _SECRET_LENGTH for form in (word, unquote(word))}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text if len(text) <= _ANSWER_LENGTH else f"{text[:_ANSWER_LENGTH]}..."
