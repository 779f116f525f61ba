"""A small OTLP collector: takes traces and metrics as protobuf over HTTP, and exposes the metrics for Prometheus to scrape."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

UNITS = {"s": "seconds", "By": "bytes"}


@dataclass
class Collector:
    """What arrived, and where it is to be sent; `status` and `answer` refuse."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    answer: bytes = b""
    posts: int = 0

    def values(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The values of a series by its name for Prometheus, each with its labels."""
        return [
            (dict(pairs), value)
            for (series, pairs), value in dict(self.samples).items()
            if series == name and labels.items() <= dict(pairs).items()
        ]

    def take_traces(self, body: bytes) -> None:
        """Keep the spans of an export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        {
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "good": span.status.code != 2,
                            "ids": _attributes(span.attributes),
                            "resource": about,
                        }
                    )

    def take_metrics(self, body: bytes) -> None:
        """Keep the newest value of each series of an export."""
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            about = _attributes(resource.resource.attributes)
            base = {"job": about["service.name"], "instance": about["service.instance.id"]}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.units[metric.name] = metric.unit
                    self._take(metric, base)

    def _take(self, metric: Any, base: dict[str, str]) -> None:
        name = prometheus_name(metric.name, metric.unit)
        if metric.HasField("histogram"):
            for point in metric.histogram.data_points:
                labels, seen = base | _attributes(point.attributes), 0
                for bound, count in zip([*point.explicit_bounds, None], point.bucket_counts, strict=True):
                    seen += count
                    le = "+Inf" if bound is None else repr(bound)
                    self._keep(f"{name}_bucket", labels | {"le": le}, seen)
                self._keep(f"{name}_sum", labels, point.sum)
                self._keep(f"{name}_count", labels, point.count)
        else:
            points = metric.sum if metric.HasField("sum") else metric.gauge
            for point in points.data_points:
                value = point.as_int if point.HasField("as_int") else point.as_double
                suffix = "_total" if metric.HasField("sum") else ""
                self._keep(f"{name}{suffix}", base | _attributes(point.attributes), value)

    def _keep(self, name: str, labels: dict[str, str], value: float) -> None:
        self.samples[name, tuple(sorted(labels.items()))] = value

    def exposition(self) -> str:
        """The samples in the text format of Prometheus."""
        lines = [
            f"{name}{{{','.join(f'{key}={_quoted(text)}' for key, text in pairs)}}} {value!r}\n"
            for (name, pairs), value in sorted(dict(self.samples).items())
        ]
        return "".join(lines)


def prometheus_name(name: str, unit: str) -> str:
    """The name of a metric by OpenTelemetry's rules for Prometheus, without the suffix of its kind."""
    plain, suffix = name.replace(".", "_"), UNITS.get(unit, "")
    return plain if not suffix or plain.endswith(suffix) else f"{plain}_{suffix}"


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@contextmanager
def collecting(answers: bool = True) -> Iterator[Collector]:
    """A collector on loopback; one that never `answers` holds each request until the end."""
    collector, over = Collector(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.posts += 1
            collector.headers.append(dict(self.headers))
            if not answers:
                over.wait()
                return
            if collector.status == 200:
                data = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                take = {"/v1/traces": collector.take_traces, "/v1/metrics": collector.take_metrics}
                take[self.path](data)
            self._reply(collector.status, collector.answer)

        def do_GET(self) -> None:
            self._reply(200, collector.exposition().encode(), "text/plain; version=0.0.4")

        def _reply(self, status: int, body: bytes, kind: str = "application/x-protobuf") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        over.set()
        server.shutdown()
        server.server_close()
