"""Windows that a request cannot mean: a date for an hour, a window that is not due yet, a year that no key
can hold.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from fleetscore.errors import InputError
from fleetscore.settings import RunPolicy
from fleetscore.windows import Cadence, Window
from fleetscore.workload import Workload

_FIRST_YEAR, _LAST_YEAR = 1000, 9998
_HOURS = frozenset({Cadence.HOUR, Cadence.QUARTER_HOUR})


def read_window(kind: Workload, text: str) -> Window:
    """The one window that the text names; InputError where it names none, or less than one."""
    window = kind.parse_window(text)
    check_window(text, window)
    return window


def check_window(text: str, window: Window) -> None:
    """InputError where the text names less than the window: a bare date is a day, and an hourly workload
    has 24 windows in it.
    """
    check_year(window)
    if window.cadence in _HOURS and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
        raise InputError(
            f"{text.strip()} is a day; a window here is shorter.",
            fix=f"Write it like {window.key}, or backfill the day: from {text.strip()} to the day after.",
            field="window",
        )


def check_year(window: Window) -> None:
    """InputError for a year whose windows could not be written, or be followed by another."""
    if window.cadence is not Cadence.INDEX and not _FIRST_YEAR <= window.start.year <= _LAST_YEAR:
        raise InputError(
            f"The year {window.start.year} is not one that data can be of.",
            fix=f"Expected {_FIRST_YEAR} to {_LAST_YEAR}.",
            field="window",
        )


def check_due(window: Window, policy: RunPolicy, now: datetime) -> None:
    """InputError for a window that is not due yet by the workload's `watermark_s`; plain week numbers have
    no clock.
    """
    if window.cadence is Cadence.INDEX:
        return
    due = window.end + timedelta(seconds=policy.watermark_s)
    if due > now:
        raise InputError(
            f"The window {window.key} is not due before {due:%Y-%m-%d %H:%M} UTC.",
            fix="Wait for it, or run it now all the same: --force (over HTTP: force).",
            field="window",
        )
