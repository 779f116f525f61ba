"""Log lines and traces lead to run, shard and attempt; they cost little, and nothing where they are off."""

import gzip
import json
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.direct import execute, run_window
from fleetscore.records import Only
from fleetscore.requests import ask_retry, ask_run
from fleetscore.steps.plan import commit_plan
from fleetscore.steps.score import read_shard_record
from fleetscore.stores.base import Store

ROOT = Path(__file__).resolve().parents[2]
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
SMALL = AppSettings(inline_shard_s=3.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The partitions' lines, read."""
    return [
        json.loads(entry.getMessage()) for entry in caplog.records if entry.name == "fleetscore.partitions"
    ]


@pytest.mark.parametrize(("which", "expected"), [("all", 20), ("bad", 2), ("none", 0)])
def test_each_partition_has_its_line(
    store: Store, caplog: pytest.LogCaptureFixture, which: str, expected: int
) -> None:
    """All, those without a good outcome, or none; late ones that were never scored included; with the ids of the attempt that won."""
    store.write("settings/toy.toml", f'[run]\nlog_partitions = "{which}"\n'.encode())
    write_lines(store, WINDOW, [(f"p{i}", i, {3: "fail", 4: "late"}.get(i, "ok")) for i in range(20)])
    with caplog.at_level(logging.INFO, "fleetscore.partitions"):
        run_window(store, "toy", WINDOW, SMALL)
    told = lines(caplog)
    assert len(told) == expected
    for line in told:
        assert (line["run"], line["workload"], line["window"]) == (RUN, "toy", WINDOW)
        record = read_shard_record(store, RUN, int(str(line["shard"]))) if line["shard"] != -1 else None
        assert line["attempt"] == (record.attempt if record else "")
    if told:
        assert {line["partition"]: line["cause"] for line in told if line["outcome"] != "scored"} == {
            "p3": "bad_value", "p4": "no_rows",
        }  # fmt: skip


def test_a_retry_tells_only_what_it_settled(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Partitions that were kept have had their line."""
    write_lines(store, WINDOW, [(f"p{i}", i, "fail" if i == 3 else "ok") for i in range(20)])
    run_window(store, "toy", WINDOW, SMALL)
    asked = ask_retry(store, RUN, datetime.now(UTC), "direct", only=Only.FAILED)
    caplog.clear()
    with caplog.at_level(logging.INFO, "fleetscore.partitions"):
        execute(store, asked.request, SMALL)
    assert [line["partition"] for line in lines(caplog)] == ["p3"]


CODE = """
import os, sys
os.environ["FLEETSCORE_STORE"] = sys.argv[1]
from activities.score_shard import score_shard
print(score_shard({"run": sys.argv[2], "shard": 0, "purpose": "score"})["ok"])
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "azure.monitor"))] == [])
from opentelemetry import metrics, trace
for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
    if hasattr(provider, "force_flush"):
        provider.force_flush()
"""


@pytest.fixture
def run_shard(store: Store) -> tuple[str, str]:
    """A store with a planned run of one shard, and the run."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 2, "fail")])
    asked = ask_run(store, "toy", WINDOW, datetime.now(UTC), "x")
    commit_plan(store, asked.request, AppSettings(), datetime.now(UTC))
    return store.url, asked.request.run


def test_without_a_connection_string_nothing_of_it_is_imported(
    run_shard: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The activity does its work, and neither SDK nor exporter of OpenTelemetry is loaded."""
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *run_shard], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"]


def test_with_a_connection_string_traces_and_metrics_arrive(
    run_shard: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real web server takes what the exporter sends: the activity's span with run and shard, and the partitions by outcome."""
    taken: list[str] = []

    class Ingestion(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            text = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            taken.append(text.decode())
            count = len(json.loads(text)) if text.startswith(b"[") else text.count(b"\n") + 1
            answer = json.dumps({"itemsReceived": count, "itemsAccepted": count, "errors": []}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ingestion)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}/"
    key = "00000000-0000-0000-0000-000000000000"
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        f"InstrumentationKey={key};IngestionEndpoint={endpoint};LiveEndpoint={endpoint}",
    )
    monkeypatch.setenv("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *run_shard],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        deadline = time.monotonic() + 10
        while "fleetscore.partitions" not in "".join(taken) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        server.shutdown()
        server.server_close()
    told = "".join(taken)
    assert done.stdout.split() == ["True", "False"]
    assert ("score_shard" in told, RUN in told, "fleetscore.partitions" in told) == (True, True, True)
