"""Event tables: the published events of a workload as a Delta table beside that of its results."""

from __future__ import annotations

from datetime import datetime

from fleetscore.records import Manifest
from fleetscore.runs.delta_log import known_snapshot
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
    if not all(file.path.startswith(table_root(table)) for file in manifest.events):
        return
    if not manifest.events and (
        manifest.round == 1 or not known_snapshot(store, table).files_of(manifest.window)
    ):
        return
    commit_listed(store, table, manifest, manifest.events, EVENT_FILES, now)
