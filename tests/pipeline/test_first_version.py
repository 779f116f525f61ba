"""A store that the first version wrote stays readable, and goes on where it was."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.operations.attention.overview import read_overview, read_workload_page
from fleetscore.operations.explain import explain
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only, RunState
from fleetscore.runs.index import list_page
from fleetscore.runs.manifests import read_latest, read_manifest, read_results
from fleetscore.runs.status import describe_run
from fleetscore.store import open_store
from fleetscore.store.base import Store

ARCHIVE = Path(__file__).with_name("stores") / "first_version.zip"
NOW = datetime(2026, 11, 28, 21, tzinfo=UTC)
RETRIED = "sensor_anomaly-2026-03-04T07-r2"


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """The store: a training, three windows of 80 sensors, one of them retried."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return open_store(str(tmp_path))


def test_runs_results_and_stories_are_read(old: Store) -> None:
    """The list of runs, the status of a retry, its published rows, and a partition's story are as they were written."""
    page = list_page(old, "", 100, "")
    assert {line.run for line in page.runs} >= {RETRIED, "sensor_anomaly-2026-03-04T08"}
    status = describe_run(old, RETRIED, NOW)
    assert (status.state, status.verdict, status.record.counts) == (
        RunState.PUBLISHED,
        "good",
        {"scored": 80},
    )
    manifest = read_manifest(old, "sensor_anomaly", "2026-03-04T07")
    assert manifest.run == RETRIED
    assert read_results(old, manifest).num_rows == manifest.rows == status.record.rows
    latest = read_latest(old, "sensor_anomaly")
    assert latest is not None
    assert latest.window == "2026-03-04T08"
    partition = read_results(old, manifest).slice(0, 1).to_pylist()[0]
    story = explain(old, RETRIED, f"{partition['device']}/{partition['sensor']}")
    assert (story.outcome, story.state) == ("scored", RunState.PUBLISHED)
    pages = (read_overview(old, NOW), read_workload_page(old, "sensor_anomaly", "", NOW))
    assert pages[0].workloads
    assert pages[1].history.runs


def test_it_goes_on_with_a_retry_and_the_next_window(old: Store) -> None:
    """A retry of an old run and a run of the next window are published with the old models."""
    again = submit_retry(old, RETRIED, NOW, "test", only=Only.ALL)
    assert again.request.run == "sensor_anomaly-2026-03-04T07-r3"
    assert execute(old, again.request).counts == {"scored": 80}
    assert run_window(old, "sensor_anomaly", "2026-03-04T09").state is RunState.PUBLISHED
