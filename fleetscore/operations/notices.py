"""Notices: what needs attention, posted to a webhook and a storage queue, and kept until it is delivered.

A notice is stored before it is sent and named after its content, so it is sent once however often it is
found, and a receiver that is down for an hour loses nothing. Whatever goes wrong here never costs a run
anything.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError
from fleetscore.operations.anomalies import CAUSE as EVENT_CAUSE
from fleetscore.operations.attention import group_attention
from fleetscore.operations.mutes import list_mutes, remaining
from fleetscore.operations.outgoing import post_json
from fleetscore.operations.window_calendar import cell_of
from fleetscore.operations.window_states import Mark
from fleetscore.records import GOOD, RunRecord, RunState, to_json
from fleetscore.registry import read_policy
from fleetscore.runs.index import line_of
from fleetscore.runs.ledgers import partitions_with
from fleetscore.store.base import Store
from fleetscore.store.paths import notice_path, table_root
from fleetscore.store.state_files import read_truth

QUEUE = "fleetscore-notices"
"""The storage queue of notices, in the account of the completion queue."""

WEBHOOK = "webhook"
JSON, CLOUD_EVENT = "application/json", "application/cloudevents+json"
Target = Callable[..., None]
"""Takes a body and, where it is not plain JSON, its content type."""
_MARKS = {
    "run_failed": frozenset({Mark.FAILED, Mark.UNPUBLISHED}),
    "published_with_failures": frozenset({Mark.FAILURES, Mark.LATE}),
    "drift": frozenset({Mark.DRIFTED}),
}
"""The marks of a window that a notice of the kind is about."""
_WAITS_S = (0.0, 0.5, 2.0)
_GIVE_UP_AFTER = timedelta(hours=24)
_log = logging.getLogger("fleetscore.notices")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that needs attention; `id` is the same for the same thing. `delivered` names where it arrived
    already.
    """

    id: str
    kind: str  # run_failed, published_with_failures, window_overdue, run_stalled, drift, anomalies, budget, published, deadline_*
    workload: str
    message: str
    at: datetime
    window: str = ""
    run: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    delivered: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # of the workload
    data: Mapping[str, Any] = field(default_factory=dict)  # of `published`: what, and where
    schema: int = 1


def notices_of(record: RunRecord) -> list[Notice]:
    """The notices of an ended run: that it failed, or was published with failures, or found partitions that
    drifted.
    """
    request, at = record.request, record.ended or record.updated
    found = []
    if record.state in (RunState.FAILED, RunState.UNPUBLISHED):
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


def links_of_run(run: str, kind: str = "") -> dict[str, str]:
    """Where to look next: the app's own pages where it knows its name, and the command."""
    commands = {"drift": f"fleetscore drift {run}", "anomalies": "fleetscore anomalies"}
    command = commands.get(kind, f"fleetscore show {run}")
    host = os.environ.get("WEBSITE_HOSTNAME", "")
    if not host:
        return {"command": command}
    scheme = "http" if host.startswith(("localhost", "127.0.0.1")) else "https"
    base = f"{scheme}://{host}/api"
    return {
        "run": f"{base}/runs/{quote(run)}",
        "dashboard": f"{base}/dashboard?run={quote(run)}",
        "command": command,
    }


def send_ending_notices(store: Store, app: AppSettings, record: RunRecord) -> None:
    """Send the notices of the ended run, but those about what is muted; and, where the workload asks for it,
    that it was published.
    """
    if not list_targets(app):
        return
    published = notice_of_publishing(store, record)
    if published is not None:
        send_notice(store, app, published)
    left = _marks_left(store, record)
    for notice in notices_of(record):
        wanted = (
            _has_unmuted_events(store, record) if notice.kind == "anomalies" else left & _MARKS[notice.kind]
        )
        if wanted:
            send_notice(store, app, notice)


def notice_of_publishing(store: Store, record: RunRecord) -> Notice | None:
    """That the run was published, with manifest, version of the result table and counts; None where the
    workload has no `notice_published`.
    """
    request, run = record.request, record.request.run
    if record.state is not RunState.PUBLISHED or request.purpose != "score":
        return None
    try:
        if not read_policy(store, request.workload).notice_published:
            return None
    except FleetscoreError as error:  # settings that broke meanwhile ask for nothing
        _log.warning("%s sends no notice of its publishing: %s", run, error)
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


def write_body(notice: Notice) -> tuple[bytes, str]:
    """What is sent, and its content type: the notice as JSON; of `published` a CloudEvent in its JSON form."""
    if notice.kind != "published":
        return msgspec.json.encode(notice), JSON
    event = {
        "specversion": "1.0", "id": notice.id, "type": "fleetscore.published", "time": notice.at,
        "source": f"/fleetscore/{notice.workload}", "subject": notice.window,
        "datacontenttype": JSON, "data": {**notice.data, "links": notice.links},
    }  # fmt: skip
    return msgspec.json.encode(event), CLOUD_EVENT


