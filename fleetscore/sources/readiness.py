"""When a window may start before it is due: its marker is there, its Delta table has gone on, or enough
partitions were seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from fleetscore.sources.delta_tables import open_snapshot
from fleetscore.sources.patterns import Span, parse_pattern, render
from fleetscore.sources.places import split_place, store_of
from fleetscore.sources.settings import DataSettings, Ready
from fleetscore.store import Store
from fleetscore.windows import next_time_of_day


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a window's data is complete, and the sentence that says why or what is missing."""

    is_ready: bool
    detail: str


@dataclass(frozen=True, slots=True)
class TableCover:
    """Which Delta tables a window waits for, and whether one with these newest times of its files covers
    it.
    """

    paths: tuple[str, ...]
    is_covered: Callable[[Sequence[object]], bool]


def cover_until(paths: tuple[str, ...], end: datetime, timezone: str = "UTC") -> TableCover:
    """Tables that have to hold a time at or after `end`: what comes later in them is of later windows.
    Times without a zone, and dates, are those of `timezone`.
    """

    def is_covered(values: Sequence[object]) -> bool:
        newest = _newest(values, timezone)
        return newest is not None and newest >= end

    return TableCover(paths, is_covered)


def check_ready(
    store: Store,
    settings: DataSettings,
    window: Span,
    share_seen: Callable[[], float],
    cover: TableCover | None = None,
) -> Readiness:
    """Whether the line `ready` holds for a window now; `share_seen` counts partitions, and is called where
    a share is requested; `cover` says which tables cover the window (None: all, each with a time after it).

    Raises StoreError where the place cannot be read, InputError for a table that cannot be read.
    """
    ready = settings.ready
    if ready is None:
        return Readiness(True, "No line `ready` is set: the window starts when it is due.")
    if ready.marker:
        return _check_markers(store, settings, ready.marker, window)
    if ready.delta:
        return _check_tables(
            store, settings, cover or cover_until(settings.paths, window.end, settings.timezone)
        )
    share = share_seen()
    return Readiness(
        share >= ready.share, f"{share:.0%} of the partitions were seen; {ready.share:.0%} are required."
    )


def latest_start(
    ready: Ready | None, window: Span, due: datetime, overdue_s: float, timezone: str
) -> datetime:
    """The moment at which a window starts at the latest: its deadline, else `overdue_s` after it is due.

    The deadline is the first such time of day in `timezone` at or after the window's end.
    """
    if ready is None or not ready.deadline:
        return due if ready is None else due + timedelta(seconds=overdue_s)
    return next_time_of_day(ready.deadline, window.end, timezone or "UTC")


def _check_markers(store: Store, settings: DataSettings, marker: str, window: Span) -> Readiness:
    """A marker whose name holds times has to be there for each of the window."""
    container, text = split_place(marker)
    pattern = parse_pattern(text)
    place = store_of(store, marker)[0]
    for moment in pattern.moments(window, ZoneInfo(settings.path_timezone), 0.0):
        path = "/".join(render(segment, moment) for segment in pattern.segments)
        if place.stat(path) is None:
            return Readiness(False, f"The marker {container + '/' if container else ''}{path} is not there.")
    return Readiness(True, f"The marker {marker} is there.")


def _check_tables(store: Store, settings: DataSettings, cover: TableCover) -> Readiness:
    """Each table has to cover the window by the newest times that its log has of its files."""
    theirs = settings.theirs(settings.time)
    for path in cover.paths:
        place, root = store_of(store, path)
        snapshot = open_snapshot(place, root, None)
        values = _times_of(snapshot.actions, theirs)
        if not cover.is_covered(values):
            seen = (
                f"its newest time is {_shown(values, settings.timezone)}"
                if values
                else f"its log has no times of {theirs!r}"
            )
            return Readiness(
                False, f"Version {snapshot.version} of {path} does not cover the window: {seen}."
            )
    return Readiness(True, "Each Delta table covers the window.")


def _times_of(actions: pa.Table, column: str) -> list[object]:
    """The newest time of each file, by its statistics, or by its partition."""
    names = [name for name in (f"max.{column}", f"partition.{column}") if name in actions.column_names]
    return [value for name in names for value in actions[name].to_pylist() if value is not None]


def _shown(values: Sequence[object], timezone: str) -> str:
    newest = _newest(values, timezone)
    return newest.isoformat() if newest else max(map(str, values))


def _newest(values: Sequence[object], timezone: str) -> datetime | None:
    zone = ZoneInfo(timezone or "UTC")
    times = [datetime.combine(v, time()) if type(v) is date else v for v in values]
    moments = [value for value in times if isinstance(value, datetime)]
    return max((t if t.tzinfo else t.replace(tzinfo=zone) for t in moments), default=None)
