"""Times from cells: ISO 8601, a declared format or steps since 1970; stamps without a zone are local to a
declared one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.sources.numbers import is_text, read_numbers
from fleetscore.sources.settings import EPOCHS

TIME = pa.timestamp("us", tz="UTC")

_NAIVE = pa.timestamp("us")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?)\s?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_PLAIN = frozenset("YmdHMS")
_DAY_US = 86_400_000_000
_STEPS_US = {"s": 1_000_000, "ms": 1_000}
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # from year 1 to 9999


class TimeReader:
    """Reads the times of files in order, so that the repeated hour of a time change can be separated by
    it.
    """

    def __init__(self, time_format: str, timezone: str) -> None:
        """Read `time_format` ("": ISO 8601); stamps without a zone are local to `timezone`."""
        self._format = time_format
        self._zone = timezone or "UTC"
        self._last: dict[Any, tuple[int, bool]] = {}
        self._repeated: dict[str, int] = {}

    def read(self, column: pa.Array, keys: Sequence[pa.Array]) -> pa.Array:
        """Microseconds UTC, null where a cell holds no time; `keys` say which series a row belongs to.

        Raises InputError `bad_column_type` for a column that cannot hold times as they are declared.
        """
        kind = column.type
        if pa.types.is_timestamp(kind):
            times = to_microseconds(column)
            return times.cast(TIME) if kind.tz else self._localised(times, keys)
        if pa.types.is_date(kind):
            return self._localised(column.cast(_NAIVE), keys)
        if pa.types.is_null(kind):
            return pa.nulls(len(column), TIME)
        if self._format in EPOCHS:
            return _of_epoch(column, EPOCHS[self._format])
        if not is_text(kind):
            raise InputError(
                f"It holds {kind}; times were expected.",
                fix='If it counts since 1970, set time_format = "epoch_ms" (or epoch_s, epoch_us).',
                code="bad_column_type",
            )
        texts = column.cast(pa.string())
        return self._of_format(texts, keys) if self._format else self._of_iso(texts, keys)

    def remarks(self) -> tuple[str, ...]:
        """A sentence for each repeated hour whose rows were separated by their order."""
        return tuple(
            f"{rows} rows stand in the hour that {self._zone} had twice on {day}; "
            "their order decides which one they mean."
            for day, rows in self._repeated.items()
        )

    def _of_iso(self, texts: pa.Array, keys: Sequence[pa.Array]) -> pa.Array:
        with suppress(pa.ArrowInvalid):
            return texts.cast(TIME)  # all have a zone
        with suppress(pa.ArrowInvalid):
            return self._localised(texts.cast(_NAIVE), keys)  # none has one
        return self._of_moments([_iso(text) for text in texts.to_pylist()], keys)

    def _of_format(self, texts: pa.Array, keys: Sequence[pa.Array]) -> pa.Array:
        if set(re.findall(r"%(.)", self._format)) <= _PLAIN:
            return self._localised(_of_plain_format(texts, self._format), keys)
        coded = texts.dictionary_encode()
        moments = [_formatted(text, self._format) for text in coded.dictionary.to_pylist()]
        codes = coded.indices.to_pylist()
        return self._of_moments([None if code is None else moments[code] for code in codes], keys)

    def _of_moments(self, moments: list[datetime | None], keys: Sequence[pa.Array]) -> pa.Array:
        """The aware ones as they are, the naive ones in the zone."""
        aware = pa.array([m.astimezone(UTC) if m is not None and m.tzinfo else None for m in moments], TIME)
        naive = pa.array([m if m is not None and not m.tzinfo else None for m in moments], _NAIVE)
        return aware if naive.null_count == len(naive) else pc.coalesce(aware, self._localised(naive, keys))

    def _localised(self, naive: pa.Array, keys: Sequence[pa.Array]) -> pa.Array:
        if self._zone == "UTC":
            return naive.cast(TIME)
        with suppress(pa.ArrowInvalid):  # some stand in an hour that the zone has twice, or not at all
            return pc.assume_timezone(naive, self._zone, ambiguous="raise", nonexistent="raise").cast(TIME)
        first, second = (
            pc.assume_timezone(naive, self._zone, ambiguous=which, nonexistent=which)
            for which in ("earliest", "latest")
        )
        is_real = pc.equal(pc.local_timestamp(first), naive)
        differ = pc.fill_null(pc.and_(is_real, pc.not_equal(first, second)), False)
        rows = np.flatnonzero(differ.to_numpy(zero_copy_only=False))
        later = np.zeros(len(naive), bool)
        later[rows] = self._are_second(naive.take(pa.array(rows)), [key.take(pa.array(rows)) for key in keys])
        times = pc.if_else(pa.array(later), second, first).cast(TIME)
        return pc.if_else(is_real, times, pa.scalar(None, TIME))

    def _are_second(self, naive: pa.Array, keys: Sequence[pa.Array]) -> list[bool]:
        """Whether each of these rows, in order, belongs to the second pass: its series has gone back, or
        stands still, since.
        """
        found: list[bool] = []
        stamps = naive.cast(pa.int64()).to_pylist()
        series = zip(*(key.to_pylist() for key in keys), strict=True) if keys else ((),) * len(stamps)
        for stamp, one in zip(stamps, series, strict=True):
            before, was_second = self._last.get(one, (stamp - 2 * _DAY_US, False))
            is_same_change = abs(stamp - before) < _DAY_US
            back = stamp < before or (stamp == before and bool(keys))
            is_second = is_same_change and (was_second or back)
            self._last[one] = (stamp, is_second)
            found.append(is_second)
        for day in naive.cast(pa.date32()).to_pylist():
            self._repeated[str(day)] = self._repeated.get(str(day), 0) + 1
        return found


def to_microseconds(column: pa.Array) -> pa.Array:
    """Times of any unit in microseconds, with or without a zone as they are; null beyond the years 1 to
    9999, which no calendar of Python has: sentinels such as the largest number for "never".
    """
    unit, zone = column.type.unit, column.type.tz
    coarse = within_years(column) if unit in ("s", "ms") else column
    return within_years(coarse.cast(pa.timestamp("us", tz=zone), safe=unit != "ns"))  # finer parts are cut


def within_years(times: pa.Array) -> pa.Array:
    """The times with null for those beyond the years 1 to 9999: sentinels, or counts of another unit than
    the declared one.
    """
    step_us = _STEPS_US.get(times.type.unit, 1)
    first, last = _FIRST_US // step_us, _LAST_US // step_us
    steps = times.cast(pa.int64())
    ends = pc.min_max(steps)
    if not ends["min"].is_valid or (ends["min"].as_py() >= first and ends["max"].as_py() <= last):
        return times
    within = pc.and_(pc.greater_equal(steps, first), pc.less_equal(steps, last))
    return pc.if_else(within, times, pa.scalar(None, times.type))


def _of_epoch(column: pa.Array, step_us: int) -> pa.Array:
    if pa.types.is_integer(column.type):
        last = pa.scalar(_LAST_US // step_us, pa.uint64() if column.type == pa.uint64() else pa.int64())
        counts = pc.if_else(pc.less_equal(column, last), column, pa.scalar(None, column.type))
        counts = counts.cast(pa.int64())
        within = pc.greater_equal(counts, _FIRST_US // step_us)
        return pc.multiply(pc.if_else(within, counts, pa.scalar(None, pa.int64())), step_us).cast(TIME)
    numbers, _ = read_numbers(column, ".", ("",))
    steps = pc.round(pc.multiply(numbers, float(step_us)))
    within = pc.and_(pc.greater_equal(steps, float(_FIRST_US)), pc.less_equal(steps, float(_LAST_US)))
    return pc.if_else(within, steps, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(TIME)


def _of_plain_format(texts: pa.Array, form: str) -> pa.Array:
    """Times by Arrow's fast way; it lets the 31st of February pass as a day of March, so what may be such
    is read again.
    """
    times = pc.strptime(pc.utf8_trim_whitespace(texts), format=form, unit="us", error_is_null=True)
    doubtful = pc.or_(pc.less_equal(pc.day(times), 3), pc.match_substring_regex(texts, "6[0-9]"))
    rows = np.flatnonzero(pc.fill_null(doubtful, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return times
    again = [_formatted(text, form) for text in texts.take(pa.array(rows)).to_pylist()]
    wrong = np.zeros(len(texts), bool)
    wrong[rows] = [moment is None for moment in again]
    return pc.if_else(pa.array(wrong), pa.scalar(None, _NAIVE), times)


def _formatted(text: str | None, form: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), form) if text else None  # noqa: DTZ007  # its zone is the caller's
    except (ValueError, OverflowError):
        return None


def _iso(text: str | None) -> datetime | None:
    match = _ISO.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    day, clock, zone = match.groups()
    whole, _, fraction = (clock or "00").replace(",", ".").partition(".")
    try:
        moment = datetime.fromisoformat(f"{day}T{whole}{zone or ''}").replace(
            microsecond=int(f"{fraction[:6]:0<6}")
        )
        return (
            moment
            if moment.tzinfo is None or abs(moment.utcoffset() or timedelta()) < timedelta(days=1)
            else None
        )
    except (ValueError, OverflowError):
        return None
