"""Results in pages: rows of a window, published or held back, read only from the files and row groups that
the page needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import ConflictError, MissingBlobError
from fleetscore.records import Collected, ResultFile, RunState
from fleetscore.runs.manifests import read_latest, read_manifest
from fleetscore.runs.published import read_ledger_line, read_partition_rows
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, run_id, run_path
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import open_truth

LATEST = "latest"
"""What names the newest published window."""


@dataclass(frozen=True, slots=True)
class WindowResults:
    """Where a window's results lie: the run whose ledger names them, their files, and all their rows."""

    workload: str
    window: str
    run: str
    files: tuple[ResultFile, ...]
    rows: int

    @property
    def tag(self) -> str:
        """What is the same as long as the window's rows are: a digest of its run and files."""
        named = json.dumps([self.run, *(file.sha256 for file in self.files)])
        return hashlib.sha256(named.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a window from `offset` on; `next_offset` is that of the next page, None after the last."""

    results: WindowResults
    table: pa.Table
    offset: int
    next_offset: int | None


def find_published(store: Store, workload: str, window: str = "", run: str = "") -> WindowResults:
    """The published results of the window, by default (or as `latest`) the newest.

    MissingBlobError where it is not published. ConflictError where not `run` has published it, of which pages
    were read.
    """
    if window in ("", LATEST):
        latest = read_latest(store, workload)
        if latest is None:
            raise MissingBlobError(
                f"{workload} has published nothing in {store.url} yet.",
                fix=f"Run a window: fleetscore run {workload} --window WINDOW",
            )
        window = latest.window
    if store.stat(manifest_path(workload, window)) is None:
        raise MissingBlobError(
            f"{workload} {window} is not published.",
            fix=f"Run it: fleetscore run {workload} --window {window}",
            field="window",
        )
    manifest = read_manifest(store, workload, window)
    _require_same(run, manifest.run, f"{window} was published by {manifest.run}")
    return WindowResults(workload, window, manifest.run, manifest.files, manifest.rows)


def find_held(store: Store, workload: str, window: str, run: str = "") -> WindowResults:
    """What the window's newest run holds back; MissingBlobError where it holds nothing back.

    ConflictError where that is not `run`, of which pages were read.
    """
    number = 1
    while store.stat(run_path(run_id(workload, window, number + 1), "run.json")) is not None:
        number += 1
    newest = run_id(workload, window, number)
    _require_same(run, newest, f"{newest} has begun")
    record = read_run(store, newest)
    if record.state is not RunState.UNPUBLISHED or store.stat(run_path(newest, "collected.json")) is None:
        raise MissingBlobError(
            f"{newest} is {record.state}: it holds no results back.",
            fix="Only a run that ended unpublished does.",
            field="window",
            code="not_held",
        )
    collected = read_truth(store, run_path(newest, "collected.json"), Collected)
    return WindowResults(workload, window, newest, collected.files, collected.rows)


def read_page(store: Store, results: WindowResults, offset: int, limit: int) -> Page:
    """`limit` rows from `offset` on, file after file; only the row groups that hold them are read.

    Beyond the last row there are none, with their columns.
    """
    parts, skipped, left = [], 0, limit
    for file in results.files:
        start = max(0, offset - skipped)
        skipped += file.rows
        if start >= file.rows or left <= 0:
            continue
        piece = _read_slice(store, file, start, left)
        parts.append(piece)
        left -= piece.num_rows
    if not parts and results.files:
        parts.append(_read_slice(store, results.files[-1], results.files[-1].rows, 0))
    table = pa.concat_tables(parts, promote_options="default") if parts else pa.table({})
    end = offset + table.num_rows
    return Page(results, table, offset, end if end < results.rows and table.num_rows else None)


def read_partition(
    store: Store, results: WindowResults, schema: pa.Schema, columns: Sequence[str], partition: str
) -> Page:
    """All rows of one partition as one page; MissingBlobError for one that was not expected in the window."""
    line = read_ledger_line(store, results.run, partition)
    return Page(results, read_partition_rows(store, schema, columns, line), 0, None)


def write_json_lines(table: pa.Table) -> bytes:
    """The rows as JSON, one a line; times as ISO 8601, what is not finite as null."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in table.to_pylist())


def write_parquet(page: Page) -> bytes:
    """The rows as a Parquet file, whose metadata says what they are of."""
    said = {"run": page.results.run, "window": page.results.window, "offset": page.offset}
    metadata = {**(page.table.schema.metadata or {}), b"fleetscore": json.dumps(said).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(page.table.replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue())


def _require_same(run: str, found: str, happened: str) -> None:
    """ConflictError where pages of `run` were read and `found` is another; "" is any."""
    if run and found != run:
        raise ConflictError(
            f"{happened} since the first page, which was of {run}.",
            fix="Read it again from the first page on.",
            field="run",
        )


def _read_slice(store: Store, file: ResultFile, start: int, count: int) -> pa.Table:
    with open_truth(store, file.path) as source:
        parquet = pq.ParquetFile(source)
        groups, before = [], 0
        for group, first, rows in _groups(parquet):
            if first + rows <= start:
                before = first + rows
            elif first < start + count:
                groups.append(group)
        return parquet.read_row_groups(groups).slice(start - before, count)


def _groups(parquet: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """Each row group with its first row and its rows."""
    first = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        yield group, first, rows
        first += rows
