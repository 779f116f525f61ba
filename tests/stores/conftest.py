"""The two stores under test, and a wire between a Blob store and its emulator that loses, delays and refuses on demand."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import IncompleteReadError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport, RequestsTransport

from fleetscore.store import Store, open_store
from fleetscore.store.blob import BlobStore


class Answer:
    """An answer without a body, as azure-core's transports give it."""

    encoding = None
    content_type = "application/xml"

    def __init__(self, request: Any, status: int, code: str, headers: dict[str, str]) -> None:
        self.request, self.status_code, self.reason = request, status, code
        self.headers = {"x-ms-error-code": code, **headers}

    def body(self) -> bytes:
        return b""

    def read(self) -> bytes:
        return b""

    def text(self, encoding: str | None = None) -> str:
        return ""


class CutBody:
    """The stream of an answer's body, broken before its end."""

    def __init__(self, whole: Any) -> None:
        self.content_length, self.response = whole.content_length, whole.response

    def __iter__(self) -> Iterator[bytes]:
        yield b"con"
        raise IncompleteReadError("connection broken")


@dataclass
class Fault:
    """What happens, once, to the next request of `method` and `comp` (any, if empty) in place of being sent."""

    act: Callable[[Any, Callable[[], Any]], Any]
    method: str = ""
    comp: str = ""

    def meets(self, request: Any) -> bool:
        comp = parse_qs(urlsplit(request.url).query).get("comp", [""])[0]
        return self.method in ("", request.method) and self.comp in ("", comp)


class Wire(RequestsTransport):  # type: ignore[misc] # azure-core exports it lazily, so mypy sees Any
    """A real transport that notes what goes over it, and meets requests with faults, in order. Waits are noted, not waited."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.received_bytes = 0
        self.waits_s: list[float] = []
        self.faults: list[Fault] = []

    def answer(self, status: int, code: str, where: str = "", headers: dict[str, str] | None = None) -> None:
        """Answer the next request (`where` is "METHOD" or "METHOD comp") in place of the service."""
        self._add(where, lambda request, send: Answer(request, status, code, headers or {}))

    def fail(self, error: Exception, where: str = "") -> None:
        """Lose the next request on its way."""

        def act(request: Any, send: Callable[[], Any]) -> Any:
            raise error

        self._add(where, act)

    def lose_answer(self, where: str) -> None:
        """Let the service do what the next request asks, and lose its answer."""

        def act(request: Any, send: Callable[[], Any]) -> Any:
            send()
            raise ServiceResponseError("connection reset by peer")

        self._add(where, act)

    def cut_body(self, where: str) -> None:
        """Send the next request, and break the connection while its answer's body is read."""

        def act(request: Any, send: Callable[[], Any]) -> Any:
            response = send()
            whole = response.stream_download
            response.stream_download = lambda *args, **options: CutBody(whole(*args, **options))
            return response

        self._add(where, act)

    def interpose(self, where: str, deed: Callable[[], Any]) -> None:
        """Do something else just before the next request is sent."""

        def act(request: Any, send: Callable[[], Any]) -> Any:
            deed()
            return send()

        self._add(where, act)

    def send(self, request: Any, **options: Any) -> Any:
        """Send, or meet the first fault."""
        self.requests.append(request)

        def really() -> Any:
            return super(Wire, self).send(request, **options)

        is_met = bool(self.faults) and self.faults[0].meets(request)
        response = self.faults.pop(0).act(request, really) if is_met else really()
        if request.method == "GET":
            self.received_bytes += int(response.headers.get("Content-Length", 0))
        return response

    def _add(self, where: str, act: Callable[[Any, Callable[[], Any]], Any]) -> None:
        method, _, comp = where.partition(" ")
        self.faults.append(Fault(act, method, comp))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A wire without faults, on which no retry really waits."""
    wire = Wire()
    monkeypatch.setattr(HttpTransport, "sleep", lambda self, duration: wire.waits_s.append(duration))
    return wire


@pytest.fixture
def blob_url(azurite: str) -> str:
    """The URL of a container that nobody has used."""
    endpoint = re.search(r"BlobEndpoint=([^;]+)", azurite)
    assert endpoint
    return f"{endpoint[1]}/test-{uuid.uuid4().hex}"


@pytest.fixture
def wired_store(blob_url: str, wire: Wire) -> BlobStore:
    """A Blob store that speaks through `wire`."""
    return BlobStore.from_url(blob_url, transport=wire)


@pytest.fixture(params=["local", "blob"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "blob":
        return str(request.getfixturevalue("blob_url"))
    return (tmp_path / "store").as_uri()


@pytest.fixture
def store(store_url: str) -> Store:
    """An empty store of each kind."""
    return open_store(store_url)
