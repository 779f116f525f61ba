"""Times and numbers written as text: one declared grammar for each, and nothing guessed."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.workloads.sensor_anomaly.readings import Floats

_MICROSECONDS = pa.timestamp("us", tz="UTC")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?)\s?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def times_of_texts(texts: pa.StringArray) -> pa.Array:
    """Microseconds since 1970 UTC of `YYYY-MM-DD[ HH[:MM[:SS[.fraction]]][Z|±HH:MM]]` (or T between); null
    where it is none.
    """
    for kind in (pa.timestamp("us"), _MICROSECONDS):  # none has a zone, or all have one
        with suppress(pa.ArrowInvalid):
            return texts.cast(kind).cast(_MICROSECONDS)
    return pa.array([time_of_text(text) for text in texts.to_pylist()], _MICROSECONDS)


def time_of_text(text: str | None) -> datetime | None:
    """The aware UTC time that `text` names (naive = UTC; fractions are cut to microseconds), None when it
    names none.

    >>> time_of_text("2018-08-29T01:00:05.5+02:00").isoformat()
    '2018-08-28T23:00:05.500000+00:00'
    """
    match = _TIME.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    day, clock, zone = match.groups()
    whole, _, fraction = (clock or "00").partition(".")
    try:
        moment = datetime.fromisoformat(f"{day}T{whole}{zone or 'Z'}")
        return moment.replace(microsecond=int(f"{fraction[:6]:0<6}")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def numbers_of_texts(texts: pa.StringArray) -> tuple[Floats, dict[int, str]]:
    """The numbers, NaN where a text is none, and those texts by row; a finite decimal is a number, "NaN"
    and "inf" are not.
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    fits = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), False)
    numbers = pc.if_else(fits, trimmed, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False)
    bad: dict[int, str] = {}
    if not pc.all(fits).as_py():
        rows = np.flatnonzero(~fits.to_numpy(zero_copy_only=False))
        bad = {int(row): texts[int(row)].as_py() or "" for row in rows}
    return numbers, bad
