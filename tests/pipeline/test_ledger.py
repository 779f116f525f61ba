"""The ledger has one line per expected partition, or the run stops."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import BugError
from fleetscore.pipeline.ledger import SHARD_LOST, build_ledger, count_outcomes, group_causes
from fleetscore.records import Outcome
from fleetscore.schemas import OUTCOMES, PARTITIONS

PLAN = pa.schema([*PARTITIONS, ("kept", pa.bool_()), ("shard", pa.int32())])


def plan_line(key: str, shard: int, outcome: str = "", kept: bool = False) -> dict[str, object]:
    """A line of a plan's table."""
    return {
        "partition": key, "rows": 5, "size_bytes": 1, "model": "v", "outcome": outcome, "cause": "", "detail": "",
        "kept": kept, "shard": shard,
    }  # fmt: skip


def outcomes_of(keys: list[str], outcome: str = "scored") -> pa.Table:
    """OUTCOMES lines of the keys."""
    lines = [
        {
            "partition": k,
            "outcome": outcome,
            "cause": "",
            "detail": "",
            "input_rows": 5,
            "rows": 5,
            "model": "v",
            "seconds": 0.1,
        }
        for k in keys
    ]
    return pa.Table.from_pylist(lines, OUTCOMES)


@given(
    st.integers(0, 40), st.integers(1, 5), st.sets(st.integers(0, 4)), st.integers(0, 10), st.integers(0, 10)
)
def test_whatever_is_lost_the_sum_matches(
    pending: int, shards: int, lost: set[int], settled: int, kept: int
) -> None:
    """Committed, lost, settled and kept partitions together are the expected ones, each once."""
    lines = [plan_line(f"p{i}", i % shards) for i in range(pending)]
    lines += [plan_line(f"s{i}", -1, "late") for i in range(settled)]
    lines += [plan_line(f"k{i}", -1, "scored", kept=True) for i in range(kept)]
    plan = pa.Table.from_pylist(lines, PLAN)
    previous = build_ledger("before", pa.Table.from_pylist([plan_line(f"k{i}", 0) for i in range(kept)], PLAN),
                            [(0, "f", outcomes_of([f"k{i}" for i in range(kept)]))], None, {})  # fmt: skip
    committed = [
        (s, f"file{s}", outcomes_of([f"p{i}" for i in range(pending) if i % shards == s]))
        for s in range(shards)
        if s not in lost
    ]
    ledger = build_ledger("run", plan, committed, previous, {1: "The disk was full."})
    counts = count_outcomes(ledger)
    gone = sum(i % shards in lost for i in range(pending))
    assert sum(counts.values()) == pending + settled + kept
    assert counts.get("failed", 0) == gone
    assert counts.get("scored", 0) == pending - gone + kept
    assert counts.get("late", 0) == settled
    assert ledger["partition"].to_pylist() == sorted(ledger["partition"].to_pylist())
    assert set(ledger.filter(pa.compute.equal(ledger["cause"], SHARD_LOST))["rows"].to_pylist()) <= {0}


@pytest.mark.parametrize(
    "committed",
    [["a"], ["a", "b", "b"], ["a", "c"], ["a", "b", "c"]],
    ids=["one missing", "one twice", "one exchanged", "one too many"],
)
def test_a_sum_that_does_not_match_stops_the_run(committed: list[str]) -> None:
    """A shard that settles other partitions than its own is a bug, not a result."""
    plan = pa.Table.from_pylist([plan_line("a", 0), plan_line("b", 0)], PLAN)
    with pytest.raises(BugError, match="were expected"):
        build_ledger("run", plan, [(0, "f", outcomes_of(committed))], None, {})


def test_an_unknown_outcome_stops_the_run() -> None:
    """There are five outcomes and no sixth."""
    plan = pa.Table.from_pylist([plan_line("a", 0)], PLAN)
    with pytest.raises(BugError, match="do not add up"):
        build_ledger("run", plan, [(0, "f", outcomes_of(["a"], "perhaps"))], None, {})


def test_causes_are_grouped_with_counts_and_the_first_example() -> None:
    """Whoever reads a run sees causes, not ten thousand lines."""
    lines = [plan_line(f"p{i}", -1, str(Outcome.LATE)) | {"cause": "no_readings"} for i in range(3)]
    lines += [plan_line("q", -1, str(Outcome.FAILED)) | {"cause": "bad_model", "detail": "It is torn."}]
    causes = group_causes(build_ledger("run", pa.Table.from_pylist(lines, PLAN), [], None, {}))
    assert [(c.cause, c.partitions, c.example) for c in causes] == [
        ("no_readings", 3, "p0"),
        ("bad_model", 1, "q"),
    ]
    assert causes[1].detail == "It is torn."


def test_only_partitions_with_rows_point_to_a_file() -> None:
    """A failed partition has no file in its line."""
    plan = pa.Table.from_pylist([plan_line("a", 0)], PLAN)
    empty = outcomes_of(["a"], "failed").set_column(5, "rows", pa.array([0], pa.int64()))
    assert build_ledger("run", plan, [(0, "f", empty)], None, {})["file"].to_pylist() == [""]
