"""Lost results: a committed shard whose file was taken by a vacuum of the table, before it was published, is
scored again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fleetscore.pipeline.score import read_shard_record, score_shard
from fleetscore.records import PlanHead, ResultFile, ShardRecord
from fleetscore.runs.result_tables import sizes_of
from fleetscore.store.base import Store
from fleetscore.store.paths import attempt_path, held_folder, shard_record_path, table_root

_log = logging.getLogger("fleetscore.lost_results")


def score_lost(store: Store, head: PlanHead, records: Sequence[ShardRecord]) -> list[ShardRecord]:
    """The records, those whose results file is gone scored anew in this process; a file that is held back is
    not gone.
    """
    request = head.request
    sizes = sizes_of(store, request.workload, request.window)
    root = table_root(request.workload)
    lost = [record for record in records if _is_lost(record.results, root, sizes)]
    held = {_name(entry.path) for entry in store.list(held_folder(request.run))} if lost else set()
    gone = {record.shard for record in lost if record.results and _name(record.results.path) not in held}
    return [_score_anew(store, record) if record.shard in gone else record for record in records]


def find_lost(store: Store, workload: str, window: str, files: Sequence[ResultFile]) -> list[str]:
    """The paths among the files below the table's root that are not there."""
    sizes = sizes_of(store, workload, window)
    return [file.path for file in files if _is_lost(file, table_root(workload), sizes)]


def _is_lost(file: ResultFile | None, root: str, sizes: dict[str, int]) -> bool:
    return file is not None and file.path.startswith(root) and file.path not in sizes


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _score_anew(store: Store, record: ShardRecord) -> ShardRecord:
    path = shard_record_path(record.run, record.shard)
    _log.warning("%s is gone: shard %d of %s is scored again.", record.results, record.shard, record.run)
    entry = store.stat(path)
    if entry is not None:
        store.delete(path, entry.etag)
    store.delete(attempt_path(record.run, record.shard, record.attempt, "crumb.json"))  # it died of nothing
    scored = score_shard(store, record.run, record.shard, record.placement)
    return scored or read_shard_record(store, record.run, record.shard) or record
