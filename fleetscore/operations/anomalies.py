"""Anomalies: the events of published windows, each in its newest state, grouped into incidents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fleetscore.capabilities import FindsEvents
from fleetscore.errors import DamagedStateError, InputError, MissingBlobError, StoreError
from fleetscore.operations.anomaly_devices import require_device
from fleetscore.operations.attention.mutes import Mute, format_mute, list_mutes
from fleetscore.operations.known_workloads import find_named, find_named_workload
from fleetscore.runs.manifests import read_events, read_latest, read_manifest
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.windows import Window, parse_key, window_at

CAUSE = "anomaly"
"""The cause that mutes of events name."""

DEFAULT_SPAN = timedelta(days=7)
TOGETHER = timedelta(minutes=10)
"""Incidents of different groups that begin within this time of each other are one, where there are
TOGETHER_LEAST of them.
"""

TOGETHER_LEAST = 3
_LONGEST_SPAN = timedelta(days=92)
_LONGEST_EVENT = timedelta(days=1)  # one that went on after `since` may have had its peak so long before


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An event in its newest state; times are aware UTC. `muted` says by whom and why, "" where no mute is
    about it.
    """

    event: str
    partition: str
    group: str
    start: datetime
    end: datetime
    is_open: bool  # its gap is not over as of the newest published window
    readings: int
    severity: float
    peak: datetime
    value: float
    expected_low: float | None
    expected_high: float | None
    detector: str
    window: str
    muted: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """Events that belong together: of one group, or of several that began at the same time. Named after its
    first event.
    """

    incident: str
    workload: str
    start: datetime
    end: datetime
    is_open: bool
    severity: float
    readings: int
    groups: tuple[str, ...]
    events: tuple[Anomaly, ...]

    @property
    def is_muted(self) -> bool:
        """Whether mutes are about all its events."""
        return all(event.muted for event in self.events)


@dataclass(frozen=True, slots=True)
class AnomalyReport:
    """The incidents since a time, open ones first, then the most severe. `since` later than `until` means
    that no window is published since; `unread` says of windows whose events cannot be read why.
    """

    since: datetime  # at most 92 days before `until`
    until: datetime | None  # end of the newest published window that was looked at
    incidents: tuple[Incident, ...]
    events: int
    muted: int  # incidents
    unread: tuple[str, ...] = ()


def list_anomalies(
    store: Store, now: datetime, *, workload: str = "", since: str = "", device: str = ""
) -> AnomalyReport:
    """The incidents with an event that touches a published window since then; by default the seven days up
    to the newest one.

    `device` restricts them to a group. InputError for a workload whose kind finds no events, and for a
    device that there is not.
    """
    begin = parse_since(since, now)
    named = _with_events(store, workload)
    incidents: list[Incident] = []
    ends = []
    unread: list[str] = []
    for name, kind in named:
        found, end = _of_workload(store, name, kind, begin, now, device, unread)
        incidents += found
        ends += [end] if end is not None else []
    if device and not incidents:
        require_device(store, [name for name, _ in named], device)
    incidents.sort(key=lambda one: (not one.is_open, -one.severity, one.start, one.incident))
    until = max(ends, default=None)
    return AnomalyReport(
        _looked_from(begin, until or now), until, tuple(incidents), sum(len(one.events) for one in incidents),
        sum(one.is_muted for one in incidents), tuple(unread),
    )  # fmt: skip


def parse_since(text: str, now: datetime) -> datetime | None:
    """The moment that `text` names: a day, an ISO time (UTC without an offset), or days back such as 7d;
    None for "".

    >>> parse_since("2d", datetime(2026, 11, 28, tzinfo=UTC)).isoformat()
    '2026-11-26T00:00:00+00:00'
    """
    if not text:
        return None
    try:
        if text.endswith("d") and text[:-1].isdigit():
            return now - timedelta(days=int(text[:-1]))
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text[:100]!r} is no time.",
            fix="Write a day (2026-12-24), a time (2026-12-24T18:00Z) or days back (7d).",
            field="since",
        ) from error


def group_incidents(workload: str, events: Iterable[Anomaly], gap: timedelta) -> list[Incident]:
    """Events of a group that overlap or follow within the gap are an incident; those of several groups that
    begin together are one.
    """
    parts: list[list[Anomaly]] = []
    for event in sorted(events, key=lambda one: (one.group, one.start, one.partition)):
        last = parts[-1] if parts else []
        if last and last[0].group == event.group and event.start <= max(e.end for e in last) + gap:
            last.append(event)
        else:
            parts.append([event])
    parts.sort(key=lambda part: (part[0].start, part[0].partition))
    return [_incident(workload, part) for part in _join_simultaneous(parts)]


