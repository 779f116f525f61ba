"""Storage-queue triggers and outputs: leases, renewal, retries, poison queues."""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devhost.clock import stamp, utc_now
from devhost.errors import SettingsError, WorkerLostError
from devhost.functions import FunctionInfo
from devhost.pool import FunctionFailedError
from devhost.settings import QueueSettings, expand
from devhost.storage import open_queue

_log = logging.getLogger("devhost.functions")
_LEASE_S = 600
_FIRST_PAUSE_S = 0.1
_LONGEST_NAME = 63
_POISON = "-poison"
_DRAIN_S = 10.0

Invoke = Callable[[FunctionInfo, dict[str, Any]], Awaitable[dict[str, Any]]]


def decode_body(text: str, is_base64: bool) -> str | bytes | None:
    """Return a message's body as text, or as bytes where it is not UTF-8; None when it is not base64 but
    should be.
    """
    if not is_base64:
        return text
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def encode_body(body: str | bytes, is_base64: bool) -> str:
    """Return a body as it is sent."""
    data = body.encode() if isinstance(body, str) else body
    return base64.b64encode(data).decode() if is_base64 else data.decode()


def next_pause(pause_s: float, longest_s: float) -> float:
    """Return the next wait of an empty queue: twice as long, give or take a fifth, up to the longest."""
    doubled_s = pause_s * 2 * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
    return min(longest_s, max(_FIRST_PAUSE_S, doubled_s))


def poison_name(queue: str) -> str | None:
    """Return the name of a queue's poison queue; None for a poison queue or where it would be too long."""
    name = queue + _POISON
    return None if queue.endswith(_POISON) or len(name) > _LONGEST_NAME else name


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """One queue function and where its messages come from."""

    info: FunctionInfo
    queue: str
    connection: str


def make_trigger(info: FunctionInfo, environment: Mapping[str, str]) -> QueueTrigger:
    """Resolve a queue trigger's settings; raises SettingsError for a `%setting%` that is not set."""
    queue = expand(str(info.trigger["queueName"]), environment).lower()
    return QueueTrigger(info, queue, str(info.trigger.get("connection") or ""))


