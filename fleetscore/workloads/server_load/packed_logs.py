"""Compressed logs without a header: read whole, since they have no ranges, some lines at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice

import pyarrow as pa

from fleetscore.records import InputFile
from fleetscore.sources import read_text
from fleetscore.sources.formats import format_of
from fleetscore.store.base import Store
from fleetscore.workloads.server_load.kernel import EXAMPLES
from fleetscore.workloads.server_load.layouts import HEAD_BYTES, Recognised, recognise_layout
from fleetscore.workloads.server_load.parse import (
    SLOTS,
    SPELLINGS,
    Counts,
    Example,
    parse_piece,
    piece_of_lines,
)
from fleetscore.workloads.server_load.settings import ServerLoadSettings


def is_packed(file: InputFile) -> bool:
    """Whether the file is text that is compressed as a whole, by its suffix."""
    found = format_of(file.path, "csv")
    return found is not None and found.compression != ""


def sum_packed_log(
    store: Store, file: InputFile, settings: ServerLoadSettings
) -> tuple[Recognised, pa.Table, Counts]:
    """The layout of a log, its sums (SLOTS) and its counts, whose examples count bytes of the unpacked text.

    Memory holds a piece of lines beside the sums. Raises FileError where it cannot be unpacked to text.
    """
    pieces = read_text(store, file, replace(settings.source, format="csv"))
    first = next(pieces, memoryview(b""))
    head = bytes(first[:HEAD_BYTES])
    recognised = recognise_layout(head[: head.rfind(b"\n") + 1] or head, settings.layout)
    tables, counts, offset = [SLOTS.empty_table()], Counts(), 0
    if recognised.layout is not None:
        for lines in chain([first] if first else [], pieces):
            table, found = parse_piece(piece_of_lines(lines), recognised.layout)
            tables.append(table)
            counts, offset = _added(counts, found, offset), offset + len(lines)
    return recognised, pa.concat_tables(tables).unify_dictionaries(), counts


def _added(counts: Counts, more: Counts, offset: int) -> Counts:
    """The counts of two pieces, the second of which begins at `offset`."""
    moved = (replace(example, offset=example.offset + offset) for example in more.examples)
    spellings = {**counts.spellings, **more.spellings}
    return Counts(
        counts.lines + more.lines,
        counts.kept + more.kept,
        dict(Counter(counts.causes) + Counter(more.causes)),
        _first_of_each([*counts.examples, *moved]),
        counts.negative + more.negative,
        dict(islice(spellings.items(), SPELLINGS)),
    )


def _first_of_each(examples: Iterable[Example]) -> tuple[Example, ...]:
    """The first EXAMPLES of each cause."""
    kept: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if len(kept[example.cause]) < EXAMPLES:
            kept[example.cause].append(example)
    return tuple(example for few in kept.values() for example in few)
