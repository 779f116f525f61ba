"""What a retry keeps of the run before, and what it no longer expects."""

from datetime import UTC, datetime

import pytest
from toy_workload import write_lines

from fleetscore.errors import InputError
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.submit import submit_backfilled, submit_retry
from fleetscore.records import Only, RunRecord
from fleetscore.runs.manifests import read_manifest
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"


def retry(store: Store, *partitions: str, only: Only = Only.FAILED) -> RunRecord:
    """Ask for the window's next round and run it here."""
    return execute(store, submit_retry(store, RUN, NOW, "test", only=only, partitions=partitions).request)


@pytest.mark.parametrize("named", [(), ("broken",)])
def test_what_failed_and_is_not_there_any_more_is_not_expected_again(
    store: Store, named: tuple[str, ...]
) -> None:
    """A retry after the broken one was removed publishes the rest; what was scored stays as it was."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("broken", 2, "fail")])
    assert run_window(store, "toy", WINDOW).state == "unpublished"
    write_lines(store, WINDOW, [("a", 1, "ok")])
    record = retry(store, *named)
    assert (record.state, record.counts) == ("published", {"scored": 1})


def test_results_stay_when_their_data_is_deleted(store: Store) -> None:
    """A partition that was published and whose input is gone keeps its rows and its line."""
    write_lines(store, WINDOW, [(f"p{n}", n, "fail" if n == 0 else "ok") for n in range(20)])
    assert run_window(store, "toy", WINDOW).counts == {"scored": 19, "failed": 1}
    write_lines(store, WINDOW, [("p0", 1, "fail")])
    assert retry(store).counts == {"scored": 19, "failed": 1}
    assert read_manifest(store, "toy", WINDOW).rows == 19


def test_late_data_drops_nobody(store: Store) -> None:
    """A round for what is missing keeps what failed, also where that is not there any more."""
    write_lines(store, WINDOW, [(f"p{n}", n, "fail" if n == 0 else "ok") for n in range(20)])
    run_window(store, "toy", WINDOW)
    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(1, 20)])
    assert retry(store, only=Only.MISSING).counts == {"scored": 19, "failed": 1}


def test_a_partition_that_nobody_knows_is_refused_by_name(store: Store) -> None:
    """A mistyped partition fails the retry, and what was published stands."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run_window(store, "toy", WINDOW)
    with pytest.raises(InputError, match="neither data nor a model for partition z") as raised:
        retry(store, "a", "z")
    assert raised.value.field == "partitions"
    assert read_manifest(store, "toy", WINDOW).run == RUN


def test_a_window_that_ran_before_there_were_models_is_scored_by_a_backfill(store: Store) -> None:
    """What was skipped for want of a model is scored once there is one; else the window would never be published."""
    SensorAnomaly().samples(store, scale=0.01)
    hour = "2026-03-04T05"
    first = run_window(store, "sensor_anomaly", hour)
    assert first.state == "unpublished"
    assert run_training(store, "sensor_anomaly", "2026-03-03T22", "2026-03-04T00").model_set
    again = submit_backfilled(store, "sensor_anomaly", hour, NOW, "backfill x", Only.MISSING)
    record = execute(store, again.request)
    assert (again.request.previous, record.state) == (first.request.run, "published")
    assert record.counts["scored"] > 0
