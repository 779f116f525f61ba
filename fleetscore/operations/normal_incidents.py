"""Mutes as they are requested: of causes and partitions, or of one incident that is normal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.operations.anomalies import CAUSE, Anomaly, Incident, list_anomalies
from fleetscore.operations.attention.mutes import Mute, escape_key, mute
from fleetscore.runs.normal_marks import NormalEvent
from fleetscore.store.base import Store

_BEFORE = timedelta(days=7)  # what an event belongs together with may have begun so long before it


def request_mute(
    store: Store, workload: str, *, why: str, until: str, now: datetime, requested_by: str, partition: str = "",
    cause: str = "", normal: str = "",
) -> Mute:  # fmt: skip
    """Write down a mute, or with `normal`, the id of an incident or of one event, that its events are normal:
    they need no attention, and training learns them.

    InputError for a partition or a cause beside an incident, MissingBlobError `no_incident` for an unknown
    one.
    """
    if not normal:
        return mute(
            store, workload, why=why, until=until, now=now, requested_by=requested_by, partition=partition, cause=cause
        )  # fmt: skip
    if partition or cause:
        raise InputError(
            "An incident that is normal is muted by itself.",
            fix="Leave partition and cause out.",
            field="normal",
        )
    events = tuple(
        NormalEvent(one.event, one.partition, one.start, one.end)
        for one in _find_events(store, workload, normal, now)
    )
    return mute(
        store, workload, why=why, until=until, now=now, requested_by=requested_by, cause=CAUSE,
        partition=escape_key(events[0].partition), normal=events,
    )  # fmt: skip


def _find_events(store: Store, workload: str, wanted: str, now: datetime) -> Sequence[Anomaly]:
    """The events of the incident with that id; or those of one device within it, whose first has the id, as a
    list of that device's shows them; or else the one event with it.
    """
    since = _search_from(wanted)
    incidents = list_anomalies(store, now, workload=workload, since=since.isoformat()).incidents
    whole = next((one.events for one in incidents if one.incident == wanted), ())
    found = whole or next((own for one in incidents if (own := _of_device(one, wanted))), ())
    if not found:
        raise MissingBlobError(
            f"{workload} has no incident {wanted[:200]!r}.", fix=f"List them: fleetscore anomalies --workload {workload} --json.",
            code="no_incident", field="normal",
        )  # fmt: skip
    return found


def _of_device(incident: Incident, wanted: str) -> tuple[Anomaly, ...]:
    """The events of the incident that are of the event's device, where it is the first of them; else itself."""
    named = tuple(event for event in incident.events if event.event == wanted)
    own = tuple(event for event in incident.events if named and event.group == named[0].group)
    return own if own and own[0].event == wanted and len(incident.groups) > 1 else named


def _search_from(event: str) -> datetime:
    try:
        return datetime.strptime(event.rpartition("@")[2], "%Y%m%dT%H%MZ").replace(tzinfo=UTC) - _BEFORE
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{event[:200]!r} is no id of an incident.",
            fix="Give one as fleetscore anomalies --json lists it, such as pump-1/flow@20261128T0510Z.",
            field="normal",
        ) from error
