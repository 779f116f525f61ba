"""The input files: which there are, and which of them can be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.sources import Listing, is_matched, list_inputs
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.landed_weeks import longest_weeks, newest_weeks, weeks_of_window
from fleetscore.workloads.store_sales.reading import NEUTRAL, Columns, Reader

UsableFile = tuple[InputFile, Columns]


@dataclass(frozen=True, slots=True)
class UsableFiles:
    """The input files that can be read, with their columns, and what is wrong with the others."""

    reader: Reader
    future: tuple[UsableFile, ...]
    history: tuple[UsableFile, ...]
    faults: tuple[str, ...]
    daily: bool = False  # a row covers a day, not a week
    country_column: str = ""  # "": the country is no column

    def inputs(self) -> tuple[InputFile, ...]:
        """All usable files."""
        return tuple(file for file, _ in (*self.future, *self.history))


def list_files(
    store: Store, settings: StoreSalesSettings, workload: str, window: Window | None = None
) -> Listing:
    """The history and future files, and what lies beside them and is not read.

    Of a database the file that the window's weeks were landed in, or without one the file with the newest
    weeks.
    """
    if not settings.data.database:
        return list_inputs(store, settings.source, None)
    if window is not None:
        return Listing(weeks_of_window(store, workload, window), (), 1)
    return Listing(newest_weeks(store, settings, workload), (), 1)


def find_files(
    store: Store, settings: StoreSalesSettings, workload: str, window: Window | None = None
) -> UsableFiles:
    """The files of `list_files` that can be used."""
    return usable_files(store, list_files(store, settings, workload, window).files, settings)


def find_history(store: Store, settings: StoreSalesSettings, workload: str) -> UsableFiles:
    """The files that can be used and go back furthest."""
    if settings.data.database:
        return usable_files(store, longest_weeks(store, settings, workload), settings)
    return find_files(store, settings, workload)


def usable_files(store: Store, inputs: Iterable[InputFile], settings: StoreSalesSettings) -> UsableFiles:
    """Check the columns of every file; a file that cannot be used costs its own rows, and is said."""
    reader = Reader(store, settings.source, settings.timezone)
    files: dict[bool, list[UsableFile]] = {True: [], False: []}
    faults: list[str] = []
    for file in sorted(inputs, key=lambda f: f.path):
        of_history = not any(is_matched(file.path, pattern) for pattern in settings.future_paths)
        try:
            columns = reader.columns(file, settings.covariates, with_sales=of_history)
        except InputError as error:
            faults.append(str(error))
        else:
            files[of_history].append((file, columns))
    lacking = (set(columns.constants) for _, columns in (*files[True], *files[False]))
    neutral = set(NEUTRAL).intersection(*lacking)
    future, history = (_neutralised(files[role], neutral) for role in (False, True))
    daily = settings.frequency == "day"
    return UsableFiles(reader, future, history, tuple(faults), daily, settings.country_column)


def _neutralised(files: Sequence[UsableFile], names: Iterable[str]) -> tuple[UsableFile, ...]:
    """The files with a neutral value for the columns that no file has."""
    values = {name: NEUTRAL[name] for name in names}
    return tuple((file, replace(c, constants={**c.constants, **values})) for file, c in files)
