"""What functions receive and what becomes of what they return, as in Azure's worker."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

_APP = """
import json, os
from pathlib import Path
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
OUT = Path(os.environ.get("OUT", "/dev/null"))

def note(*values):
    with OUT.open("a") as file:
        file.write(json.dumps(values) + "\\n")

@app.route(route="context")
def show(req: func.HttpRequest, context: func.Context) -> str:
    trace, retry = context.trace_context, context.retry_context
    return json.dumps({
        "parents": [trace.trace_parent, trace.Traceparent], "states": [trace.trace_state, trace.Tracestate],
        "attributes": trace.attributes, "count": retry.retry_count, "limit": retry.max_retry_count,
    })

@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00.05")
def tick(timer: func.TimerRequest, context: func.Context) -> None:
    retry = context.retry_context
    note(retry.retry_count, retry.max_retry_count, retry.exception.message)
    raise ValueError(f"try {retry.retry_count}")

@app.route(route="response", binding_arg_name="answer")
def response(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> None:
    answer.set(func.HttpResponse("made", status_code=201, headers={"X-Own": "1"}))

@app.route(route="text", binding_arg_name="answer")
def text(req: func.HttpRequest, answer: func.Out[str]) -> None:
    answer.set("hello")

@app.route(route="unset", binding_arg_name="answer")
def unset(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> None:
    pass
"""
_QUEUES = """
@app.route(route="returned", binding_arg_name="answer", methods=["POST"])
@app.queue_output(arg_name="$return", queue_name="%QUEUE%text", connection="Store")
def returned(req: func.HttpRequest, answer: func.Out[func.HttpResponse]) -> str:
    return req.get_body().decode()

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%text", connection="Store")
def as_text(message: str) -> None:
    note("text", type(message).__name__, message)

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%bytes", connection="Store")
def as_bytes(message: bytes) -> None:
    note("bytes", type(message).__name__, str(message))

@app.queue_trigger(arg_name="message", queue_name="%QUEUE%object", connection="Store")
def as_object(message: func.QueueMessage) -> None:
    note("object", type(message).__name__, message.get_body().decode())
"""
_UNSUPPORTED = """
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.entity_trigger(context_name="context")
def counter(context):
    pass

@app.blob_trigger(arg_name="b", path="a/b", connection="c")
def on_blob(b: func.InputStream) -> None:
    pass

@app.route(route="blob")
@app.blob_input(arg_name="b", path="a/b", connection="c")
def with_blob(req: func.HttpRequest, b: func.InputStream) -> str:
    return "never"

@app.activity_trigger(input_name="x")
@app.blob_input(arg_name="b", path="a/b", connection="c")
def load(x: str, b: func.InputStream) -> str:
    return "never"

@app.route(route="fine")
def fine(req: func.HttpRequest) -> str:
    return "fine"

@app.orchestration_trigger(context_name="context")
def loading(context):
    result = yield context.call_activity("load", "x")
    return result
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which functions note what they received."""
    path = tmp_path_factory.mktemp("notes") / "out"
    path.touch()
    return path


@pytest.fixture(scope="module")
def host(make_shared_host: Any, out: Path) -> Any:
    """A host with the app above."""
    return make_shared_host(_APP, "--workers", "1", OUT=str(out)).start()


def _notes(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _post_json(url: str, body: Any) -> requests.Response:
    return requests.post(url, json=body, timeout=20)


def test_context_holds_trace_and_retry(host: Any) -> None:
    """A context's trace is a W3C trace under both spellings of the worker, its retry the first try without a
    limit.
    """
    shown = requests.get(f"{host.url}/api/context", timeout=20).json()
    version, trace, span, flags = shown["parents"][0].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "00")
    assert shown["parents"][0] == shown["parents"][1] and shown["states"] == ["", ""]
    assert (shown["attributes"], shown["count"], shown["limit"]) == ({}, 0, 0)


def test_retry_context_counts_the_tries(host: Any, out: Path, wait_until: Any) -> None:
    """A function with a retry policy sees which try of how many it is, and how the last one failed."""
    assert _post_json(f"{host.url}/admin/functions/tick", {}).status_code == 202
    wait_until(lambda: len(_notes(out)) == 3)
    assert _notes(out) == [[0, 2, ""], [1, 2, "ValueError: try 0"], [2, 2, "ValueError: try 1"]]


def test_answers_set_on_an_output_parameter_arrive(host: Any) -> None:
    """An HTTP output parameter gives its status, headers and body; its text alone; an empty 200 when unset."""
    response = requests.get(f"{host.url}/api/response", timeout=20)
    assert (response.status_code, response.headers["X-Own"], response.text) == (201, "1", "made")
    text = requests.get(f"{host.url}/api/text", timeout=20)
    assert (text.status_code, text.text) == (200, "hello")
    unset = requests.get(f"{host.url}/api/unset", timeout=20)
    assert (unset.status_code, unset.content) == (200, b"")


def test_queue_data_arrive_as_the_annotation_asks(
    make_host: Any, azurite: str, tmp_path: Path, wait_until: Any
) -> None:
    """`str` gets the text, `bytes` what is no text as bytes, QueueMessage an object; a queue's `$return` is
    200.
    """
    from azure.storage.queue import QueueServiceClient

    name, out = f"q{uuid.uuid4().hex[:8]}", tmp_path / "out"
    service = QueueServiceClient.from_connection_string(azurite)
    for kind, data in (("text", b""), ("bytes", b"\xff\x00"), ("object", "é".encode())):
        queue = service.create_queue(f"{name}{kind}")
        if data:
            queue.send_message(base64.b64encode(data).decode())
    host = make_host(_APP + _QUEUES, "--workers", "1", OUT=str(out), QUEUE=name, Store=azurite).start()
    answer = requests.post(f"{host.url}/api/returned", data="é".encode(), timeout=20)
    assert (answer.status_code, answer.content) == (200, b"")
    wait_until(lambda: out.exists() and len(_notes(out)) == 3)
    assert sorted(_notes(out)) == [
        ["bytes", "bytes", str(b"\xff\x00")],
        ["object", "QueueMessage", "é"],
        ["text", "str", "é"],
    ]


def test_unsupported_functions_are_left_out_and_the_rest_runs(make_host: Any) -> None:
    """One function that this host cannot run does not refuse the app: it is listed, and whatever calls it
    fails.
    """
    host = make_host(_UNSUPPORTED, "--workers", "1").start()
    for text in (
        "Left out: Function counter: entities are not supported by the local host",
        "Left out: Function on_blob: binding b of type blobTrigger is not supported",
        "Left out: Function load: binding b of type blob is not supported",
    ):
        assert text in host.log
    assert requests.get(f"{host.url}/api/fine", timeout=20).text == "fine"
    refused = requests.get(f"{host.url}/api/blob", timeout=20)
    assert refused.status_code == 501 and "Function with_blob: binding b" in refused.json()["Message"]
    status = host.wait_for(host.post("orchestrators/loading").json()["id"])
    assert status["runtimeStatus"] == "Failed" and "Function load: binding b of type blob" in status["output"]
    assert _post_json(f"{host.url}/admin/functions/on_blob", {}).status_code == 501


def test_root_route_reaches_the_app(make_host: Any) -> None:
    """With an empty route prefix `GET /` is the app's where it has such a route, else the host's own page or
    a 204.
    """
    app = (
        "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
        "@app.route(route='{*rest}')\ndef page(req: func.HttpRequest) -> str:\n    return 'the app'\n"
    )
    files = {"host.json": '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'}
    host = make_host(app, files=files).start()
    assert requests.get(host.url, timeout=20).text == "the app"
    bare = make_host(app.replace("{*rest}", "other"), files=files).start()
    assert requests.get(bare.url, timeout=20).text == "The local Functions host is running."
    silent = make_host(
        app.replace("{*rest}", "other"), files=files, AzureWebJobsDisableHomepage="true"
    ).start()
    assert requests.get(silent.url, timeout=20).status_code == 204


def test_admin_routes_answer(host: Any) -> None:
    """Ping, warm-up and one function's description are there; an unknown function is 404."""
    assert requests.get(f"{host.url}/admin/host/ping", timeout=20).status_code == 200
    assert requests.post(f"{host.url}/admin/host/ping", timeout=20).status_code == 200
    assert requests.get(f"{host.url}/admin/warmup", timeout=20).status_code == 200
    described = requests.get(f"{host.url}/admin/functions/TICK", timeout=20).json()
    assert described["name"] == "tick" and described["config"]["bindings"][0]["type"] == "timerTrigger"
    assert requests.get(f"{host.url}/admin/functions/nobody", timeout=20).status_code == 404


def test_warm_up_runs_when_asked_for(make_host: Any, tmp_path: Path, wait_until: Any) -> None:
    """`GET /admin/warmup` runs the app's warm-up function, as Core Tools do."""
    out = tmp_path / "out"
    warm = "@app.warm_up_trigger('context')\ndef warmup(context) -> None:\n    note('warm')\n"
    host = make_host(_APP + warm, OUT=str(out)).start()
    # The host's own warm-up at its start ends in its own time: the host is up before it.
    wait_until(lambda: out.exists() and len(_notes(out)) == 1)
    assert requests.get(f"{host.url}/admin/warmup", timeout=20).status_code == 200
    assert len(_notes(out)) == 2
