"""All causes of a partition are kept, and attention has a line for each, so that none hides another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_operate_drift import write_hour

from fleetscore.dashboard.run_view import find_partitions
from fleetscore.dashboard.views import ViewRequest, read_view
from fleetscore.errors import MissingBlobError
from fleetscore.operations.attention.overview import read_attention
from fleetscore.operations.explain import explain
from fleetscore.operations.replay import replay_partition
from fleetscore.pipeline.ledger import LEDGER, group_causes
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.runs.index import line_of
from fleetscore.runs.ledgers import read_ledger, write_ledger
from fleetscore.runs.published import read_ledger_line
from fleetscore.runs.run_records import read_run
from fleetscore.schemas import DRIFTED, fill_table, list_texts
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path

HOURS = ["2026-01-01T00", "2026-01-01T01", "2026-01-01T02"]
NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)


def frozen_hour(store: Store) -> str:
    """An hour in which d/5 is frozen and repeats a reading, d/3 is frozen, and d/9 sends nothing; gives the run."""
    write_hour(store, HOURS[0], {})
    run_training(store, "sensor_anomaly", HOURS[0], HOURS[1])
    write_hour(store, HOURS[1], {5: lambda v: 50.0, 3: lambda v: 50.0})
    path = "data/sensor_anomaly/2026-01-01T01.csv"
    lines = [line for line in store.read(path).decode().splitlines() if ",9," not in line]
    store.write(path, "\n".join([*lines, "2026-01-01T01:00:00Z,d,5,51.0"]).encode())
    return run_window(store, "sensor_anomaly", HOURS[1]).request.run


def test_a_remark_does_not_hide_that_a_partition_drifted(store: Store) -> None:
    """A frozen sensor with one repeated reading has both causes: in ledger, record, story, search and the count of drifted."""
    run = frozen_hour(store)
    row = read_ledger(store, run).filter(pa.compute.field("partition") == "d/5").to_pylist()[0]
    assert (row["cause"], row["causes"]) == ("duplicate_reading", ["duplicate_reading", DRIFTED])
    assert "duplicate_reading" in row["detail"]
    assert "The deviation of its input is" in row["detail"]
    record = read_run(store, run)
    assert record.facts["drifted"] == 2
    told = {(cause.cause, cause.partitions, cause.examples) for cause in record.causes}
    assert (DRIFTED, 2, ("d/3", "d/5")) in told
    assert explain(store, run, "d/5").causes == ("duplicate_reading", DRIFTED)
    assert explain(store, run, "d/3").causes == (DRIFTED,)
    assert {m.partition for m in find_partitions(store, run, cause=DRIFTED).first} == {"d/3", "d/5"}


def test_a_dead_sensor_does_not_hide_one_that_froze(
    store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Attention has a line for the late partition and one for those that drifted, in the same window."""
    run = frozen_hour(store)
    (found,) = read_attention(store, "sensor_anomaly", NOW)
    told = {
        (g.newest.first_cause, str(g.newest.mark), g.newest.bad, g.newest.first_partition)
        for g in found.looks
    }
    assert told == {("no_readings", "late", 1, "d/9"), (DRIFTED, "drifted", 2, "d/3")}
    code, said = command("attention")
    assert code == 10
    assert f"fleetscore explain {run} d/9" in said
    assert f"fleetscore explain {run} d/3" in said


def test_the_ledger_s_file_has_the_columns_of_earlier_versions(store: Store) -> None:
    """Earlier versions read it, since further causes lie beside it; the line of one partition is read as before."""
    run = frozen_hour(store)
    with store.open(run_path(run, "ledger.parquet")) as source:
        assert pq.read_table(source).column_names == [name for name in LEDGER.names if name != "causes"]
    assert read_ledger_line(store, run, "d/5").cause == "duplicate_reading"
    assert replay_partition(store, run, "d/3").same  # drift is no difference of scoring


