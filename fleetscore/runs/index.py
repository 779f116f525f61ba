"""The index of runs: one line per run in a few files per workload, a day each while fresh, so that listing
runs reads none of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from fleetscore.errors import ConflictError, DamagedStateError, MissingBlobError, StoreError
from fleetscore.records import GOOD, Cause, RunRecord, RunState
from fleetscore.runs.index_files import IndexFile, batches, list_files, list_workloads, longest_first
from fleetscore.runs.index_rebuild import records_of
from fleetscore.schemas import DRIFTED
from fleetscore.store.base import Store
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import index_path, run_path
from fleetscore.store.state_files import decode_truth, read_truth

_LINE_BYTES = 250  # a short line; only guesses how many files hold enough lines
_TRIES = 4
_MOST_CHARACTERS = 160
_MOST_CAUSES = 20
_EXAMPLES = 5
_log = logging.getLogger("fleetscore.runs")


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in one line of the index."""

    run: str
    workload: str
    window: str
    purpose: str
    state: RunState
    requested: datetime
    updated: datetime
    ended: datetime | None
    partitions: int
    counts: Mapping[str, int]
    rows: int
    seconds: float  # wall, from request to end
    first_cause: str = (
        ""  # the most frequent cause of a missing result, else why the run failed, else that some drifted
    )
    cost_usd: float | None = None  # None where the run's facts have none
    first_partition: str = ""  # the first with that cause; "" where it is the run's
    first_detail: str = ""  # what happened to it
    round: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)  # of the workload when it ran
    drifted: int = 0  # scored partitions with that warning
    causes: tuple[
        Cause, ...
    ] = ()  # those that need attention, the most frequent first; none in lines of earlier versions
    error: str = ""  # why it was not published; "" in lines of earlier versions
    idle: bool | None = None  # as in the run's record


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of the list of runs; `next` is the run to list those before, "" on the last page."""

    runs: list[RunLine]
    next: str


def list_page(store: Store, workload: str, limit: int, before: str) -> RunPage:
    """A page of `limit` runs as `list_runs` gives them."""
    lines = list_runs(store, workload, limit, before)
    return RunPage(lines, lines[-1].run if len(lines) == limit else "")


def list_runs(
    store: Store, workload: str = "", limit: int = 100, before: str = "", since: str = ""
) -> list[RunLine]:
    """The newest runs, newest first, of one workload or all; those requested before the run `before`, where
    it is named.

    They are `limit` runs, and more only where more were requested on the day `since` (YYYY-MM-DD) or later.
    Reads as few files of the index as that takes, newest first, and no run. MissingBlobError when there is
    no run `before`.
    """
    last = _place_of(store, before) if before else None
    names = [workload] if workload else list_workloads(store)
    return _retried(lambda: _newest(store, names, limit, last, since))


def list_runs_since(store: Store, workload: str, day: str) -> list[RunLine]:
    """All runs of the workload that were requested on `day` (YYYY-MM-DD) or later, in no order."""
    return _retried(lambda: _since(store, workload, day))


def newest_rounds(lines: Iterable[RunLine]) -> dict[str, RunLine]:
    """Window -> its scoring run of the highest round, whatever the clock said; of lines of earlier versions,
    which do not state the round, the one that was requested last.
    """
    newest: dict[str, RunLine] = {}
    for line in lines:
        known = newest.get(line.window)
        if line.purpose == "score" and (
            known is None or (known.round, known.requested) < (line.round, line.requested)
        ):
            newest[line.window] = line
    return newest


def index_run(store: Store, record: RunRecord) -> None:
    """Put the run's line into the index of its day, by compare-and-swap among all runs of the day."""
    path = index_path(record.request.workload, f"{record.request.requested:%Y-%m-%d}")
    line = line_of(record)
    while True:
        lines, etag = read_file(store, path)
        if lines.get(line.run) == line:
            return
        with suppress(ConflictError):
            store.replace(path, msgspec.json.encode(lines | {line.run: line}), etag)
            return


def line_of(record: RunRecord) -> RunLine:
    """The run in one line."""
    request, first = record.request, _first_cause(record)
    return RunLine(
        run=request.run,
        workload=request.workload,
        window=request.window,
        purpose=request.purpose,
        state=record.state,
        requested=request.requested,
        updated=record.updated,
        ended=record.ended,
        partitions=record.partitions,
        counts=record.counts,
        rows=record.rows,
        seconds=record.seconds.get("total", 0.0),
        first_cause=first.cause if first else record.error[:_MOST_CHARACTERS],
        cost_usd=_cost(record.facts),
        first_partition=first.example if first else "",
        first_detail=first.detail[:_MOST_CHARACTERS] if first else "",
        round=request.round,
        tags=record.facts.get("tags", {}),
        drifted=record.facts.get("drifted", 0),
        causes=tuple(
            _shorten(cause) for cause in (*record.causes, *_remarked(record)) if needs_attention(cause)
        )[:_MOST_CAUSES],
        error=record.error[:_MOST_CHARACTERS],
        idle=record.idle,
    )