class QueueListener:
    """Takes messages from one queue and runs its function for each."""

    def __init__(
        self, trigger: QueueTrigger, settings: QueueSettings, environment: Mapping[str, str], invoke: Invoke
    ) -> None:
        self._trigger = trigger
        self._settings = settings
        self._environment = environment
        self._invoke = invoke
        self._running: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._is_reachable = True

    async def run(self) -> None:
        """Poll for ever; without a usable connection log one error and do nothing."""
        name = self._trigger.info.name
        try:
            client = await asyncio.to_thread(self._open, self._trigger.queue)
        except SettingsError as error:
            _log.error("The listener for function '%s' was unable to start: %s", name, error)
            await asyncio.Event().wait()
            return
        async with client:
            try:
                await self._poll(client)
            finally:
                if self._running:
                    await asyncio.wait(self._running, timeout=_DRAIN_S)
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    def _open(self, queue: str) -> Any:
        return open_queue(queue, self._trigger.connection, self._environment)

    async def _poll(self, client: Any) -> None:
        pause_s = 0.0
        while True:
            while len(self._running) > self._settings.new_batch_threshold:
                self._ended.clear()
                await self._ended.wait()
            messages = await self._receive(client)
            for message in messages:
                task = asyncio.create_task(self._handle(client, message))
                self._running.add(task)
                task.add_done_callback(self._finish)
            pause_s = 0.0 if messages else next_pause(pause_s, self._settings.max_polling_interval_s)
            await asyncio.sleep(pause_s)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._ended.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error(
                "A message of %s could not be settled.", self._trigger.queue, exc_info=task.exception()
            )

    async def _receive(self, client: Any) -> list[Any]:
        """Take up to a batch; a queue that is missing or cannot be reached has none."""
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        size = self._settings.batch_size
        try:
            pages = client.receive_messages(
                messages_per_page=size, max_messages=size, visibility_timeout=_LEASE_S
            )
            messages = [message async for message in pages]
        except ResourceNotFoundError:
            messages = []  # the host does not create trigger queues; it waits for them
        except AzureError as error:
            if self._is_reachable:
                _log.warning(
                    "Queue %s cannot be read: %s. Trying again.", self._trigger.queue, _first_line(error)
                )
            self._is_reachable = False
            return []
        self._is_reachable = True
        return messages

    async def _handle(self, client: Any, message: Any) -> None:
        body = decode_body(message.content, self._settings.base64)
        if body is None or message.dequeue_count > self._settings.max_dequeue_count:
            await self._poison(client, message)
            return
        renewal = asyncio.create_task(_renew(client, message))
        try:
            succeeded = await self._run_function(message, body)
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewal
        if succeeded:
            await client.delete_message(message.id, message.pop_receipt)
        elif message.dequeue_count >= self._settings.max_dequeue_count:
            await self._poison(client, message)
        else:
            timeout_s = int(self._settings.visibility_timeout_s)
            await client.update_message(message.id, message.pop_receipt, visibility_timeout=timeout_s)

    async def _run_function(self, message: Any, body: str | bytes) -> bool:
        try:
            await self._invoke(self._trigger.info, {"body": body, "metadata": _metadata(message)})
        except (FunctionFailedError, WorkerLostError):  # logged by the caller
            return False
        return True

    async def _poison(self, client: Any, message: Any) -> None:
        """Move a message to the poison queue as it is; without one it reappears when its lease ends."""
        name = poison_name(self._trigger.queue)
        if name is None:
            _log.error(
                "Message %s of %s failed too often; there is no poison queue for it.",
                message.id,
                self._trigger.queue,
            )
            return
        async with self._open(name) as poison:
            await _send(poison, message.content)
        await client.delete_message(message.id, message.pop_receipt)
        _log.error("Message %s of %s was moved to %s.", message.id, self._trigger.queue, name)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _metadata(message: Any) -> dict[str, Any]:
    return {
        "Id": message.id,
        "DequeueCount": message.dequeue_count,
        "PopReceipt": message.pop_receipt,
        "InsertionTime": stamp(message.inserted_on or utc_now()),
        "ExpirationTime": stamp(message.expires_on or utc_now()),
        "NextVisibleTime": stamp(message.next_visible_on or utc_now()),
    }


async def _renew(client: Any, message: Any) -> None:
    """Keep a message's lease while its function runs; every renewal brings a new receipt."""
    while True:
        await asyncio.sleep(_LEASE_S / 2)
        renewed = await client.update_message(message.id, message.pop_receipt, visibility_timeout=_LEASE_S)
        message.pop_receipt = renewed.pop_receipt


async def _send(client: Any, text: str) -> None:
    """Send a text, creating the queue where it is missing."""
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    try:
        await client.send_message(text)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):
            await client.create_queue()
        await client.send_message(text)


class QueueOutputs:
    """Sends what functions have set on their queue output bindings."""

    def __init__(self, settings: QueueSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment

    async def send(self, info: FunctionInfo, outs: dict[str, list[Any]]) -> None:
        """Send every output of a function that succeeded.

        Raises FunctionFailedError when that cannot be done: to the caller the function has then failed.
        """
        from azure.core.exceptions import AzureError

        for binding in info.bindings:
            if binding["type"] != "queue" or binding["name"] not in outs:
                continue
            try:
                queue = expand(str(binding["queueName"]), self._environment).lower()
                connection = str(binding.get("connection") or "")
                async with open_queue(queue, connection, self._environment) as client:
                    for body in output_bodies(*outs[binding["name"]]):
                        await _send(client, encode_body(body, self._settings.base64))
            except (AzureError, SettingsError) as error:
                text = f"the output binding '{binding['name']}' could not be sent: {_first_line(error)}"
                raise FunctionFailedError(text, text) from error


def output_bodies(kind: str, value: Any) -> list[str | bytes]:
    """Return the message bodies of one output as the converter encoded it."""
    if kind in ("string", "bytes"):
        return [value]
    decoded = json.loads(value)
    items = decoded if isinstance(decoded, list) else [decoded]
    return [str(item["body"]) if isinstance(item, dict) else str(item) for item in items]
