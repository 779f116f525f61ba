"""Rows of CSV and TSV files, with every line that is no row reported by its number."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from fleetscore.errors import FileError
from fleetscore.sources.byte_stream import read_line_views
from fleetscore.sources.records import Reject
from fleetscore.sources.request import RawRows, Request

_LINE_END = ord("\n")
_JOINED_LINES = 50  # as many lines may one quoted cell span


def read_csv_rows(request: Request) -> Iterator[RawRows]:
    """The wanted columns as text, piece by piece; FileError where the file has no line of column names."""
    line = 1
    layout: Layout | None = None
    carry = b""
    for piece in read_line_views(request):
        if layout is None:
            layout, piece = _begin(request, piece)
            line += 1
        first_line = line - carry.count(b"\n")
        rows, carry, lines = read_piece(carry + piece if carry else piece, first_line, layout)
        line = first_line + lines
        yield rows
    if layout is None:  # compressed, or behind a byte order mark, there was nothing
        raise _without_names(request.path)
    if carry:
        yield read_piece(carry, line - carry.count(b"\n"), layout, is_last=True)[0]


def read_csv_names(request: Request) -> tuple[str, ...]:
    """The column names of the file."""
    for piece in read_line_views(request):
        return _header(request, bytes(piece).partition(b"\n")[0])
    raise _without_names(request.path)


@dataclass(frozen=True, slots=True)
class Layout:
    """The width of a file, and which of its columns are read."""

    separator: str
    width: int
    wanted: tuple[str, ...]
    places: tuple[int, ...]


def _begin(request: Request, piece: memoryview) -> tuple[Layout, memoryview]:
    head = bytes(piece).partition(b"\n")[0]
    names = _header(request, head)
    wanted = tuple(request.theirs(names))
    places = tuple(names.index(name) for name in wanted)
    return Layout(_separator(request), len(names), wanted, places), piece[len(head) + 1 :]


def _header(request: Request, line: bytes) -> tuple[str, ...]:
    try:
        names = next(csv.reader([line.decode().rstrip("\r")], delimiter=_separator(request)), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            f"{request.path}: its first line cannot be read: {error}.",
            fix="Set encoding in [data] if it is not UTF-8; the first line must hold the column names.",
            code="bad_encoding" if isinstance(error, UnicodeDecodeError) else "unreadable_file",
            field=request.path,
        ) from error
    if not any(names):
        raise _without_names(request.path)
    return tuple(names)


def _without_names(path: str) -> FileError:
    return FileError(
        f"{path} has no line of column names.", fix="Write its header line.", code="empty_file", field=path
    )


def _separator(request: Request) -> str:
    return request.settings.separator or ("\t" if request.file.format == "tsv" else ",")


def read_piece(
    data: bytes | memoryview, first_line: int, layout: Layout, *, is_last: bool = False
) -> tuple[RawRows, bytes, int]:
    """The rows of whole lines, the lines at their end that begin a row whose quotes are still open, and
    how many lines there are.

    Blank lines are no rows: where one stands between others, or a cell has a line end, rows and lines
    differ in number.
    """
    lines = _count_lines(data)
    ends_blank = bytes(data[-3:]).endswith((b"\n\n", b"\n\r\n"))
    rows = bytes(data).rstrip(b"\r\n") if ends_blank else data
    wanted = lines if rows is data else _count_lines(rows)
    try:
        table = _parse(rows, layout)
        if table.num_rows == wanted:
            return RawRows(table, np.arange(first_line, first_line + wanted)), b"", lines
    except pa.ArrowInvalid:
        pass  # some line is not as it should be: the careful way finds which, and says so
    careful = _Careful(layout, first_line)
    text = bytes(rows).rstrip(b"\r\n")
    carry = careful.read(text.split(b"\n") if text else [], is_last)
    return careful.rows(), carry, lines


def _count_lines(data: bytes | memoryview) -> int:
    """How many lines there are, the last one with or without its end; numpy counts four times as fast as
    bytes.
    """
    ends = int(np.count_nonzero(np.frombuffer(data, np.uint8) == _LINE_END))
    return ends + bool(data and bytes(data[-1:]) != b"\n")


def _parse(data: bytes | memoryview, layout: Layout) -> pa.Table:
    if not data:
        return _table(layout, [[] for _ in layout.wanted])
    names = [str(place) for place in range(layout.width)]
    wanted = [str(place) for place in layout.places]
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        pa_csv.ReadOptions(column_names=names, block_size=max(len(data), 1 << 16), use_threads=False),
        pa_csv.ParseOptions(delimiter=layout.separator, ignore_empty_lines=True),
        pa_csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
        ),
    )
    return table.rename_columns(list(layout.wanted)).combine_chunks()


@dataclass(slots=True)
class _Careful:
    """Line by line, so that one line at fault (open quote, too few cells, not UTF-8) costs no other line."""

    layout: Layout
    line: int
    cells: list[Sequence[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def read(self, lines: Sequence[bytes], is_last: bool) -> bytes:
        """Take all lines; returns those at the end whose row may go on in the next piece."""
        at = 0
        while at < len(lines):
            may_go_on = not is_last and len(lines) - at < _JOINED_LINES
            taken = self._take(lines, at, may_go_on)
            if not taken:
                return b"\n".join(lines[at:]) + b"\n"
            at += taken
        return b""

    def rows(self) -> RawRows:
        """What was read."""
        columns = [[cells[place] for cells in self.cells] for place in self.layout.places]
        return RawRows(_table(self.layout, columns), np.array(self.numbers, np.int64), tuple(self.rejects))

    def _take(self, lines: Sequence[bytes], at: int, may_go_on: bool) -> int:
        """Read the row that begins at a line; returns how many lines it takes, 0 where it may go on in the
        next piece.
        """
        number, raw = self.line + at, lines[at].rstrip(b"\r")
        if not raw:
            return 1
        cause, cells = self._cells(raw)
        joined = 1
        while cause == "open_quote" and joined < min(_JOINED_LINES, len(lines) - at):
            joined += 1
            cause, cells = self._cells(b"\n".join(lines[at : at + joined]).rstrip(b"\r"))
        if not cause:
            self.cells.append(cells)
            self.numbers.append(number)
            return joined
        if cause == "open_quote" and may_go_on:
            return 0
        shown = raw[:80].decode(errors="replace")
        self.rejects.append(
            Reject("bad_row" if cause == "open_quote" else cause, f"line {number}", "", shown)
        )
        return 1

    def _cells(self, raw: bytes) -> tuple[str, Sequence[str]]:
        """The cells of a row, or the cause why it is none."""
        try:
            text = raw.decode()
            plain = '"' not in text
            separator = self.layout.separator
            found = (
                text.split(separator)
                if plain
                else next(csv.reader(text.splitlines(True), delimiter=separator, strict=True))
            )
        except UnicodeDecodeError:
            return "bad_encoding", ()
        except csv.Error as error:
            return ("open_quote" if "end of data" in str(error) else "bad_row"), ()
        return ("", found) if len(found) == self.layout.width else ("bad_row", ())


def _table(layout: Layout, columns: Sequence[Sequence[str]]) -> pa.Table:
    return pa.table([pa.array(column, pa.string()) for column in columns], names=list(layout.wanted))
