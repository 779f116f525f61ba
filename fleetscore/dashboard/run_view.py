"""The data of the page of a run: its status, its shards over time, its logs, and the partitions that are
looked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.pipeline.score import is_cancelled
from fleetscore.pipeline.spellings import Speller, speller_in
from fleetscore.records import FINAL, Outcome, RunRecord, RunState
from fleetscore.runs.causes import read_causes
from fleetscore.runs.plans import read_plan
from fleetscore.runs.progress import read_progress
from fleetscore.runs.run_records import read_run
from fleetscore.runs.status import RunStatus, make_status
from fleetscore.runs.timeline import Timeline, read_timeline, timeline_now
from fleetscore.store.base import Store
from fleetscore.store.paths import run_id, run_path
from fleetscore.store.tables import open_truth

_READS = 3
_MOST_LOGS = 20
_MOST_MATCHES = 50
_LOG_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, its shards, and where to look further."""

    status: RunStatus
    timeline: Timeline
    counts: Mapping[str, int]  # outcome -> partitions, as far as it is known
    partitions_per_s: float | None
    rows_per_s: float | None
    previous_round: str
    next_round: str
    logs: tuple[str, ...]  # paths in the store, the first few
    is_cancelled: bool
    is_live: bool


@dataclass(frozen=True, slots=True)
class Match:
    """A partition that was looked for; `outcome` is "" while it is not settled."""

    partition: str
    outcome: str
    cause: str
    detail: str
    rows: int


@dataclass(frozen=True, slots=True)
class Matches:
    """The partitions of a run that hold `text` and have `outcome` and `cause` (where given): how many, and
    the first of them.
    """

    run: str
    workload: str
    window: str
    text: str
    outcome: str
    cause: str
    found: int
    of: int
    first: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class LogView:
    """A log's last part."""

    run: str
    path: str
    text: str
    size_bytes: int


def read_run_view(store: Store, run: str, now: datetime) -> RunView:
    """The run; MissingBlobError when there is none."""
    record = read_run(store, run)
    ended = record.state in FINAL
    with ThreadPoolExecutor(_READS) as pool:  # a store far away answers them in the time of one
        logs = pool.submit(lambda: tuple(e.path for e in store.list(run_path(run, "logs/"), _MOST_LOGS)))
        cancelled = pool.submit(lambda: not ended and is_cancelled(store, run))
        following = pool.submit(_next_round, store, record)
        progress = read_progress(store, run) if record.state is RunState.SCORING else None
        timeline = timeline_now(store, record, progress) if progress else read_timeline(store, record)
    status = make_status(record, progress, now)
    seconds = _busy_s(record, now)
    done = record.partitions if ended else status.partitions_done - sum(record.counts.values())
    return RunView(
        status=status,
        timeline=timeline,
        counts=record.counts if ended else count_so_far(record, timeline, status.partitions_done),
        partitions_per_s=done / seconds if seconds and done > 0 else None,
        rows_per_s=record.input_rows / seconds if seconds and record.input_rows else None,
        previous_round=record.request.previous,
        next_round=following.result(),
        logs=logs.result(),
        is_cancelled=cancelled.result(),
        is_live=not ended,
    )


def count_so_far(record: RunRecord, timeline: Timeline, done: int) -> dict[str, int]:
    """The outcomes of a run under way: those settled before scoring, and those of committed shards that
    were read.

    Of `done` partitions, those whose shards were not read count as scored until the ledger exists.
    """
    counts = Counter(record.counts)
    if record.state is RunState.SCORING:
        for bar in timeline.bars:
            counts.update(bar.counts or {})
        counts[Outcome.SCORED] += max(0, done - counts.total())
    return {str(outcome): counts[outcome] for outcome in Outcome if counts[outcome]}


def find_partitions(store: Store, run: str, *, text: str = "", outcome: str = "", cause: str = "") -> Matches:
    """The partitions of the run that match, from its ledger, or from its plan before there is one."""
    record = read_run(store, run)
    table = _read_partitions(store, record)
    request = record.request
    mask = _mask(table, outcome, cause, _sharing(store, run, cause))
    spell = speller_in(store, request.workload) if text else None
    found = table.filter(pc.and_(mask, _holds(table["partition"], text, spell)))
    first = tuple(Match(**row) for row in found[:_MOST_MATCHES].to_pylist())
    return Matches(
        run, request.workload, request.window, text, outcome, cause, found.num_rows, table.num_rows, first
    )


def read_log(store: Store, run: str, path: str) -> LogView:
    """The end of one of the run's own logs; MissingBlobError for any other path."""
    read_run(store, run)
    mine = path.startswith(run_path(run, "")) and path.endswith((".txt", ".log"))
    if not mine:
        raise MissingBlobError(f"{path!r} is no log of {run}.", code="no_log", field="log")
    data = store.read(path)
    return LogView(run, path, data[-_LOG_BYTES:].decode(errors="replace"), len(data))


def _holds(keys: pa.ChunkedArray, text: str, spell: Speller | None) -> Any:
    """Which keys hold the text, or are another spelling of it."""
    mask = pc.match_substring(keys, text, ignore_case=True)
    if spell is None:
        return mask
    same = pa.array([spell(key) == spell(text) for key in keys.to_pylist()], pa.bool_())
    return pc.or_(mask, pa.chunked_array([same]))


def _mask(table: pa.Table, outcome: str, cause: str, sharing: list[str]) -> Any:
    mask = pa.array(np.ones(table.num_rows, bool))
    if outcome:
        mask = pc.and_(mask, pc.equal(table["outcome"], outcome))
    if cause:
        also = pa.array(sharing, pa.string())
        mask = pc.and_(mask, pc.or_(pc.equal(table["cause"], cause), pc.is_in(table["partition"], also)))
    return mask


def _sharing(store: Store, run: str, cause: str) -> list[str]:
    """The partitions that have the cause among several."""
    several = read_causes(store, run) if cause else None
    if several is None:
        return []
    pairs = zip(several["partition"].to_pylist(), several["causes"].to_pylist(), strict=True)
    return [partition for partition, causes in pairs if cause in causes]


def _read_partitions(store: Store, record: RunRecord) -> pa.Table:
    run = record.request.run
    columns = ["partition", "outcome", "cause", "detail", "rows"]
    with suppress(MissingBlobError), open_truth(store, run_path(run, "ledger.parquet")) as source:
        return pq.read_table(source, columns=columns)
    try:
        head = read_plan(store, run)
    except MissingBlobError as error:
        raise InputError(
            f"{run} has no plan: it is {record.state}.", code="not_planned", field="run"
        ) from error
    with open_truth(store, head.table) as source:
        return pq.read_table(source, columns=columns).sort_by("partition")


def _busy_s(record: RunRecord, now: datetime) -> float:
    """Seconds from when the run began to work until it ended, or now."""
    return ((record.ended or now) - (record.started or record.request.requested)).total_seconds()


def _next_round(store: Store, record: RunRecord) -> str:
    request = record.request
    if request.purpose != "score" or record.state not in FINAL:
        return ""
    following = run_id(request.workload, request.window, request.round + 1)
    return following if store.stat(run_path(following, "run.json")) is not None else ""
