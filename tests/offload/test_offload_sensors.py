"""A real workload inline, on Batch and on both: the same published rows."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.pipeline.offload import check_shards, submit_shards
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_run
from fleetscore.runs.plans import read_shard_plans
from fleetscore.runs.run_records import read_run, record_planned
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly
from tests.offload.local_app import Cloud, rows_of
from tests.pipeline.app_host import wait_until


@pytest.mark.slow
def test_sensor_windows_are_the_same_wherever_they_are_scored(
    cloud: Cloud, new_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples with planted defects, one window: all inline, all on Batch, and half of the shards on each."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", cloud.service.ca_path)
    base = new_store("inline")
    report = SensorAnomaly().samples(base, scale=0.05)
    run_training(base, "sensor_anomaly", report.facts["train_from"], report.facts["train_to"])
    base.write("settings/sensor_anomaly.toml", b"[run]\nbatch_shard_s = 0.0004\n")
    window = report.first.key
    copies = {name: copy_of(base, new_store(name)) for name in ("batch", "mixed")}
    run_window(base, "sensor_anomaly", window, AppSettings())
    inline = rows_of(base, window, "sensor_anomaly")
    assert len(inline) > 100
    for name, share in (("batch", 1.0), ("mixed", 0.5)):
        store = copies[name]
        placements = score_on_batch(store, cloud, window, share)
        assert placements == ({"batch"} if share == 1.0 else {"inline", "batch"})
        assert rows_of(store, window, "sensor_anomaly") == inline
        counts = read_run(store, f"sensor_anomaly-{window}").counts
        assert counts == read_run(base, f"sensor_anomaly-{window}").counts


def copy_of(store: Store, other: Store) -> Store:
    """The other store, with everything that is in the first."""
    for entry in store.list(""):
        other.write(entry.path, store.read(entry.path))
    return other


def score_on_batch(store: Store, cloud: Cloud, window: str, share: float) -> set[str]:
    """Run the window with so large a share of its shards on Batch, as the orchestrations do; gives where shards were committed."""
    told = cloud.environment(store.url) | {
        "FLEETSCORE_BATCH_PLACEMENT": "batch",
        "FLEETSCORE_QUEUE__queueServiceUri": "",
    }
    app, compute = read_app_settings(told), cloud.compute()
    request = submit_run(store, "sensor_anomaly", window, datetime.now(UTC), "test").request
    head = commit_plan(store, request, app, datetime.now(UTC))
    record_planned(store, head, datetime.now(UTC))
    shards = read_shard_plans(store, head)
    for shard in shards[int(len(shards) * share) :]:
        score_shard(store, request.run, shard.shard)
    submit_shards(store, compute, app, request.run, datetime.now(UTC))
    wait_until(lambda: check_shards(store, compute, request.run, datetime.now(UTC)).open == 0)
    collected = collect_run(store, request.run)
    finish_run(store, request, datetime.now(UTC))
    return {record.placement for record in collected.slowest}
