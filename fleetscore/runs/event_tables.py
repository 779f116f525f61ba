"""Event tables: the published events of a workload as a Delta table beside that of its results."""

from __future__ import annotations

from datetime import datetime

from fleetscore.records import Manifest
from fleetscore.runs.delta_log import Snapshot, read_snapshot
from fleetscore.runs.result_tables import commit_listed
from fleetscore.schemas import EVENT_FILES
from fleetscore.store.base import Store
from fleetscore.store.paths import events_table, table_root


def commit_events(store: Store, manifest: Manifest, now: datetime) -> None:
    """Make the event table's files of the window those of the manifest, once for the round.

    Nothing is done where neither the manifest nor an earlier round has events, and for a manifest of an
    earlier version, whose events lie outside of the table. StoreError (`results_lost`) where a file is gone.
    """
    table = events_table(manifest.workload)
    if not manifest.events and (
        manifest.round == 1 or not lacks_events(read_snapshot(store, table), manifest)
    ):
        return
    if _lie_in_table(manifest):
        commit_listed(store, table, manifest, manifest.events, EVENT_FILES, now)


def lacks_events(snapshot: Snapshot, manifest: Manifest) -> bool:
    """Whether the table's events of the window are not those of the manifest, or of a later round."""
    if snapshot.rounds.get(manifest.window, 0) >= manifest.round or not _lie_in_table(manifest):
        return False
    return bool(manifest.events) or bool(snapshot.files_of(manifest.window))


def _lie_in_table(manifest: Manifest) -> bool:
    """Whether all events lie below the table's root; those of an earlier version do not."""
    root = table_root(events_table(manifest.workload))
    return all(file.path.startswith(root) for file in manifest.events)
