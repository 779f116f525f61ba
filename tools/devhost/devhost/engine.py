"""The orchestration engine: episodes, activities and durable timers over the store and the workers.

Everything it must not forget is in the store. In memory it keeps only which instances have work: `_ready`
instances, a heap of due times, and a cursor into the task table. Every commit wakes what it concerns.
"""

import asyncio
import contextlib
import functools
import heapq
import json
import logging
import uuid
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from devhost import records
from devhost.activities import Activities, SendOutputs
from devhost.clock import to_micros, utc_now
from devhost.commits import make_commit, new_instance, request_body
from devhost.decisions import FAILED, TERMINATED
from devhost.episode import Episode
from devhost.errors import RequestError
from devhost.faults import Faults
from devhost.functions import ORCHESTRATION, FunctionIndex
from devhost.history import event
from devhost.pool import FunctionFailedError, FunctionTimeoutError, WorkerGroup, persist
from devhost.records import Instance, Work
from devhost.settings import HostSettings
from devhost.store import Store
from devhost.versions import version_refusal

_log = logging.getLogger("devhost.durable")
_T = TypeVar("_T")
_LONGEST_SLEEP_S = 30.0  # so that a clock that is set forward, or a machine that slept, is noticed
_GATHERING_S = 0.03  # how long a result waits for others that the same instance awaits


@dataclass(frozen=True, slots=True)
class Workers:
    """The groups that the engine gives work to, and what their durable clients need to know."""

    orchestrators: WorkerGroup
    activities: WorkerGroup
    client_json: str


