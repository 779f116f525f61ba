"""A connection to the local host of a store, which may go away and come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fleetscore.errors import CapacityError
from fleetscore.fleet.embedded_host import EmbeddedHost
from fleetscore.fleet.following import call_with_retries

if TYPE_CHECKING:
    from fleetscore.fleet.remote import RemoteFleet

Answer = TypeVar("Answer")
_MAX_STARTS, _WITHIN_S = 5, 60.0


class Connection:
    """Calls the local host; where it does not answer, starts it again and repeats the call a few times."""

    def __init__(self, host: EmbeddedHost) -> None:
        """Start the host if it does not run."""
        self._host = host
        self._app = _app_at(host.ensure())
        self._starts: list[float] = []  # when the local host was found at another address than before

    def ask(self, question: Callable[[RemoteFleet], Answer]) -> Answer:
        """The host's answer; HostUnreachableError after half a minute without one."""
        return call_with_retries(lambda: question(self._app), self._start_again)

    def _start_again(self) -> None:
        """Talk to the host where it listens now; CapacityError when it dies again and again."""
        url = self._host.ensure()
        if url == self._app.url:
            return
        now = time.monotonic()
        self._starts = [start for start in self._starts if now - start < _WITHIN_S] + [now]
        if len(self._starts) > _MAX_STARTS:
            raise CapacityError(
                f"The local host died {len(self._starts)} times within {_WITHIN_S:.0f} s.",
                fix=f"See why at the end of {self._host.folder / 'host.log'}. Nothing is lost: what is done stays done.",
            )
        self._app = _app_at(url)


def _app_at(url: str) -> RemoteFleet:
    from fleetscore.fleet.remote import RemoteFleet  # it takes longer to import than the host takes to listen

    return RemoteFleet(url)
