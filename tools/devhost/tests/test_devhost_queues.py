"""Storage-queue triggers and outputs against Azurite."""

import base64
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from devhost.errors import SettingsError
from devhost.queues import decode_body, encode_body, next_pause, output_bodies, poison_name
from devhost.storage import find_connection, open_queue

_APP = """
import json, os
from pathlib import Path
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="Store")
def take(message: func.QueueMessage) -> None:
    text = message.get_body().decode()
    line = {"text": text, "count": message.dequeue_count, "id": message.id, "at": str(message.insertion_time)}
    with Path(os.environ["OUT"]).open("a") as file:
        file.write(json.dumps(line) + "\\n")
    if text.startswith("fail"):
        raise ValueError(text)

@app.queue_trigger(arg_name="message", queue_name="missing-connection", connection="Nowhere")
def idle(message: func.QueueMessage) -> None:
    pass

@app.queue_output(arg_name="out", queue_name="%QUEUE%", connection="Store")
@app.route(route="send", methods=["POST"])
def send(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(req.get_body().decode())
    if req.params.get("fail"):
        raise ValueError("after set")
    return "sent"

@app.queue_output(arg_name="$return", queue_name="%QUEUE%", connection="Store")
@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
def report(timer: func.TimerRequest) -> str:
    return "returned"
"""
_HOST_JSON = (
    '{"version": "2.0", "extensions": {"queues": {"maxPollingInterval": "00:00:00.2", "maxDequeueCount": 3}}}'
)


def _wait(condition: Callable[[], Any], patience_s: float = 20) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _texts(queue: QueueClient) -> list[str]:
    try:
        return [message.content for message in queue.peek_messages(32)]
    except ResourceNotFoundError:
        return []


def test_messages_are_taken_retried_and_poisoned(make_host: Any, azurite: str, tmp_path: Path) -> None:
    """A good message is deleted, a failing one retried and then poisoned, one that is not base64 poisoned
    unread.
    """
    import json

    name = f"work-{uuid.uuid4().hex[:8]}"
    queue = QueueClient.from_connection_string(azurite, name)
    poison = QueueClient.from_connection_string(azurite, f"{name}-poison")
    out = tmp_path / "out"
    out.touch()
    host = make_host(
        _APP,
        "--workers",
        "1",
        files={"host.json": _HOST_JSON},
        AzureWebJobsStore=azurite,
        QUEUE=name.upper(),
        OUT=str(out),
    ).start()

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in out.read_text().splitlines()]

    queue.create_queue()  # after the start: the host waits for it
    for text in ("good", "fail-always"):
        queue.send_message(encode_body(text, is_base64=True))
    queue.send_message("not base64!")
    _wait(lambda: len(_texts(poison)) == 2)
    assert sorted(_texts(poison)) == sorted(["not base64!", encode_body("fail-always", is_base64=True)])
    _wait(lambda: not _texts(queue))
    assert [each["count"] for each in lines() if each["text"] == "fail-always"] == [1, 2, 3]
    assert [each["count"] for each in lines() if each["text"] == "good"] == [1]
    assert lines()[0]["at"].endswith("+00:00")
    assert requests.post(f"{host.url}/api/send", data="via output", timeout=60).text == "sent"
    assert requests.post(f"{host.url}/api/send?fail=1", data="never", timeout=60).status_code == 500
    _wait(lambda: any(each["text"] == "via output" for each in lines()))
    assert requests.post(f"{host.url}/admin/functions/report", json={}, timeout=60).status_code == 202
    _wait(lambda: any(each["text"] == "returned" for each in lines()))
    assert not any(each["text"] == "never" for each in lines())
    assert "The listener for function 'idle' was unable to start" in host.log


_SLOW_APP = """
import os, time
from pathlib import Path
import azure.functions as func

app = func.FunctionApp()

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="Store")
def take(message: func.QueueMessage) -> None:
    with Path(os.environ["OUT"]).open("a") as file:
        file.write("taken\\n")
    time.sleep(6)
"""


@pytest.mark.slow
def test_leases_are_renewed_while_a_function_runs(make_host: Any, azurite: str, tmp_path: Path) -> None:
    """A function that outlasts its message's lease keeps the message: it runs once, and then it is deleted."""
    name = f"slow-{uuid.uuid4().hex[:8]}"
    queue = QueueClient.from_connection_string(azurite, name)
    queue.create_queue()
    queue.send_message(encode_body("x", is_base64=True))
    out = tmp_path / "out"
    prelude = "import devhost.queues; devhost.queues._LEASE_S = 2"
    make_host(
        _SLOW_APP,
        "--workers",
        "1",
        files={"host.json": _HOST_JSON},
        prelude=prelude,
        AzureWebJobsStore=azurite,
        QUEUE=name,
        OUT=str(out),
    ).start()
    _wait(lambda: out.exists())
    time.sleep(7)
    _wait(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert out.read_text() == "taken\n"


def test_connections_are_found_as_azure_finds_them() -> None:
    """Prefixed names win, connection strings come before settings, then the identity section."""
    assert find_connection("", {"AzureWebJobsStorage": "a"}) == ("string", "a")
    assert find_connection("X", {"X": "a", "AzureWebJobsX": "b"}) == ("string", "b")
    assert find_connection("X", {"X": "a", "ConnectionStrings:X": "b"}) == ("string", "b")
    assert find_connection("X", {"X__queueServiceUri": "https://q"}) == ("identity", "https://q")
    assert ":10001/devstoreaccount1" in find_connection("X", {"X": "UseDevelopmentStorage=true"})[1]
    with pytest.raises(SettingsError, match="'AzureWebJobsX' does not exist"):
        find_connection("X", {})


def test_an_emulator_is_reached_through_an_identity_section() -> None:
    """Plain http on this machine takes the emulator's account; elsewhere it is refused, since it would be
    sent tokens.
    """
    client = open_queue("q", "X", {"X__queueServiceUri": "http://127.0.0.1:10001/devstoreaccount1"})
    assert client.account_name == "devstoreaccount1"
    with pytest.raises(SettingsError, match="over plain http"):
        open_queue("q", "X", {"X__queueServiceUri": "http://queues.example/account"})


def test_bodies() -> None:
    """Base64 is undone strictly; bytes that are not text stay bytes."""
    assert decode_body(encode_body("é", is_base64=True), is_base64=True) == "é"
    assert decode_body(base64.b64encode(b"\xff").decode(), is_base64=True) == b"\xff"
    assert decode_body("no base64", is_base64=True) is None
    assert decode_body("as it is", is_base64=False) == "as it is"
    assert output_bodies("json", '["a", {"id": "1", "body": "b"}]') == ["a", "b"]


def test_waits_grow_to_the_longest() -> None:
    """An empty queue is asked less and less often."""
    pause_s = 0.0
    for _ in range(20):
        following = next_pause(pause_s, 2.0)
        assert following >= min(pause_s, 2.0) and 0.1 <= following <= 2.0
        pause_s = following
    assert pause_s == 2.0


def test_poison_queues_have_none_of_their_own() -> None:
    """Poison queues and names that would be too long have no poison queue."""
    assert poison_name("work") == "work-poison"
    assert poison_name("work-poison") is None
    assert poison_name("x" * 60) is None
