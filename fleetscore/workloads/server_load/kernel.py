"""The parser's inner loop: bytes of CSV to sums per server and five-minute slot, compiled by numba.

It reads each byte once, allocates nothing, and adds whole numbers only, so that the sums are the same in whatever pieces and order
the bytes come. The grammar is that of `grammar.py`; tests hold the two against each other.
"""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fleetscore.kernels.compiled import compiled

SERVERS = 1 << 16
SERVER_BYTES = 48
ROWS = 1 << 20
EXAMPLES = 3
_CAUSES = 10
_SUMS = 8

_SHORT, _LONG, _TIME, _SERVER, _EMPTY, _BAD, _BIG, _ROUNDED, _TOTAL, _BLANK = range(_CAUSES)
_GOOD = -1  # a number that reads as it stands
_LIMIT = 100_000_000
_FAR = 1 << 30  # no line is so long that its digits could make up for such an exponent
_COMMA, _NEWLINE, _QUOTE, _POINT = 44, 10, 34, 46


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
    server_good: Any  # uint8[SERVERS]: whether the text is an address
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
        Any  # int64[_CAUSES + 3]: per cause, then lines, lines kept, and those of them with a negative total
    )
    examples: Any  # int64[_CAUSES, 1 + EXAMPLES]: how many, then where in this block their lines begin


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
        np.zeros(_CAUSES + 3, np.int64),
        np.zeros((_CAUSES, 1 + EXAMPLES), np.int64),
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
def _is_blank(byte):
    return byte == 32 or byte == 9 or byte == 13


@compiled()
def _trim(data, start, stop):
    while start < stop and _is_blank(data[start]):
        start += 1
    while stop > start and _is_blank(data[stop - 1]):
        stop -= 1
    return start, stop


@compiled()
def clean_span(data, start, stop):
    """The span of a cell without blanks and one pair of quotes around it."""
    start, stop = _trim(data, start, stop)
    if stop - start >= 2 and data[start] == _QUOTE and data[stop - 1] == _QUOTE:
        start, stop = _trim(data, start + 1, stop - 1)
    return start, stop


@compiled()
def _quoted_end(data, at):
    """The comma or newline behind the quote that closes the cell which `at` lies in; -1 when the line ends before."""
    while data[at] != _NEWLINE:
        if data[at] == _QUOTE:
            end = at + 1
            if data[end] == _QUOTE:
                at = end
            else:
                while _is_blank(data[end]):
                    end += 1
                if data[end] == _COMMA or data[end] == _NEWLINE:
                    return end
        at += 1
    return np.int64(-1)


@compiled(inline="always")
def _cell_end(data, at):
    """The comma or newline behind the cell that begins at `at`."""
    end = at
    while _is_blank(data[end]):
        end += 1
    if data[end] == _QUOTE:
        end = _quoted_end(data, end + 1)
        if end >= 0:
            return end
        end = at
    while data[end] != _COMMA and data[end] != _NEWLINE:
        end += 1
    return end


@compiled()
def _exponent_in(data, start, stop):
    """The exponent of ten in the span behind an "e", and whether it is one; beyond +-_FAR it is cut to that."""
    negative = start < stop and data[start] == 45
    if start < stop and (negative or data[start] == 43):
        start += 1
    first = start
    value = 0
    while start < stop and 48 <= data[start] <= 57:
        value = min(value * 10 + (data[start] - 48), _FAR)
        start += 1
    return (-value if negative else value), start == stop and start > first


@compiled()
def _shifted(data, start, stop, point):
    """The digits in the span (a point among them is passed over) read as a whole number of `point` digits.

    Returns the number, rounded half away from zero, its cause, and nothing larger than the limit.
    """
    units = 0
    up = False
    lost = False
    for k in range(start, stop):
        if data[k] == _POINT:
            continue
        digit = np.int64(data[k]) - 48
        if point > 0:
            units = min(units * 10 + digit, _LIMIT * 10_000)
        else:
            up = up or (point == 0 and digit >= 5)
            lost = lost or digit != 0
        point -= 1
    while point > 0 and 0 < units < _LIMIT * 10_000:
        units *= 10
        point -= 1
    if units >= _LIMIT * 10_000:
        return 0, _BIG
    return units + (1 if up else 0), (_ROUNDED if lost else _GOOD)


