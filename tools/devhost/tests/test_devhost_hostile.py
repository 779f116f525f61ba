"""Code and callers that misbehave: whatever they raise, send or return, the host answers and goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

_APP = r"""
import json
import os
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

class Raises(Exception):
    def __str__(self): raise RuntimeError("no text")

class NoText(Exception):
    def __str__(self): return None

class NameRaises(type):
    @property
    def __name__(cls): raise RuntimeError("no name")

class Nameless(Exception, metaclass=NameRaises):
    pass

KINDS = {"raises": Raises, "none": NoText, "nameless": Nameless, "exit": SystemExit, "interrupt": KeyboardInterrupt}

@app.route(route="bad/{kind}")
def bad(req: func.HttpRequest) -> str:
    raise KINDS[req.route_params["kind"]]()

@app.route(route="bad_async/{kind}")
async def bad_async(req: func.HttpRequest) -> str:
    raise KINDS[req.route_params["kind"]]()

@app.activity_trigger(input_name="kind")
def fail(kind: str) -> str:
    raise KINDS[kind]()

@app.activity_trigger(input_name="kind")
async def fail_async(kind: str) -> str:
    raise KINDS[kind]()

@app.activity_trigger(input_name="x")
def double(x: int) -> int:
    return 2 * x

@app.activity_trigger(input_name="x")
def deep(x: int) -> list:
    made = []
    for _ in range(x):
        made = [made]
    return made

@app.activity_trigger(input_name="x")
def repeated(x: dict) -> dict:
    return x

@app.route(route="answer/{form}")
def answer(req):
    asked = req.get_json()
    if req.route_params["form"] == "text":
        return json.dumps({"body": "x", **asked})
    return func.HttpResponse("x", status_code=asked.get("status", 200), headers=asked.get("headers", {}))

@app.route(route="status/{code:int}")
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x", status_code=int(req.route_params["code"]))

@app.route(route="rest/{*rest}")
def rest(req: func.HttpRequest) -> str:
    return repr(req.route_params["rest"])

@app.orchestration_trigger(context_name="context")
def call(context):
    given = context.get_input()
    result = yield context.call_activity(given["name"], given["input"])
    return result

@app.orchestration_trigger(context_name="context")
def raising(context):
    raise KINDS[context.get_input()]()
    yield

@app.orchestration_trigger(context_name="context")
def echo(context):
    return context.get_input()

@app.orchestration_trigger(context_name="context")
def not_finite(context):
    context.set_custom_status(float("inf"))
    return [float("nan"), 1]

@app.route(route="surrogate")
def surrogate(req: func.HttpRequest) -> str:
    return '{"a": "' + chr(92) + 'ud800"}'
