"""Rows of JSON lines: an object a line, as Stream Analytics and most loggers write them; fields may change
from line to line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from fleetscore.errors import FileError
from fleetscore.sources.byte_stream import read_lines
from fleetscore.sources.record_columns import SeenNames, table_of
from fleetscore.sources.records import Reject
from fleetscore.sources.request import RawRows, Request

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_jsonl_rows(request: Request) -> Iterator[RawRows]:
    """The wanted fields, piece by piece; InputError `missing_column` after the last if no line had one of
    them.
    """
    seen = SeenNames()
    wanted: list[str] = []
    line, records_read = 1, 0
    for piece in without_array(request.path, read_lines(request)):
        records, numbers, rejects = decode_lines(piece, line)
        line += piece.count(b"\n")
        records_read += len(records)
        wanted = request.of_records(seen.add(records))
        yield RawRows(table_of(records, wanted), numbers, rejects)
    seen.require(wanted, records_read)


def decode_lines(piece: bytes, first_line: int) -> tuple[list[dict[str, Any]], Any, tuple[Reject, ...]]:
    """The objects of whole lines with their line numbers, and the lines that are none; blank lines are
    nothing.
    """
    lines = piece.count(b"\n") + (not piece.endswith(b"\n"))
    try:
        records = _DECODER.decode_lines(piece)
        if len(records) == lines:
            return records, np.arange(first_line, first_line + lines), ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # some line is no object: which, is found out below
    records, numbers, rejects = [], [], []
    for number, raw in enumerate(piece.split(b"\n"), first_line):
        if not raw.strip():
            continue
        try:
            records.append(_DECODER.decode(raw))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError):
            shown = raw[:80].decode(errors="replace")
            rejects.append(Reject("bad_row", f"line {number}", "", shown))
    return records, np.array(numbers, np.int64), tuple(rejects)


def without_array(path: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a file; FileError `json_array` where it begins one array of all."""
    is_begun = False
    for piece in pieces:
        if not is_begun and piece.lstrip().startswith(b"["):
            raise FileError(
                f"{path} is one JSON array, which is whole only after its writer has ended.",
                fix="Let its writer put an object on each line (Stream Analytics: Format = Line separated).",
                code="json_array",
                field=path,
            )
        is_begun = is_begun or bool(piece.strip())
        yield piece
