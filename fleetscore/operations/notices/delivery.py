"""Delivery of notices: each target gets a notice once, and what a target does not take is tried again.

A notice is stored before it is sent and named after its content, so it is sent once however often it is
found, and a receiver that is down for days loses nothing. A try is claimed before it is made and what a
target took is recorded at once, so that neither other processes nor a slow target next to it make it
arrive twice. Delivery is at least once: only a process that is killed between the answer and the record,
or an answer that is lost, makes a target get a notice again. Whatever goes wrong here never costs a run
anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError, InputError
from fleetscore.operations.notices.attempts import GIVE_UP_AFTER, claim, note_delivered
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.targets import (
    QUEUE_TARGET,
    Target,
    app_targets,
    notify_targets,
    try_target,
)
from fleetscore.operations.outbound.posting import NO_ANSWER
from fleetscore.records import to_json
from fleetscore.registry import find_workload
from fleetscore.settings import NOTIFY_DEFAULT_PATH, workload_settings_path
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import notice_path
from fleetscore.store.state_files import read_hint, read_truth

REFUSALS = "refusals/"
_WAITS_S = (0.0, 0.5, 2.0)
_log = logging.getLogger("fleetscore.notices")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last time that a target did not take a notice, and what it answered; without its address."""

    target: str
    workload: str
    at: datetime
    message: str
    schema: int = 1


@dataclass(frozen=True, slots=True)
class TargetTest:
    """What became of a test notice at one target; `refusal` is "" where it was taken."""

    target: str
    style: str
    refusal: str


def targets_of(store: Store, app: AppSettings, workload: str) -> tuple[list[Target], bool]:
    """The workload's targets, and whether they are all: where [notify] cannot be read, only those of the app
    are known.
    """
    found = app_targets(store, app, workload)
    try:
        return found + notify_targets(store, app, workload), True
    except FleetscoreError as error:
        _log.error("The targets in [notify] of %s are not known: %s", workload, error)
        return found, not _may_have_notify(store, workload)


def _may_have_notify(store: Store, workload: str) -> bool:
    """Whether settings that cannot be parsed name targets, as far as their text shows."""
    try:
        text = store.read(workload_settings_path(workload))
    except FleetscoreError:  # the settings of all workloads are at fault then, or the store
        return True
    return b"notify" in text or store.stat(NOTIFY_DEFAULT_PATH) is not None


def send_notice(store: Store, app: AppSettings, notice: Notice, now: datetime | None = None) -> bool:
    """Send the notice to the targets that want its kind, unless it was sent before; gives whether it is
    delivered to all.

    What cannot be delivered now, or is held back by quiet hours, stays pending for `resend_pending`. Nothing
    is raised for a receiver or a store that fails.
    """
    try:
        targets, complete = _receivers(store, app, notice)
        if complete and not targets:
            return False
        if _is_settled(store, notice.id):
            return True
        kept = _keep(store, notice)
        return _deliver(store, kept, targets, _WAITS_S, now or datetime.now(UTC), complete=complete)
    except FleetscoreError as error:
        _log.error("The notice %s could not be kept: %s", notice.id, error)
        return False


def keep_notice(store: Store, app: AppSettings, notice: Notice) -> bool:
    """Store the notice for `resend_pending` without sending it; whether it waits now.

    Nothing is kept where no target takes its kind, or it was sent before. Nothing is raised for a store that
    fails.
    """
    try:
        targets, complete = _receivers(store, app, notice)
        if (complete and not targets) or _is_settled(store, notice.id):
            return False
        _keep(store, notice)
        return True
    except FleetscoreError as error:
        _log.error("The notice %s could not be kept: %s", notice.id, error)
        return False


def _keep(store: Store, notice: Notice) -> Notice:
    """The pending notice of this id, which is stored where there is none."""
    path = notice_path("pending", notice.id)
    store.create(path, to_json(notice))
    return read_truth(store, path, Notice)


def _is_settled(store: Store, notice_id: str) -> bool:
    return any(store.stat(notice_path(state, notice_id)) is not None for state in ("sent", "given_up"))


def _receivers(store: Store, app: AppSettings, notice: Notice) -> tuple[list[Target], bool]:
    """The targets that want the notice, and whether they are all that may."""
    found, complete = targets_of(store, app, notice.workload)
    return _wanting(found, notice.kind), complete


def resend_pending(store: Store, app: AppSettings, now: datetime) -> int:
    """Try every pending notice where it is due, the oldest first; one that nobody took for four days, and
    that is not held back by quiet hours, is given up, with an error in the log. Gives how many arrived
    everywhere.

    A target that refuses one gets no other of this pass, so that one that does not answer costs little.
    """
    arrived = 0
    down: set[str] = set()
    for notice in sorted(list_pending(store), key=lambda notice: notice.at):
        try:
            arrived += _resend(store, app, notice, now, down)
        except FleetscoreError as error:  # what the store refuses of one notice never keeps back the others
            _log.error("The notice %s could not be kept: %s", notice.id, error)
    return arrived


def _resend(store: Store, app: AppSettings, notice: Notice, now: datetime, down: set[str]) -> bool:
    """Try a pending notice once more, or give it up; gives whether it arrived everywhere."""
    targets, complete = _receivers(store, app, notice)
    if now - notice.at > GIVE_UP_AFTER and not _all_quiet(notice, targets, now):
        _log.error("The notice %s was never taken and is given up: %s", notice.id, notice.message)
        _settle(store, notice, "given_up")
        return False
    return bool(targets) and _deliver(store, notice, targets, _WAITS_S[:1], now, complete=complete, down=down)


