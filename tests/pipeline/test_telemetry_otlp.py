"""OTLP: traces and metrics reach the collector that the environment names, and one that is away costs nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscore.operations.doctor.telemetry import find_trouble_of_telemetry
from fleetscore.telemetry import trace_of, worker_settings
from fleetscore.telemetry_setup import problem_of_otlp
from tests.pipeline.ingestion import taking
from tests.pipeline.otlp_collector import collecting

ROOT = Path(__file__).resolve().parents[2]
SECRET = "geheim-token-123"
PROGRAM = """
import logging, time
logging.basicConfig(level=logging.DEBUG)
from fleetscore.telemetry import count_shard, count_window, report_late, report_queues, send_all, span
began = time.monotonic()
with span("score_shard", {"run": "toy-w", "shard": 3}):
    count_shard({"scored": 19, "failed": 1}, 2.5, {"purpose": "score", "placement": "batch", "workload": "toy"}, 0.002)
count_window("toy", "score", "published")
report_late({"toy": 2, "other": 0})
report_queues(lambda: {"completions": 7.5})
print("took", time.monotonic() - began)
%s
"""


def run_program(ending: str = "send_all()", **environment: str) -> "subprocess.CompletedProcess[str]":
    """A process that traces and counts what a run does, and ends as it is told to."""
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, "-c", PROGRAM % ending], env=told, capture_output=True, text=True, check=True, timeout=100
    )  # fmt: skip


def seconds_of(done: "subprocess.CompletedProcess[str]") -> float:
    """How long the work took, without the process's start and end."""
    return float(done.stdout.split("took ")[1].split()[0])


def test_traces_and_metrics_arrive_with_their_names_and_units() -> None:
    """One span in the run's trace, each counter, histogram and gauge once, all of one instance of the service."""
    with collecting() as collector:
        run_program(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_HEADERS=f"api-key={SECRET}")
    (span,) = collector.spans
    assert (span["name"], span["trace"], span["good"]) == ("score_shard", trace_of("toy-w"), True)
    assert span["ids"] == {"fleetscore.run": "toy-w", "fleetscore.shard": "3"}
    assert span["resource"]["service.name"] == "fleetscore"
    about = {"job": "fleetscore", "instance": span["resource"]["service.instance.id"], "workload": "toy"}
    shard = about | {"purpose": "score", "placement": "batch"}
    assert sorted(collector.values("fleetscore_partitions_total"), key=lambda pair: pair[1]) == [
        (shard | {"outcome": "failed"}, 1),
        (shard | {"outcome": "scored"}, 19),
    ]
    assert collector.values("fleetscore_shard_seconds_sum") == [(shard, 2.5)]
    assert collector.values("fleetscore_shard_cost_sum") == [(shard, 0.002)]
    assert collector.values("fleetscore_windows_total") == [
        (about | {"purpose": "score", "state": "published"}, 1)
    ]
    assert [value for _, value in collector.values("fleetscore_windows_late", workload="toy")] == [2]
    assert [value for _, value in collector.values("fleetscore_queue_age_seconds")] == [7.5]
    assert collector.units["fleetscore.shard.seconds"] == collector.units["fleetscore.queue.age"] == "s"
    assert all(headers["api-key"] == SECRET for headers in collector.headers)


