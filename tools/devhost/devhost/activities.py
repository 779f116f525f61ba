"""Running activities: waiting tasks in order, as many at once as host.json and the workers allow."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from devhost import records
from devhost.clock import to_micros, utc_now
from devhost.dotnet import activity_exception, worker_exit
from devhost.errors import WorkerLostError
from devhost.faults import Faults
from devhost.functions import ACTIVITY, FunctionIndex, FunctionInfo
from devhost.history import event
from devhost.json_text import without_lone_escapes
from devhost.pool import FunctionFailedError, Worker, WorkerGroup, persist
from devhost.records import Task
from devhost.settings import HostSettings
from devhost.store import Store

_log = logging.getLogger("devhost.durable")
_TASK_PAGE = 500
_PAYLOAD_WARNING_BYTES = 1 << 20

SendOutputs = Callable[[FunctionInfo, dict[str, list[Any]]], Awaitable[None]]


class Activities:
    """Takes tasks from the store, runs their activities and stores how they ended."""

    def __init__(
        self,
        store: Store,
        workers: WorkerGroup,
        client_json: str,
        index: FunctionIndex,
        settings: HostSettings,
        faults: Faults,
        send_outputs: SendOutputs,
        has_result: Callable[[str], None],
    ) -> None:
        """Run nothing yet; `has_result` is called with the id of an instance that got a result."""
        self._store = store
        self._workers = workers
        self._client_json = client_json
        self._index = index
        self._timeout_s = settings.function_timeout_s
        self._faults = faults
        self._send_outputs = send_outputs
        self._has_result = has_result
        self._changed = asyncio.Event()
        self._changed.set()
        self._slots = asyncio.Semaphore(settings.max_activities)
        self._running: set[asyncio.Task[None]] = set()
        self.defect: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look_again(self) -> None:
        """Read the store again for new tasks."""
        self._changed.set()

    async def run(self) -> None:
        """Start waiting tasks in order, as slots come free; the table is the queue, read a page at a time."""
        last_n = 0
        while True:
            self._changed.clear()
            page = await self._store.read(records.load_tasks, last_n, _TASK_PAGE)
            for task in page:
                await self._slots.acquire()
                info = self._index.durable(ACTIVITY, task.name)
                takes_thread = info is not None and not info.is_async  # the others share an event loop
                worker = await self._workers.reserve() if takes_thread else None
                running = asyncio.create_task(self._run_task(task, info, worker))
                self._running.add(running)
                running.add_done_callback(self._ended)
                last_n = task.n
            if len(page) < _TASK_PAGE:
                await self._changed.wait()

    async def close(self, drain_s: float) -> None:
        """Give running activities up to `drain_s` seconds to finish, and stop the rest."""
        if self._running:
            await asyncio.wait(self._running, timeout=drain_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._slots.release()
        if not running.cancelled() and running.exception() is not None and not self.defect.done():
            self.defect.set_exception(running.exception() or RuntimeError())

    async def _run_task(self, task: Task, info: FunctionInfo | None, worker: Worker | None) -> None:
        started = time.perf_counter()
        try:
            number, fields = await self._outcome(task, info, worker)
        finally:
            if worker is not None:  # before the result is on disk: the next activity need not wait for that
                self._workers.release(worker)
        seconds = time.perf_counter() - started
        text = event(number, to_micros(utc_now()), TaskScheduledId=task.id, **fields)
        if await self._store.write(records.finish_task, task, number, text):
            self._has_result(task.instance)
        outcome = fields.get("Reason", "Succeeded")
        _log.info("activity %s %s#%s: %.3f s, %s", task.name, task.instance, task.id, seconds, outcome)

    async def _outcome(
        self, task: Task, info: FunctionInfo | None, worker: Worker | None
    ) -> tuple[int, dict[str, Any]]:
        """Run the activity; one whose worker dies fails or runs again, as the host's option says."""

        async def attempt() -> tuple[int, dict[str, Any]]:
            return await self._call(task, info, worker)

        if not self._faults.fails_lost_activities:
            return await persist(attempt, task.name)
        try:
            return await attempt()
        except WorkerLostError:
            text, details = worker_exit()
            return 6, {"Reason": f"Activity function '{task.name}' failed: {text}", "Details": details}

    async def _call(
        self, task: Task, info: FunctionInfo | None, worker: Worker | None
    ) -> tuple[int, dict[str, Any]]:
        """Return the type of the event that records how the activity ended, and its fields."""
        try:
            if info is None:
                raise FunctionFailedError(self._index.missing(ACTIVITY, task.name), "")
            text = None if task.input is None else without_lone_escapes(task.input)
            payload = {"input": text, "client": self._client_json}
            answer = await self._workers.call("invoke", info.name, payload, self._timeout_s, worker)
            if "outs" in answer:
                await self._send_outputs(info, answer["outs"])
        except FunctionFailedError as failure:
            reason = f"Activity function '{task.name}' failed:  {failure.message}"
            return 6, {"Reason": reason, "Details": activity_exception(failure.message, failure.trace)}
        _warn_if_large(task.name, answer["result"])
        return 5, {"Result": answer["result"]}


def _warn_if_large(name: str, text: str | None) -> None:
    if text is not None and len(text) > _PAYLOAD_WARNING_BYTES:
        _log.warning("Activity %s returned %d bytes, which every later episode reads again.", name, len(text))
