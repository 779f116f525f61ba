"""Rolling up the index of runs, so that reading all of it takes few requests however long the history: days
into months, months into years.

A file is folded into a longer one, and removed only while it is the version that was folded in: whatever is
written to a day meanwhile, or later, stays beside the longer file and holds against it until the next
night.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby

import msgspec

from fleetscore.errors import ConflictError
from fleetscore.records import FINAL
from fleetscore.runs.index import read_file
from fleetscore.runs.index_files import IndexFile, list_files
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import index_path

_DAY, _MONTH = len("2026-11-20"), len("2026-11")
_MONTHS_STAY = timedelta(days=92)


def roll_up_index(store: Store, workload: str, now: datetime) -> int:
    """Fold days before yesterday whose runs have all ended into their months, and the months of years that
    ended three months ago into their years; gives how many files were folded. Running it again, or twice at
    once, changes nothing more.
    """
    yesterday = f"{now - timedelta(days=1):%Y-%m-%d}"
    days = [f for f in list_files(store, workload) if len(f.name) == _DAY and f.name < yesterday]
    folded = _fold_all(store, workload, days, _MONTH)
    this_year = f"{now - _MONTHS_STAY:%Y}"
    months = [f for f in list_files(store, workload) if len(f.name) == _MONTH and f.name[:4] < this_year]
    return folded + _fold_all(store, workload, months, len(this_year))


def _fold_all(store: Store, workload: str, files: Sequence[IndexFile], width: int) -> int:
    """Fold each of the files, which are in order, into the one that the first `width` characters of its
    name name.
    """
    groups = [(name, list(group)) for name, group in groupby(files, lambda file: file.name[:width])]
    return sum(_fold(store, index_path(workload, name), group) for name, group in groups)


def _fold(store: Store, into: str, files: Sequence[IndexFile]) -> int:
    """Fold the files into the one at `into`; those with a run that has not ended stay, and so do all when
    another roller was first.
    """
    known, etag = read_file(store, into)
    read = side_by_side(lambda file: read_file(store, file.path), files)
    done = [
        (file.path, lines, version)
        for file, (lines, version) in zip(files, read, strict=True)
        if version is not None and all(line.state in FINAL for line in lines.values())
    ]
    merged = dict(known)
    for _, lines, _ in done:
        merged |= lines
    with suppress(ConflictError):
        if merged != known:
            store.replace(into, msgspec.json.encode(merged), etag)
        for path, _, version in done:
            store.delete(path, version)
        return len(done)
    return 0
