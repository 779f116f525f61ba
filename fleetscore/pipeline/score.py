"""Score a shard and commit it once: results under the attempt's path, then one small record by
create-if-absent.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import BugError, MissingBlobError
from fleetscore.pipeline.attempt_limit import AttemptLimit
from fleetscore.pipeline.context import open_planned
from fleetscore.pipeline.hashing_file import HashingFile
from fleetscore.pipeline.isolation import score_isolated
from fleetscore.pipeline.marked_groups import marked, order_groups, set_aside
from fleetscore.pipeline.shadow import shadow_shard
from fleetscore.records import ResultFile, RunRequest, ShardRecord, to_json
from fleetscore.runs.causes import CAUSES_FILE, split_causes
from fleetscore.runs.plans import read_plan, read_shard_partitions
from fleetscore.schemas import OUTCOMES, complete_outcomes
from fleetscore.store.base import Store
from fleetscore.store.paths import (
    attempt_path,
    result_path,
    run_path,
    shard_log_path,
    shard_record_path,
)
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import count_values, write_table
from fleetscore.workload import RunContext, Scored, Shard, Workload

Progress = Callable[[int, int], None]
"""Told partitions done and partitions in all."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a shard: `name` is unique, so two tries never write the same path.

    `results` is where its rows go.
    """

    run: str
    shard: int
    name: str
    placement: str
    results: str

    def path(self, name: str) -> str:
        """The path of one of the attempt's files."""
        return attempt_path(self.run, self.shard, self.name, name)


def score_shard(
    store: Store, run: str, shard: int, placement: str = "inline", progress: Progress | None = None, attempt: str = "",
    *, began_s: float | None = None,
) -> ShardRecord | None:  # fmt: skip
    """Score the shard unless it is committed already, and give the record of the attempt that won; None if
    the run was cancelled.

    `attempt` is what `name_attempt` gave, for callers that need its name before it ends. A process of its
    own that began at `began_s` (monotonic clock) is ended shortly before `shard_limit_s`.
    """
    committed = read_shard_record(store, run, shard)
    if committed is not None:
        return committed
    if is_cancelled(store, run):
        return None
    head = read_plan(store, run)
    context = open_planned(store, head)
    part = Shard(shard, read_shard_partitions(store, head, shard))
    own = _attempt_of(head.request, shard, attempt or name_attempt(), placement)
    base_bytes = peak_memory_bytes() if placement == "batch" else 0
    started = datetime.now(UTC)
    clock = time.perf_counter()
    limit = AttemptLimit(began_s, context.policy.shard_limit_s)
    with ExitStack() as stack:
        writer = stack.enter_context(ShardWriter(store, context.kind, own))
        for piece in _pieces(context, part, own, limit):
            writer.add(piece)
            if progress is not None:
                progress(writer.settled, part.partitions.num_rows)
    _check_settled_once(writer.outcomes(), run, part)
    record = writer.record(started, time.perf_counter() - clock)
    record = replace(
        record, base_memory_bytes=base_bytes, log=shard_log_path(run, shard) if base_bytes else ""
    )
    commit_record(store, record)
    committed = read_shard_record(store, run, shard)
    if head.challenger and committed is not None and committed.attempt == own.name:
        shadow_shard(context, part, head.challenger, own.path)
    return committed


def _attempt_of(request: RunRequest, shard: int, name: str, placement: str) -> Attempt:
    results = result_path(request.workload, request.window, request.run, shard, name)
    return Attempt(request.run, shard, name, placement, results)


def name_attempt() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex[:12]


def read_shard_record(store: Store, run: str, shard: int) -> ShardRecord | None:
    """The shard's commit, or None while it has none."""
    try:
        return read_truth(store, shard_record_path(run, shard), ShardRecord)
    except MissingBlobError:
        return None


def commit_record(store: Store, record: ShardRecord) -> bool:
    """Commit the attempt whose files are all written, unless another one was; what the record names is on
    the disk before it is.
    """
    named = [
        record.outcomes,
        record.sketches,
        record.causes,
        record.results.path if record.results else "",
        *record.files.values(),
    ]
    store.flush([path for path in named if path])
    return store.create(shard_record_path(record.run, record.shard), to_json(record))


