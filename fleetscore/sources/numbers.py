"""Numbers from cells: every spelling that float() takes gives the same value, bit for bit, and everything
else is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def read_numbers(
    column: pa.Array, decimal: str, null_values: Sequence[str]
) -> tuple[pa.Array, pa.Array | None]:
    """The column as float64, null where a cell has no value or none that is finite, and a mask of the cells
    at fault; None where none is.

    Raises InputError `bad_column_type` for a column that cannot hold numbers.
    """
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.float64()), None
    if is_text(column.type):
        return _numbers_of_texts(column.cast(pa.string()), decimal, null_values)
    if not _is_number(column.type):
        raise InputError(f"It holds {column.type}; numbers were expected.", code="bad_column_type")
    return _finite(column.cast(pa.float64(), safe=False))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    plain = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return bool(plain or pa.types.is_boolean(kind))


def _numbers_of_texts(
    texts: pa.Array, decimal: str, null_values: Sequence[str]
) -> tuple[pa.Array, pa.Array | None]:
    if decimal == "." and not any(map(_is_finite, null_values)):
        with suppress(pa.ArrowInvalid):  # some cell is no plain number: which, the careful way finds out
            numbers = texts.cast(pa.float64())
            if pc.all(pc.is_finite(numbers), min_count=0).as_py():
                return numbers, None
    trimmed = pc.utf8_trim_whitespace(texts)
    empty = pc.is_in(trimmed, pa.array(null_values, pa.string()))
    if decimal != ".":
        trimmed = pc.replace_substring(pc.replace_substring(trimmed, ".", "_"), decimal, ".")
    fits = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), False)
    numbers, infinite = _finite(pc.if_else(fits, trimmed, pa.scalar(None, pa.string())).cast(pa.float64()))
    wrong = pc.invert(pc.or_(pc.or_(fits, empty), texts.is_null()))
    faults = wrong if infinite is None else pc.or_(pc.and_not(infinite, empty), wrong)
    return pc.if_else(empty, pa.scalar(None, pa.float64()), numbers), faults


def _is_finite(text: str) -> bool:
    """Whether the text is a number, such as the -999 that stands for no value."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _finite(numbers: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The numbers with null for NaN (no value) and infinity (a cell at fault), and where infinity stood;
    None where every number is finite.
    """
    if pc.all(pc.is_finite(numbers), min_count=0).as_py():
        return numbers, None
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    fine = pc.fill_null(pc.is_finite(numbers), False)
    return pc.if_else(fine, numbers, pa.scalar(None, pa.float64())), infinite
