"""The grammar of `grammar.py` over bytes, compiled by numba: cells, numbers, times and addresses of a line
of CSV.

Tests hold the two against each other. A line ends with a newline, and bytes may be read behind it.
"""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

import numpy as np

from fleetscore.kernels.compiled import compiled

CAUSES = 10

SHORT, LONG, TIME, SERVER, EMPTY, BAD, BIG, ROUNDED, TOTAL, BLANK = range(CAUSES)
GOOD = -1  # a number that reads as it stands
LIMIT = 100_000_000
FAR = 1 << 30  # no line is so long that its digits could make up for such an exponent
COMMA, NEWLINE, QUOTE, POINT = 44, 10, 34, 46


@compiled(inline="always")
def is_blank(byte):
    """Whether the byte is a blank, a tab or a carriage return."""
    return byte == 32 or byte == 9 or byte == 13


@compiled()
def trim(data, start, stop):
    """The span without blanks around it."""
    while start < stop and is_blank(data[start]):
        start += 1
    while stop > start and is_blank(data[stop - 1]):
        stop -= 1
    return start, stop


@compiled()
def clean_span(data, start, stop):
    """The span of a cell without blanks and one pair of quotes around it."""
    start, stop = trim(data, start, stop)
    if stop - start >= 2 and data[start] == QUOTE and data[stop - 1] == QUOTE:
        start, stop = trim(data, start + 1, stop - 1)
    return start, stop


@compiled()
def _quoted_end(data, at):
    """The comma or newline behind the quote that closes the cell which `at` lies in; -1 when the line ends
    before.
    """
    while data[at] != NEWLINE:
        if data[at] == QUOTE:
            end = at + 1
            if data[end] == QUOTE:
                at = end
            else:
                while is_blank(data[end]):
                    end += 1
                if data[end] == COMMA or data[end] == NEWLINE:
                    return end
        at += 1
    return np.int64(-1)


@compiled(inline="always")
def cell_end(data, at):
    """The comma or newline behind the cell that begins at `at`."""
    end = at
    while is_blank(data[end]):
        end += 1
    if data[end] == QUOTE:
        end = _quoted_end(data, end + 1)
        if end >= 0:
            return end
        end = at
    while data[end] != COMMA and data[end] != NEWLINE:
        end += 1
    return end


@compiled()
def _exponent_in(data, start, stop):
    """The exponent of ten in the span behind an "e", and whether it is one; beyond +-FAR it is cut to
    that.
    """
    negative = start < stop and data[start] == 45
    if start < stop and (negative or data[start] == 43):
        start += 1
    first = start
    value = 0
    while start < stop and 48 <= data[start] <= 57:
        value = min(value * 10 + (data[start] - 48), FAR)
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
        if data[k] == POINT:
            continue
        digit = np.int64(data[k]) - 48
        if point > 0:
            units = min(units * 10 + digit, LIMIT * 10_000)
        else:
            up = up or (point == 0 and digit >= 5)
            lost = lost or digit != 0
        point -= 1
    while point > 0 and 0 < units < LIMIT * 10_000:
        units *= 10
        point -= 1
    if units >= LIMIT * 10_000:
        return 0, BIG
    return units + (1 if up else 0), (ROUNDED if lost else GOOD)


@compiled()
def number_in(data, start, stop):
    """The number of a cell in 1/10,000 and its cause, by the whole grammar."""
    start, stop = clean_span(data, start, stop)
    if start == stop:
        return 0, EMPTY
    negative = data[start] == 45
    if negative or data[start] == 43:
        start += 1
    end = start
    while end < stop and 48 <= data[end] <= 57:
        end += 1
    whole = end - start
    digits = whole
    if end < stop and data[end] == POINT:
        end += 1
        while end < stop and 48 <= data[end] <= 57:
            digits += 1
            end += 1
    exponent = 0
    good = end == stop
    if end < stop and (data[end] == 101 or data[end] == 69):
        exponent, good = _exponent_in(data, end + 1, stop)
    if not good or digits == 0:
        return 0, BAD
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
def slot_at(data, at):
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
        if data[rest] != POINT or rest + 1 == stop:
            return -1
        for k in range(rest + 1, stop):
            if data[k] < 48 or data[k] > 57:
                return -1
    return slot_at(data, start)


@compiled()
def _is_ipv4(data, start, stop):
    parts = 0
    value = 0
    digits = 0
    for k in range(start, stop + 1):
        if k == stop or data[k] == POINT:
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
def _dotted_tail(data, start, stop):
    """Where an IPv4 address after the last colon begins; `stop` where nothing after it is dotted."""
    at = stop
    dotted = False
    while at > start and data[at - 1] != 58:
        at -= 1
        dotted = dotted or data[at] == POINT
    return at if dotted else stop


@compiled()
def _is_ipv6(data, start, stop):
    tail = _dotted_tail(data, start, stop)
    has_tail = tail < stop
    if has_tail and (tail == start or not _is_ipv4(data, tail, stop)):
        return False
    groups = 2 if has_tail else 0
    stop = tail
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
            elif digits == 0 or (k + 1 == stop and not has_tail):
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
def is_usual_in(data, start, stop):
    """Whether the span, an IP address, is IPv4 without padding, which has one spelling only."""
    if not _is_ipv4(data, start, stop):
        return False
    for k in range(start, stop - 1):
        is_first = k == start or data[k - 1] == POINT
        if is_first and data[k] == 48 and data[k + 1] != POINT:
            return False
    return True


@compiled()
def is_server_in(data, start, stop):
    """Whether the span is an IP address."""
    return _is_ipv4(data, start, stop) or _is_ipv6(data, start, stop)
