"""The host's side of the worker processes: start them, give them work, replace those that die."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from devhost.errors import TemplateLostError, WorkerLostError
from devhost.template import Template
from devhost.wire import pack, read

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0  # between two starts of a worker that dies
_FIRST_REPEAT_S, _LONGEST_REPEAT_S = 0.2, 30.0  # between two attempts whose workers died
_T = TypeVar("_T")


class FunctionFailedError(Exception):
    """The app's function raised; `message` is `TypeName: text`, `trace` its traceback."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.message = message
        self.trace = trace


class FunctionTimeoutError(FunctionFailedError):
    """The function ran longer than `functionTimeout`; its worker process was stopped."""


@dataclass(slots=True)
class Worker:
    """One place for a worker process, whichever fills it; `pid` is 0 until the first one has reported it."""

    threads: int
    writer: asyncio.StreamWriter | None = None
    pid: int = 0
    calls: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, frame: bytes) -> None:
        """Send a frame to a worker that is ready."""
        if self.writer is None:
            raise WorkerLostError("the worker is not connected")
        self.writer.write(frame)


class WorkerGroup:
    """Workers of one role, each with a pool of `threads` for synchronous functions."""

    def __init__(self, template: Template, count: int, threads: int) -> None:
        self._template = template
        self._workers = [Worker(threads) for _ in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        # One entry per thread of each worker; the one used last comes first: its imports and caches are warm.
        self._free: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers * threads:
            self._free.put_nowait(worker)
        self._next_call = 0
        self._closing = False

    def start(self) -> None:
        """Begin to start the workers; calls wait until one is ready."""
        self._tasks = [asyncio.create_task(self._keep_alive(worker)) for worker in self._workers]

    async def watch(self) -> None:
        """Return only by raising what ended the restarting of a worker, such as an app that can no longer be
        loaded.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def reserve(self) -> Worker:
        """Return a worker with a thread to spare, waiting for one; give it back with `release`."""
        return await self._free.get()

    def release(self, worker: Worker) -> None:
        """Give a reserved worker back."""
        self._free.put_nowait(worker)

    async def call(
        self,
        operation: str,
        name: str,
        payload: Any,
        timeout_s: float | None = None,
        worker: Worker | None = None,
    ) -> Any:
        """Run one operation on a reserved worker or, without one, on the least busy, which may do several at
        once.

        Raises FunctionFailedError when the function raised, FunctionTimeoutError when it took too long and
        WorkerLostError when the worker died before it answered.
        """
        if worker is None:
            worker = min(self._workers, key=lambda each: (len(each.calls), not each.ready.is_set()))
        self._next_call += 1
        call_id = self._next_call
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        worker.calls[call_id] = future
        try:
            if not worker.ready.is_set():
                await worker.ready.wait()
            worker.write(pack([call_id, operation, name, payload]))
            async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may swallow that the host ends
                ok, value = await future
        except TimeoutError:
            _kill(worker.pid)
            text = f"Timeout value of {_span(timeout_s or 0)} was exceeded by function: {name}"
            raise FunctionTimeoutError(f"FunctionTimeoutException: {text}", text) from None
        finally:
            worker.calls.pop(call_id, None)
        if not ok:
            raise FunctionFailedError(value["message"], value["trace"])
        return value

    async def _keep_alive(self, worker: Worker) -> None:
        """Start the worker, read its answers, and start another when it ends."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing:
            connection = await self._fork(worker.threads)
            reader, worker.writer = await asyncio.open_connection(sock=connection)
            with contextlib.suppress(EOFError):
                _, _, worker.pid = await read(reader)
                worker.ready.set()
                pause_s = _FIRST_PAUSE_S
                while True:
                    call_id, ok, value = await read(reader)
                    future = worker.calls.get(call_id)
                    if future is not None and not future.done():
                        future.set_result((ok, value))
            died_in_use, pid = bool(worker.calls), worker.pid
            self._lose(worker)
            if not self._closing:
                _log.warning("Worker process %s ended unexpectedly; starting another.", pid or "(new)")
                if not died_in_use:
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                await asyncio.sleep(pause_s)

    async def _fork(self, threads: int) -> socket.socket:
        """Return the socket of a new worker, starting the template again first where it has died."""
        while True:
            generation = self._template.generation
            try:
                return self._template.fork(threads)
            except TemplateLostError:
                await asyncio.to_thread(self._template.revive, generation)

    def _lose(self, worker: Worker) -> None:
        """Drop a process that has ended, and notify its callers."""
        lost = WorkerLostError(f"worker process {worker.pid} ended before it answered")
        worker.pid = 0  # the number may soon be another process's
        worker.ready.clear()
        if worker.writer is not None:
            worker.writer.close()
        for future in worker.calls.values():
            if not future.done():
                future.set_exception(lost)
                future.exception()  # its caller may have been cancelled

    async def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers:
            _kill(worker.pid)
            self._lose(worker)


async def persist(attempt: Callable[[], Coroutine[Any, Any, _T]], what: str) -> _T:
    """Repeat an attempt whose worker dies, at growing intervals: nothing of it was recorded.

    The intervals differ between attempts, so that one that kills its worker does not meet the same others
    again.
    """
    pause_s = _FIRST_REPEAT_S
    while True:
        try:
            return await attempt()
        except (WorkerLostError, FunctionTimeoutError) as error:
            wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            _log.warning("%s: %s; it runs again in %.1f s.", what, error, wait_s)
            await asyncio.sleep(wait_s)
            pause_s = min(pause_s * 2, _LONGEST_REPEAT_S)


def _kill(pid: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
