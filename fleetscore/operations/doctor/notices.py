"""What the doctor finds about notices: those that wait or were given up, and what their targets last
answered.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError
from fleetscore.notify_settings import NotifyTarget
from fleetscore.operations.doctor.findings import Finding
from fleetscore.operations.notices.delivery import is_held, list_pending, list_refusals
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.templates import fill_template
from fleetscore.registry import KnownWorkload
from fleetscore.settings import read_notify_policy
from fleetscore.store.base import Store

_TEST = "See whether it answers: fleetscore notify --test WORKLOAD --target NAME, with --host for the app's addresses."


def find_trouble_of_notices(
    store: Store, app: AppSettings, known: Iterable[KnownWorkload], now: datetime
) -> Iterator[Finding]:
    """Notices that wait or were given up with the last refusal of each target, and targets without an
    address.
    """
    pending = sum(1 for _ in store.list("notices/pending/"))
    given_up = sum(1 for _ in store.list("notices/given_up/"))
    held = sum(is_held(store, app, notice, now) for notice in list_pending(store)) if pending else 0
    targets = yield from _targets_without_address(store, known)
    if pending > held or given_up:
        yield Finding(
            "notices",
            "warning",
            f"{pending} notices wait to be taken, {given_up} were given up.",
            "See whether the webhook (FLEETSCORE_WEBHOOK_URL) and the targets of [notify] answer.",
        )
        yield from _refusals(store)
    elif not app.webhook_url and not app.queue_service and not targets:
        fix = "Set FLEETSCORE_WEBHOOK_URL to get notices of failed runs."
        yield Finding("notices", "warning", "No notice is sent when a run fails.", fix)
    elif held:
        yield Finding("notices", "ok", f"{held} notices wait for the end of quiet hours.")
    else:
        yield Finding("notices", "ok", "All notices were taken.")


def _refusals(store: Store) -> Iterator[Finding]:
    for refusal in list_refusals(store):
        last = (
            f"{refusal.target} last refused a notice of {refusal.workload} at {refusal.at:%Y-%m-%d %H:%M} UTC"
        )
        yield Finding("notices", "warning", f"{last}: {refusal.message}", _TEST)


def _targets_without_address(store: Store, known: Iterable[KnownWorkload]) -> Generator[Finding, None, int]:
    """Findings of [notify] tables that cannot be read, of templates that cannot be filled, and of variables
    that are not set here; returns how many targets there are.
    """
    names: dict[str, str] = {}
    for each in known:
        try:
            targets = read_notify_policy(store, each.name).targets
        except FleetscoreError as error:
            yield Finding("notices", "wrong", error.message, error.fix)
            continue
        names |= {target.url_env: each.name for target in targets}
        for target in targets:
            yield from _fault_of_template(target, each.name)
    for name, workload in sorted(names.items()):
        if not os.environ.get(name):
            detail = f"{name}, a target of {workload}, is not set in this environment."
            yield Finding("notices", "warning", detail, "Set it in the app's environment.")
    return len(names)


def _fault_of_template(target: NotifyTarget, workload: str) -> Iterator[Finding]:
    """A finding where the target's template cannot be filled with a notice that has nothing but its names."""
    if not target.template:
        return
    sample = Notice("test", "test", workload, "A test.", datetime(2026, 1, 1, tzinfo=UTC))
    try:
        fill_template(target.template, sample, target.style)
    except FleetscoreError as error:
        detail = f"The template of {target.url_env}, a target of {workload}, cannot be used: {error.message}"
        yield Finding("notices", "wrong", detail, error.fix)
