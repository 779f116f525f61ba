"""The results of a listing and a reading: files, files passed over, rows, rows that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.records import InputFile

REJECTS_KEPT = 5
"""Of each cause and column of a file."""


class ColumnKind(StrEnum):
    """What a column is to its reader, and so how its cells are read."""

    KEY = "key"  # text, always: a device called NA stays NA; a row without it is rejected
    CODED = "coded"  # as KEY, dictionary-encoded: for readers of many rows
    LABEL = "label"  # as CODED; a row without it is kept, with null
    TIME = "time"  # microseconds UTC; a row without a readable one is rejected
    NUMBER = "number"  # float64, null where there is none
    TEXT = "text"  # text, null where there is none
    ANY = "any"  # numbers where every cell of a reading is one, else as TEXT


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that was listed and is not read: why (a stable code and a sentence), and whether it needs
    attention.
    """

    path: str
    cause: str
    detail: str
    needs_attention: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a window, by path, and those passed over; `listed` counts the entries that the store
    gave.
    """

    files: tuple[InputFile, ...]
    passed_over: tuple[PassedOver, ...]
    listed: int

    def remarks(self) -> tuple[str, ...]:
        """A sentence for each file passed over that needs attention."""
        return tuple(f"{p.path}: {p.detail}" for p in self.passed_over if p.needs_attention)


@dataclass(frozen=True, slots=True)
class Reject:
    """A row, or one number of it, that cannot be used: a stable code, the line or row in its file, the
    column, the text.
    """

    cause: str
    place: str
    column: str
    text: str


def first_of_each(rejects: Iterable[Reject]) -> tuple[Reject, ...]:
    """The first few of each cause and column, in their order: no cause takes the places of another's."""
    kept: Counter[tuple[str, str]] = Counter()
    found = []
    for reject in rejects:
        kind = reject.cause, reject.column
        if kept[kind] < REJECTS_KEPT:
            kept[kind] += 1
            found.append(reject)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one file under our names, those that were rejected, and what is to be said of them.

    `rejected` counts all rejects by cause; `rejects` holds the first few of each cause and column with
    their places. `places` are the lines or rows of the file that the rows stand in; `texts` has, by row of
    the table, the first text that stands in place of a number.
    """

    table: pa.Table
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    remarks: tuple[str, ...] = ()
    places: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    texts: Mapping[int, str] = field(default_factory=dict)

    def sentences(self, path: str) -> list[str]:
        """What is to be said of the file: its own remarks, and how many of its rows were rejected and why."""
        found = [f"{path}: {remark}" for remark in self.remarks]
        for cause, count in self.rejected.items():
            first = next((reject for reject in self.rejects if reject.cause == cause), None)
            column = f", {first.column}" if first and first.column else ""
            example = f"; first at {first.place}{column}: {first.text[:80]!r}" if first else ""
            found.append(f"{path}: {count} rows rejected ({cause}){example}.")
        return found


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Which rows of a reading are wanted: those that `mask` is true of.

    `values` names, by key, what each wanted row has there (sorted): parts of a file that hold none of them
    may be left out unread.
    """

    values: Mapping[str, Sequence[str]]
    mask: Callable[[pa.Table], pa.ChunkedArray]

    def of(self, table: pa.Table) -> pa.Table:
        """The wanted rows of a piece; a copy, so that the piece can go."""
        mask = self.mask(table)
        return table if pc.all(mask).as_py() else table.filter(mask)


@dataclass(slots=True)
class RejectTally:
    """Counts what was rejected of a file that is read piece by piece; mutable, since it counts."""

    rejected: Counter[str] = field(default_factory=Counter)
    rejects: tuple[Reject, ...] = ()
    remarks: dict[str, None] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        """Count those of a piece, and keep the first few of each cause and column."""
        self.rejected.update(rows.rejected)
        self.rejects = first_of_each((*self.rejects, *rows.rejects))
        self.remarks |= dict.fromkeys(rows.remarks)

    def of(self, table: pa.Table) -> Rows:
        """The file's rows with all that was counted."""
        return Rows(table, dict(self.rejected), self.rejects, tuple(self.remarks))
