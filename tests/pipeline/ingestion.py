"""A web server that takes telemetry as Azure Monitor does, or takes it and never answers."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "00000000-0000-0000-0000-000000000000"


@dataclass
class Ingestion:
    """What arrived, and where it is to be sent."""

    url: str = ""
    envelopes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        """The address of this server, as Application Insights gives its own."""
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.url};LiveEndpoint={self.url}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead telemetry here."""
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self.connection_string,
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",  # no test asks addresses beyond this machine
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        }

    def spans(self, **ids: str) -> list[dict[str, Any]]:
        """The spans with these ids, each as name, ids, its own id, its parent's and its trace's."""
        told = [
            {
                "name": e["data"]["baseData"]["name"],
                "ids": {
                    k.removeprefix("fleetscore."): v for k, v in e["data"]["baseData"]["properties"].items()
                },
                "id": e["data"]["baseData"]["id"],
                "good": e["data"]["baseData"]["success"],
                "parent": e["tags"].get("ai.operation.parentId", ""),
                "trace": e["tags"]["ai.operation.id"],
                "role": e["tags"]["ai.cloud.role"],
            }
            for e in list(self.envelopes)
            if e["data"]["baseType"] == "RemoteDependencyData"
        ]
        return [span for span in told if ids.items() <= span["ids"].items()]

    def metrics(self, name: str) -> list[tuple[dict[str, str], float]]:
        """The values of a metric, each with its attributes."""
        return [
            (e["data"]["baseData"]["properties"], metric["value"])
            for e in list(self.envelopes)
            if e["data"]["baseType"] == "MetricData"
            for metric in e["data"]["baseData"]["metrics"]
            if metric["name"] == name
        ]


@contextmanager
def taking(answers: bool = True) -> Iterator[Ingestion]:
    """A server on loopback; one that never `answers` holds each request until the end."""
    ingestion, over = Ingestion(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            text = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            sent = (
                json.loads(text)
                if text.startswith(b"[")
                else [json.loads(line) for line in text.splitlines()]
            )
            ingestion.envelopes += sent
            if not answers:
                over.wait()
                return
            answer = json.dumps({"itemsReceived": len(sent), "itemsAccepted": len(sent), "errors": []})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ingestion.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield ingestion
    finally:
        over.set()
        server.shutdown()
        server.server_close()
