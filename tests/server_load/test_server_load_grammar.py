"""The grammar in its readable and its compiled form."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.workloads.server_load import byte_grammar
from fleetscore.workloads.server_load.grammar import Cause, is_server, read_number, read_slot

_CELL = st.text(st.sampled_from(list('0123456789.+-eE" \tnaifNTZ:')), max_size=14)
_NUMBERISH = st.from_regex(r'\A"?[+-]?[0-9]{0,10}(\.[0-9]{0,9})?([eE][+-]?[0-9]{1,3})?"?\Z')
_TIMEISH = st.from_regex(
    r'\A[" ]{0,2}(1969|1970|20[0-9]{2}|2100)-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?Z?[" ]{0,2}\Z'
)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode() + bytes(64), np.uint8)


@given(_CELL | _NUMBERISH)
@settings(max_examples=400, deadline=None)
def test_numbers_agree(text: str) -> None:
    """The compiled form reads every cell as the readable form does: the same number, the same cause."""
    units, cause = byte_grammar.number_in(_bytes(text), 0, len(text.encode()))
    expected, expected_cause = read_number(text)
    assert (units, cause) == (expected, -1 if expected_cause is None else int(expected_cause))


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.integers(-12, 12), st.sampled_from("eE"), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_spelling_of_a_number_is_the_same(units: int, shift: int, letter: str, signed: bool) -> None:
    """A number written with any exponent reads, in both forms, as it does written out."""
    plain = f"{Decimal(units).scaleb(-4):f}"
    mantissa = f"{Decimal(units).scaleb(-4 - shift):f}"
    text = f"{mantissa}{letter}{shift:+d}" if signed else f"{mantissa}{letter}{shift}"
    assert float(text) == float(plain)
    assert read_number(plain) == read_number(text) == (units, None)
    assert byte_grammar.number_in(_bytes(text), 0, len(text)) == (units, -1)


@given(_CELL | _TIMEISH)
@settings(max_examples=400, deadline=None)
def test_times_agree(text: str) -> None:
    """The compiled form finds the slot that the readable form finds, or none as well."""
    slot = byte_grammar.slot_in(_bytes(text), 0, len(text.encode()))
    assert (None if slot < 0 else slot) == read_slot(text)


@given(
    st.text(st.sampled_from(list("0123456789abF:.")), max_size=20)
    | st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,4}){3,4}\Z")
    | st.ip_addresses().map(str)
)
@settings(max_examples=400, deadline=None)
def test_servers_agree(text: str) -> None:
    """The compiled form takes exactly the addresses that the readable form takes."""
    assert bool(byte_grammar.is_server_in(_bytes(text), 0, len(text.encode()))) == is_server(text)


@pytest.mark.parametrize("day", ["1970-01-01", "1999-12-31", "2000-02-29", "2016-12-31", "2099-12-31"])
def test_slot_counts_from_1970(day: str) -> None:
    """A slot is the number of whole five minutes since 1970 in UTC."""
    text = f"{day} 23:59:59"
    expected = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 300
    assert read_slot(text) == byte_grammar.slot_in(_bytes(text), 0, len(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "inf",
        "-inf",
        "1e",
        "e3",
        "1e+",
        "1e3.0",
        "0x10",
        "1_000",
        "1,0",
        "١",
        "--1",
        "1.2.3",
        ".",
        "NULL",
    ],
)
def test_only_finite_decimals_are_numbers(text: str) -> None:
    """Nothing but a finite decimal, with or without an exponent, reaches a sum."""
    assert read_number(text) == (0, Cause.BAD_NUMBER)


@pytest.mark.parametrize(
    ("text", "units", "cause"),
    [
        ("0.00005", 1, Cause.ROUNDED_NUMBER),
        ("-0.00005", -1, Cause.ROUNDED_NUMBER),
        ("0.00004999", 0, Cause.ROUNDED_NUMBER),
        ("1.50000", 15_000, None),
        ("99999999.9999", 999_999_999_999, None),
        ("100000000", 0, Cause.BIG_NUMBER),
        ("1e999", 0, Cause.BIG_NUMBER),
        ("0e999999999999", 0, None),
        ("5e-5", 1, Cause.ROUNDED_NUMBER),
        ("4.9e-5", 0, Cause.ROUNDED_NUMBER),
        ("1e-999999999999", 0, Cause.ROUNDED_NUMBER),
        ("0.00000000000000000012E20", 120_000, None),
        ("120000000000e-10", 120_000, None),
        ("", 0, Cause.EMPTY_NUMBER),
        ('" 7 "', 70_000, None),
        ("+.5", 5_000, None),
    ],
)
def test_number_edges(text: str, units: int, cause: Cause | None) -> None:
    """More than four decimals round half away from zero and are counted; a hundred million is too big."""
    assert read_number(text) == (units, cause)


@pytest.mark.parametrize(
    "text",
    [
        "2016-06-29 01:00:60",
        "2016-06-31 00:00:00",
        "2016-06-29 24:00:00",
        "2016-6-29 01:00:00",
        "2015-02-29 00:00:00",
    ],
)
def test_unreal_times_are_refused(text: str) -> None:
    """Second 60, hour 24 and days that no calendar has are no times."""
    assert read_slot(text) is None
