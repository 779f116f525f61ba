"""Traces and metrics of workers: below the run's trace, with all ids, and never at a shard's cost."""

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.offload import worker_environment
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import read_shard_record
from fleetscore.records import RunRequest, to_json
from fleetscore.runs.plans import read_shard_plans
from fleetscore.runs.run_records import request_run
from fleetscore.store.base import Store
from fleetscore.telemetry import trace_of
from tests.offload.local_app import HERE, ROOT, TOYS, WORKLOADS, App, Cloud, lines, markers_of, write_rules
from tests.pipeline.app_host import running, wait_until
from tests.pipeline.ingestion import KEY, Ingestion, taking
from tests.pipeline.toy_workload import write_lines
from worker_image.attempt_telemetry import PATIENCE_S

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"


@pytest.fixture
def planned(store: Store) -> Store:
    """A store with a run whose one shard is on Batch; one of its five partitions fails."""
    write_lines(store, WINDOW, lines(5, p1="fail"))
    request_run(store, RunRequest(RUN, "toy", WINDOW, 1, NOW, "test"))
    head = commit_plan(store, RunRequest(RUN, "toy", WINDOW, 1, NOW, "test"), AppSettings(parallelism=1), NOW)
    shards = [replace(shard, placement="batch") for shard in read_shard_plans(store, head)]
    store.write(head.shard_list, to_json(shards))
    return store


def patient_worker(store: Store, **environment: str) -> "subprocess.Popen[str]":
    """A worker of the run's shard that sends what it has to send, however long that takes here."""
    return start(store, [str(HERE / "patient_worker.py")], environment)


def worker(store: Store, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """A worker of the run's shard, started as Batch starts it."""
    return start(store, [*options, "-m", "worker_image"], environment)


def start(store: Store, arguments: list[str], environment: dict[str, str]) -> "subprocess.Popen[str]":
    """Python with nothing in its environment but what Batch and the run tell a worker."""
    told = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, (ROOT, TOYS, HERE))),
        "FLEETSCORE_WORKLOADS": WORKLOADS, "FLEETSCORE_STORE": store.url,
        "FLEETSCORE_RUN": RUN, "FLEETSCORE_SHARD": "0", "FLEETSCORE_PURPOSE": "score",
    }  # fmt: skip
    command, pipe = [sys.executable, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd="/tmp", env=told | environment, stdout=pipe, stderr=pipe, text=True)  # noqa: S108


def said(process: "subprocess.Popen[str]") -> tuple[int, str, float]:
    """The worker's exit code, what it said, and how long it took until it was gone."""
    began = time.monotonic()
    out, err = process.communicate(timeout=110)
    return process.returncode, out + err, time.monotonic() - began


def test_a_run_on_batch_is_one_trace_from_the_app_to_its_workers(cloud: Cloud, tmp_path: Path) -> None:
    """Each committed attempt has a span with run, shard and attempt below the span that submitted it; outcomes are counted once each."""
    with taking() as ingestion:
        settings = cloud.environment() | {"FLEETSCORE_BATCH_PLACEMENT": "batch"} | ingestion.environment
        with running(App(tmp_path, settings)) as app:
            write_rules(app.store)
            write_lines(app.store, WINDOW, lines(20, p3="fail"))
            run = app.run(WINDOW)
            assert app.ended(run)["state"] == "published"
            wait_until(lambda: [s for s in ingestion.spans(run=run) if s["name"] == "submit_shards"])
            shards = app.get(f"runs/{run}")["shards"]
            wait_until(lambda: len(ingestion.spans(run=run, placement="batch")) >= shards)
        spans = ingestion.spans(run=run, placement="batch")
        (submitted,) = [s for s in ingestion.spans(run=run) if s["name"] == "submit_shards"]
        records = {str(shard): read_shard_record(app.store, run, shard) for shard in range(shards)}
        assert shards > 1
        assert {s["ids"]["shard"]: s["ids"]["attempt"] for s in spans if "attempt" in s["ids"]} == {
            shard: record.attempt for shard, record in records.items() if record
        }
        assert {s["parent"] for s in spans} == {submitted["id"]}
        assert {s["trace"] for s in ingestion.spans(run=run)} == {trace_of(run)}
        assert {s["role"] for s in spans} == {"fleetscore-worker"}
        counted: Counter[str] = Counter()
        for about, value in ingestion.metrics("fleetscore.partitions"):
            assert (about["purpose"], about["placement"]) == ("score", "batch")
            counted[about["outcome"]] += int(value)
        assert counted == {"scored": 19, "failed": 1}
        assert len(ingestion.metrics("fleetscore.shard.seconds")) == shards