def is_held(store: Store, app: AppSettings, notice: Notice, now: datetime) -> bool:
    """Whether the notice waits for nothing but the end of quiet hours."""
    targets, _ = _receivers(store, app, notice)
    return _all_quiet(notice, targets, now)


def send_test(
    store: Store, app: AppSettings, workload: str, now: datetime, target: str = ""
) -> list[TargetTest]:
    """Send a test notice to each target of the workload, or to the one that is named, and say what became of
    it; nothing is stored.

    InputError when there is no such workload or target, SettingsError when [notify] cannot be read.
    """
    workload = find_workload(store, workload).name
    found = app_targets(store, app, workload) + notify_targets(store, app, workload)
    targets = [each for each in found if target in ("", each.name)]
    if target and not targets:
        names = ", ".join(each.name for each in found) or "none"
        raise InputError(
            f"{workload} has no target {target[:100]!r}.", fix=f"It has: {names}.", field="target"
        )
    notice = Notice(
        f"test-{workload}-{now:%Y%m%dT%H%M%S}", "test", workload,
        f"This is a test of the notices of {workload}. Nothing needs attention.", now,
        links={"command": f"fleetscore runs --workload {workload}"},
    )  # fmt: skip
    refusals = side_by_side(lambda each: try_target(each, notice), targets)
    return [
        TargetTest(each.name, each.form, refusal) for each, refusal in zip(targets, refusals, strict=True)
    ]


def list_refusals(store: Store) -> list[Refusal]:
    """The last refusal of each target that has refused a notice."""
    found = [read_hint(store, entry.path, Refusal) for entry in store.list(REFUSALS)]
    return [refusal for refusal in found if refusal is not None]


def _all_quiet(notice: Notice, targets: Sequence[Target], now: datetime) -> bool:
    left = [target for target in targets if target.name not in notice.delivered]
    return bool(left) and all(target.is_quiet(now) for target in left)


def _wanting(targets: Sequence[Target], kind: str) -> list[Target]:
    """The targets that receive notices of the kind; where it cannot be known, the target receives it."""
    found = []
    for target in targets:
        try:
            wants = target.wants(kind)
        except FleetscoreError as error:  # settings that broke meanwhile ask for nothing more than usual
            _log.warning("Whether %s receives %s is not known: %s", target.name, kind, error)
            wants = kind != "published"
        if wants:
            found.append(target)
    return found


def list_pending(store: Store) -> list[Notice]:
    """The notices that a target has not taken yet; one that cannot be read is left out, with an error in the
    log.
    """
    found = []
    for entry in list(store.list("notices/pending/")):
        try:
            found.append(read_truth(store, entry.path, Notice))
        except FleetscoreError as error:  # one bad notice never keeps back the others
            _log.error("The notice at %s cannot be read and stays there: %s", entry.path, error)
    return found


def _deliver(
    store: Store,
    notice: Notice,
    targets: Sequence[Target],
    waits_s: tuple[float, ...],
    now: datetime,
    *,
    complete: bool = True,
    down: set[str] | None = None,
) -> bool:
    """Try the notice at each target where it is due; gives whether all have it. Targets in `down` are not
    tried, and those that refuse are added to it.
    """
    down = set() if down is None else down
    left = [
        t for t in targets if t.name not in notice.delivered and t.name not in down and not t.is_quiet(now)
    ]
    took = side_by_side(partial(_deliver_to, store, notice, waits_s, now), left)
    answers = list(zip(left, took, strict=True))
    down.update(target.name for target, taken in answers if taken is False)
    delivered = {*notice.delivered, *(target.name for target, taken in answers if taken)}
    if complete and {target.name for target in targets} <= delivered:
        _settle(store, replace(notice, delivered=tuple(sorted(delivered)), attempts={}), "sent")
        return True
    return False


def _deliver_to(
    store: Store, notice: Notice, waits_s: tuple[float, ...], now: datetime, target: Target
) -> bool | None:
    """Whether the target took the notice at one of the tries; if so it is recorded before anything else. None
    where it is not due there.
    """
    try:
        body, content_type = target.compose(notice)
    except FleetscoreError as error:  # nothing is sent: it is no try, and waits for no back-off
        _note_refusal(store, notice, target.name, error)
        return False
    if not claim(store, notice.id, target.name, now):
        return None
    # the queue's client tries again by itself
    for wait_s in waits_s[:1] if target.name == QUEUE_TARGET else waits_s:
        time.sleep(wait_s)
        try:
            target.send(body, content_type)
        except FleetscoreError as error:
            _note_refusal(store, notice, target.name, error)
            if error.code == NO_ANSWER:  # it may have been taken: trying at once could send it twice
                return False
        else:
            note_delivered(store, notice.id, target.name)
            return True
    return False


def _note_refusal(store: Store, notice: Notice, target: str, why: FleetscoreError) -> None:
    _log.warning("The notice %s was not taken by %s: %s", notice.id, target, why)
    refusal = Refusal(target, notice.workload, datetime.now(UTC), f"{why.message} {why.fix}".strip())
    try:
        store.write(f"{REFUSALS}{target}.json", to_json(refusal))
    except FleetscoreError as error:  # it is only information, and the log has it
        _log.warning("The refusal of %s could not be kept: %s", target, error)


def _settle(store: Store, notice: Notice, state: str) -> None:
    store.write(notice_path(state, notice.id), to_json(notice))
    store.delete(notice_path("pending", notice.id))