@pytest.mark.slow
def test_both_receivers_get_everything_where_both_are_named() -> None:
    """Azure Monitor and the collector get the same span, and the same counts."""
    with collecting() as collector, taking() as ingestion:
        run_program(**ingestion.environment, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert [span["id"] for span in collector.spans] == [span["id"] for span in ingestion.spans()]
    counted = sorted(value for _, value in ingestion.metrics("fleetscore.partitions"))
    assert counted == sorted(value for _, value in collector.values("fleetscore_partitions_total")) == [1, 19]


@pytest.mark.parametrize(
    ("address", "imported"), [("http://127.0.0.1:9", True), ("", False), ("ftp://x", False)]
)
def test_exporters_are_imported_ahead_without_a_thread(address: str, imported: bool) -> None:
    """What workers are forked from has them where a collector is named, and not one thread, which a fork would lose."""
    code = (
        "import os, sys; from fleetscore.telemetry_setup import import_exporters; import_exporters();"
        "print('opentelemetry.sdk.metrics.export' in sys.modules, len(os.listdir('/proc/self/task')))"
    )
    told = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_ENDPOINT": address}
    done = subprocess.run(
        [sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.split() == [str(imported), "1"]


@pytest.mark.slow
def test_a_signal_can_be_sent_alone() -> None:
    """With the endpoint of traces alone no metric is sent, and the other way round."""
    with collecting() as collector:
        run_program(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces")
        assert (len(collector.spans), collector.samples) == (1, {})
        run_program(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_EXPORTER="none")
        assert len(collector.spans) == 1
        assert collector.values("fleetscore_windows_total")


@pytest.mark.parametrize(
    "fault",
    [
        "away",
        *(pytest.param(f, marks=pytest.mark.slow) for f in ("silent", "400", "500", "503", "no such name")),
    ],
)
def test_a_collector_that_takes_nothing_costs_the_run_nothing(fault: str) -> None:
    """Tracing and counting take no time and raise nothing, one line says it, and no line holds address or headers."""
    with collecting(answers=fault != "silent") as collector:
        collector.status = int(fault) if fault.isdigit() else 200
        collector.answer = SECRET.encode()
        place = collector.url.removeprefix("http://")
        urls = {"away": "127.0.0.1:9", "no such name": "nowhere.invalid"}
        url = f"http://user:{SECRET}@{urls.get(fault, place)}/{SECRET}"
        done = run_program(
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_EXPORTER_OTLP_HEADERS=f"api-key={SECRET}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
        )
    assert seconds_of(done) < 10.0  # with the imports, on a busy machine
    assert done.stderr.count("takes no traces") == done.stderr.count("takes no metrics") == 1, done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://[{SECRET}"}, "is no http(s) address"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"collector-{SECRET}:4318"}, "is no http(s) address"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc; only http/protobuf is sent",
        ),
    ],
    ids=["brackets", "no scheme", "grpc"],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, str], words: str) -> None:
    """The run goes on without telemetry; log and doctor say why, and repeat no address."""
    done = run_program("", **settings)
    assert f"No traces by OTLP: {words}" in done.stderr or words in done.stderr
    assert SECRET not in done.stderr


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exporter nothing is sent, and doctor says how to install it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    assert "pip install 'fleetscore[telemetry]'" in problem_of_otlp()
    (finding,) = find_trouble_of_telemetry()
    assert (finding.check, finding.state) == ("telemetry", "warning")


def test_the_doctor_asks_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that takes both signals is ok; what another answers is shown without address and headers; none is no finding."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert list(find_trouble_of_telemetry()) == []
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{SECRET}")
        assert [finding.state for finding in find_trouble_of_telemetry()] == ["ok", "ok"]
        assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {SECRET}"}
        collector.status, collector.answer = 401, f"who is {SECRET}?".encode()
        (traces, metrics) = find_trouble_of_telemetry()
        assert (traces.state, metrics.state) == ("warning", "warning")
        assert "answered 401: who is ***?" in traces.detail
    (traces, _) = find_trouble_of_telemetry()
    assert "does not answer: ConnectionError" in traces.detail
    assert collector.url not in traces.fix


def test_workers_are_told_where_the_collector_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, headers and timeout go to a worker's environment; a file of this machine does not."""
    for name, value in {"ENDPOINT": "http://c:4318", "HEADERS": "a=b", "CERTIFICATE": "/etc/ca.pem"}.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    monkeypatch.setattr("fleetscore.telemetry._instruments", lambda: None)  # they are set up once a process
    assert worker_settings() == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
    }