class Engine:
    """Runs orchestrations to their ends."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        index: FunctionIndex,
        settings: HostSettings,
        faults: Faults,
        send_outputs: SendOutputs,
    ) -> None:
        self._store = store
        self._workers = workers
        self._index = index
        self._settings = settings
        self._faults = faults
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()  # in _ready
        self._busy: set[str] = set()  # in an episode now
        self._again: set[str] = set()  # woken while busy
        self._awaited: dict[str, int] = {}  # how many results an instance waits for
        self._gathering: set[str] = set()
        self._due: list[tuple[int, str]] = []
        self._due_changed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._activities = Activities(
            store,
            workers.activities,
            workers.client_json,
            index,
            settings,
            faults,
            send_outputs,
            self._wake_for_result,
        )

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self, episode_slots: int) -> None:
        """Pick up everything that the store holds and begin."""
        for instance_id, due in await self._store.read(records.pending_instances):
            self._wake(instance_id, due)
        slots = min(episode_slots, self._settings.max_orchestrators)
        loops = [self._run_episodes() for _ in range(slots)] + [self._activities.run(), self._run_timers()]
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def watch(self) -> None:
        """Return only by raising what ended one of the engine's loops."""
        done, _ = await asyncio.wait(
            [*self._loops, self._activities.defect], return_when=asyncio.FIRST_EXCEPTION
        )
        for loop in done:
            loop.result()

    async def close(self, drain_s: float) -> None:
        """Begin nothing more, give running activities up to `drain_s` seconds to finish, and stop."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._activities.close(drain_s)

    # -- instances that have work ----------------------------------------------------------------------------

    def _wake(self, instance_id: str, due: int = 0) -> None:
        if self._faults.is_dead(instance_id):
            return
        if due > to_micros(utc_now()):
            heapq.heappush(self._due, (due, instance_id))
            if self._due[0] == (due, instance_id):
                self._due_changed.set()
        elif instance_id in self._busy:
            self._again.add(instance_id)
        elif instance_id not in self._queued:
            self._queued.add(instance_id)
            self._ready.put_nowait(instance_id)

    def _wake_for_result(self, instance_id: str) -> None:
        """Wake an instance that waits for nothing else at once; let the results of a fan-out gather first.

        Every episode replays the whole history, so that one episode for each of a thousand results would be
        slow.
        """
        self._awaited[instance_id] = left = self._awaited.get(instance_id, 0) - 1
        if left <= 0:
            self._wake(instance_id)
        elif instance_id not in self._gathering:
            self._gathering.add(instance_id)
            asyncio.get_running_loop().call_later(_GATHERING_S, self._wake_gathered, instance_id)

    def _wake_gathered(self, instance_id: str) -> None:
        self._gathering.discard(instance_id)
        self._wake(instance_id)

    async def _run_timers(self) -> None:
        while True:
            self._due_changed.clear()
            now = to_micros(utc_now())
            while self._due and self._due[0][0] <= now:
                self._wake(heapq.heappop(self._due)[1])
            sleep_s = min((self._due[0][0] - now) / 1e6, _LONGEST_SLEEP_S) if self._due else _LONGEST_SLEEP_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(sleep_s, 0.001)):
                    await self._due_changed.wait()

    # -- episodes --------------------------------------------------------------------------------------------

    async def _run_episodes(self) -> None:
        while True:
            instance_id = await self._ready.get()
            self._queued.discard(instance_id)
            self._busy.add(instance_id)
            await persist(functools.partial(self._run_episode, instance_id), instance_id)
            self._busy.discard(instance_id)
            if instance_id in self._again:
                self._again.discard(instance_id)
                self._wake(instance_id)

    async def _run_episode(self, instance_id: str) -> None:
        now_us = to_micros(utc_now())
        work = await self._store.read(records.load_work, instance_id, now_us)
        if work is None:
            due = await self._store.read(records.next_due, instance_id)
            if due is not None:  # the clock went back after the timer had called
                self._wake(instance_id, due)
            return
        if work.stale:
            await self._store.write(records.drop_messages, work.stale)
        if not work.messages:
            return
        refusal = version_refusal(work.instance.version, self._settings)
        if refusal and self._settings.version_failure == "Reject":
            _log.warning("%s %s waits for another app: %s", work.instance.name, instance_id, refusal)
            return
        at_us = max(now_us, work.instance.clock)  # the orchestration's clock never goes backwards
        texts = [event(12, at_us), *(each.event for each in work.messages)]
        ended = next((each for each in work.messages if each.type == 3), None)
        if ended is not None:
            episode = Episode(TERMINATED, str(json.loads(ended.event).get("Input") or ""))
        elif refusal:
            episode = Episode(FAILED, refusal)
        else:
            episode = await self._call_orchestrator(work, texts)
        await self._commit(work, texts, episode, at_us)

    async def _call_orchestrator(self, work: Work, texts: list[str]) -> Episode:
        instance = work.instance
        info = self._index.durable(ORCHESTRATION, instance.name)
        if info is None:
            text = self._index.missing(ORCHESTRATION, instance.name)
            return Episode(FAILED, f"Orchestrator function '{instance.name}' failed: {text}")
        body = request_body(instance, work.history, texts)
        try:
            answer = await self._workers.orchestrators.call(
                "episode", info.name, body, self._settings.function_timeout_s
            )
        except FunctionTimeoutError:
            raise
        except FunctionFailedError as failure:
            return Episode(
                FAILED, f"Orchestrator function '{instance.name}' failed: {failure}", failure.trace
            )
        return msgspec.convert(answer, Episode)

    async def _commit(self, work: Work, texts: list[str], episode: Episode, at_us: int) -> None:
        commit = make_commit(work, texts, episode, at_us, self._settings)
        woken = await self._store.write(records.commit_episode, commit)
        if commit.tasks:
            self._activities.look_again()
        for message in commit.messages:
            if message.due:
                self._wake(message.instance, message.due)
        self._awaited[work.instance.id] = episode.open_count
        if commit.changed.has_ended:
            del self._awaited[work.instance.id]
        for instance_id in woken:
            if instance_id == work.instance.parent:
                self._wake_for_result(instance_id)
            else:
                self._wake(instance_id)
        if commit.restart is not None:
            self._wake(work.instance.id)
        for child in commit.children:
            _log.info("%s %s: Pending", child.instance.name, child.instance.id)
        if commit.changed.status != work.instance.status:
            self._announce(commit.changed)

    def _announce(self, instance: Instance) -> None:
        if instance.status == FAILED:
            _log.error("%s %s: Failed: %s", instance.name, instance.id, instance.output)
        else:
            _log.info("%s %s: %s", instance.name, instance.id, instance.status)
        if instance.has_ended:
            for watcher in self._watchers.pop(instance.id, []):
                if not watcher.done():
                    watcher.set_result(None)

    # -- requests --------------------------------------------------------------------------------------------

    async def start_instance(
        self, name: str, instance_id: str | None, input_text: str | None, version: str | None = None
    ) -> str:
        """Start an orchestration and return its id, once that is on disk.

        `input_text` is JSON text. Raises RequestError: 400 for an unknown function or a bad id, 409 for a
        live one.
        """
        info = self._index.durable(ORCHESTRATION, name)
        if info is None:
            raise RequestError(
                400,
                "One or more of the arguments submitted is incorrect",
                self._index.missing(ORCHESTRATION, name),
                "System.ArgumentException",
            )
        chosen = instance_id or uuid.uuid4().hex
        check_instance_id(chosen)
        start = new_instance(
            info.durable_name,
            chosen,
            input_text,
            to_micros(utc_now()),
            self._settings.default_version if version is None else version,
        )
        await self._store.write(records.start_instance, start, self._settings.may_overwrite_running)
        _log.info("%s %s: Pending", info.durable_name, chosen)
        self._wake(chosen)
        return chosen

    async def get(self, instance_id: str) -> Instance | None:
        """Return the instance, or None."""
        return await self._store.read(records.get_instance, instance_id)

    async def require_live(self, instance_id: str) -> None:
        """Raise RequestError 404 or 410 for an instance that is not there or has ended."""
        await self._store.read(records.require_live, instance_id)

    async def raise_event(self, instance_id: str, name: str, input_text: str | None) -> None:
        """Send an event; raises RequestError 404 or 410."""
        text = event(15, to_micros(utc_now()), Name=name, Input=input_text)
        await self._store.write(records.send, instance_id, 15, text)
        self._wake(instance_id)

    async def terminate(self, instance_id: str, reason: str) -> None:
        """End an instance at its next episode; raises RequestError 404 or 410."""
        await self._store.write(records.send, instance_id, 3, event(3, to_micros(utc_now()), Input=reason))
        self._wake(instance_id)

    async def suspend(self, instance_id: str, reason: str) -> None:
        """Show an instance as suspended; raises RequestError 404, 410, or 500 when it is suspended."""
        text = event(19, to_micros(utc_now()), Reason=reason)
        await self._store.write(records.suspend_or_resume, instance_id, 19, text)
        self._wake(instance_id)

    async def resume(self, instance_id: str, reason: str) -> None:
        """Show an instance as running again; raises RequestError 404, 410, or 500 when not suspended."""
        text = event(20, to_micros(utc_now()), Reason=reason)
        await self._store.write(records.suspend_or_resume, instance_id, 20, text)
        self._wake(instance_id)

    async def wait_for_end(self, instance_id: str, timeout_s: float) -> Instance | None:
        """Return the instance when it has ended, or as it is after the timeout."""
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.setdefault(instance_id, []).append(watcher)
        try:
            found = await self.get(instance_id)
            if found is None or found.has_ended:
                return found
            await asyncio.wait([watcher], timeout=timeout_s)
            return await self.get(instance_id)
        finally:
            watchers = self._watchers.get(instance_id, [])
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers:
                self._watchers.pop(instance_id, None)

    async def wake(self, instance_ids: list[str]) -> None:
        """Look again at instances that an operation outside the engine has changed."""
        for instance_id in instance_ids:
            self._wake(instance_id)


def check_instance_id(instance_id: str) -> None:
    """Raise RequestError 400 for an id that the Durable extension forbids."""
    if any(each in "/\\" or ord(each) < 32 or 127 <= ord(each) < 160 for each in instance_id):
        text = "Orchestration instance ids must not contain /, \\ or control characters."
    elif len(instance_id) > 256:
        text = "Instance ID lengths must not exceed 256 characters."
    else:
        return
    message = "One or more of the arguments submitted is incorrect"
    raise RequestError(400, message, text, "System.ArgumentException")
