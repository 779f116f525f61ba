"""The country of each store, where a column of the rows holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.sources import our_names
from fleetscore.workloads.store_sales.input_files import UsableFiles


def require_country_column(files: UsableFiles) -> None:
    """InputError where the country is a column that no file has."""
    if files.country_column and files.inputs() and not _files_with_countries(files):
        raise InputError(
            f"No file has the column {files.country_column}, which the setting country names; the first is "
            f"{files.inputs()[0].path}.",
            fix="Say which column it is in [data] columns, or set country to a code such as US.",
            field="country",
            code="missing_column",
        )


def read_countries(files: UsableFiles, stores: Sequence[str]) -> tuple[str, ...]:
    """The country that most rows of each store name, in capitals; "" where none does.

    Of equally many the first by name is taken, so that the order of rows decides nothing.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in stores}
    for file in _files_with_countries(files):
        for rows in files.reader.pairs(file, ("store", files.country_column), sorted(stores)):
            for (store, country), number in rows.items():
                if store in counts and country:
                    counts[store][country.upper()] += number
    return tuple(min(found, key=lambda name: (-found[name], name), default="") for found in counts.values())


def _files_with_countries(files: UsableFiles) -> list[InputFile]:
    reader, column = files.reader, files.country_column
    return [file for file in files.inputs() if column in our_names(reader.store, file, reader.data)]
