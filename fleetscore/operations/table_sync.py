"""Keeping result tables as the manifests say: what a crash or an outage left behind is committed, older
windows are copied in.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import FleetscoreError, MissingBlobError
from fleetscore.operations.known_workloads import find_named
from fleetscore.pipeline.lost_results import find_lost
from fleetscore.pipeline.run_events import write_events
from fleetscore.records import Manifest, ResultFile
from fleetscore.runs.delta_log import Snapshot, read_snapshot
from fleetscore.runs.event_tables import commit_events, lacks_events
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.manifests import find_manifest
from fleetscore.runs.result_tables import TableFile, commit_files, is_committed, sizes_of
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import copied_path, events_table, table_root

LOOKS_BACK = timedelta(days=8)
"""Windows that were published longer ago are looked at by the doctor and by the repair."""

_PIECE_BYTES = 8_000_000
_log = logging.getLogger("fleetscore.tables")


@dataclass(frozen=True, slots=True)
class TableRepair:
    """A window whose table was behind its manifest; `state` is committed, missing (in a dry run) or
    failed.
    """

    workload: str
    window: str
    state: str
    detail: str


def sync_tables(store: Store, now: datetime) -> list[TableRepair]:
    """Commit the windows of the last days whose manifest is ahead of their table; copies no file, and no
    workload costs another.
    """
    done: list[TableRepair] = []
    for known in find_named(store):
        try:
            done += [_commit(store, manifest, now) for manifest in _recently_behind(store, known.name, now)]
        except FleetscoreError as error:
            _log.error("table_behind workload=%s reason=%s", known.name, error)
    return done


def repair_tables(store: Store, now: datetime, *, dry_run: bool = False) -> list[TableRepair]:
    """Commit every published window that a table of results or events lacks, and copy the files of results in
    that lie outside; or only say which. A log or a manifest that cannot be read costs no other workload or
    window.
    """
    done: list[TableRepair] = []
    for known in find_named(store):
        try:
            behind = _behind(store, known.name)
        except FleetscoreError as error:
            done.append(TableRepair(known.name, "", "failed", str(error)))
            continue
        for window, found in behind:
            if isinstance(found, FleetscoreError):
                done.append(TableRepair(known.name, window, "failed", str(found)))
            elif dry_run:
                detail = f"{len(found.files)} files of {found.run}"
                done.append(TableRepair(known.name, window, "missing", detail))
            else:
                done.append(_commit(store, found, now))
    return done


def _behind(store: Store, workload: str) -> list[tuple[str, Manifest | FleetscoreError]]:
    """The published windows that a table lacks with their manifests, and those whose manifest cannot be
    read.
    """
    snapshot, events = (read_snapshot(store, table) for table in (workload, events_table(workload)))
    return [
        (window, found)
        for window, found in _read_manifests(store, workload, published_windows(store, workload))
        if isinstance(found, FleetscoreError)
        or not is_committed(snapshot, found)
        or lacks_events(events, found)
    ]


def _read_manifests(
    store: Store, workload: str, windows: Sequence[str]
) -> list[tuple[str, Manifest | FleetscoreError]]:
    """The manifests of the windows that are still there, or why one cannot be read."""
    found = side_by_side(partial(_read_manifest, store, workload), windows)
    return [(window, one) for window, one in zip(windows, found, strict=True) if one is not None]


def _read_manifest(store: Store, workload: str, window: str) -> Manifest | FleetscoreError | None:
    """The window's manifest, or why it cannot be read."""
    try:
        return find_manifest(store, workload, window)
    except FleetscoreError as error:
        return error


def missing_windows(store: Store, workload: str) -> list[str]:
    """The published windows of which the workload's table has no round at all."""
    rounds = read_snapshot(store, workload).rounds
    return [window for window in published_windows(store, workload) if window not in rounds]


def windows_without_events(store: Store, workload: str) -> list[str]:
    """The published windows whose files of events lie in the folder of the table of events, which has no
    round of them.
    """
    table = events_table(workload)
    folders = store.list_folders(table_root(table))
    windows = [folder.rstrip("/").rpartition("window=")[2] for folder in folders if "/window=" in folder]
    snapshot = read_snapshot(store, table) if windows else Snapshot(table)
    found = (find_manifest(store, workload, window) for window in windows if window not in snapshot.rounds)
    return [
        manifest.window for manifest in found if manifest is not None and lacks_events(snapshot, manifest)
    ]


