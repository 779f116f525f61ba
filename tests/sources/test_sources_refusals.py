"""A container that refuses to be listed says why."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from fleetscore.errors import StoreError
from fleetscore.sources import DataSettings, list_inputs
from fleetscore.store import Store


class Refusal(http.server.BaseHTTPRequestHandler):
    """Answers each request as an account without a hierarchical namespace does that has soft delete."""

    def do_GET(self) -> None:
        """409, whatever is asked for."""
        self.send_response(409)
        self.send_header("x-ms-error-code", "EndpointUnsupportedAccountFeatures")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL of a container whose account answers 409."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/devstoreaccount1/raw"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_account_with_soft_delete_says_why_it_refuses(store: Store, refusing: str) -> None:
    """409 is no empty folder and no lost connection: the error names the container, the reason and what to do."""
    with pytest.raises(StoreError, match="soft delete") as caught:
        list_inputs(store, DataSettings(path=f"{refusing}/vans/*.csv"), None)
    assert refusing in str(caught.value)
    assert not caught.value.retry
