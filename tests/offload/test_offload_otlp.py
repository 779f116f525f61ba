"""The Grafana dashboard that the docs ship, on a real Prometheus: what a run on Batch sends by OTLP is what its queries show."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from fleetscore.telemetry import trace_of
from tests.offload.local_app import ROOT, App, Cloud, lines, write_rules
from tests.offload.prometheus_server import Prometheus, scraping
from tests.pipeline.app_host import running, wait_until
from tests.pipeline.otlp_collector import collecting
from tests.pipeline.toy_workload import write_lines

DASHBOARD = ROOT / "docs" / "grafana" / "fleetscore.json"
WINDOWS = ("2026-01-01T00", "2026-01-01T01")
STANDS_FOR = {"$__range": "1h", "$__interval": "1h", "$workload": ".*"}


def queries() -> dict[str, list[str]]:
    """The queries of each panel by its title, with values for the variables."""
    found: dict[str, list[str]] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in STANDS_FOR.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, "a variable of the dashboard without a value here"
            found.setdefault(panel["title"], []).append(expression)
    return found


def shown(prometheus: Prometheus, title: str, label: str, number: int = 0) -> dict[str, float]:
    """What a query of the panel shows, by a label."""
    found: dict[str, float] = defaultdict(float)
    for labels, value in prometheus.query(queries()[title][number]):
        found[labels[label]] += value
    return dict(found)


def comes_to(prometheus: Prometheus, title: str, label: str, expected: dict[str, float]) -> None:
    """Wait until the panel shows it: exports and scrapes take a second or two."""
    try:
        wait_until(lambda: shown(prometheus, title, label) == expected, 60)
    except AssertionError:
        assert shown(prometheus, title, label) == expected, title


@pytest.mark.slow
def test_the_dashboard_shows_what_runs_on_batch_did(cloud: Cloud, tmp_path: Path) -> None:
    """Windows, outcomes, seconds, cost, late windows and queues of two runs, in each panel; app and workers share the run's trace."""
    with collecting() as collector, scraping(collector.url.removeprefix("http://")) as prometheus:
        settings = cloud.environment() | {
            "FLEETSCORE_BATCH_PLACEMENT": "batch",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        with running(App(tmp_path, settings)) as app:
            write_rules(app.store)
            write_lines(app.store, WINDOWS[0], lines(20, p3="fail"))
            write_lines(app.store, WINDOWS[1], lines(2, p0="fail", p1="fail"))
            runs = [app.run(window) for window in WINDOWS]
            assert [app.ended(run)["state"] for run in runs] == ["published", "unpublished"]
            app.fire("rescue_timer")
            app.fire("watchdog_timer")
            comes_to(prometheus, "Windows by state", "state", {"published": 1, "unpublished": 1})
            comes_to(prometheus, "Partitions by outcome", "outcome", {"scored": 19, "failed": 3})
            comes_to(prometheus, "Partitions without a result", "outcome", {"failed": 3})
            wait_until(lambda: shown(prometheus, "Late windows", "workload").get("toy", 0) > 0)
            wait_until(lambda: shown(prometheus, "Age of queues", "queue"))
            records = [app.get(f"runs/{run}") for run in runs]
        seconds = [shown(prometheus, "Seconds per shard", "placement", number)["batch"] for number in (0, 1)]
        assert 0 < seconds[1] < 600
        assert 0 < seconds[0] <= 600
        shards = sum(record["shards"] for record in records)
        total, mean = (
            shown(prometheus, title, "placement")["batch"] for title in ("Cost of shards", "Cost per shard")
        )
        assert total > 0
        assert mean == pytest.approx(total / shards)
        assert settings["FLEETSCORE_COMPLETION_QUEUE"] in shown(prometheus, "Age of queues", "queue")
        workers = [
            span for span in collector.spans if span["resource"]["service.name"] == "fleetscore-worker"
        ]
        assert {span["trace"] for span in workers} == {trace_of(run) for run in runs}
        assert all(prometheus.query(each) for panel in queries().values() for each in panel)
