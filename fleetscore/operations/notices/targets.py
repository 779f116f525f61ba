"""Where notices go: the webhook and the queue of the app's settings, and the targets of [notify]."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError, StoreError
from fleetscore.notify_settings import NotifyTarget, is_quiet
from fleetscore.operations.notices.bodies import JSON, write_body
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.templates import fill_template
from fleetscore.operations.outbound.posting import post_json
from fleetscore.registry import read_policy
from fleetscore.settings import read_notify_policy, read_settings_file, read_zone, workload_settings_path
from fleetscore.store.base import Store

QUEUE = "fleetscore-notices"
"""The storage queue of notices, in the account of the completion queue."""

WEBHOOK, QUEUE_TARGET = "webhook", "queue"
_FAULTS = ("error", "failed")


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver: `send` takes a body and its content type, and raises FleetscoreError when it is not taken.

    `name` is what `delivered` of a notice lists; it never holds an address.
    """

    name: str
    send: Callable[[bytes, str], None]
    wants: Callable[[str], bool]  # the kind of a notice
    style: str = ""
    template: str = ""
    quiet: str = ""
    zone: str = "UTC"
    address_env: str = ""  # the variable that holds the address, where the target is one of [notify]

    @property
    def form(self) -> str:
        """What its bodies are made by: template, or the style."""
        return "template" if self.template else self.style or "plain"

    def is_quiet(self, now: datetime) -> bool:
        """Whether its notices wait for the end of the quiet hours."""
        return is_quiet(self.quiet, self.zone, now)

    def compose(self, notice: Notice) -> tuple[bytes, str]:
        """The body by the target's template or style, and its content type; FleetscoreError where it
        cannot be sent from here: the template cannot be filled, or the address is not set.
        """
        if self.address_env and not os.environ.get(self.address_env):
            raise StoreError(
                f"{self.address_env} is not set.", fix="Set it to the address in the app's environment."
            )
        if self.template:
            return fill_template(self.template, notice, self.style)
        return write_body(notice, self.style)

    def deliver(self, notice: Notice) -> None:
        """Send the notice; FleetscoreError when it is not taken."""
        self.send(*self.compose(notice))


def app_targets(store: Store, app: AppSettings, workload: str) -> list[Target]:
    """The webhook and the queue that the app's settings name, for the workload's notices."""
    found = []

    def wants(kind: str) -> bool:
        return kind != "recovered" and (kind != "published" or wants_published(store, workload))

    if app.webhook_url:
        found.append(Target(WEBHOOK, lambda body, content_type: _post(app, body, content_type), wants))
    if app.queue_service:
        found.append(Target(QUEUE_TARGET, lambda body, _content_type: _enqueue(app, body), wants))
    return found


def notify_targets(store: Store, app: AppSettings, workload: str) -> list[Target]:
    """The targets that [notify] names for the workload; SettingsError where it cannot be read."""
    policy = read_notify_policy(store, workload)
    if not policy.targets:
        return []
    zone = read_zone(read_settings_file(store, workload), workload_settings_path(workload))
    return [_target(app, each, zone) for each in policy.targets]


def wants_published(store: Store, workload: str) -> bool:
    """Whether `notice_published` of [run] is set; FleetscoreError where the settings cannot be read."""
    return read_policy(store, workload).notice_published


def _target(app: AppSettings, target: NotifyTarget, zone: str) -> Target:
    def send(body: bytes, content_type: str) -> None:
        url = os.environ.get(target.url_env, "")
        answer = post_json(url, body, allow_private=bool(app.webhook_private), content_type=content_type)
        _check_answer(target.style, answer)

    return Target(
        target.url_env, send, target.wants, target.style, target.template, target.quiet, zone, target.url_env
    )


def _check_answer(style: str, answer: str) -> None:
    """StoreError for an answer 200 that says in words that the message was not taken.

    Slack answers `ok`; Teams has answered 200 with a text of what failed.
    """
    refused = style == "slack" and answer.strip().lower() not in ("ok", "")
    refused |= style == "teams" and any(fault in answer.lower() for fault in _FAULTS)
    if refused:
        raise StoreError(f"The webhook answered 200, but not that it took the notice: {answer}")


def _post(app: AppSettings, body: bytes, content_type: str = JSON) -> None:
    post_json(app.webhook_url, body, allow_private=bool(app.webhook_private), content_type=content_type)


def _enqueue(app: AppSettings, body: bytes) -> None:
    from fleetscore.store.queue import send

    send(f"{app.queue_service.rstrip('/')}/{QUEUE}", body)


def try_target(target: Target, notice: Notice) -> str:
    """Send the notice at once, whatever kinds and times the target takes; "" when it was taken, else why
    not.
    """
    try:
        target.deliver(notice)
    except FleetscoreError as error:
        return f"{error.message} {error.fix}".strip()
    return ""
