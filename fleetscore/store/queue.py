"""Completion messages: a few ids on a storage queue, encoded as the Functions host's queue trigger expects
them.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64EncodePolicy

from fleetscore.errors import InputError, StoreError
from fleetscore.store.azure_access import client_options, credential_for, parse_resource, store_error

ROLE = "Storage Queue Data Message Sender"
PAYLOAD_MOST_BYTES = 48 * 1024
"""What fits, as base64, into the 64 KiB of a queue message."""


def send(queue_url: str, payload: bytes, transport: Any = None) -> None:
    """Put `payload` (UTF-8 text: ids, never rows) on the queue at least once; order is not kept.

    `queue_url` is `https://account.queue.core.windows.net/queue`, reached with this process's identity, or
    `http://127.0.0.1:10001/devstoreaccount1/queue` of an emulator, whose queue is made if missing. Raises
    InputError for more than PAYLOAD_MOST_BYTES or for bytes that are no text, SettingsError for another
    URL, StoreError if the queue is missing or refuses.
    """
    text = _checked_text(payload)
    queue = _queue(queue_url, transport)
    try:
        try:
            queue.send_message(text)
        except ResourceNotFoundError:
            if not parse_resource(queue_url, "queue").is_emulator:
                raise
            with contextlib.suppress(ResourceExistsError):
                queue.create_queue()
            queue.send_message(text)
    except ResourceNotFoundError as error:
        raise StoreError(
            f"The queue {queue_url} does not exist.",
            fix="Deploy the infrastructure, which makes it, or correct the queue's settings.",
            code="no_queue",
            retry=False,
        ) from error
    except AzureError as error:
        raise store_error(error, f"a message for {queue_url}", ROLE) from error


def count_messages(queue_url: str, transport: Any = None) -> int:
    """About how many messages wait in the queue; StoreError if it is missing or refuses."""
    try:
        return int(_queue(queue_url, transport).get_queue_properties().approximate_message_count or 0)
    except ResourceNotFoundError as error:
        raise StoreError(
            f"The queue {queue_url} does not exist.",
            fix="Deploy the infrastructure, which makes it, or correct the queue's settings.",
            code="no_queue",
            retry=False,
        ) from error
    except AzureError as error:
        raise store_error(error, f"the queue {queue_url}", "Storage Queue Data Contributor") from error


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue of an account, and since when (aware UTC) the oldest message that could be taken waits; None
    where none does.
    """

    queue: str
    since: datetime | None


def look_at_queues(service_url: str, prefix: str, transport: Any = None) -> list[Waiting]:
    """The queues of the account whose names begin with `prefix`, each with its oldest message; nothing is
    taken. StoreError if refused.
    """
    resource = parse_resource(f"{service_url.rstrip('/')}/{prefix}", "queue")
    service = QueueServiceClient(
        resource.account_url, credential=credential_for(resource), **client_options(transport)
    )
    try:
        names = [queue.name for queue in service.list_queues(name_starts_with=prefix)]
        return [Waiting(name, _oldest(service.get_queue_client(name))) for name in names]
    except AzureError as error:
        raise store_error(error, f"the queues of {service_url}", "Storage Queue Data Contributor") from error


def _oldest(queue: QueueClient) -> datetime | None:
    messages = queue.peek_messages(1)
    return messages[0].inserted_on if messages else None


def _checked_text(payload: bytes) -> str:
    if len(payload) > PAYLOAD_MOST_BYTES:
        raise InputError(
            f"A queue message of {len(payload)} bytes is too large; at most {PAYLOAD_MOST_BYTES} fit.",
            fix="Send ids and paths, and leave the data in the store.",
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise InputError("A queue message must be UTF-8 text.", fix="Send JSON.") from error


@functools.lru_cache(maxsize=16)
def _queue(queue_url: str, transport: Any) -> QueueClient:
    """One client per queue, so that a process that sends many messages signs in and connects once."""
    resource = parse_resource(queue_url, "queue")
    return QueueClient(
        resource.account_url,
        resource.name,
        credential=credential_for(resource),
        message_encode_policy=TextBase64EncodePolicy(),
        **client_options(transport),
    )
