"""The input files: which there are, and which of them can be used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.store.base import Store
from fleetscore.workloads.store_sales.contract import FUTURE, HISTORY, StoreSalesSettings
from fleetscore.workloads.store_sales.reading import Columns, check_columns


@dataclass(frozen=True, slots=True)
class UsableFiles:
    """The input files that can be read, with their columns, and what is wrong with the others."""

    future: tuple[tuple[InputFile, Columns], ...]
    history: tuple[tuple[InputFile, Columns], ...]
    faults: tuple[str, ...]
    daily: bool = False  # a row covers a day, not a week

    def inputs(self) -> tuple[InputFile, ...]:
        """All usable files."""
        return tuple(file for file, _ in (*self.future, *self.history))


def list_inputs(store: Store, settings: StoreSalesSettings) -> list[InputFile]:
    """The history and future files in the workload's data folder, sorted by path."""
    folder = settings.data.folder
    entries = [entry for role in (FUTURE, HISTORY) for entry in store.list(f"{folder}{role}")]
    return [InputFile(e.path, e.etag, e.size_bytes) for e in entries if e.path.endswith((".csv", ".parquet"))]


def usable_files(store: Store, inputs: Iterable[InputFile], settings: StoreSalesSettings) -> UsableFiles:
    """Check the columns of every file; a file that cannot be used costs its own rows, and is said."""
    future: list[tuple[InputFile, Columns]] = []
    history: list[tuple[InputFile, Columns]] = []
    faults: list[str] = []
    for file in sorted(inputs, key=lambda f: f.path):
        of_history = file.path.startswith(f"{settings.data.folder}{HISTORY}")
        try:
            columns = check_columns(store, file.path, settings.covariates, with_sales=of_history)
        except InputError as error:
            faults.append(str(error))
        else:
            (history if of_history else future).append((file, columns))
    return UsableFiles(tuple(future), tuple(history), tuple(faults), settings.frequency == "day")
