"""A wire between an app and a storage emulator that counts requests and can make each wait, as a service farther away would."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BEGINS = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) /")


class CountingWire:
    """Passes bytes between its own port and `port`; what begins like a request is counted and waits `wait_s` on its way."""

    def __init__(self, port: int) -> None:
        self.requests = 0
        self.wait_s = 0.0
        self.port = 0
        self._target = port

    async def serve(self, ready: threading.Event) -> None:
        """Listen on a free port until cancelled."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pass(reader, back, counts=True), self._pass(there, writer, counts=False)
            )

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counts: bool) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if counts and _BEGINS.match(data):
                    self.requests += 1
                    if self.wait_s:
                        await asyncio.sleep(self.wait_s)
                sink.write(data)
                await sink.drain()
        sink.close()


@contextmanager
def counting_wire(port: int) -> Iterator[CountingWire]:
    """A wire to `port` of this machine, on a thread of its own."""
    wire, ready, loop = CountingWire(port), threading.Event(), asyncio.new_event_loop()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.run_until_complete(_end_connections())
        loop.close()

    task = loop.create_task(wire.serve(ready))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield wire
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


async def _end_connections() -> None:
    connections = asyncio.all_tasks() - {asyncio.current_task()}
    for connection in connections:
        connection.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
