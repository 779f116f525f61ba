"""Windows that a request cannot mean: a date for an hour, a window that is not due yet or is published in
windows of another length, a year that no key can hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from fleetscore.errors import InputError
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path
from fleetscore.windows import Cadence, Window, parse_key
from fleetscore.workload import Workload

_FIRST_YEAR, _LAST_YEAR = 1000, 9998
_HOURS = frozenset({Cadence.HOUR, Cadence.QUARTER_HOUR})
_DATED = _HOURS | {Cadence.DAY}


def read_window(kind: Workload, text: str) -> Window:
    """The one window that the text names; InputError where it names none, or less than one."""
    window = kind.parse_window(text)
    check_window(text, window)
    return window


def read_published(store: Store, kind: Workload, text: str) -> Window:
    """The window that the text names, also where it is published and of a time when windows had another
    length; InputError as `read_window`.
    """
    own, refused = None, None
    try:
        own = read_window(kind, text)
    except InputError as error:
        refused = error
    if own is not None and own.key == text:
        return own
    with suppress(InputError):
        other = parse_key(text, kind.zone)
        if other.key == text and store.stat(manifest_path(kind.name, text)) is not None:
            return other
    if own is None:
        raise refused or InputError(f"{text} is no window.", field="window")
    return own


def check_window(text: str, window: Window) -> None:
    """InputError where the text names less than the window: a bare date is a day, and an hourly workload
    has 24 windows in it; an hour is four windows of 15 minutes.
    """
    check_year(window)
    if window.cadence is Cadence.QUARTER_HOUR and re.fullmatch(r"[0-9-]{10}[T ][0-9]{2}", text.strip()):
        raise InputError(
            f"{text.strip()} is an hour; a window here is shorter.",
            fix=f"Write it like {window.key}, or backfill the hour: from {window.key} to {window.next(4).key}.",
            field="window",
        )
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


def check_overlap(store: Store, workload: str, window: Window) -> None:
    """InputError for a window of which a part is published in a window of another length: its rows would be
    there twice.
    """
    for other in _published_beside(store, workload, window) if window.cadence in _DATED else ():
        is_other = other.cadence in _DATED and other.cadence is not window.cadence
        if is_other and other.start < window.end and window.start < other.end:
            raise InputError(
                f"{window.key} overlaps {other.key}, which was published when windows of {workload} had another length.",
                fix="Windows that lie after it can run; a second workload can score the past in windows of this length.",
                field="window",
                code="overlapping_window",
            )


def _published_beside(store: Store, workload: str, window: Window) -> Iterator[Window]:
    """The published windows whose keys name a day of the window, or, where days are not those of UTC, the day
    before or after.
    """
    around = timedelta(days=0 if window.zone == "UTC" else 1)
    first = window.start.date() - around
    days = (window.end - timedelta(microseconds=1)).date() + around - first
    for day in range(days.days + 1):
        prefix = manifest_path(workload, f"{first + timedelta(days=day)}").removesuffix("/manifest.json")
        for entry in store.list(prefix):
            if entry.path.endswith("/manifest.json"):
                with suppress(InputError):  # a folder of somebody's own
                    yield parse_key(entry.path.split("/")[2], window.zone)


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