@compiled()
def number_in(data, start, stop):
    """The number of a cell in 1/10,000 and its cause, by the whole grammar."""
    start, stop = clean_span(data, start, stop)
    if start == stop:
        return 0, _EMPTY
    negative = data[start] == 45
    if negative or data[start] == 43:
        start += 1
    end = start
    while end < stop and 48 <= data[end] <= 57:
        end += 1
    whole = end - start
    digits = whole
    if end < stop and data[end] == _POINT:
        end += 1
        while end < stop and 48 <= data[end] <= 57:
            digits += 1
            end += 1
    exponent = 0
    good = end == stop
    if end < stop and (data[end] == 101 or data[end] == 69):
        exponent, good = _exponent_in(data, end + 1, stop)
    if not good or digits == 0:
        return 0, _BAD
    units, cause = _shifted(data, start, end, whole + exponent + 4)
    return (-units if negative else units), cause


@compiled(inline="always")
def _digits(data, at, count):
    value = 0
    for k in range(at, at + count):
        digit = np.int64(data[k]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@compiled()
def _slot_at(data, at):
    """The slot of the 19 characters from `at`, -1 when they are no time."""
    if data[at + 4] != 45 or data[at + 7] != 45 or data[at + 13] != 58 or data[at + 16] != 58:
        return -1
    if data[at + 10] != 32 and data[at + 10] != 84:
        return -1
    year = _digits(data, at, 4)
    month = _digits(data, at + 5, 2)
    day = _digits(data, at + 8, 2)
    hour = _digits(data, at + 11, 2)
    minute = _digits(data, at + 14, 2)
    second = _digits(data, at + 17, 2)
    if year < 1970 or year > 2099 or month < 1 or month > 12 or day < 1:
        return -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return -1
    length = 31
    if month == 4 or month == 6 or month == 9 or month == 11:
        length = 30
    elif month == 2:
        length = 29 if year % 4 == 0 and year != 2100 else 28
    if day > length:
        return -1
    # days since 1970-01-01 with years that begin in March (no century rule needed within 1970..2099)
    y = year - 1 if month <= 2 else year
    m = month + 9 if month <= 2 else month - 3
    days = 365 * (y - 1970) + (y // 4 - 492) + (153 * m + 2) // 5 + day - 1 + 59
    return (days * 1440 + hour * 60 + minute) // 5


@compiled()
def slot_in(data, start, stop):
    """The slot of a cell by the whole grammar, -1 when it is no time."""
    start, stop = clean_span(data, start, stop)
    if stop - start < 19:
        return -1
    rest = start + 19
    if rest < stop and data[stop - 1] == 90:
        stop -= 1
    if rest < stop:
        if data[rest] != _POINT or rest + 1 == stop:
            return -1
        for k in range(rest + 1, stop):
            if data[k] < 48 or data[k] > 57:
                return -1
    return _slot_at(data, start)


@compiled()
def _is_ipv4(data, start, stop):
    parts = 0
    value = 0
    digits = 0
    for k in range(start, stop + 1):
        if k == stop or data[k] == _POINT:
            if digits == 0 or value > 255:
                return False
            parts += 1
            value = 0
            digits = 0
        elif 48 <= data[k] <= 57 and digits < 3:
            value = value * 10 + (data[k] - 48)
            digits += 1
        else:
            return False
    return parts == 4


@compiled()
def _is_ipv6(data, start, stop):
    groups = 0
    digits = 0
    doubled = False
    k = start
    while k < stop:
        byte = data[k]
        if byte == 58:
            if k + 1 < stop and data[k + 1] == 58:
                if doubled:
                    return False
                doubled = True
                k += 1
            elif digits == 0 or k + 1 == stop:
                return False
            digits = 0
        elif 48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102:
            groups += 1 if digits == 0 else 0
            digits += 1
            if digits > 4:
                return False
        else:
            return False
        k += 1
    return (groups <= 7) if doubled else (groups == 8)


@compiled()
def is_server_in(data, start, stop):
    """Whether the span is an IP address."""
    return _is_ipv4(data, start, stop) or _is_ipv6(data, start, stop)


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
    table.server_good[server] = is_server_in(data, start, stop)
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
    start, stop = _trim(data, start, stop)
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
    """Parse the lines in data[start:stop] into the table; returns where it stopped: `stop`, or earlier when the table is full.

    data[stop - 1] is a newline, and at least 32 bytes may be read beyond `stop`. `roles` says what each column is (Layout.roles).
    """
    width = len(roles)
    scale = np.array([10_000, 1_000, 100, 10, 1], np.int64)
    values = np.zeros(_SUMS, np.int64)
    causes = np.full(_SUMS, _GOOD, np.int64)
    at = start
    while at < stop:
        line = at
        if _is_blank(data[at]) or data[at] == _NEWLINE:
            end = at
            while _is_blank(data[end]):
                end += 1
            if data[end] == _NEWLINE:
                _count(table, _BLANK, line)
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
                if data[at] == _POINT:
                    at += 1
                    dot = at
                    while np.uint8(data[at] - 48) <= 9:
                        units = units * 10 + (data[at] - 48)
                        at += 1
                    places = at - dot
                byte = data[at]
                open_end = byte != _COMMA and byte != _NEWLINE
                if not open_end and 0 < whole <= 8 and places <= 4:
                    values[role - 3] = units * scale[places]
                else:
                    at = _cell_end(data, cell)
                    value, cause = number_in(data, cell, at)
                    values[role - 3] = value
                    if cause != _GOOD:
                        flaws = True
                        causes[role - 3] = cause
            elif role == 1:
                slot = _slot_at(data, at)
                at += 19
                if slot < 0 or (data[at] != _COMMA and data[at] != _NEWLINE):
                    at = _cell_end(data, cell)
                    slot = slot_in(data, cell, at)
            else:
                at = _cell_end(data, cell)
                if role == 2:
                    server_start = cell
                    server_stop = at
            column += 1
            if data[at] == _NEWLINE or column == width:
                break
            at += 1
        long = data[at] != _NEWLINE
        while data[at] != _NEWLINE:
            at += 1
        at += 1
        cause = _GOOD
        row = np.int64(-1)
        if column < width:
            cause = _SHORT
        elif long:
            cause = _LONG
        elif slot < 0:
            cause = _TIME
        else:
            byte = data[server_start]
            last = data[server_stop - 1]
            if byte <= 34 or last <= 34:
                server_start, server_stop = clean_span(data, server_start, server_stop)
            length = server_stop - server_start
            if length == 0 or length > SERVER_BYTES:
                cause = _SERVER
            else:
                server = _server_of(data, server_start, server_stop, table)
                if server < 0:
                    return line
                if table.server_good[server] == 0:
                    cause = _SERVER
                elif table.last_slot[server] == slot:
                    row = np.int64(table.last_row[server])
                else:
                    row = _row_of(server, slot, table)
                    if row < 0:
                        return line
                    table.last_slot[server] = slot
                    table.last_row[server] = row
        table.counts[_CAUSES] += 1
        if cause == _GOOD:
            table.counts[_CAUSES + 1] += 1
            if values[0] < 0:
                table.counts[_CAUSES + 2] += 1
            table.row_sums[row, 0] += 1
            for k in range(_SUMS):
                table.row_sums[row, 1 + k] += values[k]
            table.row_sums[row, 1 + _SUMS] += line_digest(data, line, at - 1)
            if flaws:
                for k in range(_SUMS):
                    if causes[k] != _GOOD:
                        _count(table, causes[k], line)
                if causes[0] != _GOOD and causes[0] != _ROUNDED:
                    _count(table, _TOTAL, line)
        else:
            _count(table, cause, line)
        if flaws:
            causes[:] = _GOOD
    return stop


@compiled()
def mix_words(words, lanes):
    """Fold 64-bit words into four lanes, each step one-to-one: a change of one word always changes its lane."""
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
