"""Completion messages, sent to the emulator's queue and read back as the Functions host reads them."""

import base64
import re
import uuid
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.storage.queue import QueueClient, QueueServiceClient

from fleetscore.errors import InputError, SettingsError, StoreError
from fleetscore.store import azure_access
from fleetscore.store.queue import PAYLOAD_MOST_BYTES, send


@pytest.fixture
def queue(azurite: str) -> QueueClient:
    """A queue that is not there yet, seen without any decoding."""
    return QueueServiceClient.from_connection_string(azurite).get_queue_client(f"test-{uuid.uuid4().hex}")


def received(queue: QueueClient) -> list[bytes]:
    """The messages on the queue, decoded from base64."""
    return [base64.b64decode(m.content, validate=True) for m in queue.receive_messages(max_messages=32)]


def test_a_message_arrives_as_it_was_sent(queue: QueueClient) -> None:
    """The first message makes the emulator's queue; text arrives as base64 of its own bytes, whatever it holds."""
    payloads = [b'{"run":"r","shard":7}', "größer <&> 😀".encode(), b""]
    for payload in payloads:
        send(queue.url, payload)
    assert sorted(received(queue)) == sorted(payloads)


def test_the_largest_message_fits(queue: QueueClient) -> None:
    """48 KiB arrive; one byte more is refused before it is sent."""
    send(queue.url, b"x" * PAYLOAD_MOST_BYTES)
    assert [len(m) for m in received(queue)] == [PAYLOAD_MOST_BYTES]
    with pytest.raises(InputError, match="49153 bytes is too large; at most 49152"):
        send(queue.url, b"x" * (PAYLOAD_MOST_BYTES + 1))


def test_bytes_that_are_no_text_are_refused(queue: QueueClient) -> None:
    """The host hands messages over as text, so other bytes are an InputError."""
    with pytest.raises(InputError, match="UTF-8"):
        send(queue.url, b"\xff")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://account.queue.core.windows.net/done", "plain http"),
        ("https://account.queue.core.windows.net/done?sig=secret", "key or a signature"),
        ("https://account.queue.core.windows.net", "does not name one queue"),
    ],
)
def test_unsafe_and_ambiguous_urls_are_refused(url: str, reason: str) -> None:
    """The rules for queue URLs are those for stores."""
    with pytest.raises(SettingsError, match=reason):
        send(url, b"x")


def test_throttling_and_lost_answers_are_waited_out(queue: QueueClient, wire: Any) -> None:
    """A message gets through 503, 429 and a timeout; after a lost answer it may arrive twice, never not at all."""
    send(queue.url, b"warm", transport=wire)
    wire.answer(503, "ServerBusy")
    wire.answer(429, "TooManyRequests")
    wire.fail(ServiceResponseTimeoutError("timed out"))
    wire.lose_answer("POST")
    send(queue.url, b"x", transport=wire)
    assert wire.faults == []
    assert received(queue) == [b"warm", b"x", b"x"]


def test_refusals_in_the_cloud_say_what_to_do(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing queue is not made, a refused identity hears which role it lacks, and both are not retried."""

    class Token:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken("the-token", 4102444800)

    monkeypatch.setattr(azure_access, "_identity", lambda client_id: Token())
    url = "https://account.queue.core.windows.net/done"
    for status, code, says in (
        (404, "QueueNotFound", f"{re.escape(url)} does not exist"),
        (403, "AuthorizationPermissionMismatch", "Storage Queue Data Message Sender"),
    ):
        wire.answer(status, code)
        with pytest.raises(StoreError, match=says) as caught:
            send(url, b"x", transport=wire)
        assert caught.value.retry is False
    assert [r.method for r in wire.requests] == ["POST", "POST"]
    assert wire.requests[0].headers["Authorization"] == "Bearer the-token"
