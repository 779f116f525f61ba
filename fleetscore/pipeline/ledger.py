"""The ledger: one outcome for every expected partition of a run; the sum always matches, or the run stops."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import BugError
from fleetscore.records import Cause, Outcome
from fleetscore.schemas import OUTCOMES, complete_outcomes, fill_table
from fleetscore.store.tables import count_values

LEDGER = pa.schema([*OUTCOMES, ("shard", pa.int32()), ("file", pa.string()), ("run", pa.string())])
"""OUTCOMES with where the partition was scored: shard (-1: none), results file ("" : no rows), and the run
that did it.
"""

SHARD_LOST = "shard_lost"
EXAMPLES = 20
"""The partitions of a cause that a run record names."""


def build_ledger(
    run: str,
    plan: pa.Table,
    committed: Sequence[tuple[int, str, pa.Table]],
    previous: pa.Table | None,
    reasons: dict[int, str],
) -> pa.Table:
    """The ledger of the run, sorted by partition.

    `plan` is the plan's table; `committed` has (shard, results file or "", OUTCOMES) of each committed
    shard; `previous` is the ledger that kept partitions take their line from; `reasons` says of a shard
    without a commit why. BugError when the partitions are not exactly the expected ones.
    """
    parts = [_settled(run, plan), *(_located(run, *shard) for shard in committed)]
    parts.append(_lost(run, plan, {shard for shard, _, _ in committed}, reasons))
    if previous is not None:
        kept = plan.filter(plan["kept"])["partition"]
        parts.append(complete_outcomes(previous.filter(pc.is_in(previous["partition"], kept)), LEDGER))
    ledger = pa.concat_tables(parts)
    check_complete(plan["partition"], ledger)
    return ledger.sort_by("partition")


def check_complete(expected: pa.ChunkedArray, ledger: pa.Table) -> None:
    """Raise BugError unless the ledger has exactly one line for each expected partition, each with a known
    outcome.
    """
    keys = ledger["partition"]
    distinct = pc.count_distinct(keys).as_py()
    if not (distinct == len(keys) == len(expected) and pc.all(pc.is_in(keys, expected)).as_py() is not False):
        raise BugError(
            f"{len(expected)} partitions were expected, the ledger has {len(keys)} lines for {distinct}."
        )
    counts = count_outcomes(ledger)
    unknown = set(counts) - set(Outcome)
    if unknown or sum(counts.values()) != len(expected):
        raise BugError(f"The ledger's outcomes do not add up: {counts}.")


def count_outcomes(ledger: pa.Table) -> dict[str, int]:
    """Partitions per outcome, in the order of Outcome; outcomes without partitions are left out."""
    found = count_values(ledger["outcome"])
    return {str(o): found.pop(o) for o in Outcome if o in found} | found


def group_causes(
    ledger: pa.Table, limit: int = 20, warnings: frozenset[str] = frozenset()
) -> tuple[Cause, ...]:
    """The causes of all outcomes but plain scored, most frequent first, each with its first partitions as
    examples.

    A partition with several causes counts for each of them; those whose first cause it is come first, since
    a partition's detail begins with its first cause. `warnings` are those that need attention although a
    partition is scored.
    """
    notable = _each_cause(ledger)
    groups = notable.group_by(["outcome", "cause"], use_threads=False)
    rows = groups.aggregate([("partition", "count"), ("partition", "first"), ("detail", "first")]).to_pylist()
    rows.sort(key=lambda r: (r["cause"] not in warnings, -r["partition_count"], r["outcome"], r["cause"]))
    return tuple(
        Cause(
            r["outcome"], r["cause"], r["partition_count"], r["partition_first"], r["detail_first"] or "",
            _first_partitions(notable, r["outcome"], r["cause"]), r["cause"] in warnings,
        )
        for r in rows[:limit]
    )  # fmt: skip


def group_settled(plan: pa.Table) -> tuple[Cause, ...]:
    """The causes of the partitions that the plan's table settles without scoring."""
    return group_causes(complete_outcomes(_settled("", plan), LEDGER))


def _each_cause(ledger: pa.Table) -> pa.Table:
    """partition, outcome, cause and detail: a row for each cause of a partition, one with "" where it has
    none but is not scored.
    """
    columns = ledger.select(["partition", "outcome", "cause", "detail", "causes"])
    causes = columns["causes"].combine_chunks()
    rows = columns.take(pc.list_parent_indices(causes))
    each = rows.set_column(2, "cause", pc.list_flatten(causes)).drop_columns("causes")
    is_first = pc.equal(each["cause"], rows["cause"])
    each = pa.concat_tables([each.filter(is_first), each.filter(pc.invert(is_first))])
    bare = pc.and_(
        pc.equal(pc.list_value_length(causes), 0), pc.not_equal(columns["outcome"], Outcome.SCORED)
    )
    return pa.concat_tables([each, columns.filter(bare).drop_columns("causes")])


def _first_partitions(notable: pa.Table, outcome: str, cause: str) -> tuple[str, ...]:
    mine = pc.and_(pc.equal(notable["outcome"], outcome), pc.equal(notable["cause"], cause))
    return tuple(notable["partition"].filter(mine)[:EXAMPLES].to_pylist())


def _settled(run: str, plan: pa.Table) -> pa.Table:
    rows = plan.filter(pc.and_(pc.less(plan["shard"], 0), pc.invert(plan["kept"])))
    outcomes = fill_table(
        OUTCOMES, partition=rows["partition"], outcome=rows["outcome"], cause=rows["cause"], detail=rows["detail"],
        input_rows=rows["rows"], rows=0, model=rows["model"], seconds=0.0,
    )  # fmt: skip
    return _located(run, -1, "", outcomes)


def _lost(run: str, plan: pa.Table, committed: set[int], reasons: dict[int, str]) -> pa.Table:
    pending = pc.greater_equal(plan["shard"], 0)
    missing = pc.invert(pc.is_in(plan["shard"], pa.array(sorted(committed), pa.int32())))
    rows = plan.filter(pc.and_(pending, missing))
    shards = rows["shard"].to_pylist()
    outcomes = fill_table(
        OUTCOMES, partition=rows["partition"], outcome=str(Outcome.FAILED), cause=SHARD_LOST,
        detail=[reasons.get(s, "Its shard was never committed.") for s in shards],
        input_rows=rows["rows"], rows=0, model=rows["model"], seconds=0.0,
    )  # fmt: skip
    return _located(run, -1, "", outcomes).set_column(
        LEDGER.get_field_index("shard"), "shard", pa.array(shards, pa.int32())
    )


def _located(run: str, shard: int, file: str, outcomes: pa.Table) -> pa.Table:
    """OUTCOMES rows as ledger lines; only a partition with rows points to the file."""
    outcomes = complete_outcomes(outcomes)
    count = outcomes.num_rows
    has_rows = pc.greater(outcomes["rows"], 0)
    files = pc.if_else(has_rows, pa.scalar(file), pa.scalar(""))
    return pa.table(
        [
            *outcomes.columns,
            pa.repeat(pa.scalar(shard, pa.int32()), count),
            files,
            pa.repeat(pa.scalar(run), count),
        ],
        schema=LEDGER,
    )
