"""What a damaged file of the index said, made anew from the records of the runs: reads every run of the
workload, and so only then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.records import RunRecord
from fleetscore.runs.index_files import index_file
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import run_path
from fleetscore.store.state_files import read_truth

_log = logging.getLogger("fleetscore.runs")


def records_of(store: Store, path: str) -> Iterator[RunRecord]:
    """The records of the runs that belong into the index file at the path; those that are damaged
    themselves are passed over.
    """
    workload = path.split("/")[1]
    file = index_file(path, 0)
    folders = store.list_folders("runs/")
    runs = [folder.split("/")[1] for folder in folders if folder.startswith(f"runs/{workload}-")]
    for record in side_by_side(lambda run: _read(store, run), runs):
        if record is None or record.request.workload != workload:
            continue
        if file.first_day <= f"{record.request.requested:%Y-%m-%d}" <= file.last_day:
            yield record


def _read(store: Store, run: str) -> RunRecord | None:
    try:
        return read_truth(store, run_path(run, "run.json"), RunRecord)
    except (MissingBlobError, DamagedStateError) as error:
        _log.warning("%s is missing in the index: %s", run, error)
        return None
