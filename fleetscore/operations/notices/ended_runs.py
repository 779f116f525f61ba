"""Notices of ended runs: what needs attention, what was published, and what has recovered.

They are sent by notice_delivery.py. Whatever goes wrong there never costs a run anything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError
from fleetscore.operations.anomalies import CAUSE as EVENT_CAUSE
from fleetscore.operations.attention.calendar import cell_of
from fleetscore.operations.attention.lines import group_attention
from fleetscore.operations.attention.mutes import list_mutes, remaining
from fleetscore.operations.attention.states import Mark
from fleetscore.operations.notices.delivery import keep_notice, send_notice, targets_of
from fleetscore.operations.notices.notice import Notice, links_of_run
from fleetscore.operations.outbound.sending import send_beside
from fleetscore.pipeline.spellings import speller_in
from fleetscore.records import GOOD, RunRecord, RunState, count_bad, is_idle
from fleetscore.runs.index import line_of
from fleetscore.runs.ledgers import partitions_with
from fleetscore.store.base import Store
from fleetscore.store.paths import notice_path, run_id, table_root

_MARKS = {
    "run_failed": frozenset({Mark.FAILED, Mark.UNPUBLISHED}),
    "published_with_failures": frozenset({Mark.FAILURES, Mark.LATE}),
    "drift": frozenset({Mark.DRIFTED}),
}
"""The marks of a window that a notice of the kind is about."""
_ENDED_BY_PUBLISHING = ("run_failed", "run_stalled")
_OF_WINDOWS = ("window_overdue", "deadline_missed", "deadline_at_risk")
_log = logging.getLogger("fleetscore.notices")


def notices_of(record: RunRecord) -> list[Notice]:
    """The notices of an ended run: that it failed, or was published with failures, or found partitions that
    drifted.
    """
    request, at = record.request, record.ended or record.updated
    found = []
    if record.state in (RunState.FAILED, RunState.UNPUBLISHED) and not is_idle(record):
        found.append(
            ("run_failed", f"{request.run} ended {record.state}: {record.error}{_first_cause(record)}")
        )
    bad = {name: n for name, n in record.counts.items() if name not in GOOD and n}
    if record.state is RunState.PUBLISHED and bad:
        counts = ", ".join(f"{n} {name}" for name, n in bad.items())
        text = f"{request.run} was published, but of {record.partitions} partitions {counts}.{_first_cause(record)}"
        found.append(("published_with_failures", text.strip()))
    drifted = record.facts.get("drifted", 0)
    if record.state is RunState.PUBLISHED and drifted:
        text = f"{drifted} of {record.partitions} partitions of {request.run} drifted from what their models were trained on."
        found.append(("drift", text))
    anomalies = record.facts.get("anomalies")
    if record.state is RunState.PUBLISHED and anomalies and anomalies.get("began"):
        found.append(("anomalies", _describe_anomalies(request.run, anomalies)))
    return [
        Notice(
            f"{kind}-{request.run}", kind, request.workload, message, at, request.window, request.run,
            links_of_run(request.run, kind), tags=record.facts.get("tags", {}),
        )
        for kind, message in found
    ]  # fmt: skip


def _describe_anomalies(run: str, anomalies: Mapping[str, Any]) -> str:
    """How many events began, and the worst."""
    count = anomalies["began"]
    began = f"{count} anomalous event{'s' if count != 1 else ''} began in {run}"
    return f"{began}, of {anomalies['events']} that it has. Worst: {'; '.join(anomalies['worst'])}."


def _first_cause(record: RunRecord) -> str:
    """The most frequent cause of a missing result, with its first partition, to follow a sentence; "" if
    there is none.
    """
    cause = next((c for c in record.causes if c.outcome not in GOOD), None)
    return f" Most often {cause.cause}, first {cause.example}. {cause.detail}".rstrip() if cause else ""


def send_ending_notices(store: Store, app: AppSettings, record: RunRecord) -> None:
    """Send the notices of the ended run, but those about what is muted; and, to the targets that ask for it,
    that it was published, or that an incident of its window has ended. Takes as long as the targets take.
    """
    for notice in ending_notices(store, app, record):
        send_notice(store, app, notice)


def hand_over_ending_notices(store: Store, app: AppSettings, record: RunRecord) -> None:
    """Keep the notices of the ended run, and send them on a thread of their own.

    Neither a slow target nor any error costs the run anything: what this process does not send any more, the
    watchdog's tick does.
    """
    try:
        kept = [notice for notice in ending_notices(store, app, record) if keep_notice(store, app, notice)]
    except Exception:  # whatever damaged settings or state raise: the run has ended
        _log.exception("The notices of %s could not be kept.", record.request.run)
        return
    if kept:
        send_beside("notices", partial(_send_kept, store, app, kept))


def _send_kept(store: Store, app: AppSettings, notices: Sequence[Notice]) -> None:
    for notice in notices:
        try:
            send_notice(store, app, notice)
        except Exception:  # nobody waits for this thread
            _log.exception("The notice %s was not sent; the next tick tries it again.", notice.id)


def ending_notices(store: Store, app: AppSettings, record: RunRecord) -> list[Notice]:
    """What is to be sent of the ended run; nothing where no target is known."""
    targets, _ = targets_of(store, app, record.request.workload)
    if not targets:
        return []
    found = [n for n in (notice_of_publishing(record), notice_of_recovery(store, record)) if n is not None]
    left = _marks_left(store, record)
    for notice in notices_of(record):
        wanted = (
            _has_unmuted_events(store, record) if notice.kind == "anomalies" else left & _MARKS[notice.kind]
        )
        if wanted:
            found.append(notice)
    return found


def notice_of_publishing(record: RunRecord) -> Notice | None:
    """That the run was published, with manifest, version of the result table and counts; None where it was
    not, or is a training.
    """
    request, run = record.request, record.request.run
    if record.state is not RunState.PUBLISHED or request.purpose != "score":
        return None
    data = {
        "workload": request.workload, "window": request.window, "run": run, "round": request.round,
        "manifest": record.manifest, "table": table_root(request.workload),
        "table_version": record.facts.get("table_version"), "partitions": record.partitions,
        "counts": dict(record.counts), "rows": record.rows,
    }  # fmt: skip
    return Notice(
        f"published-{run}", "published", request.workload, f"{run} was published.", record.ended or record.updated,
        request.window, run, links_of_run(run), tags=record.facts.get("tags", {}), data=data,
    )  # fmt: skip


def notice_of_recovery(store: Store, record: RunRecord) -> Notice | None:
    """That the window is published after notices said that it was overdue, stalled, failed or behind its
    deadline, or without failures after one said that it had some; None where there were none, or they cannot
    be read. It is named after the newest of them: once per incident.
    """
    request, run = record.request, record.request.run
    if record.state is not RunState.PUBLISHED or request.purpose != "score":
        return None
    try:
        incident = _newest_incident(store, record)
    except FleetscoreError as error:
        _log.warning("Whether %s ended an incident is not known: %s", run, error)
        return None
    if not incident:
        return None
    message = f"{request.workload} {request.window} is published by {run}; the notice {incident} is over."
    return Notice(
        f"recovered-{incident}", "recovered", request.workload, message, record.ended or record.updated,
        request.window, run, links_of_run(run), tags=record.facts.get("tags", {}),
    )  # fmt: skip


def _newest_incident(store: Store, record: RunRecord) -> str:
    """The id of the newest notice about the window that its publication ends; "" for none."""
    request, kinds = record.request, list(_ENDED_BY_PUBLISHING)
    if not count_bad(record.counts):
        kinds.append("published_with_failures")
    rounds = [run_id(request.workload, request.window, n) for n in range(request.round, 0, -1)]
    runs = [f"{kind}-{run}" for run in rounds for kind in kinds]
    windows = [f"{kind}-{request.workload}-{request.window}" for kind in _OF_WINDOWS]
    for incident in (*runs, *windows):
        states = ("sent", "pending", "given_up")
        if any(store.stat(notice_path(state, incident)) is not None for state in states):
            return incident
    return ""


def _has_unmuted_events(store: Store, record: RunRecord) -> bool:
    """Whether a partition with an event is left that no mute is about; also where mutes cannot be read."""
    partitions = record.facts["anomalies"]["partitions"]
    try:
        mutes = list_mutes(store, record.request.workload, record.ended or record.updated)
    except FleetscoreError as error:
        _log.error("Mutes are passed over: %s", error)
        return True
    spell = speller_in(store, record.request.workload)
    return bool(remaining(partitions, EVENT_CAUSE, mutes, spell))


def _marks_left(store: Store, record: RunRecord) -> frozenset[Mark]:
    """How the run's window stands for the causes that no mute is about; for all where mutes cannot be
    read.
    """
    line = line_of(record)
    try:
        mutes = list_mutes(store, line.workload, record.ended or record.updated)
    except FleetscoreError as error:
        _log.error("Mutes are passed over: %s", error)
        mutes = []
    spell = speller_in(store, line.workload) if mutes else None
    groups = group_attention([cell_of(line, line.window)], mutes, partial(partitions_with, store), spell)
    return frozenset(group.newest.mark for group in groups)
