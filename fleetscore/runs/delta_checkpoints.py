"""Checkpoints of a table's log: what a version holds as one Parquet file, so that readers need not read every
commit; and retention.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.runs.delta_log import APP, Snapshot, checkpoint_path, list_versions, read_snapshot
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import table_root

_TEXTS = pa.map_(pa.string(), pa.string())
_SCHEMA = pa.schema(
    [
        ("txn", pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())])),
        (
            "add",
            pa.struct(
                [
                    ("path", pa.string()), ("partitionValues", _TEXTS), ("size", pa.int64()),
                    ("modificationTime", pa.int64()), ("dataChange", pa.bool_()), ("stats", pa.string()),
                ]
            ),
        ),
        (
            "remove",
            pa.struct(
                [
                    ("path", pa.string()), ("deletionTimestamp", pa.int64()), ("dataChange", pa.bool_()),
                    ("extendedFileMetadata", pa.bool_()), ("partitionValues", _TEXTS), ("size", pa.int64()),
                ]
            ),
        ),
        (
            "metaData",
            pa.struct(
                [
                    ("id", pa.string()), ("format", pa.struct([("provider", pa.string()), ("options", _TEXTS)])),
                    ("schemaString", pa.string()), ("partitionColumns", pa.list_(pa.string())),
                    ("configuration", _TEXTS), ("createdTime", pa.int64()),
                ]
            ),
        ),
        (
            "protocol",
            pa.struct(
                [
                    ("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32()),
                    ("readerFeatures", pa.list_(pa.string())), ("writerFeatures", pa.list_(pa.string())),
                ]
            ),
        ),
    ]
)  # fmt: skip
_COMMITS_BETWEEN = 10
_REMOVES_STAY = timedelta(days=7)
_LOG_STAYS = timedelta(days=30)


def write_checkpoint(store: Store, table: str, now: datetime) -> int | None:
    """Write a checkpoint of the table's newest version if ten commits came since the last; gives its
    version.
    """
    snapshot = read_snapshot(store, table)
    _, checkpoints = list_versions(store, table)
    if snapshot.version - max(checkpoints, default=-1) < _COMMITS_BETWEEN:
        return None
    rows = list(_rows(snapshot, now))
    with store.sink(checkpoint_path(table, snapshot.version)) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), file, compression="zstd")
    store.flush([checkpoint_path(table, snapshot.version)])
    pointer = {"version": snapshot.version, "size": len(rows)}
    store.write(f"{table_root(table)}_delta_log/_last_checkpoint", json.dumps(pointer).encode())
    return snapshot.version


def list_old_log(store: Store, table: str, now: datetime) -> list[Entry]:
    """What no reader of the last 30 days of the table needs: commits and checkpoints before the newest old
    checkpoint.
    """
    limit = now - _LOG_STAYS
    entries = {entry.path: entry for entry in store.list(f"{table_root(table)}_delta_log/")}
    commits, checkpoints = list_versions(store, table)
    old = [version for version, path in checkpoints.items() if entries[path].modified < limit]
    if not old:
        return []
    base = max(old)
    before = [path for known in (commits, checkpoints) for version, path in known.items() if version < base]
    return [entries[path] for path in before if entries[path].modified < limit]


def _rows(snapshot: Snapshot, now: datetime) -> Iterator[dict[str, Any]]:
    oldest_ms = int((now - _REMOVES_STAY).timestamp() * 1000)
    yield {"protocol": dict(snapshot.protocol or {})}
    yield {"metaData": dict(snapshot.metadata or {})}
    for window, number in snapshot.rounds.items():
        yield {"txn": {"appId": f"{APP}{window}", "version": number, "lastUpdated": None}}
    for add in snapshot.files.values():
        yield {"add": dict(add)}
    for remove in snapshot.removed.values():
        if remove.get("deletionTimestamp", 0) >= oldest_ms:
            yield {"remove": dict(remove)}
