"""What a reader reads: the columns of one file, within which limits; and what it gives before its
cells are read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.errors import FileError, InputError
from fleetscore.records import InputFile
from fleetscore.sources.formats import format_of
from fleetscore.sources.patterns import Span
from fleetscore.sources.records import ColumnKind, Reject
from fleetscore.sources.settings import DataSettings
from fleetscore.sources.times import TimeReader
from fleetscore.store import Store

_SHOWN = 30  # column names in a message


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows as they stand in a file, under its own names; `numbers` are their lines or rows, `rejects` those
    that are none.
    """

    table: pa.Table
    numbers: npt.NDArray[np.int64]
    rejects: tuple[Reject, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class ReadState:
    """What the files of one reading share, in their order: the times of series, and the events of streams
    that were seen.
    """

    times: TimeReader
    events: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)  # sequence numbers by stream

    def seen_blocks(self) -> dict[str, int]:
        """How many blocks of events were seen of each stream, to `forget_since` later."""
        return {stream: len(blocks) for stream, blocks in self.events.items()}

    def forget_since(self, seen: Mapping[str, int]) -> None:
        """Forget the events that were seen since: those of a file that could not be read are in no table,
        so that another delivery of them is read.
        """
        for stream, blocks in self.events.items():
            del blocks[seen.get(stream, 0) :]


@dataclass(slots=True)
class Budget:
    """The time and the bytes that one file may cost; mutable, since it counts."""

    path: str
    limit_s: float
    limit_bytes: float
    started_s: float = field(default_factory=time.monotonic)
    used_bytes: int = 0

    def spend(self, size_bytes: int) -> None:
        """Count bytes that were unpacked; FileError `too_large` or `too_slow` beyond the limits."""
        self.used_bytes += size_bytes
        if self.used_bytes > self.limit_bytes:
            raise FileError(
                f"{self.path} unpacks to more than {self.limit_bytes / 1e6:,.0f} MB.",
                fix="Split it, or raise read_limit_mb.",
                code="too_large",
                field=self.path,
            )
        if time.monotonic() - self.started_s > self.limit_s:
            raise FileError(
                f"{self.path} could not be read within {self.limit_s:,.0f} s.",
                fix="Split it, write larger row groups, or raise read_limit_s.",
                code="too_slow",
                field=self.path,
            )


def budget_of(path: str, settings: DataSettings) -> Budget:
    """What reading the file may cost by these settings, counted from now."""
    return Budget(path, settings.read_limit_s, settings.read_limit_mb * 1e6)


@dataclass(frozen=True, slots=True)
class Request:
    """One file to read: `store` and `path` where it lies, and what is wanted of it (`columns` None:
    everything).
    """

    store: Store
    path: str
    file: InputFile
    settings: DataSettings
    columns: Mapping[str, ColumnKind] | None
    span: Span | None
    budget: Budget
    state: ReadState
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)  # our key -> its wanted values, sorted

    @property
    def compression(self) -> str:
        """How the file is compressed as a whole: "", gzip or zstd."""
        found = format_of(self.path, self.settings.format)
        return found.compression if found else ""

    def theirs(self, available: Sequence[str]) -> list[str]:
        """The columns of the file that are to be read, in its own names.

        Raises InputError `missing_column` or `ambiguous_column`, with what the file has.
        """
        if self.settings.melt:
            return [self._one(name, available) if name else name for name in dict.fromkeys(available)]
        if self.columns is None:
            return list(dict.fromkeys(available))
        wanted = [name for name in self.columns if not self._comes_from_path(name, available)]
        return list(dict.fromkeys(self._one(self.settings.theirs(name), available, name) for name in wanted))

    def of_records(self, available: Sequence[str]) -> list[str]:
        """The same for records that have names of their own each: a wanted one may be missing here and
        there.
        """
        if self.columns is None or self.settings.melt:
            return list(dict.fromkeys(available))
        wanted = [name for name in self.columns if not self._comes_from_path(name, available)]
        return list(dict.fromkeys(self.settings.theirs(name) for name in wanted))

    def time_column(self) -> str:
        """The file's own name of the column that holds the time; "" where none is wanted."""
        named = [name for name, kind in (self.columns or {}).items() if kind is ColumnKind.TIME]
        ours = named[0] if named else self.settings.time
        return self.settings.theirs(ours) if ours else ""

    def key_columns(self) -> set[str]:
        """The file's own names of the columns that are keys: few values, each often."""
        if self.settings.melt:
            return set()
        kinds = (ColumnKind.KEY, ColumnKind.CODED, ColumnKind.LABEL)
        keys = [name for name, kind in (self.columns or {}).items() if kind in kinds]
        return {self.settings.theirs(name) for name in keys}

    def _comes_from_path(self, name: str, available: Sequence[str]) -> bool:
        return self.settings.theirs(name) not in available and name in self.file.columns

    def _one(self, theirs: str, available: Sequence[str], name: str = "") -> str:
        """The column of the file, which it has once; `name` is ours of it."""
        count = available.count(theirs)
        if count == 1:
            return theirs
        shown = ", ".join(map(repr, available[:_SHOWN])) + (", ..." if len(available) > _SHOWN else "")
        raise InputError(
            f"It has {count or 'no'} column{'s' * (count > 1)} {theirs!r}; its columns: {shown or 'none'}.",
            fix=_cure(name, available) if name else "Give each of its columns a name of its own.",
            field=theirs,
            code="ambiguous_column" if count else "missing_column",
        )


def _cure(name: str, available: Sequence[str]) -> str:
    only = available[0] if len(available) == 1 else ""
    separators = [s for s in (";", "\t", "|", ",") if s in only]
    if separators:
        return f"Its cells seem to be separated by it: set separator = {separators[0]!r} in [data]."
    return f'Say which column it is in [data] columns: {name} = "...".'