def test_a_worker_sends_its_span_and_its_counts_and_nothing_else(planned: Store) -> None:
    """Two requests hold the span, the counts and what names the worker: nothing about the exporter itself."""
    with taking() as ingestion:
        process = patient_worker(planned, APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string)
        assert said(process)[0] == 10
    names = {
        metric["name"] for e in ingestion.envelopes for metric in e["data"]["baseData"].get("metrics", ())
    }
    assert names == {"_OTELRESOURCE_", "fleetscore.partitions", "fleetscore.shard.seconds"}
    assert [span["ids"]["shard"] for span in ingestion.spans()] == ["0"]


def test_a_try_that_ends_badly_is_a_failed_span_with_its_ids(planned: Store) -> None:
    """A setting that no try can cure, and a node that is taken: the spans say so, and the exit codes are what they were."""
    with taking() as ingestion:
        planned.write("settings/toy.toml", b"no_such_setting = 1\n")
        assert (
            said(patient_worker(planned, APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string))[
                0
            ]
            == 20
        )
        (span,) = ingestion.spans(run=RUN, shard="0")
        assert (span["good"], span["trace"]) == (False, trace_of(RUN))
        assert ingestion.metrics("fleetscore.partitions") == []


def test_a_worker_that_is_asked_to_stop_still_tells_of_it(planned: Store) -> None:
    """SIGTERM while it scores: 30, and a failed span with the attempt's name, which the log has as well."""
    write_rules(planned, slow_s=2.0)
    write_lines(planned, WINDOW, lines(5, **{f"p{i}": "slow" for i in range(5)}))
    with taking() as ingestion:
        asked = patient_worker(planned, APPLICATIONINSIGHTS_CONNECTION_STRING=ingestion.connection_string)
        wait_until(lambda: markers_of(planned, RUN))
        asked.terminate()
        code, words, _ = said(asked)
        assert code == 30
        (span,) = ingestion.spans(run=RUN, shard="0")
        assert not span["good"]
        assert f"attempt {span['ids']['attempt']} at shard 0 of {RUN} begins" in words


@pytest.mark.parametrize("address", ["silent", "refused", "nonsense", "no such name"])
def test_a_dead_endpoint_costs_a_shard_nothing_and_its_worker_seconds(planned: Store, address: str) -> None:
    """Whoever takes no telemetry, or never answers: the shard is committed, the exit code is its own, and the worker is gone soon."""
    with taking(answers=False) as silent:
        strings = {
            "silent": silent.connection_string,
            "refused": f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:9/",
            "nonsense": "nonsense",
            "no such name": f"InstrumentationKey={KEY};IngestionEndpoint=https://nowhere.invalid/",
        }
        process = worker(planned, APPLICATIONINSIGHTS_CONNECTION_STRING=strings[address])
        wait_until(lambda: read_shard_record(planned, RUN, 0))
        code, words, left_s = said(process)
    assert code == 10, words
    assert left_s < PATIENCE_S + 5.0, words  # with imports, on a busy machine


def test_a_worker_without_a_connection_string_imports_nothing_of_it(planned: Store) -> None:
    """Neither the exporter nor OpenTelemetry's SDK is loaded."""
    code, words, _ = said(worker(planned, "-X", "importtime"))
    assert code == 10
    assert "worker_image.attempt_telemetry" in words
    assert "opentelemetry.sdk" not in words
    assert "azure.monitor" not in words


def test_workers_are_told_what_the_app_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection string, way of authentication and sampling; nothing at all where telemetry is off."""
    mine = Ingestion("http://127.0.0.1:9/").connection_string
    settings = {
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "ClientId=app;Authorization=AAD",
        "OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    off = worker_environment(AppSettings(), RUN, "score")
    assert not [name for name in off if name.startswith(("APPLICATIONINSIGHTS", "OTEL", "TRACE"))]
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", mine)
    monkeypatch.setattr("fleetscore.telemetry._instruments", lambda: None)  # they are set up once a process
    on = worker_environment(AppSettings(worker_client_id="worker"), RUN, "score")
    assert {name: on[name] for name in settings} == settings
    assert on["APPLICATIONINSIGHTS_CONNECTION_STRING"] == mine
    assert on["FLEETSCORE_IDENTITY_CLIENT_ID"] == "worker"  # whose token the exporter shows
