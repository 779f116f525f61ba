"""HTTP triggers, admin routes and keys, against a running host."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests


def test_request_arrives_as_azure_gives_it(features: Any) -> None:
    """Route values, joined query and header values, body and URL reach the function."""
    headers = {"X-Test-One": "1"}
    url = f"{features.url}/API/Echo/42/ab?q=1&q=2&empty="
    answer = requests.post(url, data="é".encode(), headers=headers, timeout=60)
    document = answer.json()
    assert document["route"] == {"id": "42", "name": "ab"}
    assert document["query"] == {"q": "1,2"}
    assert document["headers"] == {"x-test-one": "1"}
    assert (document["body"], document["method"], document["url"]) == ("é", "POST", url)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/echo/42", 200),  # the optional part left out
        ("GET", "/api/echo/word", 404),  # not an int
        ("GET", "/api/echo/42/a1", 404),  # not letters only
        ("DELETE", "/api/echo/42", 404),  # not a listed method
        ("GET", "/api/nobody", 404),
        ("GET", "/", 200),
        ("GET", "/api/answer/none", 204),
        ("GET", "/api/answer/raise", 500),
        ("GET", "/api/answer/dict", 500),
    ],
)
def test_status_codes(features: Any, method: str, path: str, status: int) -> None:
    """Routes, constraints and methods decide between 404 and the function; a failing function is an empty
    500.
    """
    answer = requests.request(method, features.url + path, timeout=60)
    assert answer.status_code == status
    if status in (404, 500):
        assert answer.content == b""


def test_answer_keeps_status_headers_and_cookies(features: Any) -> None:
    """Status, own headers, cookies and the default content type of a text arrive."""
    answer = requests.get(f"{features.url}/api/answer/cookie", timeout=60)
    assert (answer.status_code, answer.headers["X-Own"], answer.cookies["a"]) == (201, "1", "b")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("sent", "status", "received"),
    [
        ("plain words", 200, "plain words"),
        ('{"body": "inner", "status": 202, "headers": {"X-Own": "2"}}', 202, "inner"),
        ('{"a":1}', 200, '{\n  "a": 1\n}'),
        ("[1]", 200, "[\n  1\n]"),
    ],
)
def test_returned_text_is_sniffed(features: Any, sent: str, status: int, received: str) -> None:
    """A returned text that is a JSON object with a body is a response; other JSON is indented."""
    answer = requests.post(f"{features.url}/api/text", data=sent, timeout=60)
    assert (answer.status_code, answer.text) == (status, received)


def test_context_parameter_is_filled(features: Any) -> None:
    """A parameter named context that is not bound receives the invocation's context."""
    assert requests.get(f"{features.url}/api/context", timeout=60).text == "show_context"


def test_admin_runs_functions_by_name(features: Any) -> None:
    """A timer or activity can be run by hand; unknown names, odd kinds and bad bodies are refused."""
    url = f"{features.url}/admin/functions"
    assert requests.post(f"{url}/Yearly", json={}, timeout=60).status_code == 202
    out = Path(features.environment["FEATURES_OUT"]) / "yearly"
    for _ in range(500):
        if out.exists() and out.read_text():
            break
        requests.get(features.url, timeout=60)
    assert out.read_text() == "False"
    assert requests.post(f"{url}/double", json={"input": "2"}, timeout=60).status_code == 202
    assert requests.post(f"{url}/nobody", json={}, timeout=60).status_code == 404
    assert requests.post(f"{url}/chain", json={}, timeout=60).status_code == 400
    assert requests.post(f"{url}/yearly", data="[", timeout=60).status_code == 400
    assert requests.get(f"{features.url}/admin/host/status", timeout=60).json()["state"] == "Running"
    names = {each["name"] for each in requests.get(f"{features.url}/admin/functions", timeout=60).json()}
    assert {"chain", "double", "echo", "yearly"} <= names


_LEVELS = """
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
def door_open(req: func.HttpRequest) -> str:
    return "open"

@app.route(route="keyed")
def door_keyed(req: func.HttpRequest) -> str:
    return "keyed"

@app.route(route="admin-only", auth_level=func.AuthLevel.ADMIN)
def door_admin(req: func.HttpRequest) -> str:
    return "admin"

@app.orchestration_trigger(context_name="context")
def nothing(context):
    return 1

@app.route(route="go", auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def go(req: func.HttpRequest, client) -> func.HttpResponse:
    return client.create_check_status_response(req, await client.start_new("nothing"))
"""


def test_keys_are_demanded_where_asked_for(make_host: Any) -> None:
    """With --enable-auth each level takes its own keys; links of the durable client carry theirs."""
    host = make_host(_LEVELS, "--enable-auth", "--workers", "1").start()
    path = host.data / "keys.json"
    assert path.stat().st_mode & 0o077 == 0
    keys = json.loads(path.read_text())
    master, default = keys["master"], keys["host"]["default"]

    def get(route: str, **options: Any) -> int:
        return requests.get(f"{host.url}/{route}", timeout=60, **options).status_code

    assert get("api/open") == 200
    assert [get("api/keyed"), get(f"api/keyed?code={default}"), get("api/keyed?code=wrong")] == [
        401,
        200,
        401,
    ]
    assert get("api/keyed", headers={"x-functions-key": master}) == 200
    assert [get(f"api/admin-only?code={default}"), get(f"api/admin-only?code={master}")] == [401, 200]
    assert [get("admin/host/status"), get(f"admin/host/status?code={master}")] == [401, 200]
    assert get("runtime/webhooks/durabletask/instances") == 401
    started = requests.get(f"{host.url}/api/go", timeout=60).json()
    assert requests.get(started["statusQueryGetUri"], timeout=60).status_code in (200, 202)


def test_doors_are_open_without_the_option(make_host: Any) -> None:
    """Without --enable-auth every level is open, as under Core Tools."""
    host = make_host(_LEVELS, "--workers", "1").start()
    for route in ("api/keyed", "api/admin-only", "admin/host/status"):
        assert requests.get(f"{host.url}/{route}", timeout=60).status_code == 200


def test_huge_bodies_are_refused(features: Any) -> None:
    """A body that says it has over 100 MB gets 413, and the host goes on."""
    chunks = (b"x" * (1 << 20) for _ in range(101))
    try:
        status = requests.post(f"{features.url}/api/text", data=chunks, timeout=60).status_code
    except requests.ConnectionError:  # refused before all was sent
        status = 413
    assert status == 413
    assert requests.get(features.url, timeout=60).status_code == 200


_ASGI = """
import azure.functions as func

async def site(scope, receive, send):
    if scope["type"] != "http":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    await send({"type": "http.response.start", "status": 202, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})

app = func.AsgiFunctionApp(app=site, http_auth_level=func.AuthLevel.ANONYMOUS)
"""


def test_asgi_apps_are_served(make_host: Any) -> None:
    """An ASGI app wrapped by the SDK answers below the route prefix, on its one loop."""
    host = make_host(_ASGI, "--workers", "1").start()
    for _ in range(2):
        answer = requests.get(f"{host.url}/api/any/where", timeout=60)
        assert (answer.status_code, answer.text, answer.headers["x-own"]) == (202, "/api/any/where", "1")
