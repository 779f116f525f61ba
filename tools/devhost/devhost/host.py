"""The host: one app, one data folder, one port; everything else is made and connected here."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from devhost.admin import AdminApi
from devhost.auth import Gate, load_keys
from devhost.callers import Callers
from devhost.clock import utc_now
from devhost.durable_http import DurableApi
from devhost.engine import Engine, Workers
from devhost.errors import WorkerLostError
from devhost.faults import Faults
from devhost.files import write_whole
from devhost.functions import HTTP, QUEUE, TIMER, FunctionIndex, FunctionInfo
from devhost.http_triggers import HttpTriggers
from devhost.links import Links
from devhost.listening import bind
from devhost.owner import owner_ended
from devhost.pool import FunctionFailedError, WorkerGroup
from devhost.queues import QueueListener, QueueOutputs, make_trigger
from devhost.serving import serve
from devhost.settings import HostSettings, expand
from devhost.store import Store
from devhost.template import Template
from devhost.timers import Timer, TimerLoop, make_timer, read_zone

_log = logging.getLogger("devhost")
_PUBLIC_PREFIX = "/runtime/webhooks/durabletask"
_RPC_PREFIX = "/durabletask"
_DRAIN_S = 10.0
_EPISODES_PER_WORKER = 4  # so that reading, running and committing overlap


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the command line decides; `listener` is bound to the public address but does not listen yet.

    With `uses_threads` all functions run as threads of one process, and `workers` counts nothing. `names` are
    host names under which callers may reach it, beside its address and those of loopback. The next two are
    faults to test apps with; see devhost.faults. The host ends when process `owner_pid` has ended.
    """

    data: Path
    listener: socket.socket
    workers: int
    is_strict: bool
    uses_threads: bool = False
    names: frozenset[str] = frozenset()
    fails_lost_activities: bool = True
    dead_partitions: frozenset[int] = frozenset()
    owner_pid: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running host can be reached; stored as `address.json` in its data folder while it serves."""

    url: str
    pid: int
    rpc_url: str


class Host:
    """A host for one loaded app."""

    def __init__(
        self, options: HostOptions, settings: HostSettings, environment: dict[str, str], template: Template
    ) -> None:
        self._options = options
        self._settings = settings
        self._environment = environment
        self._template = template
        self._faults = Faults(
            options.fails_lost_activities, options.dead_partitions, settings.partition_count
        )
        self._gate = Gate(load_keys(options.data), options.is_strict)
        self._rpc_listener = bind("127.0.0.1", 0)  # for the durable clients in the workers
        self._address = _address(options.listener, self._rpc_listener)
        self._callers = Callers(options.listener.getsockname()[0], options.names)
        self._rpc_key = secrets.token_urlsafe(32) if options.is_strict else ""
        self._local_authority = f"localhost:{options.listener.getsockname()[1]}"
        rpc_url = self._address.rpc_url
        if self._rpc_key:
            rpc_url = rpc_url.replace(_RPC_PREFIX, f"/{self._rpc_key}{_RPC_PREFIX}")
        self._client_json = self._links(self._local_authority).client_json(rpc_url)
        self._outputs = QueueOutputs(settings.queues, environment)

    async def run(self, index: FunctionIndex, store: Store, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a part of the host fails, then drain and close."""
        zone = read_zone(self._environment)
        timers = [self._make_timer(info, zone) for info in index.of_kind(TIMER)]
        queues = [make_trigger(info, self._environment) for info in index.of_kind(QUEUE)]
        http = HttpTriggers(index, self._settings.route_prefix, self._gate, self._invoke, expand=self._expand)
        async with contextlib.AsyncExitStack() as closing:
            groups = self._start_workers(closing)
            self._functions, orchestrators, activities = groups
            workers = Workers(orchestrators, activities, self._client_json)
            engine = Engine(store, workers, index, self._settings, self._faults, self._outputs.send)
            self._admin = AdminApi(index, self._gate, self._invoke)
            self._durable, self._http = DurableApi(engine, store), http
            await serve(self._answer_rpc, self._rpc_listener, closing, _DRAIN_S)
            await serve(self._answer, self._options.listener, closing, _DRAIN_S)
            await engine.start(_EPISODES_PER_WORKER * _orchestrator_count(self._options.workers))
            closing.push_async_callback(engine.close, _DRAIN_S)
            self._announce(index, timers, closing)
            loops: list[Coroutine[Any, Any, Any]] = [
                TimerLoop(each, zone, store, self._invoke).run() for each in timers
            ]
            loops += [
                QueueListener(each, self._settings.queues, self._environment, self._invoke).run()
                for each in queues
            ]
            if self._options.owner_pid is not None:
                loops.append(owner_ended(self._options.owner_pid))
            loops += [engine.watch(), stop.wait(), *(group.watch() for group in dict.fromkeys(groups))]
            await _until_first_ends(loops)

    def _make_timer(self, info: FunctionInfo, zone: Any) -> Timer:
        return make_timer(info, self._expand(str(info.trigger["schedule"])), zone, utc_now())

    def _expand(self, text: str) -> str:
        return expand(text, self._environment)

    def _start_workers(self, closing: contextlib.AsyncExitStack) -> tuple[WorkerGroup, ...]:
        """Begin to start the processes for triggers, orchestrators and activities; one group does all with
        threads.
        """
        count = self._options.workers
        threads = _whole(self._environment, "PYTHON_THREADPOOL_THREAD_COUNT")
        many = threads or min(32, (os.cpu_count() or 1) + 4)  # as in Azure's worker
        triggers = WorkerGroup(
            self._template, _whole(self._environment, "FUNCTIONS_WORKER_PROCESS_COUNT") or 1, many
        )
        if self._options.uses_threads:
            groups = (triggers, triggers, triggers)
        else:
            orchestrators = WorkerGroup(self._template, _orchestrator_count(count), 1)
            groups = (triggers, orchestrators, WorkerGroup(self._template, count, threads or 1))
        for group in dict.fromkeys(groups):
            group.start()
            closing.push_async_callback(group.close)
        return groups

    async def _invoke(self, info: FunctionInfo, payload: dict[str, Any]) -> dict[str, Any]:
        """Run a function that is no part of an orchestration, send its outputs, and log how it went.

        Raises FunctionFailedError or WorkerLostError, logged already.
        """
        invocation_id, started, outcome = str(uuid.uuid4()), time.perf_counter(), "Succeeded"
        payload |= {"client": self._client_json, "invocation_id": invocation_id}
        try:
            result = await self._functions.call(
                "invoke", info.name, payload, self._settings.function_timeout_s
            )
            if "outs" in result:
                await self._outputs.send(info, result["outs"])
            return dict(result)
        except FunctionFailedError as failure:
            outcome = f"Failed: {failure.message}"
            _log.error("%s raised:\n%s", info.name, failure.trace.rstrip())
            raise
        except WorkerLostError as failure:
            outcome = f"Failed: {failure}"
            raise
        finally:
            kind = info.kind.removesuffix("Trigger")
            _log.info(
                "%s %s %s: %.3f s, %s", kind, info.name, invocation_id, time.perf_counter() - started, outcome
            )

    # -- listening -------------------------------------------------------------------------------------------

    def _links(self, authority: str) -> Links:
        return Links(f"http://{authority}{_PUBLIC_PREFIX}", self._settings.hub_name, self._gate.durable_key)

    async def _answer(self, request: web.Request) -> web.Response:
        if refusal := self._callers.refusal(request.headers):
            return web.json_response({"Message": refusal}, status=403)
        authority = self._callers.authority(request.headers.get("Host"), _local_address(request))
        path = request.rel_url.raw_path
        lowered = path.lower()
        if lowered.startswith(_PUBLIC_PREFIX + "/"):
            given = request.headers.get("x-functions-key") or request.query.get("code", "")
            if not self._gate.opens_durable(given):
                return web.Response(status=401)
            return await self._durable.answer(request, path[len(_PUBLIC_PREFIX) :], self._links(authority))
        if lowered.startswith("/admin/"):
            return await self._admin.answer(request, path)
        answer = await self._http.answer(request, f"http://{authority}{request.rel_url}")
        if answer is not None:
            return answer
        return self._homepage() if path == "/" else web.Response(status=404)

    async def _answer_rpc(self, request: web.Request) -> web.Response:
        """Answer a durable client of the app; with keys demanded, its address holds one."""
        if refusal := self._callers.refusal(request.headers):
            return web.json_response({"Message": refusal}, status=403)
        path = request.rel_url.raw_path
        if self._rpc_key:
            key, _, path = path.lstrip("/").partition("/")
            if not secrets.compare_digest(key.encode(), self._rpc_key.encode()):
                return web.Response(status=401)
            path = f"/{path}"
        if not path.lower().startswith(_RPC_PREFIX + "/"):
            return web.Response(status=404)
        links = self._links(self._local_authority)
        return await self._durable.answer(request, path[len(_RPC_PREFIX) :], links)

    def _homepage(self) -> web.Response:
        """Answer where no function of the app does; a setting of Azure's turns the text off."""
        if self._environment.get("AzureWebJobsDisableHomepage", "").lower() == "true":
            return web.Response(status=204)
        return web.Response(text="The local Functions host is running.")

    def _announce(
        self, index: FunctionIndex, timers: list[Timer], closing: contextlib.AsyncExitStack
    ) -> None:
        """Log the functions and write `address.json`, which is there exactly while the host serves."""
        _log.info("Functions:")
        lines = self._http.describe(self._address.url)
        lines += [f"{timer.info.name}: timerTrigger {timer.schedule.text}" for timer in timers]
        lines += [
            f"{info.name}: {info.kind}" for info in index.functions if info.kind not in (HTTP, TIMER, QUEUE)
        ]
        lines += [
            f"{info.name}: queueTrigger {info.trigger.get('queueName')}" for info in index.of_kind(QUEUE)
        ]
        for line in lines:
            _log.info("    %s", line)
        if self._settings.ignored:
            _log.info("host.json: not carried out here: %s", ", ".join(self._settings.ignored))
        for number in sorted(self._faults.dead_partitions):
            _log.warning(
                "Partition %d is dead: messages to its instances are accepted, never handled.", number
            )
        for info in index.left_out:
            _log.warning("Left out: %s", info.left_out)
        path = self._options.data / "address.json"
        write_whole(path, msgspec.json.encode(self._address))
        closing.callback(path.unlink, missing_ok=True)
        _log.info("Listening on %s", self._address.url)


async def run_until_signalled(host: Host, index: FunctionIndex, store: Store) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await host.run(index, store, stop)


def _address(public: socket.socket, rpc: socket.socket) -> Address:
    address, port = public.getsockname()
    rpc_url = f"http://127.0.0.1:{rpc.getsockname()[1]}{_RPC_PREFIX}/"
    return Address(f"http://{address}:{port}", os.getpid(), rpc_url)


def _local_address(request: web.Request) -> tuple[str, int]:
    """Return the address at which the request arrived."""
    address, port = request.get_extra_info("sockname", ("127.0.0.1", 0))[:2]
    return str(address), int(port)


def _whole(environment: dict[str, str], name: str) -> int | None:
    """Return a setting that is a positive whole number, or None."""
    text = environment.get(name, "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def _orchestrator_count(workers: int) -> int:
    """Return how many processes replay orchestrations: one for every four that run activities."""
    return max(1, -(-workers // 4))


async def _until_first_ends(loops: list[Coroutine[Any, Any, Any]]) -> None:
    """Run all until one ends, cancel the others, and raise what ended it."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