def lost_windows(store: Store, workload: str) -> dict[str, int]:
    """The windows of which the workload's table of results names files that are gone, with how many."""
    lost: dict[str, int] = {}
    files, root = read_snapshot(store, workload).files, table_root(workload)
    there = {entry.path for entry in store.list(root)} if files else set()
    for path in files:
        if root + unquote(path) not in there:
            window = path.partition("/")[0].removeprefix("window=")
            lost[window] = lost.get(window, 0) + 1
    return lost


def published_windows(store: Store, workload: str) -> list[str]:
    """The windows that have a manifest, sorted as texts."""
    paths = [entry.path for entry in store.list(f"results/{workload}/")]
    return [path.split("/")[2] for path in paths if path.count("/") == 3 and path.endswith("/manifest.json")]


def _recently_behind(store: Store, workload: str, now: datetime) -> list[Manifest]:
    """The manifests of the last days that are ahead of the table, and whose files lie below its root.

    Runs in every state are looked at: one that was killed between manifest and commit never recorded an end.
    """
    lines = [
        line
        for line in list_runs_since(store, workload, f"{now - LOOKS_BACK:%Y-%m-%d}")
        if line.purpose == "score"
    ]
    if not lines:
        return []
    snapshot = read_snapshot(store, workload)
    windows = sorted({line.window for line in lines if _is_behind(snapshot, line.window, line.run)})
    root, behind = table_root(workload), list[Manifest]()
    for window, found in _read_manifests(store, workload, windows):
        if isinstance(found, FleetscoreError):
            _log.error("table_behind workload=%s window=%s reason=%s", workload, window, found)
        elif not is_committed(snapshot, found) and all(file.path.startswith(root) for file in found.files):
            behind.append(found)
    return behind


def _is_behind(snapshot: Snapshot, window: str, run: str) -> bool:
    found = re.search(r"-r(\d+)$", run)
    return snapshot.rounds.get(window, 0) < (int(found[1]) if found else 1)


def _commit(store: Store, manifest: Manifest, now: datetime) -> TableRepair:
    try:
        _write_lost_events(store, manifest)
        commit_events(store, manifest, now)
        files, schema = _bring_in(store, manifest)
        version = commit_files(store, manifest.workload, manifest.window, manifest.round, files, schema, now)
    except FleetscoreError as error:
        _log.error("table_behind workload=%s window=%s reason=%s", manifest.workload, manifest.window, error)
        return TableRepair(manifest.workload, manifest.window, "failed", str(error))
    return TableRepair(manifest.workload, manifest.window, "committed", f"version {version}")


def _write_lost_events(store: Store, manifest: Manifest) -> None:
    """Find the events again where a vacuum took their file, which no table named yet: the same bytes."""
    if manifest.events and find_lost(
        store, events_table(manifest.workload), manifest.window, manifest.events
    ):
        write_events(store, manifest.workload, manifest.window, manifest.run, manifest.files)


def _bring_in(store: Store, manifest: Manifest) -> tuple[list[TableFile], pa.Schema]:
    """The manifest's files as the table's, and their schema; files that lie elsewhere are copied below the
    table's root.
    """
    root, sizes = table_root(manifest.workload), sizes_of(store, manifest.workload, manifest.window)
    files, schemas = [], []
    for file in manifest.files:
        path = file.path if file.path.startswith(root) else _copy_in(store, manifest, file, sizes)
        try:
            with store.open(path) as source:
                schemas.append(pq.read_schema(source))
                size = source.size()
        except MissingBlobError as error:
            raise MissingBlobError(
                f"{file.path} is named by the manifest of {manifest.window} and not there.",
                fix=f"Score the window again: fleetscore retry {manifest.run} --only all.",
                code="results_lost",
            ) from error
        files.append(TableFile(path.removeprefix(root), size, file.rows))
    return files, pa.unify_schemas(schemas, promote_options="default")


def _copy_in(store: Store, manifest: Manifest, file: ResultFile, sizes: dict[str, int]) -> str:
    digest = hashlib.sha256(file.path.encode()).hexdigest()[:16]
    target = copied_path(manifest.workload, manifest.window, manifest.run, digest)
    if target not in sizes:
        with store.open(file.path) as source, store.sink(target) as sink:
            while piece := source.read(_PIECE_BYTES):
                sink.write(piece)
    return target
