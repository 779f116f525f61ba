"""The index of runs: one line per run in one small file per workload and day, so that listing runs reads none of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from fleetscore.errors import ConflictError, MissingBlobError
from fleetscore.layout import index_path, run_path
from fleetscore.outcomes import DRIFTED, GOOD
from fleetscore.records import Cause, RunRecord, RunState, from_json
from fleetscore.stores.base import Entry, Store
from fleetscore.workloads import workload_names

_LINE_BYTES = 250  # a short line; only guesses how many files hold enough lines
_READERS = 16
_MOST_CHARACTERS = 160


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
    cost_usd: float | None = None  # None where the run's facts do not tell
    first_partition: str = ""  # the first with that cause; "" where it is the run's
    round: int = 1
    drifted: int = 0  # scored partitions with that warning


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of the list of runs; `next` is the run to list those before, "" on the last page."""

    runs: list[RunLine]
    next: str


def list_page(store: Store, workload: str, limit: int, before: str) -> RunPage:
    """A page of `limit` runs as `list_runs` gives them."""
    lines = list_runs(store, workload, limit, before)
    return RunPage(lines, lines[-1].run if len(lines) == limit else "")


def list_runs(store: Store, workload: str = "", limit: int = 100, before: str = "") -> list[RunLine]:
    """The newest runs, newest first, of one workload or all; those requested before the run `before`, where it is named.

    Reads the index files of as many days as it takes, newest first, and no run. MissingBlobError when there is no run `before`.
    """
    last = _place_of(store, before) if before else None
    names = [workload] if workload else workload_names()
    files = [entry for name in names for entry in store.list(f"index/{name}/")]
    found: list[RunLine] = []
    for batch in _batches(files, limit, last[0] if last else None):
        found += (
            line for line in read_lines(store, batch) if last is None or (line.requested, line.run) < last
        )
        if len(found) >= limit:
            break
    return sorted(found, key=lambda line: (line.requested, line.run), reverse=True)[:limit]


def list_runs_since(store: Store, workload: str, day: str) -> list[RunLine]:
    """All runs of the workload that were requested on `day` (YYYY-MM-DD) or later, in no order."""
    files = [entry for entry in store.list(f"index/{workload}/") if _day(entry.path) >= day]
    return list(read_lines(store, files))


def newest_rounds(lines: Iterable[RunLine]) -> dict[str, RunLine]:
    """Window -> its scoring run that was requested last."""
    newest: dict[str, RunLine] = {}
    for line in lines:
        known = newest.get(line.window)
        if line.purpose == "score" and (known is None or known.requested < line.requested):
            newest[line.window] = line
    return newest


def index_run(store: Store, record: RunRecord) -> None:
    """Put the run's line into the index of its day, by compare-and-swap among all runs of the day."""
    path = index_path(record.request.workload, f"{record.request.requested:%Y-%m-%d}")
    line = line_of(record)
    while True:
        lines, etag = _read_file(store, path)
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
        round=request.round,
        drifted=record.facts.get("drifted", 0),
    )


def read_lines(store: Store, files: Sequence[Entry]) -> Iterator[RunLine]:
    """The lines of the index files, file after file."""
    if len(files) < 2:
        yield from (line for file in files for line in _read_file(store, file.path)[0].values())
        return
    with ThreadPoolExecutor(_READERS) as pool:
        for lines, _ in pool.map(lambda file: _read_file(store, file.path), files):
            yield from lines.values()


def _batches(files: Iterable[Entry], limit: int, until: datetime | None) -> Iterator[list[Entry]]:
    """The files in batches of whole days, newest first; a batch looks large enough to hold `limit` lines."""
    newest_day = f"{until:%Y-%m-%d}" if until else "9999"
    ordered = sorted((f for f in files if _day(f.path) <= newest_day), key=_day_of, reverse=True)
    batch: list[Entry] = []
    for _, day in groupby(ordered, key=_day_of):
        batch += day
        if sum(file.size_bytes for file in batch) >= limit * _LINE_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _place_of(store: Store, run: str) -> tuple[datetime, str]:
    try:
        record = from_json(store.read(run_path(run, "run.json")), RunRecord)
    except MissingBlobError as error:
        raise MissingBlobError(
            f"There is no run {run!r} to list those before.", code="no_run", field="before"
        ) from error
    return record.request.requested, run


def _read_file(store: Store, path: str) -> tuple[dict[str, RunLine], str | None]:
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError:
        return {}, None
    return msgspec.json.decode(data, type=dict[str, RunLine]), etag


def _first_cause(record: RunRecord) -> Cause | None:
    """The cause to tell first; None where the run's error says more, or all is well."""
    bad = next((cause for cause in record.causes if cause.outcome not in GOOD), None)
    drifted = next((cause for cause in record.causes if cause.cause == DRIFTED), None)
    return bad or (None if record.error else drifted)


def _cost(facts: Mapping[str, Any]) -> float | None:
    cost = facts.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) else None


def _day(path: str) -> str:
    return path.rsplit("/", 1)[1].removesuffix(".json")


def _day_of(entry: Entry) -> str:
    return _day(entry.path)
