"""Accepting connections on a bound socket, also where the process has no file handle left for a while."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable

_log = logging.getLogger("devhost")
_BACKLOG = 128  # connections that wait in the system
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_LOG_EVERY_S = 60.0


class Acceptor:
    """Gives each connection a protocol; where none can be accepted it pauses, for longer each time, and logs
    that once a minute.

    asyncio's own server tries a hundred times at once, and logs each with its traceback.
    """

    def __init__(self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._pause_s = 0.0  # of the last failure; 0 while connections are accepted
        self._logged = -_LOG_EVERY_S
        self._resuming: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen, and accept connections from now on."""
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._resume()

    def close(self) -> None:
        """Stop accepting, and close the listener; connections that are open stay."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._recovered()
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError as error:
            connection.close()
            _log.warning("A connection could not be opened: %s.", error)

    def _pause(self, error: OSError) -> None:
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)
        if time.monotonic() - self._logged >= _LOG_EVERY_S:
            self._logged = time.monotonic()
            _log.warning(
                "No connection can be accepted: %s. It is tried again until one can; raise the limit of open "
                "files (ulimit -n), or end what holds them.",
                error,
            )
        self._loop.remove_reader(self._listener)
        self._resuming = self._loop.call_later(self._pause_s, self._resume)

    def _recovered(self) -> None:
        if self._pause_s:
            self._pause_s = 0.0
            _log.info("Connections are accepted again.")