def read_lines(store: Store, files: Iterable[IndexFile]) -> dict[str, RunLine]:
    """The lines of the index files by run; MissingBlobError when one of them is gone, since it was rolled
    up after it was listed.
    """

    def read(file: IndexFile) -> dict[str, RunLine]:
        try:
            return read_version(store, file.path, file.etag, lambda data: _decode(data, file.path))
        except DamagedStateError as error:
            return _rebuild(store, file.path, file.etag, error)

    merged: dict[str, RunLine] = {}
    for lines in side_by_side(read, longest_first(files)):
        merged |= lines
    return merged


def read_file(store: Store, path: str) -> tuple[dict[str, RunLine], str | None]:
    """The lines of one file and its etag; ({}, None) where it is not there. A damaged one is made anew from
    the records of its runs.
    """
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError:
        return {}, None
    try:
        return _decode(data, path), etag
    except DamagedStateError as error:
        _log.warning("%s The index is made anew.", error.message)
        return {record.request.run: line_of(record) for record in records_of(store, path)}, etag


def day_of(line: RunLine) -> str:
    """The day on which the run was requested."""
    return f"{line.requested:%Y-%m-%d}"


def _newest(
    store: Store, names: Sequence[str], limit: int, last: tuple[datetime, str] | None, since: str
) -> list[RunLine]:
    newest_day = f"{last[0]:%Y-%m-%d}" if last else "9999"
    listed = side_by_side(lambda name: list_files(store, name), names)
    files = [file for listing in listed for file in listing if file.first_day <= newest_day]
    found: list[RunLine] = []
    for batch, day_after in batches(files, limit * _LINE_BYTES):
        found += (x for x in read_lines(store, batch).values() if last is None or _place(x) < last)
        found.sort(key=_place, reverse=True)
        if len(found) >= limit and day_after < min(day_of(found[limit - 1]), since or "9999"):
            break
    least = next((n for n, line in enumerate(found) if day_of(line) < since), len(found)) if since else 0
    return found[: max(limit, least)]


def _since(store: Store, workload: str, day: str) -> list[RunLine]:
    files = [file for file in list_files(store, workload) if file.last_day >= day]
    return [line for line in read_lines(store, files).values() if day_of(line) >= day]


def _retried(read: Callable[[], list[RunLine]]) -> list[RunLine]:
    """What `read` gives, which is called again when a file that it listed was rolled up meanwhile."""
    for _ in range(_TRIES - 1):
        with suppress(MissingBlobError):
            return read()
    return read()


def _place(line: RunLine) -> tuple[datetime, str]:
    return line.requested, line.run


def _place_of(store: Store, run: str) -> tuple[datetime, str]:
    try:
        record = read_truth(store, run_path(run, "run.json"), RunRecord)
    except MissingBlobError as error:
        raise MissingBlobError(
            f"There is no run {run!r} to list those before.", code="no_run", field="before"
        ) from error
    return record.request.requested, run


def _rebuild(store: Store, path: str, etag: str, error: DamagedStateError) -> dict[str, RunLine]:
    """The lines of a damaged file, made anew from the records of its runs, and kept where the store can be
    written.
    """
    _log.warning("%s The index is made anew.", error.message)
    lines = {record.request.run: line_of(record) for record in records_of(store, path)}
    try:
        store.replace(path, msgspec.json.encode(lines), etag)
    except StoreError as failed:  # written meanwhile, or it may only be read; the next reader tries again
        _log.warning("%s stays as it is: %s", path, failed)
    return lines


def _decode(data: bytes, path: str) -> dict[str, RunLine]:
    return decode_truth(data, path, dict[str, RunLine])


def _first_cause(record: RunRecord) -> Cause | None:
    """The cause to show first; None where the run's error says more, or all is well."""
    bad = next((cause for cause in record.causes if cause.outcome not in GOOD), None)
    drifted = next((cause for cause in record.causes if cause.cause == DRIFTED), None)
    return bad or (None if record.error else drifted)


def needs_attention(cause: Cause) -> bool:
    """Whether the cause is one of missing results, or a warning."""
    return cause.outcome not in GOOD or cause.warning or cause.cause == DRIFTED


def _remarked(record: RunRecord) -> list[Cause]:
    """The run's remarks that need attention, as causes without partitions: one for each code, with the
    first of its sentences.

    A code that partitions have as their cause is named by them already.
    """
    first: dict[str, str] = {}
    named = {cause.cause for cause in record.causes}
    findings = [finding for finding in record.findings if finding.cause not in named]
    for finding in findings:
        first.setdefault(finding.cause, finding.detail)
    counts = Counter(finding.cause for finding in findings)
    more = {code: f"(and {counts[code] - 1} more) " if counts[code] > 1 else "" for code in first}
    return [Cause("", code, 0, "", more[code] + detail, warning=True) for code, detail in first.items()]


def _shorten(cause: Cause) -> Cause:
    return replace(cause, detail=cause.detail[:_MOST_CHARACTERS], examples=cause.examples[:_EXAMPLES])


def _cost(facts: Mapping[str, Any]) -> float | None:
    cost = facts.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) else None
