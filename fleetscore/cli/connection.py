"""A connection to a host that may go away and come back: the store's own local host, or the app at --host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from fleetscore.cli.embedded_host import EmbeddedHost, embedded_host
from fleetscore.errors import CapacityError

if TYPE_CHECKING:
    from fleetscore.cli.client import HostClient

Answer = TypeVar("Answer")
_WAITS_S = (0.1, 0.5, 2.0, 5.0, 10.0)
_MOST_STARTS, _WITHIN_S = 5, 60.0


class Connection:
    """Asks the host; where it does not answer, starts it again if it is the local one, and asks again a few times."""

    def __init__(self, host: EmbeddedHost | None, url: str, key: str) -> None:
        """Use the local `host` if there is one, else the app at `url`."""
        from fleetscore.cli.client import HostClient

        self._host = host
        self._key = key
        self._client = HostClient(url, key)
        self._starts: list[float] = []  # when the local host was found at another address than before

    @property
    def url(self) -> str:
        """Where the host listens at present."""
        return self._client.url

    def ask(self, question: Callable[[HostClient], Answer]) -> Answer:
        """The host's answer; HostUnreachableError after half a minute without one."""
        from fleetscore.cli.client import HostClient, HostUnreachableError

        for wait_s in _WAITS_S:
            try:
                return question(self._client)
            except HostUnreachableError:
                time.sleep(wait_s)
                if self._host is not None:
                    self._client = HostClient(self._start_again(self._host), self._key)
        return question(self._client)

    def _start_again(self, host: EmbeddedHost) -> str:
        """Where the local host listens now; CapacityError when it dies again and again."""
        url = host.ensure()
        if url == self.url:
            return url
        now = time.monotonic()
        self._starts = [start for start in self._starts if now - start < _WITHIN_S] + [now]
        if len(self._starts) > _MOST_STARTS:
            raise CapacityError(
                f"The local host died {len(self._starts)} times within {_WITHIN_S:.0f} s.",
                fix=f"See why at the end of {host.folder / 'host.log'}. Nothing is lost: what is scored stays scored.",
            )
        return url


@contextmanager
def connect(store_url: str, host_url: str, key: str) -> Iterator[Connection]:
    """A connection to the app at `host_url`, or to the store's local host, which is started if it does not run and stopped afterwards."""
    if host_url:
        yield Connection(None, host_url, key)
        return
    with embedded_host(store_url) as host:
        threading.Thread(target=_import_meanwhile, daemon=True).start()
        yield Connection(host, host.ensure(), key)


def _import_meanwhile() -> None:
    """Import what following a run takes while the host starts, which leaves a core to it; Arrow is none of it."""
    import fleetscore.cli.client
    import fleetscore.runs.status_answer  # noqa: F401
