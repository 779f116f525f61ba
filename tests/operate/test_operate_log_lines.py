"""Log lines and traces lead to run, shard and attempt; they cost little, and nothing where they are off."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from app_host import wait_until
from ingestion import taking
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import read_shard_record
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import Only
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.telemetry import trace_of

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
    asked = submit_retry(store, RUN, datetime.now(UTC), "direct", only=Only.FAILED)
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
    asked = submit_run(store, "toy", WINDOW, datetime.now(UTC), "x")
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
    """A real web server takes what is sent: the activity's span with all ids in its run's trace, and the partitions by outcome."""
    with taking() as ingestion:
        for name, value in ingestion.environment.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-c", CODE, *run_shard]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        wait_until(lambda: ingestion.metrics("fleetscore.partitions"), 10)
    url, run = run_shard
    record = read_shard_record(open_store(url), run, 0)
    assert done.stdout.split() == ["True", "False"]
    assert record is not None
    (span,) = ingestion.spans(run=run, shard="0", attempt=record.attempt, placement="inline")
    assert (span["name"], span["trace"]) == ("score_shard", trace_of(run))
    counted = {about["outcome"]: value for about, value in ingestion.metrics("fleetscore.partitions")}
    assert counted == record.counts
