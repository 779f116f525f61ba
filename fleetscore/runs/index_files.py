"""The files of the index of runs: one a day while it is fresh, and rolled up by housekeeping one a month
and one a year.

A line may be in several files of different spans, after a late change or a roller that died half-way: that
of the shortest span holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fleetscore.store.base import Store

_SPANS = {10: ("", ""), 7: ("-01", "-31"), 4: ("-01-01", "-12-31")}
"""Length of a file's name -> what makes its first and its last day of it."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file with the runs that were requested from its first to its last day (YYYY-MM-DD; the last may be
    no day of the calendar).
    """

    path: str
    first_day: str
    last_day: str
    size_bytes: int
    etag: str = ""

    @property
    def name(self) -> str:
        """The day, month or year."""
        return name_of(self.path)


def name_of(path: str) -> str:
    """The day, month or year that the path of a file names.

    >>> name_of("index/toy/2026-11.json")
    '2026-11'
    """
    return path.rsplit("/", 1)[1].removesuffix(".json")


def list_workloads(store: Store) -> list[str]:
    """The names of the workloads that have runs, sorted; also of those that are not known here any more."""
    return [folder.removeprefix("index/").removesuffix("/") for folder in store.list_folders("index/")]


def list_files(store: Store, workload: str) -> list[IndexFile]:
    """The index files of the workload, in the order of their names."""
    entries = store.list(f"index/{workload}/")
    return [index_file(e.path, e.size_bytes, e.etag) for e in entries if len(name_of(e.path)) in _SPANS]


def index_file(path: str, size_bytes: int, etag: str = "") -> IndexFile:
    """The file at the path.

    >>> index_file("index/toy/2026-11.json", 9).last_day
    '2026-11-31'
    """
    name = name_of(path)
    first, last = _SPANS[len(name)]
    return IndexFile(path, name + first, name + last, size_bytes, etag)


def batches(files: Iterable[IndexFile], least_bytes: int) -> Iterator[tuple[list[IndexFile], str]]:
    """The files in batches of `least_bytes` or more, newest first, each with the last day that any file
    after it may hold ("" for none).

    What one span covers comes together, since the shorter holds against the longer.

    >>> [found] = batches([index_file("i/2026-11.json", 9), index_file("i/2026-11-20.json", 1)], 5)
    >>> [file.name for file in found[0]], found[1]
    (['2026-11', '2026-11-20'], '')
    """
    groups = sorted(_by_cover(files), key=lambda group: group[0].last_day, reverse=True)
    batch: list[IndexFile] = []
    for number, group in enumerate(groups):
        batch += group
        after = groups[number + 1][0].last_day if number + 1 < len(groups) else ""
        if not after or (after != group[0].last_day and sum(f.size_bytes for f in batch) >= least_bytes):
            yield batch, after
            batch = []


def longest_first(files: Iterable[IndexFile]) -> Sequence[IndexFile]:
    """The files in an order in which later ones hold against earlier ones."""
    return sorted(files, key=lambda file: (len(file.name), file.path))


def _by_cover(files: Iterable[IndexFile]) -> list[list[IndexFile]]:
    """Groups of files of a folder that one of them, their first, covers."""
    groups: list[list[IndexFile]] = []
    for file in sorted(files, key=lambda file: (_folder(file), file.first_day, len(file.name))):
        top = groups[-1][0] if groups else None
        if top is not None and _folder(top) == _folder(file) and file.last_day <= top.last_day:
            groups[-1].append(file)
        else:
            groups.append([file])
    return groups


def _folder(file: IndexFile) -> str:
    return file.path.rpartition("/")[0]
