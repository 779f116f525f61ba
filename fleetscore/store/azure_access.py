"""How stores and queues reach a storage account: whose identity, which retries, and what its refusals mean
in our words.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ExponentialRetry

from fleetscore.errors import SettingsError, StoreError

ON_ANSWER = "on_answer"
"""The keyword of a storage client's call whose value is called with the answer, a PipelineResponse."""

_THROTTLED_RETRIES = 6
_CONNECT_S, _READ_S = 20, 60  # as the storage clients have them
_CONNECTIONS = 64
_THROTTLED_WAIT_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Resource:
    """A container or a queue: the URL of its account's service, its name, and whether an emulator holds
    it.
    """

    account_url: str
    name: str
    is_emulator: bool

    @property
    def url(self) -> str:
        """The URL that `parse_resource` reads."""
        return f"{self.account_url}/{self.name}"


def parse_resource(url: str, kind: str) -> Resource:
    """The `kind` ("container", "queue") that `url` names; SettingsError for plain http beyond this machine,
    a SAS or a wrong path.

    >>> parse_resource("https://account.blob.core.windows.net/fleet", "container").name
    'fleet'
    >>> parse_resource("http://127.0.0.1:10000/devstoreaccount1/fleet", "container").is_emulator
    True
    """
    parts = urlsplit(url)
    segments = [unquote(s) for s in parts.path.strip("/").split("/")]
    is_emulator = parts.scheme == "http"
    if is_emulator and not _is_loopback(parts.hostname or ""):
        raise _bad_url(url, kind, "would send data and tokens over plain http.")
    if parts.query or parts.fragment or parts.username:
        raise _bad_url(
            f"{parts.scheme}://{parts.hostname}{parts.path}", kind, "carries a key or a signature."
        )
    if parts.scheme not in ("http", "https") or len(segments) != 1 + is_emulator or not all(segments):
        raise _bad_url(url, kind, f"does not name one {kind}.")
    return Resource("/".join([f"{parts.scheme}://{parts.netloc}", *segments[:-1]]), segments[-1], is_emulator)


def credential_for(resource: Resource) -> Any:
    """The credential to reach the resource with: this process's identity, or the public development account
    of an emulator.
    """
    if resource.is_emulator:
        development = BlobServiceClient.from_connection_string("UseDevelopmentStorage=true").credential
        return AzureNamedKeyCredential(development.account_name, development.account_key)
    return process_identity()


def process_identity() -> Any:
    """The credential of this process: the managed identity that the settings name, else that of the
    signed-in user.
    """
    return _identity(os.environ.get("FLEETSCORE_IDENTITY_CLIENT_ID", ""))


def client_options(transport: Any = None) -> dict[str, Any]:
    """The keywords that every storage client is made with; `transport` is an azure-core HttpTransport to
    use in place of the usual.
    """
    return {"retry_policy": PatientRetry(), "transport": transport or roomy_transport()}


def roomy_transport() -> Any:
    """The SDK's usual transport that keeps as many connections open as requests are made at once.

    The usual ten are too few for pages that read much side by side: each connection beyond them is opened
    and closed for one request.
    """
    transport = RequestsTransport(connection_timeout=_CONNECT_S, read_timeout=_READ_S)
    transport.open()
    for adapter in transport.session.adapters.values():
        adapter.init_poolmanager(_CONNECTIONS, _CONNECTIONS)
    return transport


class PatientRetry(ExponentialRetry):
    """The storage retries (5xx, 408, lost connections) with waits that suit thousands of workers, and 429
    retried as well.
    """

    def __init__(self) -> None:
        """Wait about 3, 5, 9, 17, 33 s, each up to a second more or less, so that workers do not come back
        in step.
        """
        super().__init__(
            initial_backoff=1, increment_base=2, retry_total=5, random_jitter_range=1, retry_status=5
        )

    def increment(
        self, settings: dict[str, Any], request: Any, response: Any = None, error: AzureError | None = None
    ) -> bool:
        """Whether to try again: never without a token, since its provider has retried already."""
        return not isinstance(error, ClientAuthenticationError) and super().increment(
            settings, request, response, error
        )

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Send, and send again while the service answers 429, waiting as long as it says.

        A call's option ON_ANSWER is given the answer; the SDK's own hook for it is forgotten when a request
        is sent again.
        """
        on_answer = request.context.options.pop(ON_ANSWER, None)
        transport: Any = request.context.transport  # its own sleep, as every policy of the SDK uses
        body = request.http_request.body
        start = body.tell() if hasattr(body, "tell") else 0
        response = self._send_once(request)
        for attempt in range(_THROTTLED_RETRIES):
            if response.http_response.status_code != 429:
                break
            transport.sleep(_wait_s(response.http_response.headers, attempt))
            if hasattr(body, "seek"):
                body.seek(start)
            response = self._send_once(request)
        if on_answer:
            on_answer(response)
        return response

    def _send_once(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        response: PipelineResponse[Any, Any] = super().send(request)  # type: ignore[no-untyped-call] # the SDK's
        return response


def store_error(error: AzureError, what: str, role: str) -> StoreError:
    """The StoreError that `error` amounts to while doing `what`; `role` is the one that the identity would
    need.
    """
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None and isinstance(error, ClientAuthenticationError):
        return StoreError(
            f"This process has no identity for the storage account, so {what} was not sent ({_reason(error)}).",
            fix="Sign in with `az login`, or set FLEETSCORE_IDENTITY_CLIENT_ID to the client id of this machine's managed identity.",
            code="no_access",
            retry=False,
        )
    if status == 401:
        return StoreError(
            f"The storage account did not accept the token of this process for {what} ({_reason(error)}).",
            fix="Another try gets a new token. If it goes on, the token is of another tenant or this machine's clock is "
            f'wrong: sign in anew, and give the app\'s identity the role "{role}" on the account.',
            code="no_access",
            retry=True,
        )
    if status == 403 or isinstance(error, ClientAuthenticationError):
        return StoreError(
            f"The storage account refused {what} ({_reason(error)}).",
            fix=f"Give the app's identity the role \"{role}\" on the account, and check the account's network rules.",
            code="no_access",
            retry=False,
        )
    return StoreError(
        f"The storage account did not answer {what} ({_reason(error)}).",
        fix="Try again; if it goes on, check the account's name, its network rules and its metrics.",
        retry=True,
    )


def error_code(error: AzureError) -> str:
    """The service's own code, such as "BlobNotFound"; "" if it gave none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _reason(error: AzureError) -> str:
    status = error.status_code if isinstance(error, HttpResponseError) else None
    first_line = str(error.message or type(error).__name__).splitlines()[0]
    return " ".join(str(part) for part in (status, error_code(error), first_line) if part)


def _wait_s(headers: Any, attempt: int) -> float:
    header = headers.get("Retry-After", "")
    return min(float(header) if header.isdigit() else 2.0**attempt, _THROTTLED_WAIT_MOST_S)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad_url(url: str, kind: str, what: str) -> SettingsError:
    service = {"container": "blob", "queue": "queue"}[kind]
    return SettingsError(
        f"The {kind} URL {url!r} {what}",
        fix=f"Use https://<account>.{service}.core.windows.net/<{kind}> with an identity (no key, no SAS), "
        f"or http://127.0.0.1:<port>/devstoreaccount1/<{kind}> of an emulator on this machine.",
        field=kind,
    )


@functools.cache
def _identity(client_id: str) -> Any:
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential  # 0.3 s, not for emulators

    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
