"""Weeks, and days, as the data writes them: plain numbers, ISO weeks, dates, and stamps of a declared
format and zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleetscore.sources import DataSettings, TableCover
from fleetscore.sources.settings import EPOCHS
from fleetscore.sources.times import TimeReader
from fleetscore.windows import Cadence, Window
from fleetscore.workloads.store_sales.contract import StoreSalesSettings

UNREADABLE = -1
"""Stands for a store, SKU or week that cannot be read."""

_EPOCH = date(1970, 1, 1)
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday
_DAY_S = 86_400
_NO_TIME = np.iinfo(np.int64).min
_ISO_WEEK = re.compile(r"(\d{4})-?W(\d{1,2})", re.ASCII)
_YEAR_AND_WEEK = re.compile(r"((?:19|20|21)\d\d)(0[1-9]|[1-4]\d|5[0-3])", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


def read_weeks(texts: Sequence[str], cadence: Cadence, data: DataSettings, zone: str) -> NDArray[np.int64]:
    """The ordinal of each text in the cadence (a plain number, a week, or a day), UNREADABLE where it
    names none.

    A number such as 201947 is the ISO week 2019-W47, never the plain number. Days are those of `zone`.

    >>> read_weeks(["108", "201947"], Cadence.INDEX, DataSettings(), "UTC").tolist()
    [108, -1]
    >>> read_weeks(["2019-W06", "2019-W6", "201906", "2019-02-10"], Cadence.WEEK, DataSettings(), "UTC").tolist()
    [2562, 2562, 2562, 2562]
    """
    return read_times(texts, cadence, data, zone)[0]


def read_times(
    texts: Sequence[str], cadence: Cadence, data: DataSettings, zone: str
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Ordinals as `read_weeks` gives them, and of each date or stamp 1 + the seconds since its week or day
    began; 0 where the text names the week itself.

    >>> [part.tolist() for part in read_times(["2019-W06", "2019-02-05"], Cadence.WEEK, DataSettings(), "UTC")]
    [[2562, 2562], [0, 86401]]
    """
    if cadence is Cadence.INDEX:
        numbers = (int(t) if _NUMBER.fullmatch(t) and not names_iso_week(t) else UNREADABLE for t in texts)
        return np.array(list(numbers), np.int64), np.zeros(len(texts), np.int32)
    seconds = _seconds(texts, data, zone)
    days = np.where(seconds == _NO_TIME, UNREADABLE, seconds // _DAY_S)
    weeks = np.where(days == UNREADABLE, UNREADABLE, (days + _MONDAY_OFFSET) // 7)
    ordinals, first_day = (days, days) if cadence is Cadence.DAY else (weeks, weeks * 7 - _MONDAY_OFFSET)
    since = np.where(days == UNREADABLE, 0, 1 + seconds - first_day * _DAY_S).astype(np.int32)
    for at, text in enumerate(texts if cadence is not Cadence.DAY else ()):
        if match := _ISO_WEEK.fullmatch(text) or _YEAR_AND_WEEK.fullmatch(text):
            ordinals[at], since[at] = _week(int(match[1]), int(match[2])), 0
    return ordinals, since


def cover_history(settings: StoreSalesSettings, window: Window) -> TableCover:
    """The history's tables cover a window that holds the last week before it, or of daily rows its last
    day.
    """
    is_daily = settings.frequency == "day"
    cadence = Cadence.DAY if is_daily else Cadence.WEEK
    last = window.ordinal * 7 - _MONDAY_OFFSET - 1 if is_daily else window.ordinal - 1

    def is_covered(values: Sequence[object]) -> bool:
        texts = list(dict.fromkeys(map(str, values)))
        found = read_weeks(texts, cadence, settings.source, settings.timezone)
        return bool((found >= last).any())

    return TableCover(settings.history_paths, is_covered)


def names_iso_week(text: str) -> bool:
    """Whether the text is a year and a week without a dash between them, such as 201947."""
    return _YEAR_AND_WEEK.fullmatch(text) is not None


def _week(year: int, week: int) -> int:
    try:
        monday = date.fromisocalendar(year, week, 1)
    except ValueError:
        return UNREADABLE
    return ((monday - _EPOCH).days + _MONDAY_OFFSET) // 7


def _seconds(texts: Sequence[str], data: DataSettings, zone: str) -> NDArray[np.int64]:
    """Seconds since 1970, by the local clock, of dates as they stand, and of stamps in the zone; _NO_TIME
    where a text is neither.
    """
    form = data.time_format
    if form in EPOCHS or "%H" in form or "%I" in form:
        return _local_seconds(TimeReader(form, data.timezone).read(pa.array(texts, pa.string()), ()), zone)
    if form:
        return _local_seconds(TimeReader(form, "UTC").read(pa.array(texts, pa.string()), ()), "UTC")
    is_day = [_DAY.fullmatch(text) is not None for text in texts]
    dates = [text if day else None for text, day in zip(texts, is_day, strict=True)]
    stamps = [None if day else text for text, day in zip(texts, is_day, strict=True)]
    whole = _local_seconds(TimeReader("", "UTC").read(pa.array(dates, pa.string()), ()), "UTC")
    if all(is_day):
        return whole
    timed = _local_seconds(TimeReader("", data.timezone).read(pa.array(stamps, pa.string()), ()), zone)
    return np.where(is_day, whole, timed)


def _local_seconds(times: pa.Array, zone: str) -> NDArray[np.int64]:
    local = pc.local_timestamp(times.cast(pa.timestamp("us", tz=zone))).cast(pa.int64())
    micros: NDArray[np.int64] = local.fill_null(_NO_TIME).to_numpy(zero_copy_only=False)
    return np.where(micros == _NO_TIME, _NO_TIME, micros // 1_000_000)
