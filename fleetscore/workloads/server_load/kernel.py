"""The parser's inner loop: bytes of CSV to sums per server and five-minute slot, compiled by numba.

It reads each byte once, allocates nothing, and adds whole numbers only, so that the sums are the same in
whatever pieces and order the bytes come. The grammar is that of `grammar.py`; tests hold the two against
each other.
"""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fleetscore.kernels.compiled import compiled
from fleetscore.workloads.server_load.byte_grammar import (
    BLANK,
    CAUSES,
    COMMA,
    GOOD,
    LONG,
    NEWLINE,
    POINT,
    ROUNDED,
    SERVER,
    SHORT,
    TIME,
    TOTAL,
    cell_end,
    clean_span,
    is_blank,
    is_server_in,
    is_usual_in,
    number_in,
    slot_at,
    slot_in,
    trim,
)

SERVERS = 1 << 16
SERVER_BYTES = 48
ROWS = 1 << 20
EXAMPLES = 3
_SUMS = 8


def _weights(count):
    """Odd 64-bit numbers that have nothing to do with each other (the steps of splitmix64)."""
    found = []
    for n in range(1, count + 1):
        z = n * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found.append(z ^ z >> 31 | 1)
    return np.array(found, np.uint64)


_WEIGHTS = _weights(1 << 9)


class Table(NamedTuple):
    """What a run of the kernel fills; `new_table` makes one, and every array keeps its identity."""

    server_index: Any  # int32[2 * SERVERS]: hash to server, -1 where free
    server_text: Any  # uint8[SERVERS, SERVER_BYTES]
    server_length: Any  # int32[SERVERS]
    server_good: Any  # uint8[SERVERS]: 0 where the text is no address, 1 for a usual one, 2 where it has other spellings
    last_slot: (
        Any  # int32[SERVERS]: the slot last met per server, and its row: logs are nearly in order of time
    )
    last_row: Any  # int32[SERVERS]
    row_index: Any  # int32[2 * ROWS]: hash of server and slot to row, -1 where free
    row_server: Any  # int32[ROWS]
    row_slot: Any  # int32[ROWS]
    row_sums: Any  # int64[ROWS, 10]: sessions, then SUMS, then the sum of the lines' digests
    used: Any  # int64[2]: servers, rows
    counts: (
        Any  # int64[CAUSES + 3]: per cause, then lines, lines kept, and those of them with a negative total
    )
    examples: Any  # int64[CAUSES, 1 + EXAMPLES]: how many, then where in this block their lines begin


def new_table() -> Table:
    """An empty table; memory is taken as rows come, at most about 150 MB."""
    return Table(
        np.full(2 * SERVERS, -1, np.int32),
        np.empty((SERVERS, SERVER_BYTES), np.uint8),
        np.empty(SERVERS, np.int32),
        np.empty(SERVERS, np.uint8),
        np.empty(SERVERS, np.int32),
        np.empty(SERVERS, np.int32),
        np.full(2 * ROWS, -1, np.int32),
        np.empty(ROWS, np.int32),
        np.empty(ROWS, np.int32),
        np.empty((ROWS, 2 + _SUMS), np.int64),
        np.zeros(2, np.int64),
        np.zeros(CAUSES + 3, np.int64),
        np.zeros((CAUSES, 1 + EXAMPLES), np.int64),
    )


def empty_rows(table: Table) -> None:
    """Forget servers and rows, keep the counts: what makes room when a table is full."""
    table.server_index.fill(-1)
    table.row_index.fill(-1)
    table.used.fill(0)


def empty_counts(table: Table) -> None:
    """Forget counts and examples."""
    table.counts.fill(0)
    table.examples.fill(0)


@compiled(inline="always")
def _server_of(data, start, stop, table):
    """The number of the server whose text is the span, entered if new; -1 when its table is full."""
    length = stop - start
    code = np.uint64(1469598103934665603)
    for k in range(start, stop):
        code = (code ^ np.uint64(data[k])) * np.uint64(1099511628211)
    place = np.int64((code ^ (code >> np.uint64(29))) & np.uint64(2 * SERVERS - 1))
    while True:
        server = table.server_index[place]
        if server < 0:
            break
        if table.server_length[server] == length:
            k = 0
            while k < length and table.server_text[server, k] == data[start + k]:
                k += 1
            if k == length:
                return np.int64(server)
        place = (place + 1) & (2 * SERVERS - 1)
    server = np.int32(table.used[0])
    if server == SERVERS:
        return np.int64(-1)
    table.used[0] += 1
    table.server_index[place] = server
    table.server_length[server] = length
    for k in range(length):
        table.server_text[server, k] = data[start + k]
    table.server_good[server] = 0
    if is_server_in(data, start, stop):
        table.server_good[server] = 1 if is_usual_in(data, start, stop) else 2
    table.last_slot[server] = -1
    return np.int64(server)


@compiled(inline="always")
def _row_of(server, slot, table):
    """The row of the server's slot, entered if new; -1 when the table is full."""
    mixed = (np.uint64(server) << np.uint64(32) | np.uint64(slot)) * np.uint64(0x9E3779B97F4A7C15)
    place = np.int64(mixed >> np.uint64(43)) & (2 * ROWS - 1)
    while True:
        row = table.row_index[place]
        if row < 0:
            break
        if table.row_server[row] == server and table.row_slot[row] == slot:
            return np.int64(row)
        place = (place + 1) & (2 * ROWS - 1)
    row = np.int32(table.used[1])
    if row == ROWS:
        return np.int64(-1)
    table.used[1] += 1
    table.row_index[place] = row
    table.row_server[row] = server
    table.row_slot[row] = slot
    for k in range(2 + _SUMS):
        table.row_sums[row, k] = 0
    return np.int64(row)


