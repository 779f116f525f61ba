"""The one grammar of the logs: which numbers, times and servers are read, and the codes of what is not.

    number   [+-] digits [. digits], or [+-] . digits, then [e [+-] digits]; no NaN, no inf, no thousands
             separator
    time     YYYY-MM-DD, one space or T, HH:MM:SS [. digits] [Z]; a real date of 1970..2099, seconds 00..59;
             read as UTC
    server   an IPv4 address in dotted digits, or an IPv6 address, in any spelling (`addresses` has the
             canonical one)
    cell     blanks around it and one pair of double quotes around it do not count; a comma between those
             quotes is text, and so is a doubled quote; a quote that the line does not close is a character
             like any other

The functions here are the readable form (request rows, tests); `kernel` is the same grammar over bytes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import IntEnum

from fleetscore.workloads.server_load.addresses import canonical_server

UNITS = 10_000
"""Sums are whole numbers of 1/10,000: exact, and the same in whatever order they are added."""

NUMBER_LIMIT = 100_000_000
"""Numbers of this size or more are refused, so that nine million of them in five minutes still fit 64 bits.
"""

_FAR = 1 << 30  # no line is so long that its digits could make up for such an exponent

SLOT_S = 300
SLOTS_PER_HOUR = 12

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[eE]([+-]?[0-9]+))?")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?Z?")
_QUOTED = re.compile(r'[ \t\r]*"(?:[^"]|""|"(?!"|[ \t\r]*(?:,|\Z)))*"[ \t\r]*(?=,|\Z)')
_BARE = re.compile(r"[^,]*")


class Cause(IntEnum):
    """Why a row or a cell was not used; the lower-case name is the code in ledgers and documents."""

    SHORT_ROW = 0
    LONG_ROW = 1
    BAD_TIME = 2
    BAD_SERVER = 3
    EMPTY_NUMBER = 4
    BAD_NUMBER = 5
    BIG_NUMBER = 6
    ROUNDED_NUMBER = 7
    BAD_TOTAL = 8
    BLANK_LINE = 9

    @property
    def code(self) -> str:
        """The stable code.

        >>> Cause.SHORT_ROW.code
        'short_row'
        """
        return self.name.lower()


ROW_CAUSES = (Cause.SHORT_ROW, Cause.LONG_ROW, Cause.BAD_TIME, Cause.BAD_SERVER)
"""These reject a whole row; the other causes concern one cell of a row that is kept (it adds nothing there).
"""

UNUSABLE = (*ROW_CAUSES, Cause.BAD_TOTAL)
"""These count against a file's reject limit: rejected rows, and rows without a readable TotalLoad."""


def split_cells(line: str) -> list[str]:
    """The cells of a line (without its newline) as they stand, quotes and blanks included.

    >>> split_cells('1,"A, premium" ,"5')
    ['1', '"A, premium" ', '"5']
    """
    if '"' not in line:
        return line.split(",")
    cells = []
    at = 0
    while at <= len(line):
        cell = _QUOTED.match(line, at) or _BARE.match(line, at)
        cells.append(cell[0] if cell else "")
        at += len(cells[-1]) + 1
    return cells


def clean_cell(text: str) -> str:
    """The cell without the blanks and the one pair of quotes around it.

    >>> clean_cell(' "12.5" ')
    '12.5'
    """
    text = text.strip(" \t\r")
    return text[1:-1].strip(" \t\r") if len(text) >= 2 and text[0] == text[-1] == '"' else text


def read_number(text: str) -> tuple[int, Cause | None]:
    """The number in 1/10,000, rounded half away from zero, and what was wrong or lost with it.

    >>> read_number("12.34567"), read_number("1.04E+02"), read_number("1e5x")
    ((123457, <Cause.ROUNDED_NUMBER: 7>), (1040000, None), (0, <Cause.BAD_NUMBER: 5>))
    """
    text = clean_cell(text)
    if not text:
        return 0, Cause.EMPTY_NUMBER
    match = _NUMBER.fullmatch(text)
    if match is None:
        return 0, Cause.BAD_NUMBER
    exponent = max(min(float(match[2] or 0), _FAR), -_FAR)
    return _units_of(Decimal(match[1]), int(exponent))


def _units_of(mantissa: Decimal, exponent: int) -> tuple[int, Cause | None]:
    """The number mantissa * 10**exponent as `read_number` returns it."""
    if not mantissa:
        return 0, None
    magnitude = mantissa.adjusted() + exponent
    if magnitude >= len(str(NUMBER_LIMIT)) - 1:
        return 0, Cause.BIG_NUMBER
    if magnitude < -len(str(UNITS)):
        return 0, Cause.ROUNDED_NUMBER
    sign, digits, places = mantissa.as_tuple()
    exact = Decimal((sign, digits, int(places) + exponent + len(str(UNITS)) - 1))
    units = int(exact.to_integral_value(ROUND_HALF_UP))
    return units, Cause.ROUNDED_NUMBER if units != exact else None


def read_slot(text: str) -> int | None:
    """The five-minute slot since 1970 (UTC) that the time lies in; None when it is no time.

    >>> read_slot("2016-06-29 01:04:59"), read_slot("2016-02-30 00:00:00")
    (4890540, None)
    """
    match = _TIME.fullmatch(clean_cell(text))
    if match is None or not 1970 <= int(match[1][:4]) <= 2099:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]} {match[2]}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) // SLOT_S


def is_server(text: str) -> bool:
    """Whether it is an IP address; a header's "ServerIP", "NULL" or "IPs" is not.

    >>> is_server("10.0.0.255"), is_server("10.0.0.256"), is_server("IPs")
    (True, False, False)
    """
    return canonical_server(text) != ""
