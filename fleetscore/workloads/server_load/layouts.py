"""The layouts of the logs: headerless CSV of 17 or 16 columns, recognised from a file's first lines or
declared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fleetscore.workloads.server_load.grammar import (
    Cause,
    clean_cell,
    is_server,
    read_number,
    read_slot,
    split_cells,
)

NAMED = {"parquet", "jsonl", "tsv", "avro", "capture", "delta"}
"""Formats whose files name their columns themselves, whatever the settings say."""

SUMS = ("load", "bytes", "load1", "load2", "load3", "load4", "load5", "secure")
"""The eight summed columns, in the order of every table and array: TotalLoad, MbytesTransferred, SubService
1..5, SecureBytes.
"""

_COMMON = (
    "SessionStart",
    "SessionEnd",
    "ConcurrentConnectionCounts",
    "MbytesTransferred",
    "ServiceGrade",
    "HTTP1",
    "ServerType",
    "SubService_1_Load",
    "SubService_2_Load",
    "SubService_3_Load",
    "SubService_4_Load",
    "SubService_5_Load",
    "SecureBytes_Load",
    "TotalLoad",
)
_SUMMED = (
    "TotalLoad",
    "MbytesTransferred",
    *(f"SubService_{n}_Load" for n in range(1, 6)),
    "SecureBytes_Load",
)

HEAD_BYTES = 1 << 18
HEAD_LINES = 1000
_MINIMUM_FIT = 0.5  # share of the first lines that must read well
_OTHER_COLUMNS = (
    'A log of other columns needs a first line that names them, and layout = "columns" in the settings.'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a log, in order."""

    name: str
    columns: tuple[str, ...]

    def roles(self) -> tuple[int, ...]:
        """What each column is to the parser: 0 ignored, 1 session start, 2 server, 3 + n the n-th of SUMS."""
        special = {"SessionStart": 1, "ServerIP": 2} | {name: 3 + n for n, name in enumerate(_SUMMED)}
        return tuple(special.get(column, 0) for column in self.columns)


LAYOUTS = {
    "17": Layout("17", ("TrafficType", *_COMMON, "ServerIP", "ClientIP")),
    "16": Layout("16", (*_COMMON, "ClientIP", "ServerIP")),
}
"""17 columns as the logs are; 16 as their document says."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """The layout of a file, or (with none) the code and the sentence that say why it cannot be read at
    all.
    """

    layout: Layout | None
    problem: str = ""
    detail: str = ""


def recognise_layout(head: bytes, declared: str = "auto") -> Recognised:
    """Judge a file by its first bytes; `declared` "16" or "17" is checked instead of guessed.

    The width is the most frequent field count of the first thousand lines, never the first line's. Time,
    server and numbers must read well on half of the lines of that width, and no time may stand where the
    layout has none: a file whose columns are shifted has the width of another layout.
    """
    problem = _not_text(head)
    if problem is not None:
        return problem
    lines = [line for line in head.split(b"\n")[:HEAD_LINES] if line.strip()]
    if not lines:
        # an empty file has nothing to misread
        return Recognised(LAYOUTS["17" if declared == "auto" else declared])
    rows = [split_cells(line.decode("latin-1")) for line in lines]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    layout = LAYOUTS.get(str(width) if declared == "auto" else declared)
    if layout is None or len(layout.columns) != width:
        wanted = "16 or 17" if declared == "auto" else declared
        return Recognised(
            None,
            "unknown_layout",
            f"Most of the first {len(rows)} lines have {width} columns; expected {wanted}. {_OTHER_COLUMNS}",
        )
    return _fit(layout, [row for row in rows if len(row) == width])


def _not_text(head: bytes) -> Recognised | None:
    if head[:2] == b"\x1f\x8b":
        return Recognised(
            None, "compressed", "The file is compressed with gzip; unpack it: its ranges cannot be read."
        )
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:4096].count(0) > len(head[:4096]) // 8:
        return Recognised(
            None, "bad_encoding", "The file is UTF-16 or binary; expected ASCII, Latin-1 or UTF-8 text."
        )
    return None


def _fit(layout: Layout, rows: list[list[str]]) -> Recognised:
    checks: dict[str, Callable[[str], bool]] = {
        "SessionStart": lambda cell: read_slot(cell) is not None,
        "ServerIP": lambda cell: is_server(clean_cell(cell)),
        "TotalLoad": lambda cell: read_number(cell)[1] in (None, Cause.ROUNDED_NUMBER),
        "TrafficType": lambda cell: read_slot(cell) is None,
        "SessionEnd": lambda cell: read_number(cell)[1] in (Cause.BAD_NUMBER, Cause.EMPTY_NUMBER),
    } | dict.fromkeys(_SUMMED[1:], _may_be_number)
    for column, reads in checks.items():
        if column not in layout.columns:
            continue
        at = layout.columns.index(column)
        good = _count_good((row[at] for row in rows), reads, _MINIMUM_FIT * len(rows))
        if good < _MINIMUM_FIT * len(rows):
            detail = (
                f"In layout {layout.name} column {at + 1} should be {column}, but reads so in only {good} of the "
                f"first {len(rows)} lines. {_OTHER_COLUMNS}"
            )
            return Recognised(None, "unknown_layout", detail)
    return Recognised(layout)


def _count_good(cells: Iterable[str], reads: Callable[[str], bool], enough: float) -> int:
    """How many cells read well, counted until there are enough; equal cells are read once."""
    known: dict[str, bool] = {}
    good = 0
    for cell in cells:
        if cell not in known:
            known[cell] = reads(cell)
        good += known[cell]
        if good >= enough:
            break
    return good


def _may_be_number(cell: str) -> bool:
    """Whether the cell is a number, or a word such as NULL."""
    return read_number(cell)[1] is not Cause.BAD_NUMBER or not any(map(str.isdigit, cell))
