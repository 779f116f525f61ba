"""A workload of another store on the local cloud: its settings, data and models copied to the cloud's
container.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_latest
from fleetscore.settings import workload_settings_path
from fleetscore.store.base import Entry, Store
from fleetscore.windows import Window

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Carried:
    """What was copied of a workload, and the windows to run."""

    workload: str
    first: Window
    end: Window  # exclusive
    files: int
    size_bytes: int


def carry_workload(source: Store, target: Store, name: str, first: str = "", end: str = "") -> Carried:
    """Copy what runs of the workload need; files that are there with the same size and are older stay.

    Windows are [first, end), by default the newest published one; InputError where there is none.
    """
    workload = get_workload(source, name)
    windows = choose_windows(source, name, first, end)
    prefixes = (workload_settings_path(name), f"models/{name}/", *workload.data_prefixes())
    entries = {entry.path: entry for prefix in prefixes for entry in source.list(prefix)}
    there = {entry.path: entry for prefix in prefixes for entry in target.list(prefix)}
    missing = [entry for path, entry in sorted(entries.items()) if not _is_kept(entry, there.get(path))]
    for entry in missing:
        _copy(source, target, entry.path)
    return Carried(name, *windows, len(entries), sum(entry.size_bytes for entry in entries.values()))


def choose_windows(source: Store, name: str, first: str, end: str) -> tuple[Window, Window]:
    """The windows [first, end), one window where only one is given, by default the newest published one."""
    workload = get_workload(source, name)
    if first or end:
        begin = workload.parse_window(first or end)
        return begin, workload.parse_window(end) if end and first else begin.next()
    latest = read_latest(source, name)
    if latest is None:
        raise InputError(
            f"{name} has published no window in {source.url}, so nothing says which to run.",
            fix="Give --from and --to.",
            field="from",
        )
    newest = workload.parse_window(latest.window)
    return newest, newest.next()


def _is_kept(entry: Entry, there: Entry | None) -> bool:
    return there is not None and there.size_bytes == entry.size_bytes and there.modified >= entry.modified


def _copy(source: Store, target: Store, path: str) -> None:
    try:
        with source.open(path) as file, target.sink(path) as sink:
            while block := file.read(_BLOCK_BYTES):
                sink.write(block)
    except MissingBlobError:  # a marker that was removed meanwhile
        return
