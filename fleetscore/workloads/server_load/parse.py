"""A range of a log file to its five-minute sums: which lines are its own, what their bytes are called, and
what they add up to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.sources.request import Budget
from fleetscore.store.base import Store
from fleetscore.workloads.server_load.addresses import join_spellings
from fleetscore.workloads.server_load.grammar import Cause
from fleetscore.workloads.server_load.layouts import HEAD_BYTES, SUMS, Layout, Recognised, recognise_layout

LINE_LIMIT = 1 << 20
"""Longer lines are no lines: the file is taken for something else."""

SPELLINGS = 200
"""So many spellings of a range are kept by name."""

_PADDING = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

SLOTS = pa.schema(
    [("server", pa.dictionary(pa.int32(), pa.string())), ("slot", pa.int32()), ("sessions", pa.int64())]
    + [(name, pa.int64()) for name in SUMS]
    + [("lines", pa.int64())]
)
"""Sums per server and five-minute slot (since 1970, UTC), in 1/10,000; a server and slot may come in
several rows that add up.

`lines` is the sum (modulo 2**64) of the lines' digests: the same for the same lines in any order.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A line that was not wholly used: why, its byte offset (in the piece, in a record: in the file), and
    how it begins.
    """

    cause: str
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a range held: lines, lines kept, causes with their numbers, and examples of each.

    `spellings` maps servers as the lines write them to the canonical address, where it differs (the first
    SPELLINGS).
    """

    lines: int = 0
    kept: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    negative: int = 0  # lines kept whose TotalLoad is below zero
    spellings: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()  # what is to be said of the rows that were read


@dataclass(frozen=True, slots=True)
class Piece:
    """The lines that begin in a range, and the file offset of the first.

    `body` and then `tail` (uint8 arrays; the last lines) hold them, each ending in a newline at its size;
    bytes may be read behind.
    """

    body: Any
    body_size: int
    tail: Any
    tail_size: int
    offset: int

    @property
    def size_bytes(self) -> int:
        """Length of all lines, with the newline that the last one may lack in the file."""
        return self.body_size + self.tail_size


def read_layout(store: Store, path: str, declared: str) -> Recognised:
    """Recognise the layout of a stored file from its head."""
    with store.open(path) as file:
        head = bytes(file.read(HEAD_BYTES))
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head  # the last line may be cut
    return recognise_layout(head.removeprefix(_BYTE_ORDER_MARK), declared)


def read_piece(store: Store, path: str, first: int, stop: int, budget: Budget) -> Piece | None:
    """Read the lines whose first byte lies in [first, stop) of the file; None when a line is longer than
    LINE_LIMIT. Raises what the budget raises.
    """
    with store.open(path) as file:
        begin = max(first - 1, 0)  # a line begins at `first` if the byte before ends one
        end = min(stop + LINE_LIMIT, file.size())
        at_end = end == file.size()
        file.seek(begin)
        data = np.frombuffer(
            file.read_buffer(max(end - begin, 0)), np.uint8
        )  # of a local file: mapped, not copied
    budget.spend(len(data))
    start = _start_of(data, first)
    if start is None:
        return _piece(data, 0, 0, first) if at_end and len(data) <= LINE_LIMIT else None
    end = _end_of(data, stop - begin, at_end)
    return None if end is None else _piece(data, start, max(end, start), begin + start)


def piece_of_lines(lines: bytes | memoryview) -> Piece:
    """Whole lines as a piece of their own, at offset 0."""
    return _piece(np.frombuffer(lines, np.uint8), 0, len(lines), 0)


def _start_of(data: Any, first: int) -> int | None:
    """Where the first line that begins in the range starts in `data`; None when none does."""
    if first == 0:
        return len(_BYTE_ORDER_MARK) if data[:3].tobytes() == _BYTE_ORDER_MARK else 0
    newline: int = data[: LINE_LIMIT + 1].tobytes().find(b"\n")
    return None if newline < 0 else newline + 1


def _end_of(data: Any, stop: int, at_end: bool) -> int | None:
    """Where the last line that begins before `stop` ends in `data`; None when it never does."""
    if len(data) > stop:
        newline: int = data[stop - 1 :].tobytes().find(b"\n")
        if newline >= 0:
            return stop + newline
    return len(data) if at_end else None


