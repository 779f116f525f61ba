"""Held-back results: what a check keeps from being published lies below the run, not in the table's folder,
and can be read there.
"""

from __future__ import annotations

from dataclasses import replace

from fleetscore.errors import MissingBlobError
from fleetscore.pipeline.copied_rows import relocate
from fleetscore.records import Collected, ResultFile, RunRequest, to_json
from fleetscore.runs.ledgers import read_ledger, write_ledger
from fleetscore.store.base import Store
from fleetscore.store.paths import held_folder, results_prefix, run_path, window_folder

_PIECE_BYTES = 8_000_000


def hold_results(store: Store, request: RunRequest, collected: Collected) -> Collected:
    """Move the result files of the run out of the table's folder; gives what was collected with their new
    paths.

    Files of earlier rounds that the run keeps stay where they are. A second call changes nothing.
    """
    prefix = results_prefix(request.workload, request.window, request.run)
    return _move(store, request, collected, prefix, held_folder(request.run))


def release_results(store: Store, request: RunRequest, collected: Collected) -> Collected:
    """Copy what was held back into the table's folder; gives what was collected with the new paths.

    The held files stay until `discard_held`, so that a crash loses nothing.
    """
    folder = window_folder(request.workload, request.window)
    return _move(store, request, collected, held_folder(request.run), folder, keep=True)


def discard_held(store: Store, run: str) -> None:
    """Remove the held copies of what has been published."""
    for entry in list(store.list(held_folder(run))):
        store.delete(entry.path)


def _move(
    store: Store, request: RunRequest, collected: Collected, prefix: str, folder: str, *, keep: bool = False
) -> Collected:
    moved = {
        file.path: replace(file, path=folder + file.path.rsplit("/", 1)[-1])
        for file in collected.files
        if file.path.startswith(prefix)
    }
    for old, new in moved.items():
        _copy(store, old, new.path)
    if not moved:
        return collected
    collected = replace(collected, files=tuple(moved.get(file.path, file) for file in collected.files))
    _write(store, request.run, collected, moved)
    if not keep:
        for old in moved:
            store.delete(old)
    return collected


def _write(store: Store, run: str, collected: Collected, moved: dict[str, ResultFile]) -> None:
    """Rewrite what names the files: the ledger first, and last what the next call goes by."""
    write_ledger(store, run, relocate(read_ledger(store, run), moved))
    store.write(run_path(run, "files.json"), to_json(collected.files))
    store.write(run_path(run, "collected.json"), to_json(collected))


def _copy(store: Store, old: str, new: str) -> None:
    """Copy a file; where it is gone and was copied before, a call that died has done so."""
    try:
        with store.open(old) as source, store.sink(new) as sink:
            while piece := source.read(_PIECE_BYTES):
                sink.write(piece)
    except MissingBlobError:
        if store.stat(new) is None:
            raise