def peak_memory_bytes() -> int:
    """The most memory that this process has had; only Unix systems report it, and scoring runs on those."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_cancelled(store: Store, run: str) -> bool:
    """Whether the run was cancelled."""
    return store.stat(run_path(run, "cancel.json")) is not None


class ShardWriter:
    """Writes the pieces of one attempt as they come: a row group a piece, so memory holds one piece."""

    def __init__(self, store: Store, workload: Workload, attempt: Attempt) -> None:
        self._store = store
        self._workload = workload
        self._attempt = attempt
        self._stack = ExitStack()
        self._outcomes: list[pa.Table] = []
        self._sketches: list[pa.Table] = []
        self._parquet: pq.ParquetWriter | None = None
        self._hashing: HashingFile | None = None
        self._rows = 0
        self.settled = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._stack.__exit__(*exception)  # type: ignore[arg-type]  # the three that the with statement gives

    def add(self, piece: Scored) -> None:
        """Write a piece's rows and collect its outcomes."""
        self.settled += piece.outcomes.num_rows
        self._outcomes.append(complete_outcomes(piece.outcomes))
        if piece.sketches is not None:
            self._sketches.append(piece.sketches)
        if piece.results.num_rows:
            self._open().write_table(piece.results)
            self._rows += piece.results.num_rows

    def outcomes(self) -> pa.Table:
        """All outcomes so far."""
        return pa.concat_tables(self._outcomes) if self._outcomes else OUTCOMES.empty_table()

    def record(self, started: datetime, seconds: float) -> ShardRecord:
        """Write outcomes and sketches, and give the record to commit; call after the with block, when the
        results lie there whole.
        """
        outcomes = self.outcomes()
        sketches = ""
        if self._sketches:
            sketches = self._attempt.path("sketches.parquet")
            write_table(self._store, sketches, pa.concat_tables(self._sketches, promote_options="default"))
        plain, several = split_causes(outcomes)
        causes = self._attempt.path(CAUSES_FILE) if several.num_rows else ""
        if causes:
            write_table(self._store, causes, several)
        write_table(self._store, self._attempt.path("outcomes.parquet"), plain)
        return ShardRecord(
            run=self._attempt.run,
            shard=self._attempt.shard,
            attempt=self._attempt.name,
            placement=self._attempt.placement,
            started=started,
            seconds=seconds,
            counts=count_values(outcomes["outcome"]),
            rows=self._rows,
            input_rows=pc.sum(outcomes["input_rows"]).as_py() or 0,
            outcomes=self._attempt.path("outcomes.parquet"),
            results=self._result_file(outcomes),
            sketches=sketches,
            peak_memory_bytes=peak_memory_bytes(),
            worker=socket.gethostname(),
            causes=causes,
        )

    def _result_file(self, outcomes: pa.Table) -> ResultFile | None:
        if self._hashing is None:
            return None
        with_rows = pc.sum(pc.greater(outcomes["rows"], 0)).as_py()
        return ResultFile(self._attempt.results, self._rows, self._hashing.hexdigest(), with_rows)

    def _open(self) -> pq.ParquetWriter:
        if self._parquet is None:
            file = self._stack.enter_context(self._store.sink(self._attempt.results))
            self._hashing = HashingFile(file)
            self._parquet = pq.ParquetWriter(
                pa.PythonFile(self._hashing, "w"),
                self._workload.result_schema,
                **self._workload.parquet_options,
            )
        return self._parquet


def _pieces(run: RunContext, shard: Shard, attempt: Attempt, time_limit: AttemptLimit) -> Iterator[Scored]:
    """The shard's pieces, group by group, each under a marker that names it in case the process dies of
    it.
    """
    limit, keys = run.policy.max_attempts, shard.keys
    order = order_groups(run.store, attempt.run, attempt.shard, keys, limit)
    if order.quarantined:
        yield set_aside(shard.restricted(order.quarantined), "Scoring", limit)
    for group in order.groups:
        with marked(run.store, attempt.run, attempt.shard, attempt.name, group, time_limit):
            yield from score_isolated(run, shard if len(group) == len(keys) else shard.restricted(group))


def _check_settled_once(outcomes: pa.Table, run: str, shard: Shard) -> None:
    settled, expected = outcomes["partition"], shard.partitions["partition"]
    distinct = pc.count_distinct(settled).as_py()
    same = distinct == len(settled) == len(expected) and pc.all(pc.is_in(settled, expected)).as_py()
    if not same:
        raise BugError(
            f"Shard {shard.number} of {run} has {len(expected)} partitions, but its workload settled {len(settled)} "
            f"({distinct} different ones)."
        )