def _has_unmuted_events(store: Store, record: RunRecord) -> bool:
    """Whether a partition with an event is left that no mute is about; also where mutes cannot be read."""
    partitions = record.facts["anomalies"]["partitions"]
    try:
        mutes = list_mutes(store, record.request.workload, record.ended or record.updated)
    except FleetscoreError as error:
        _log.error("Mutes are passed over: %s", error)
        return True
    return bool(remaining(partitions, EVENT_CAUSE, mutes))


def _marks_left(store: Store, record: RunRecord) -> frozenset[Mark]:
    """How the run's window stands for the causes that no mute is about; for all where mutes cannot be read."""
    line = line_of(record)
    try:
        mutes = list_mutes(store, line.workload, record.ended or record.updated)
    except FleetscoreError as error:
        _log.error("Mutes are passed over: %s", error)
        mutes = []
    groups = group_attention([cell_of(line, line.window)], mutes, partial(partitions_with, store))
    return frozenset(group.newest.mark for group in groups)


def send_notice(store: Store, app: AppSettings, notice: Notice) -> bool:
    """Send the notice to the webhook and the queue that the settings name, unless it was sent before; gives
    whether it is delivered.

    What cannot be delivered now stays pending for `resend_pending`. Nothing is raised for a receiver or a
    store that fails.
    """
    targets = list_targets(app)
    if not targets:
        return False
    try:
        if any(store.stat(notice_path(state, notice.id)) is not None for state in ("sent", "given_up")):
            return True
        store.create(notice_path("pending", notice.id), to_json(notice))
        return _deliver(
            store, read_truth(store, notice_path("pending", notice.id), Notice), targets, _WAITS_S
        )
    except FleetscoreError as error:
        _log.error("The notice %s could not be kept: %s", notice.id, error)
        return False


def resend_pending(store: Store, app: AppSettings, now: datetime) -> int:
    """Try every pending notice once more; one that is older than a day is given up, with an error in the log.
    Gives how many arrived.
    """
    targets, arrived = list_targets(app), 0
    for entry in list(store.list("notices/pending/")):
        try:
            notice = read_truth(store, entry.path, Notice)
        except FleetscoreError as error:  # one bad notice never keeps back the others
            _log.error("The notice at %s cannot be read and stays there: %s", entry.path, error)
            continue
        if now - notice.at > _GIVE_UP_AFTER:
            _log.error("The notice %s was never taken and is given up: %s", notice.id, notice.message)
            _settle(store, notice, "given_up")
        elif targets:
            arrived += _deliver(store, notice, targets, _WAITS_S[:1])
    return arrived


def list_targets(app: AppSettings) -> dict[str, Target]:
    """Where notices go, by name: each takes JSON and its content type, and raises StoreError while it cannot."""
    targets: dict[str, Target] = {}
    if app.webhook_url:
        targets[WEBHOOK] = lambda body, content_type=JSON: post_json(
            app.webhook_url, body, allow_private=bool(app.webhook_private), content_type=content_type
        )
    if app.queue_service:
        targets["queue"] = lambda body, _content_type=JSON: _enqueue(app, body)
    return targets


def _enqueue(app: AppSettings, body: bytes) -> None:
    from fleetscore.store.queue import send

    send(f"{app.queue_service.rstrip('/')}/{QUEUE}", body)


def _deliver(store: Store, notice: Notice, targets: Mapping[str, Target], waits_s: tuple[float, ...]) -> bool:
    body, content_type = write_body(notice)
    for name in [name for name in targets if name not in notice.delivered]:
        waits = waits_s if name == WEBHOOK else waits_s[:1]  # the queue's client tries again by itself
        if _try(partial(targets[name], body, content_type), notice.id, waits):
            notice = replace(notice, delivered=(*notice.delivered, name))
    if set(targets) <= set(notice.delivered):
        _settle(store, notice, "sent")
        return True
    store.write(notice_path("pending", notice.id), to_json(notice))
    return False


def _try(send: Callable[[], None], notice: str, waits_s: tuple[float, ...]) -> bool:
    for wait_s in waits_s:
        time.sleep(wait_s)
        try:
            send()
        except FleetscoreError as error:
            _log.warning("The notice %s was not taken: %s", notice, error)
        else:
            return True
    return False


def _settle(store: Store, notice: Notice, state: str) -> None:
    store.write(notice_path(state, notice.id), to_json(notice))
    store.delete(notice_path("pending", notice.id))
