"""A real web server that takes notices, and refuses as many first as a test asks for."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What arrived, in order; `refusals` requests are answered with `refusal` (503) first."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.content_types: list[str] = []
        self.refusals = 0
        self.refusal = 503
        self.asked = 0
        self.answer = b""  # the body of every answer
        self.wait_s = 0.0  # before every answer
        self.pause_s = 0.0  # before every byte of the body of a GET's answer
        self.answering = threading.Event()  # while it is clear no answer is given
        self.answering.set()

    def of_run(self, run: str) -> list[str]:
        """The kinds of the run's notices, in order."""
        return [notice["kind"] for notice in self.taken if notice["run"] == run]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.asked += 1
            time.sleep(receiver.wait_s)
            receiver.answering.wait(60)
            refused = receiver.refusals > 0
            receiver.refusals -= refused
            if not refused:
                receiver.bodies.append(body)
                receiver.taken.append(json.loads(body) if "json" in self.headers["content-type"] else {})
                receiver.content_types.append(self.headers["content-type"])
            self.send_response(receiver.refusal if refused else 200)
            if refused and 300 <= receiver.refusal < 400:
                self.send_header("location", receiver.url)
            self.end_headers()
            self.wfile.write(receiver.answer)

        def do_GET(self) -> None:
            receiver.asked += 1
            self.send_response(receiver.refusal)
            self.end_headers()
            if not receiver.pause_s:
                self.wfile.write(receiver.answer)
                return
            with contextlib.suppress(OSError):  # nobody reads on
                for byte in receiver.answer:
                    self.wfile.write(bytes([byte]))
                    time.sleep(receiver.pause_s)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?secret=x"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
