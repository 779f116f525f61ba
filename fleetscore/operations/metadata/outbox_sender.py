"""Senders: what waits in an outbox is sent to the server that the environment names for it, beside the work.

Nothing here costs a run anything: what this process does not send any more, the next tick does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from urllib.parse import urlsplit

from fleetscore.errors import FleetscoreError, SettingsError
from fleetscore.operations.metadata.outbox import Entry, Keep, enter, send_due
from fleetscore.operations.outbound.sending import send_beside
from fleetscore.store.base import Store


@dataclass(frozen=True)
class Sender:
    """The sender of the outbox `receiver`; `what` names it in logs, those of `fleetscore.<what>`.

    `variable` holds the server's address. `problem` says why nothing can be sent there, "" where it can;
    `send` sends what is left of an entry.
    """

    receiver: str
    what: str
    variable: str
    problem: Callable[[], str]
    send: Callable[[Store, Entry, Keep], bool]
    off: Callable[[], bool] = lambda: False  # whether the environment switches it off all the same
    _sending: Lock = field(default_factory=Lock)

    def is_on(self) -> bool:
        """Whether the environment names a server, and does not switch it off."""
        return bool(os.environ.get(self.variable)) and not self.off()

    def hand_over(self, store: Store, name: str, now: datetime) -> None:
        """Note that `name` is to be sent, and send what is due on a thread of its own; nothing where this is off."""
        if not self.is_on():
            return
        try:
            enter(store, self.receiver, name, now)
        except Exception:  # whatever a failing store raises: the run goes on
            self._log.exception("The %s of %s could not be noted.", self.what, name)
            return
        send_beside(self.what, partial(self.send_due, store, now))

    def send_due(self, store: Store, now: datetime) -> int:
        """Send what is due; gives how many entries are sent as a whole. One call at a time sends."""
        if not self.is_on() or not self._sending.acquire(blocking=False):
            return 0
        try:
            return send_due(store, self.receiver, partial(self._send, store), now)
        except FleetscoreError as error:  # the store's own
            self._log.warning("No %s can be sent this time: %s", self.what, error)
            return 0
        finally:
            self._sending.release()

    def _send(self, store: Store, entry: Entry, keep: Keep) -> bool:
        if problem := self.problem():
            raise SettingsError(problem, field=self.variable)
        return self.send(store, entry, keep)

    @property
    def _log(self) -> logging.Logger:
        return logging.getLogger(f"fleetscore.{self.what}")


def is_server_address(variable: str) -> bool:
    """Whether the environment variable holds an http(s) address with a host."""
    try:
        parts = urlsplit(os.environ.get(variable, ""))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its message repeats the address
        return False
