"""Runs whose shards are scored on Batch, through the real app, the unmodified clients and worker processes."""

from pathlib import Path

import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import run_window
from fleetscore.store import open_store
from tests.offload.local_app import App, Cloud, doubled, lines, rows_of, usage_of, write_rules
from tests.pipeline.app_host import running, wait_until
from tests.pipeline.toy_workload import write_lines

WINDOW = "2026-01-01T00"


def test_a_run_on_batch_is_published_with_logs_and_bill(app: App) -> None:
    """Six shards as tasks: every row is there, logs are linked and kept, the record has seconds, cost and the estimate's error."""
    write_rules(app.store)
    write_lines(app.store, WINDOW, lines(60))
    status = app.ended(app.run(WINDOW))
    record = status["record"]
    assert record["counts"] == {"scored": 60}
    assert record["shards"] == 6
    assert rows_of(app.store, WINDOW) == doubled(60)
    assert {shard["placement"] for shard in record["slowest"]} == {"batch"}
    for shard in record["slowest"]:
        assert "partitions 10 / 10" in log_of(app, shard["log"])
    facts = record["facts"]
    assert facts["nodes"] in (1, 2)
    assert facts["node_s"] > 0 and facts["batch_s"] > 0
    assert facts["cost_usd"] > 0
    assert facts["estimate_off"] == pytest.approx(record["measured_s"] / record["predicted_s"])


def log_of(app: App, path: str) -> str:
    """What a task said, once it is kept."""
    wait_until(lambda: app.store.stat(path))
    return app.store.read(path).decode()


def test_a_run_with_failed_partitions_retries_in_vain_once_and_says_what_failed(app: App) -> None:
    """Exit code 10 makes Batch try again; the second try finds the commit and scores nothing."""
    window = "2026-01-01T01"
    write_rules(app.store)
    write_lines(app.store, window, lines(20, p3="fail", p7="raise"))
    run = app.run(window)
    record = app.ended(run)["record"]
    assert record["counts"] == {"scored": 18, "failed": 2}
    assert rows_of(app.store, window) == doubled(20, ["p3", "p7"])
    paths = [entry.path for entry in app.store.list(f"runs/{run}/shards/")]
    attempts = {path.split("/attempts/")[1].split("/")[0] for path in paths if "/attempts/" in path}
    assert len(attempts) == 2


@pytest.mark.slow
def test_training_goes_to_batch_as_well(app: App) -> None:
    """A training run forced to Batch stores its model set."""
    write_rules(app.store)
    write_lines(app.store, "2026-01-02T00", lines(12))
    asked = {"workload": "toy", "from": "2026-01-02T00", "to": "2026-01-02T01"}
    status = app.ended(app.post("training", asked).json()["id"])
    assert status["state"] == "published"
    assert app.store.stat(f"models/toy/{status['record']['model_set']}/set.json") is not None


@pytest.mark.slow
def test_inline_batch_and_mixed_publish_identical_rows(app: App, cloud: Cloud, tmp_path: Path) -> None:
    """The same window all inline, all on Batch and half and half: the same rows; mixed has shards of both placements."""
    window, data = "2026-01-01T02", [("big", 7, "size:900"), *lines(40)]
    inline = open_store(str(tmp_path / "store"))
    write_lines(inline, window, data)
    inline.write("data/heavy/" + window + ".csv", b"")
    run_window(inline, "toy", window, AppSettings())
    write_rules(app.store)
    write_lines(app.store, window, data)
    on_batch = app.ended(app.run(window))
    mixed_settings = cloud.environment() | {"FLEETSCORE_INLINE_SHARD_S": "60", "FLEETSCORE_PARALLELISM": "2"}
    with running(App(tmp_path / "mixed", mixed_settings)) as mixed:
        write_rules(mixed.store)
        write_lines(mixed.store, window, data)
        run = mixed.run(window, "heavy")
        status = mixed.ended(run)
        assert status["record"]["counts"] == {"scored": 41}
        assert {shard["placement"] for shard in status["record"]["slowest"]} == {"inline", "batch"}
        assert usage_of(mixed.store, run).tasks == 1
        rows = rows_of(mixed.store, window, "heavy")
    assert on_batch["record"]["counts"] == {"scored": 41}
    assert rows == rows_of(app.store, window) == rows_of(inline, window)
