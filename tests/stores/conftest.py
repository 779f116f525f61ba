"""The two stores under test, and a wire between a Blob store and its emulator that loses, delays and refuses on demand."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import HttpRequest, RequestsTransport

from fleetscore.stores import Store, open_store
from fleetscore.stores.blob import BlobStore


class Wire(RequestsTransport):  # type: ignore[misc] # azure-core exports it lazily, so mypy sees Any
    """A real transport that a test can listen to (`sent`, `received_bytes`, `slept_s`) and put faults into (`faults`).

    A fault is called with the request and a function that really sends it; None means that this request is left alone.
    Each fault is used up by the first request that it does not leave alone. Sleeps are noted, not slept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[HttpRequest] = []
        self.received_bytes = 0
        self.slept_s: list[float] = []
        self.faults: list[Callable[[HttpRequest, Callable[[], Any]], Any]] = []

    def send(self, request: HttpRequest, **options: Any) -> Any:
        """Send, or do what the next fault does instead."""
        self.sent.append(request)

        def really() -> Any:
            return super(Wire, self).send(request, **options)

        response = self.faults[0](request, really) if self.faults else None
        if response is not None:
            self.faults.pop(0)
        else:
            response = really()
        if request.method == "GET":
            self.received_bytes += int(response.headers.get("Content-Length", 0))
        return response

    def sleep(self, duration: float) -> None:
        """Note the wait."""
        self.slept_s.append(duration)


@pytest.fixture
def wire() -> Wire:
    """A wire without faults."""
    return Wire()


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