def _piece(data: Any, start: int, end: int, offset: int) -> Piece:
    """Cut the last lines off into an array of their own, so that whatever is read ahead of a line is there
    to be read.
    """
    ahead = data[max(end - _PADDING - LINE_LIMIT, start) : max(end - _PADDING, start)].tobytes()
    cut = max(end - _PADDING, start) - len(ahead) + ahead.rfind(b"\n") + 1 if b"\n" in ahead else start
    lines = data[cut:end].tobytes()
    lines += b"" if lines.endswith(b"\n") or not lines else b"\n"
    tail = np.frombuffer(lines + bytes(_PADDING), np.uint8)
    return Piece(data[start:], cut - start, tail, len(lines), offset)


def digest_of(piece: Piece) -> str:
    """The name of the piece's bytes: equal bytes have equal names, wherever they lie."""
    from fleetscore.workloads.server_load.kernel import mix_words

    lanes = np.array([1, 2, 3, 4], np.uint64)
    whole = piece.body_size // 32 * 32
    mix_words(piece.body[:whole].view(np.uint64), lanes)
    rest = piece.body[whole : piece.body_size].tobytes() + piece.tail[: piece.tail_size].tobytes()
    return hashlib.sha256(lanes.tobytes() + rest + piece.size_bytes.to_bytes(8, "little")).hexdigest()[:40]


def parse_piece(piece: Piece, layout: Layout) -> tuple[pa.Table, Counts]:
    """The sums (SLOTS) and counts of the piece's lines; offsets of examples count from its first line."""
    with _working_table() as table:
        return _parse(piece, np.array(layout.roles(), np.int64), table)


def _parse(piece: Piece, roles: Any, table: Any) -> tuple[pa.Table, Counts]:
    from fleetscore.workloads.server_load import kernel

    kernel.empty_rows(table)
    kernel.empty_counts(table)
    tables: list[pa.Table] = []
    examples: list[Example] = []
    spellings: dict[str, str] = {}
    for data, size, offset in (
        (piece.body, piece.body_size, 0),
        (piece.tail, piece.tail_size, piece.body_size),
    ):
        taken = table.examples[:, 0].copy()
        at = 0
        while (at := kernel.parse_block(data, at, size, roles, table)) < size:
            tables.append(_slots(table, spellings))
            kernel.empty_rows(table)
        examples += _examples(data, offset, table.examples, taken)
    tables.append(_slots(table, spellings))
    causes = {cause.code: int(table.counts[cause]) for cause in Cause if table.counts[cause]}
    lines, kept, negative = (int(n) for n in table.counts[len(Cause) :])
    return pa.concat_tables(tables).unify_dictionaries(), Counts(
        lines, kept, causes, tuple(examples), negative, dict(islice(spellings.items(), SPELLINGS))
    )


_free_tables: list[Any] = []


@contextmanager
def _working_table() -> Iterator[Any]:
    """A working table that nobody else has for the length of the block, kept for the next one.

    Touching 100 MB of fresh memory would take longer than a quarter of the parsing; one for each thread
    that ever parsed would be too much for a process with many threads, of which few parse at once.
    """
    from fleetscore.workloads.server_load.kernel import new_table

    try:
        table = _free_tables.pop()
    except IndexError:
        table = new_table()
    try:
        yield table
    finally:
        _free_tables.append(table)


def _slots(table: Any, spellings: dict[str, str]) -> pa.Table:
    """The table's rows under canonical servers; what was respelled is added to `spellings`."""
    servers, rows = (int(n) for n in table.used)
    texts = [
        bytes(text[:length]).decode() if good else ""  # its rows were rejected one by one
        for text, length, good in zip(
            table.server_text[:servers],
            table.server_length[:servers],
            table.server_good[:servers],
            strict=True,
        )
    ]
    number = table.row_server[:rows].copy()
    if np.any(table.server_good[:servers] == 2):
        texts, number_of, respelled = join_spellings(texts)
        spellings |= respelled
        number = number_of[number]
    server = pa.DictionaryArray.from_arrays(pa.array(number), pa.array(texts, pa.string()))
    sums = np.ascontiguousarray(table.row_sums[:rows].T)
    return pa.Table.from_arrays(
        [server, pa.array(table.row_slot[:rows].copy()), *(pa.array(column) for column in sums)], schema=SLOTS
    )


def _examples(data: Any, offset: int, examples: Any, taken: Any) -> list[Example]:
    return [
        Example(cause.code, offset + int(at), _line_at(data, int(at)))
        for cause in Cause
        for at in examples[cause, 1 + taken[cause] : 1 + examples[cause, 0]]
    ]


def _line_at(data: Any, at: int) -> str:
    text: bytes = data[at : at + 200].tobytes().split(b"\n", 1)[0]
    return text.decode("utf-8", "backslashreplace")