@compiled(inline="always")
def _count(table, cause, line):
    table.counts[cause] += 1
    taken = table.examples[cause, 0]
    if taken < EXAMPLES:
        table.examples[cause, 1 + taken] = line
        table.examples[cause, 0] = taken + 1


@compiled()
def line_digest(data, start, stop):
    """A number that equal lines have in common; of other lines it is as good as drawn by lot."""
    start, stop = trim(data, start, stop)
    value = np.uint64(stop - start)
    while start < stop:
        count = min(stop - start, len(_WEIGHTS))
        cut = data[start : start + count]
        part = np.uint64(0)
        for k in range(count):
            part += np.uint64(cut[k]) * _WEIGHTS[k]
        value = (value ^ (value >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + part
        start += count
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.int64(value ^ (value >> np.uint64(32)))


@compiled()
def parse_block(data, start, stop, roles, table):
    """Parse the lines in data[start:stop] into the table; returns where it stopped: `stop`, or earlier when
    the table is full.

    data[stop - 1] is a newline, and at least 32 bytes may be read beyond `stop`. `roles` says what each
    column is (Layout.roles).
    """
    width = len(roles)
    scale = np.array([10_000, 1_000, 100, 10, 1], np.int64)
    values = np.zeros(_SUMS, np.int64)
    causes = np.full(_SUMS, GOOD, np.int64)
    at = start
    while at < stop:
        line = at
        if is_blank(data[at]) or data[at] == NEWLINE:
            end = at
            while is_blank(data[end]):
                end += 1
            if data[end] == NEWLINE:
                _count(table, BLANK, line)
                at = end + 1
                continue
        slot = np.int64(-1)
        server_start = np.int64(0)
        server_stop = np.int64(0)
        flaws = False
        column = 0
        while True:
            role = roles[column]
            cell = at
            if role >= 3:
                units = np.int64(0)
                while np.uint8(data[at] - 48) <= 9:
                    units = units * 10 + (data[at] - 48)
                    at += 1
                whole = at - cell
                places = 0
                if data[at] == POINT:
                    at += 1
                    dot = at
                    while np.uint8(data[at] - 48) <= 9:
                        units = units * 10 + (data[at] - 48)
                        at += 1
                    places = at - dot
                byte = data[at]
                open_end = byte != COMMA and byte != NEWLINE
                if not open_end and 0 < whole <= 8 and places <= 4:
                    values[role - 3] = units * scale[places]
                else:
                    at = cell_end(data, cell)
                    value, cause = number_in(data, cell, at)
                    values[role - 3] = value
                    if cause != GOOD:
                        flaws = True
                        causes[role - 3] = cause
            elif role == 1:
                slot = slot_at(data, at)
                at += 19
                if slot < 0 or (data[at] != COMMA and data[at] != NEWLINE):
                    at = cell_end(data, cell)
                    slot = slot_in(data, cell, at)
            else:
                at = cell_end(data, cell)
                if role == 2:
                    server_start = cell
                    server_stop = at
            column += 1
            if data[at] == NEWLINE or column == width:
                break
            at += 1
        long = data[at] != NEWLINE
        while data[at] != NEWLINE:
            at += 1
        at += 1
        cause = GOOD
        row = np.int64(-1)
        if column < width:
            cause = SHORT
        elif long:
            cause = LONG
        elif slot < 0:
            cause = TIME
        else:
            byte = data[server_start]
            last = data[server_stop - 1]
            if byte <= 34 or last <= 34:
                server_start, server_stop = clean_span(data, server_start, server_stop)
            length = server_stop - server_start
            if length == 0 or length > SERVER_BYTES:
                cause = SERVER
            else:
                server = _server_of(data, server_start, server_stop, table)
                if server < 0:
                    return line
                if table.server_good[server] == 0:
                    cause = SERVER
                elif table.last_slot[server] == slot:
                    row = np.int64(table.last_row[server])
                else:
                    row = _row_of(server, slot, table)
                    if row < 0:
                        return line
                    table.last_slot[server] = slot
                    table.last_row[server] = row
        table.counts[CAUSES] += 1
        if cause == GOOD:
            table.counts[CAUSES + 1] += 1
            if values[0] < 0:
                table.counts[CAUSES + 2] += 1
            table.row_sums[row, 0] += 1
            for k in range(_SUMS):
                table.row_sums[row, 1 + k] += values[k]
            table.row_sums[row, 1 + _SUMS] += line_digest(data, line, at - 1)
            if flaws:
                for k in range(_SUMS):
                    if causes[k] != GOOD:
                        _count(table, causes[k], line)
                if causes[0] != GOOD and causes[0] != ROUNDED:
                    _count(table, TOTAL, line)
        else:
            _count(table, cause, line)
        if flaws:
            causes[:] = GOOD
    return stop


@compiled()
def mix_words(words, lanes):
    """Fold 64-bit words into four lanes, each step one-to-one: a change of one word always changes its
    lane.
    """
    a, b, c, d = lanes[0], lanes[1], lanes[2], lanes[3]
    odd = np.uint64(0x9E3779B97F4A7C15)
    for k in range(0, len(words) - 3, 4):
        a = (a ^ words[k]) * odd
        b = (b ^ words[k + 1]) * odd
        c = (c ^ words[k + 2]) * odd
        d = (d ^ words[k + 3]) * odd
        a ^= a >> np.uint64(29)
        b ^= b >> np.uint64(29)
        c ^= c >> np.uint64(29)
        d ^= d >> np.uint64(29)
    lanes[0], lanes[1], lanes[2], lanes[3] = a, b, c, d
