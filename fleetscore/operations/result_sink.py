"""The sink: published rows of a window replaced in a table of a database, after the run; what fails is tried
again by the watchdog.

Nothing of it ever costs a run anything: the manifest is the truth, and the table follows it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import FleetscoreError
from fleetscore.operations.known_workloads import find_named
from fleetscore.records import Manifest, to_json
from fleetscore.runs.delta_schema import fields_of, partition_column
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.manifests import find_manifest, read_manifest
from fleetscore.settings import ResultsPolicy, read_results_policy
from fleetscore.sources.database_writer import replace_window
from fleetscore.sources.databases import connection_named
from fleetscore.store.base import Store
from fleetscore.store.paths import sink_path
from fleetscore.store.state_files import read_hint

LOOKS_BACK = timedelta(days=8)
_LIMIT_S = 120.0
_MOST_REFUSED = 5
_log = logging.getLogger("fleetscore.sink")


@dataclass(frozen=True, slots=True)
class Sunk:
    """The round of a window that a database has, and where."""

    round: int
    rows: int
    database: str
    table: str
    at: datetime
    schema: int = 1


def sink_window(store: Store, workload: str, window: str, now: datetime) -> Sunk | None:
    """Write the published rows of the window into the workload's database; None where it has none.

    A round that is there is not written again. SourceError and InputError as `replace_window` raises them.
    """
    policy = read_results_policy(store, workload)
    if not policy.database:
        return None
    manifest = read_manifest(store, workload, window)
    known = read_hint(store, sink_path(workload, window), Sunk)
    if known is not None and _has(known, manifest, policy):
        return known
    connection = connection_named(policy.database)
    column = partition_column(fields_of(_schema(store, manifest), workload))
    newest = Newest(store, manifest)
    rows = replace_window(connection, policy.table, column, window, newest.pieces(), limit_s=_LIMIT_S)
    sunk = Sunk(newest.manifest.round, rows, policy.database, policy.table, now)
    store.write(sink_path(workload, window), to_json(sunk))
    return sunk


def try_sink(store: Store, workload: str, window: str, now: datetime) -> bool:
    """The same, with what fails in the log; whether it is done, or there is nothing to do."""
    try:
        sink_window(store, workload, window, now)
    except FleetscoreError as error:
        _log_behind(workload, window, error)
        return False
    return True


def sink_behind(store: Store, now: datetime) -> None:
    """Write the windows of the last days that databases lack; one database that fails costs no other
    workload.
    """
    for known in find_named(store):
        try:
            _sink_windows(store, known.name, windows_behind(store, known.name, now), now)
        except FleetscoreError as error:
            _log.error("sink_behind workload=%s reason=%s", known.name, error)


def _sink_windows(store: Store, workload: str, windows: Sequence[str], now: datetime) -> None:
    """Write the windows; one whose rows the table does not take costs no other, of which there may be
    many.
    """
    refused = 0
    for window in windows:
        try:
            sink_window(store, workload, window, now)
        except FleetscoreError as error:
            _log_behind(workload, window, error)
            refused += 1
            if error.retry or refused == _MOST_REFUSED:  # the server or the table is at fault, not the window
                return


def windows_behind(store: Store, workload: str, now: datetime) -> list[str]:
    """The published windows with a run in the last days whose newest round the workload's database lacks,
    oldest first.
    """
    policy = read_results_policy(store, workload)
    if not policy.database:
        return []
    lines = list_runs_since(store, workload, f"{now - LOOKS_BACK:%Y-%m-%d}")
    behind = []
    for window in sorted({line.window for line in lines if line.purpose == "score"}):
        manifest = find_manifest(store, workload, window)
        known = read_hint(store, sink_path(workload, window), Sunk)
        if manifest is not None and (known is None or not _has(known, manifest, policy)):
            behind.append(window)
    return behind


def _log_behind(workload: str, window: str, error: FleetscoreError) -> None:
    _log.error("sink_behind workload=%s window=%s reason=%s", workload, window, error)


def _has(known: Sunk, manifest: Manifest, policy: ResultsPolicy) -> bool:
    same = (known.database, known.table) == (policy.database, policy.table)
    return same and known.round >= manifest.round


def _schema(store: Store, manifest: Manifest) -> pa.Schema:
    with store.open(manifest.files[0].path) as source:
        return pq.read_schema(source)


@dataclass(slots=True)
class Newest:
    """The rows of a window as published when the first of them is read.

    Writers of a table read them in turns: who waited for another must not write an older round than that one.
    """

    store: Store
    manifest: Manifest

    def pieces(self) -> Iterator[pa.Table]:
        """The rows, a row group at a time; `manifest` is then the one that names them."""
        self.manifest = read_manifest(self.store, self.manifest.workload, self.manifest.window)
        for file in self.manifest.files:
            with self.store.open(file.path) as source:
                parquet = pq.ParquetFile(source)
                for group in range(parquet.num_row_groups):
                    yield parquet.read_row_group(group)