def test_a_ledger_of_an_earlier_version_has_the_one_cause_of_each(store: Store) -> None:
    """Without the file beside it, `causes` is made of `cause`; a retry builds on it."""
    run = frozen_hour(store)
    store.delete(run_path(run, "causes.parquet"))
    ledger = read_ledger(store, run)
    assert all(r["causes"] == ([r["cause"]] if r["cause"] else []) for r in ledger.to_pylist())
    asked = submit_retry(store, run, datetime.now(UTC), "test", only=Only.FAILED).request
    execute(store, asked)
    kept = read_ledger(store, asked.run).filter(pa.compute.field("partition") == "d/5").to_pylist()[0]
    assert kept["causes"] == ["duplicate_reading"]


def test_a_retry_keeps_all_causes_of_what_it_does_not_score(store: Store) -> None:
    """A partition whose line is carried over has the causes that it had."""
    run = frozen_hour(store)
    asked = submit_retry(store, run, datetime.now(UTC), "test", only=Only.FAILED).request
    execute(store, asked)
    kept = read_ledger(store, asked.run).filter(pa.compute.field("partition") == "d/5").to_pylist()[0]
    assert (kept["run"], kept["causes"]) == (run, ["duplicate_reading", DRIFTED])
    assert explain(store, asked.run, "d/5").causes == ("duplicate_reading", DRIFTED)


def test_a_key_that_is_no_text_is_no_partition(store: Store) -> None:
    """A byte that is no UTF-8, as arguments and addresses may hold it, is answered as an unknown partition, not as damage of the ledger."""
    with pytest.raises(MissingBlobError, match="has no partition") as raised:
        read_ledger_line(store, frozen_hour(store), "d/\udcff")
    assert raised.value.code == "no_partition"


def test_a_partition_counts_for_each_of_its_causes(store: Store) -> None:
    """Grouped by cause with the first partitions by name; what is written is what is read."""
    run = frozen_hour(store)
    ledger = read_ledger(store, run)
    counts = {cause.cause: cause.partitions for cause in group_causes(ledger)}
    assert counts == {DRIFTED: 2, "duplicate_reading": 1, "no_readings": 1}
    write_ledger(store, "again", ledger)
    assert read_ledger(store, "again").equals(ledger)


def test_a_cause_is_shown_by_a_partition_that_has_it_first() -> None:
    """Its example and detail are of a partition whose first cause it is, where there is one."""
    ledger = fill_table(
        LEDGER, partition=["a", "b", "c"], outcome="scored", cause=["x", "y", "x"], detail=["X. Y.", "Y.", "X."],
        causes=list_texts([["x", "y"], ["y"], ["x"]]), input_rows=1, rows=1, model="", seconds=0.0, shard=0, file="",
        run="r",
    )  # fmt: skip
    told = {cause.cause: (cause.partitions, cause.detail, cause.examples) for cause in group_causes(ledger)}
    assert told == {"x": (2, "X. Y.", ("a", "c")), "y": (2, "Y.", ("b", "a"))}


def test_a_line_of_the_index_has_the_causes_that_need_attention(store: Store) -> None:
    """Late and drifted, not the repeated reading; long details and lists are cut."""
    record = read_run(store, frozen_hour(store))
    long = tuple(replace(cause, detail="x" * 999, examples=("p",) * 99) for cause in record.causes)
    causes = line_of(replace(record, causes=long)).causes
    assert {cause.cause for cause in causes} == {DRIFTED, "no_readings"}
    assert max(len(cause.detail) for cause in causes) == 160
    assert max(len(cause.examples) for cause in causes) == 5


def test_the_page_of_a_run_with_late_partitions_does_not_speak_of_failures(store: Store) -> None:
    """Its chip says that some are late."""
    run = frozen_hour(store)
    _, body = read_view(store, ViewRequest({"run": run}), NOW)
    assert "published, some late" in body.content
    assert "published with failures" not in body.content
