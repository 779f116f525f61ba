"""A proxy before Azurite's blobs that refuses some requests, as a storage account does that is asked too much."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

REFUSED = b'<?xml version="1.0"?><Error><Code>ServerBusy</Code><Message>Busy.</Message></Error>'


class Storm:
    """Refuses every `every`-th request with 503, up to `most` of them."""

    def __init__(self, every: int, most: int) -> None:
        self.every, self.most = every, most
        self.seen = self.refused = 0
        self._lock = threading.Lock()

    def hits(self) -> bool:
        """Whether this request is refused."""
        with self._lock:
            self.seen += 1
            hit = self.refused < self.most and self.seen % self.every == 0
            self.refused += hit
            return hit


@contextmanager
def stormy(target: str, storm: Storm) -> Iterator[str]:
    """The URL of a proxy for `target`, which lets through what the storm does not hit."""
    upstream = urlsplit(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

        def do(self) -> None:
            """Read the whole request, then refuse it or pass it on."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if storm.hits():
                self._answer(
                    503, {"Content-Type": "application/xml", "x-ms-error-code": "ServerBusy"}, REFUSED
                )
                return
            connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port or 80, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            self._answer(reply.status, dict(reply.getheaders()), reply.read())
            connection.close()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            dropped = {"transfer-encoding", "connection", "keep-alive"}
            length = headers.pop("Content-Length", headers.pop("content-length", str(len(body))))
            for name, value in headers.items():
                if name.lower() not in dropped:
                    self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler.do)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{upstream.path}"
    finally:
        server.shutdown()
        server.server_close()
