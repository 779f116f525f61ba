"""Result tables: each workload's published files as a Delta table, which names the very files that the
manifests name.

The manifest comes first and is the truth. A commit makes the table's files of one window those of the
manifest, once for each round, so that it can be made again by anybody, at any time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from fleetscore.errors import StoreError
from fleetscore.records import Manifest, ResultFile
from fleetscore.runs.delta_checkpoints import write_checkpoint
from fleetscore.runs.delta_log import APP, Action, Snapshot, append, known_snapshot, read_snapshot
from fleetscore.runs.delta_schema import (
    fields_of,
    from_schema_string,
    grow,
    partition_column,
    protocol_of,
    to_schema_string,
)
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import table_root, window_folder

_MOST_TRIES = 100
_CHECKPOINT_EVERY = 100  # housekeeping writes one a day; a backfill commits thousands of windows in one
# of more than _LARGE windows: a checkpoint then costs as much as many commits
_CHECKPOINT_EVERY_OF_LARGE = 1000
_LARGE = 5000
_CONFIGURATION = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of a table: path relative to the table's root, bytes and rows."""

    path: str
    size_bytes: int
    rows: int


def commit_manifest(
    store: Store, manifest: Manifest, schema: pa.Schema, now: datetime, sizes: Mapping[str, int] | None = None
) -> int:
    """Make the table's files of the window those of the manifest; gives the version in which they are.

    `schema` is that of the files, `sizes` what is known of their bytes by path. Nothing is done where this
    round or a later one is committed. StoreError (`results_lost`) where a file is gone.
    """
    return commit_listed(store, manifest.workload, manifest, manifest.files, schema, now, sizes)


def commit_listed(
    store: Store, table: str, manifest: Manifest, listed: Sequence[ResultFile], schema: pa.Schema, now: datetime,
    sizes: Mapping[str, int] | None = None,
) -> int:  # fmt: skip
    """Make the table's files of the manifest's window those that it lists, as `commit_manifest` does."""
    known = sizes if sizes is not None else sizes_of(store, table, manifest.window)
    files = [_table_file(file, table, known, manifest.run) for file in listed]
    return commit_files(store, table, manifest.window, manifest.round, files, schema, now)


def commit_files(
    store: Store, table: str, window: str, round_number: int, files: Sequence[TableFile], schema: pa.Schema, now: datetime
) -> int:  # fmt: skip
    """Make these the table's files of the window, once for the round; gives the version in which they are.

    Concurrent commits of other windows are tried again. PublishError (`table_schema`) where a column has got
    another type.
    """
    snapshot = known_snapshot(store, table)
    for _ in range(_MOST_TRIES):
        if snapshot.rounds.get(window, 0) >= round_number:
            return snapshot.version
        committed = append(store, snapshot, plan_commit(snapshot, window, round_number, files, schema, now))
        if committed is not None:
            if is_checkpoint_due(committed.version, len(committed.folders)):
                write_checkpoint(store, table, now)
            return committed.version
        snapshot = read_snapshot(store, table)
    raise StoreError(f"{table_root(table)} changed {_MOST_TRIES} times while {window} was committed to it.")


def is_checkpoint_due(version: int, windows: int) -> bool:
    """Whether the commit of the version to a table of so many windows is followed by a checkpoint.

    >>> is_checkpoint_due(100, 10), is_checkpoint_due(100, 9000), is_checkpoint_due(2000, 9000)
    (True, False, True)
    """
    return version % (_CHECKPOINT_EVERY if windows < _LARGE else _CHECKPOINT_EVERY_OF_LARGE) == 0


def plan_commit(
    snapshot: Snapshot, window: str, round_number: int, files: Sequence[TableFile], schema: pa.Schema, now: datetime
) -> list[Action]:  # fmt: skip
    """The actions that make `files` the table's files of the window; with the table's own where it is new or
    gets columns.
    """
    now_ms = int(now.timestamp() * 1000)
    made, partition = _plan_metadata(snapshot, fields_of(schema, snapshot.table), now_ms)
    live = snapshot.files_of(window)
    wanted = {quote(file.path, safe="/=:@!$&'()*+,;~-._"): file for file in files}
    values = {partition: window}
    removes = [_remove(path, live[path], values, now_ms) for path in live if path not in wanted]
    adds = [_add(path, file, values, now_ms) for path, file in wanted.items() if path not in live]
    txn = {"appId": f"{APP}{window}", "version": round_number, "lastUpdated": now_ms}
    operation = {
        "timestamp": now_ms,
        "operation": "WRITE",
        "operationParameters": {"window": window, "round": str(round_number)},
    }
    return [{"commitInfo": operation}, *made, {"txn": txn}, *removes, *adds]


def is_committed(snapshot: Snapshot, manifest: Manifest) -> bool:
    """Whether the table has this round of the manifest's window, or a later one."""
    return snapshot.rounds.get(manifest.window, 0) >= manifest.round


def sizes_of(store: Store, table: str, window: str) -> dict[str, int]:
    """The bytes of the window's files below the table's root, by path in the store: one listing."""
    entries: list[Entry] = list(store.list(window_folder(table, window)))
    return {entry.path: entry.size_bytes for entry in entries}


def _table_file(file: ResultFile, table: str, sizes: Mapping[str, int], run: str) -> TableFile:
    if file.path not in sizes:
        raise StoreError(
            f"{file.path} is named by the manifest and not there.",
            fix=f"Score the window again: fleetscore retry {run} --only all",
            code="results_lost",
            retry=False,
        )
    return TableFile(file.path.removeprefix(table_root(table)), sizes[file.path], file.rows)


def _plan_metadata(snapshot: Snapshot, wanted: list[dict[str, Any]], now_ms: int) -> tuple[list[Action], str]:
    """The protocol and metadata actions that the columns call for, and the name of the partition column."""
    if snapshot.metadata is None:
        wanted, partition = grow([], wanted, snapshot.table), partition_column(wanted)
        metadata = {
            "id": str(uuid.uuid4()), "format": {"provider": "parquet", "options": {}},
            "schemaString": to_schema_string(wanted, partition), "partitionColumns": [partition],
            "configuration": _CONFIGURATION, "createdTime": now_ms,
        }  # fmt: skip
        return [{"protocol": protocol_of(wanted)}, {"metaData": metadata}], partition
    partition = snapshot.metadata["partitionColumns"][0]
    known = from_schema_string(snapshot.metadata["schemaString"], partition)
    fields = grow(known, wanted, snapshot.table)
    if fields == known:
        return [], partition
    changed = {**snapshot.metadata, "schemaString": to_schema_string(fields, partition)}
    needed = protocol_of(fields)
    upgrade = [{"protocol": needed}] if needed != protocol_of(known) else []
    return [*upgrade, {"metaData": changed}], partition


def _add(path: str, file: TableFile, values: Mapping[str, str], now_ms: int) -> Action:
    return {
        "add": {
            "path": path, "partitionValues": values, "size": file.size_bytes, "modificationTime": now_ms,
            "dataChange": True, "stats": json.dumps({"numRecords": file.rows}),
        }
    }  # fmt: skip


def _remove(path: str, add: Mapping[str, Any], values: Mapping[str, str], now_ms: int) -> Action:
    return {
        "remove": {
            "path": path, "deletionTimestamp": now_ms, "dataChange": True, "extendedFileMetadata": True,
            "partitionValues": values, "size": add["size"],
        }
    }  # fmt: skip
