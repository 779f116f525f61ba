"""Runs whose shards are scored on Batch, through the real app, the unmodified clients and worker processes."""

from pathlib import Path

from toy_workload import write_lines

from tests.offload.local_app import Cloud, doubled, lines, rows_of, running

WINDOW = "2026-01-01T00"


def test_a_run_on_batch_is_published(cloud: Cloud, tmp_path: Path) -> None:
    """Everything forced to Batch: all rows are published, and every shard says where it was scored."""
    settings = cloud.environment() | {
        "FLEETSCORE_BATCH_PLACEMENT": "batch",
        "FLEETSCORE_INLINE_SHARD_S": "10",
    }
    with running(tmp_path, settings) as app:
        write_lines(app.store, WINDOW, lines(60))
        status = app.ended(app.run(WINDOW))
    assert status["record"]["counts"] == {"scored": 60}
    assert {shard["placement"] for shard in status["record"]["slowest"]} == {"batch"}
    assert rows_of(app.store, WINDOW) == doubled(60)
