"""The results of a listing and a reading: files, files passed over, rows, rows that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa


class ColumnKind(StrEnum):
    """What a column is to its reader, and so how its cells are read."""

    KEY = "key"  # text, always: a device called NA stays NA; a row without it is rejected
    CODED = "coded"  # as KEY, dictionary-encoded: for readers of many rows
    TIME = "time"  # microseconds UTC; a row without a readable one is rejected
    NUMBER = "number"  # float64, null where there is none
    TEXT = "text"  # text, null where there is none
    ANY = "any"  # numbers where every cell of a reading is one, else as TEXT


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One version of an input file, or of a Delta table: `path` in the run's store, or a URL in another
    container.

    `columns` are those that the path gives, as text. The `etag` of a Delta table is its version.
    """

    path: str
    etag: str
    size_bytes: int
    format: str
    columns: Mapping[str, str] = field(default_factory=dict)


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

    files: tuple[SourceFile, ...]
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


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one file under our names, those that were rejected, and what is to be said of them.

    `rejected` counts all rejects by cause; `rejects` holds the first few with their places.
    """

    table: pa.Table
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[Reject, ...] = ()
    remarks: tuple[str, ...] = ()