def _join_simultaneous(parts: Sequence[list[Anomaly]]) -> list[list[Anomaly]]:
    joined: list[list[Anomaly]] = []
    place = 0
    while place < len(parts):
        end = place + 1
        while end < len(parts) and parts[end][0].start <= parts[place][0].start + TOGETHER:
            end += 1
        if len({part[0].group for part in parts[place:end]}) >= TOGETHER_LEAST:
            joined.append([event for part in parts[place:end] for event in part])
        else:
            end = place + 1
            joined.append(list(parts[place]))
        place = end
    return joined


def _incident(workload: str, events: Sequence[Anomaly]) -> Incident:
    ordered = tuple(sorted(events, key=lambda one: (one.start, -one.severity, one.partition)))
    return Incident(
        ordered[0].event, workload, ordered[0].start, max(e.end for e in ordered), any(e.is_open for e in ordered),
        max(e.severity for e in ordered), sum(e.readings for e in ordered), tuple(sorted({e.group for e in ordered})),
        ordered,
    )  # fmt: skip


def _with_events(store: Store, workload: str) -> list[tuple[str, Any]]:
    """The workloads whose kind finds events, by name."""
    if not workload:
        known = find_named(store)
        return [(each.name, each.workload) for each in known if isinstance(each.workload, FindsEvents)]
    named = find_named_workload(store, workload)
    kind: object = named.workload
    if not isinstance(kind, FindsEvents):
        lacking = named.reason or f"{FindsEvents.lacking}"
        raise InputError(f"{workload} {lacking}.".replace("..", "."), field="workload")
    return [(named.name, kind)]


def _of_workload(
    store: Store, name: str, kind: Any, begin: datetime | None, now: datetime, device: str, unread: list[str]
) -> tuple[list[Incident], datetime | None]:
    latest = read_latest(store, name)
    if latest is None:
        return [], None
    # of another length than those to come, where the setting was changed since
    newest, oldest = (parse_key(key, kind.zone) for key in (latest.window, latest.first))
    since, gap = _looked_from(begin, newest.end), kind.event_gap()
    first = window_at(since - _LONGEST_EVENT - gap, newest.cadence, newest.zone)
    if oldest.cadence is newest.cadence:
        first = max(first, oldest)
    states = _read_states(store, name, first, newest, unread)
    acts = [act for act in list_mutes(store, name, now) if act.covers(CAUSE) or act.normal]
    events = [_newest_state(rows, newest.end - gap, acts) for rows in states.values()]
    chosen = [event for event in events if event.end >= since and device in ("", event.group)]
    return group_incidents(name, chosen, gap), newest.end


def _looked_from(begin: datetime | None, until: datetime) -> datetime:
    """From when windows up to `until` are looked at."""
    return max(begin or until - DEFAULT_SPAN, until - _LONGEST_SPAN)


def _read_states(
    store: Store, name: str, first: Window, last: Window, unread: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each event, oldest window first; `unread` gets why those of a window cannot be read."""
    windows = [Window(first.cadence, n, first.zone) for n in range(first.ordinal, last.ordinal + 1)]
    states: dict[str, list[dict[str, Any]]] = {}
    for rows in side_by_side(lambda window: _read_rows(store, name, window), windows):
        if isinstance(rows, StoreError):
            unread.append(f"{name}: {rows.message} {rows.fix}")
            continue
        for row in rows:
            states.setdefault(row["event"], []).append(row)
    return states


def _read_rows(store: Store, name: str, window: Window) -> list[dict[str, Any]] | StoreError:
    """The events of the window, none where it is not published; the error where they are damaged or gone."""
    try:
        manifest = read_manifest(store, name, window.key)
    except MissingBlobError:
        return []
    except DamagedStateError as error:
        return error
    try:
        rows: list[dict[str, Any]] = read_events(store, manifest).to_pylist()
    except (DamagedStateError, MissingBlobError) as error:
        return error
    return rows


def _newest_state(rows: Sequence[dict[str, Any]], over: datetime, mutes: Sequence[Mute]) -> Anomaly:
    """An event as its newest window left it, its peak as the window in which it had its largest severity
    says.
    """
    last = rows[-1]
    peak = next(row for row in rows if row["severity"] >= last["severity"])
    muted = next((act for act in mutes if _is_about(act, last["event"], last["partition"])), None)
    return Anomaly(
        last["event"], last["partition"], last["group"], last["start"], last["end"], last["end"] >= over,
        last["readings"], last["severity"], peak["peak"], peak["value"], peak["expected_low"], peak["expected_high"],
        peak["detector"], last["window"], format_mute(muted) if muted is not None else "",
    )  # fmt: skip


def _is_about(act: Mute, event: str, partition: str) -> bool:
    if act.normal:
        return any(one.event == event for one in act.normal)
    return act.covers_partition(partition)
