"""Replay: score one partition of a run again, here, from the same bytes and with the same model, and
compare with what was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import BugError, InputError, MissingBlobError
from fleetscore.pipeline.context import open_planned
from fleetscore.pipeline.spellings import key_in_run
from fleetscore.records import InputFile, PlanHead, RunRecord
from fleetscore.runs.plans import read_plan
from fleetscore.runs.published import LedgerLine, read_ledger_line, read_partition_rows, rows_of_partition
from fleetscore.runs.run_records import read_run
from fleetscore.schemas import DRIFTED
from fleetscore.store.base import Store
from fleetscore.store.tables import open_truth
from fleetscore.workload import Shard


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay gave beside what the run had: `same` if outcome, cause and every row agree."""

    run: str
    partition: str
    same: bool
    outcome: str
    outcome_before: str
    cause: str
    cause_before: str
    rows: int
    rows_before: int
    differences: tuple[str, ...]
    changed_inputs: tuple[str, ...]  # files that are not the ones the run read
    model: str
    seconds: float
    schema: int = 1


def replay_partition(store: Store, run: str, partition: str) -> Replayed:
    """Score the partition as the run did and compare; writes nothing. InputError for a partition that the
    run did not score.
    """
    record = read_run(store, run)
    partition = key_in_run(store, record.request.workload, run, partition)
    line = _ledger_line(store, record, partition)
    head = read_plan(store, line.run)
    context = open_planned(store, head)
    workload = context.kind
    pieces = list(workload.score(context, _shard(store, head, partition)))
    if not pieces:
        raise BugError(f"{workload.name} settled nothing for {partition}.")
    outcome = pa.concat_tables([piece.outcomes for piece in pieces]).to_pylist()[0]
    results = [workload.result_schema.empty_table(), *(p.results for p in pieces if p.results.num_rows)]
    after = rows_of_partition(workload.partition_columns, pa.concat_tables(results), partition)
    before = read_partition_rows(store, workload.result_schema, workload.partition_columns, line)
    changed = changed_inputs(store, head.inputs)
    differences = compare(line, outcome, before, after)
    return Replayed(
        run=run,
        partition=partition,
        same=not differences,
        outcome=outcome["outcome"],
        outcome_before=line.outcome,
        cause=outcome["cause"],
        cause_before=line.cause,
        rows=after.num_rows,
        rows_before=before.num_rows,
        differences=tuple(differences),
        changed_inputs=changed,
        model=outcome["model"],
        seconds=outcome["seconds"],
    )


def _ledger_line(store: Store, record: RunRecord, partition: str) -> LedgerLine:
    """What the run settled of the partition; MissingBlobError if it did not expect it, InputError for a run
    without a ledger.
    """
    run = record.request.run
    try:
        return read_ledger_line(store, run, partition)
    except MissingBlobError as error:
        if error.code == "no_partition":
            raise
        raise InputError(
            f"{run} is {record.state} and has no ledger, so there is nothing to compare with.",
            fix=f"See how it stands: fleetscore show {run}",
            field="run",
        ) from error


def changed_inputs(store: Store, inputs: Sequence[InputFile]) -> tuple[str, ...]:
    """The run's input files that have another version now, or are gone."""
    entries = ((file, store.stat(file.path)) for file in inputs)
    return tuple(file.path for file, entry in entries if entry is None or entry.etag != file.etag)


def compare(line: LedgerLine, outcome: dict[str, Any], before: pa.Table, after: pa.Table) -> list[str]:
    """What differs, in words: outcome, cause, number of rows, and per column how many values and the first
    of them.
    """
    said = []
    cause = "" if line.cause == DRIFTED else line.cause  # drift is told of the whole run, not by scoring
    if outcome["outcome"] != line.outcome or outcome["cause"] != cause:
        said.append(
            f"outcome {line.outcome} {cause} is {outcome['outcome']} {outcome['cause']} now".replace(
                "  ", " "
            )
        )
    if before.num_rows != after.num_rows:
        said.append(f"{before.num_rows} rows are {after.num_rows} now")
        return said
    return said + [text for name in before.column_names if (text := _compare_column(name, before, after))]


def _compare_column(name: str, before: pa.Table, after: pa.Table) -> str:
    was, now = _plain(before[name]), _plain(after[name])
    equal = pc.fill_null(pc.equal(was, now), False)
    both_missing = pc.and_(pc.is_null(was, nan_is_null=True), pc.is_null(now, nan_is_null=True))
    differs = pc.invert(pc.or_(equal, both_missing))
    count = pc.sum(differs).as_py() or 0
    if not count:
        return ""
    first = pc.index(differs, True).as_py()
    return f"{count} values of {name} differ, the first in row {first}: {was[first].as_py()} is {now[first].as_py()} now"


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without dictionary encoding, which files and memory do not share."""
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _shard(store: Store, head: PlanHead, partition: str) -> Shard:
    with open_truth(store, head.table) as source:
        rows = pq.read_table(source, filters=[("partition", "=", partition)])
    if rows.num_rows == 0 or rows["shard"][0].as_py() < 0:
        settled = rows["outcome"][0].as_py() if rows.num_rows else "unknown"
        raise InputError(
            f"{partition} was not scored by {head.request.run}: its outcome was {settled} before.",
            fix="`fleetscore explain` tells why.",
            field="partition",
        )
    return Shard(int(rows["shard"][0].as_py()), rows)