"""


@pytest.fixture(scope="module")
def host(make_shared_host: Any) -> Any:
    """A host with the app above and two workers."""
    return make_shared_host(_APP, "--workers", "2").start()


def _start(host: Any, name: str, body: bytes, instance_id: str) -> requests.Response:
    headers = {"Content-Type": "application/json"}
    answer: requests.Response = host.post(f"orchestrators/{name}/{instance_id}", data=body, headers=headers)
    return answer


def _run(host: Any, name: str, given: Any, instance_id: str) -> dict[str, Any]:
    assert _start(host, name, json.dumps(given).encode(), instance_id).status_code == 202
    return dict(host.wait_for(instance_id))


@pytest.mark.parametrize("kind", ["raises", "none", "nameless", "exit", "interrupt"])
@pytest.mark.parametrize("name", ["fail", "fail_async"])
def test_failures_without_text_fail_their_orchestration(host: Any, name: str, kind: str) -> None:
    """An activity whose exception has no text fails; it takes no worker with it, however often it happens."""
    for number in range(3):  # more than there are workers
        status = _run(host, "call", {"name": name, "input": kind}, f"{name}-{kind}-{number}")
        assert status["runtimeStatus"] == "Failed"
        assert f"Activity function '{name}' failed:" in status["output"]
    assert _run(host, "call", {"name": "double", "input": 2}, f"after-{name}-{kind}")["output"] == 4


@pytest.mark.parametrize("kind", ["raises", "none", "nameless", "exit"])
def test_orchestrators_without_text_fail(host: Any, kind: str) -> None:
    """An orchestrator whose exception has no text ends Failed."""
    assert _run(host, "raising", kind, f"raising-{kind}")["runtimeStatus"] == "Failed"


@pytest.mark.parametrize("kind", ["raises", "none", "nameless", "exit", "interrupt"])
@pytest.mark.parametrize("route", ["bad", "bad_async"])
def test_requests_whose_function_has_no_text_get_500(host: Any, route: str, kind: str) -> None:
    """An HTTP function whose exception has no text answers an empty 500, at once."""
    answer = requests.get(f"{host.url}/api/{route}/{kind}", timeout=20)
    assert (answer.status_code, answer.content) == (500, b"")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'"\\ud800"', "\ufffd"),
        (b"NaN", "NaN"),
        (b'{"a": [1e999, -Infinity]}', {"a": ["Infinity", "-Infinity"]}),
        (b'{"a": 1e3}', {"a": 1e3}),
    ],
)
def test_odd_inputs_are_shown_as_valid_json(host: Any, body: bytes, shown: Any) -> None:
    """Lone surrogates and numbers that are not finite come back as JSON, by id and in the list."""
    instance_id = f"odd-{abs(hash(body))}"
    assert _start(host, "echo", body, instance_id).status_code == 202
    host.wait_for(instance_id)
    for url in (f"{host.durable}/instances/{instance_id}?showHistory=true", f"{host.durable}/instances"):
        answer = requests.get(url, timeout=20)
        assert answer.status_code in (200, 202)
        text = answer.content.decode()
        document = json.loads(text, parse_constant=pytest.fail)
        found = (
            next(each for each in document if each["instanceId"] == instance_id)
            if isinstance(document, list)
            else document
        )
        assert found["input"] == shown


@pytest.mark.parametrize("name", ["echo", "call"])
def test_functions_receive_lone_surrogates_replaced(host: Any, name: str) -> None:
    """Orchestrators and activities are given U+FFFD, as UTF-8 carries it, and escaped backslashes as they were."""
    given = {"lone": "\ud800", "pair": "\U0001f600", "text": "\\ud800", "\udfff": 1}
    body = {"name": "repeated", "input": given} if name == "call" else given
    status = _run(host, name, body, f"surrogate-{name}")
    shown = {"lone": "\ufffd", "pair": "\U0001f600", "text": "\\ud800", "\ufffd": 1}
    assert (status["runtimeStatus"], status["output"]) == ("Completed", shown)


@pytest.mark.parametrize("code", [0, 99, 100, 103, 1000, 20_000])
def test_answers_that_are_no_http_become_500(host: Any, code: int) -> None:
    """A status that HTTP cannot carry, or that announces another answer, is a 500, not one that clients cannot read."""
    assert requests.get(f"{host.url}/api/status/{code}", timeout=20).status_code == 500


@pytest.mark.parametrize(
    "answer",
    [
        {"headers": {"A b": "c"}},
        {"headers": {"A\r\nB": "c"}},
        {"headers": {"": "c"}},
        {"headers": {"A": "b\r\nC: d"}},
        {"status": 1000},
        {"status": 100},
    ],
)
@pytest.mark.parametrize("form", ["response", "text"])
def test_headers_that_are_no_http_become_500(host: Any, form: str, answer: dict[str, Any]) -> None:
    """A name or value that HTTP cannot carry is a 500 in both forms of an answer; it broke the connection, or was sent as it was."""
    asked = requests.post(f"{host.url}/api/answer/{form}", json=answer, timeout=20)
    assert (asked.status_code, asked.content) == (500, b"")


def test_line_breaks_in_paths_reach_the_function(host: Any) -> None:
    """An escaped line break is part of a path like any other sign."""
    assert requests.get(f"{host.url}/api/rest/a%0Ab%0D", timeout=20).text == repr("a\nb\r")


def test_outputs_that_are_not_finite_are_valid_json(host: Any) -> None:
    """An orchestrator's NaN and infinite status become texts, as in Azure."""
    status = _run(host, "not_finite", None, "not-finite")
    assert (status["output"], status["customStatus"]) == (["NaN", 1], "Infinity")


@pytest.mark.parametrize("depth", [600, 2000, 200_000])
def test_json_that_is_too_deep_is_refused(host: Any, depth: int) -> None:
    """A body nested beyond the limit is 400, wherever JSON is read."""
    body = b"[" * depth + b"]" * depth
    refused = _start(host, "echo", body, f"deep-{depth}")
    assert (refused.status_code, refused.json()["Message"]) == (400, "Invalid JSON content")
    headers = {"Content-Type": "application/json"}
    run = requests.post(f"{host.url}/admin/functions/double", data=body, headers=headers, timeout=20)
    assert run.status_code == 400


def test_deep_results_do_not_break_the_list(host: Any) -> None:
    """A result nested beyond the limit is shown as its text, and the list of instances is still answered."""
    status = _run(host, "call", {"name": "deep", "input": 700}, "deep-result")
    assert status["runtimeStatus"] == "Completed" and isinstance(status["output"], str)
    assert requests.get(f"{host.durable}/instances", timeout=20).status_code == 200


def test_json_texts_with_surrogates_are_answered(host: Any) -> None:
    """A function that returns JSON with a lone surrogate gets it replaced, not a 500."""
    answer = requests.get(f"{host.url}/api/surrogate", timeout=20)
    assert (answer.status_code, answer.json()) == (200, {"a": "\ufffd"})


_FILES = {
    "keys.json": ["", '{"master": "a"', '{"master": 1}', "\xff"],
    "devhost.sqlite": ["", "no database at all, but some text that is long enough to be one" * 20],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, text) for name, texts in _FILES.items() for text in texts]
)
def test_broken_files_of_the_data_folder_are_named_with_the_cure(
    make_host: Any, name: str, content: str
) -> None:
    """A key file or database that is cut short or unreadable ends the start with its path and what to do."""
    host = make_host(_APP).start()
    host.stop()
    path = host.data / name
    for each in host.data.glob(f"{name}-*"):
        each.unlink()
    path.write_bytes(content.encode("latin-1"))
    host.launch()
    assert host.process.wait(20) == 1
    assert str(path) in host.log and "Traceback" not in host.log
    assert ("delete it" if name == "keys.json" else "away") in host.log


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_database_cut_short_is_named(make_host: Any, share: float) -> None:
    """A database that lost its end is refused at the start, with its path and what to do."""
    host = make_host(_APP).start()
    for number in range(20):
        _run(host, "echo", "x" * 4000, f"i{number}")
    host.stop()
    path: Path = host.data / "devhost.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    host.launch()
    assert host.process.wait(20) == 1
    assert f"{path} is damaged or no database" in host.log and "Traceback" not in host.log
