"""Who may call: pages of other sites may not, addresses in answers are checked, and silent clients are
dropped.
"""

import json
import socket
import time
from typing import Any

import pytest
import requests

from devhost.callers import Callers, is_json

_APP = """
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="url")
def url(req: func.HttpRequest) -> str:
    return req.url

@app.orchestration_trigger(context_name="context")
def waiting(context):
    yield context.wait_for_external_event("never")

@app.route(route="start")
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    return client.create_check_status_response(req, await client.start_new("waiting"))
"""
_OWN = "127.0.0.1:7071"


@pytest.fixture(scope="module")
def host(make_shared_host: Any) -> Any:
    """A host with the app above, on loopback."""
    return make_shared_host(_APP, "--workers", "1").start()


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({"Host": _OWN}, False),
        ({"Host": "localhost"}, False),
        ({"Host": "LOCALHOST:1"}, False),
        ({"Host": "[::1]:7071"}, False),
        ({"Host": "fleet.test:7071"}, False),  # a name that was given
        ({}, False),
        ({"Host": "evil.example"}, True),
        ({"Host": "127.0.0.1.evil.example:7071"}, True),
        ({"Host": "localhost.evil.example"}, True),
        ({"Host": "localhost@evil.example"}, True),
        ({"Host": ""}, True),
        ({"Host": "127.0.0.1:65535"}, False),
        ({"Host": "127.0.0.1:65536"}, True),  # no port: nothing may be sent there
        ({"Host": "127.0.0.1:99999"}, True),
        ({"Host": _OWN, "Origin": f"http://{_OWN}"}, False),
        ({"Host": _OWN, "Origin": "http://evil.example"}, True),
        ({"Host": _OWN, "Origin": "http://127.0.0.1:8000"}, True),
        ({"Host": _OWN, "Origin": "null"}, True),
        ({"Host": _OWN, "Origin": "null", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": _OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ({"Host": _OWN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
    ],
)
def test_callers_on_loopback(headers: dict[str, str], is_refused: bool) -> None:
    """Foreign hosts and origins are refused; programs without such headers and the host's own pages are not."""
    callers = Callers("127.0.0.1", frozenset({"fleet.test"}))
    assert bool(callers.refusal(headers)) == is_refused


def test_callers_of_an_open_address() -> None:
    """A host that listens beyond loopback takes any Host, but gives back only addresses that it knows."""
    callers = Callers("0.0.0.0", frozenset({"fleet.test"}))  # noqa: S104  # an address to compare with
    assert callers.refusal({"Host": "evil.example", "Origin": "http://evil.example"}) == ""
    assert callers.authority("evil.example", ("10.0.0.7", 7071)) == "10.0.0.7:7071"
    assert callers.authority("fleet.test:80", ("10.0.0.7", 7071)) == "fleet.test:80"
    assert callers.authority(None, ("10.0.0.7", 7071)) == "10.0.0.7:7071"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json; charset=utf-8", True),
        ("application/problem+json", True),
        ("", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
    ],
)
def test_content_types(kind: str, expected: bool) -> None:
    """Only JSON, or no content type at all, may be taken for JSON; without a body nothing matters."""
    assert is_json({"Content-Type": kind}, has_body=True) == expected
    assert is_json({"Content-Type": kind}, has_body=False)


@pytest.mark.parametrize(
    "path", ["", "/api/url", "/admin/host/status", "/runtime/webhooks/durabletask/instances"]
)
def test_foreign_pages_are_refused_everywhere(host: Any, path: str) -> None:
    """A foreign Host (DNS rebinding) or Origin (a cross-site request) is 403 on every route, with the cure."""
    for headers in ({"Host": "evil.example:80"}, {"Origin": "http://evil.example"}):
        answer = requests.get(host.url + path, headers=headers, timeout=20)
        assert answer.status_code == 403 and answer.json()["Message"]


def test_rpc_port_refuses_foreign_pages(host: Any) -> None:
    """The port of the durable clients refuses foreign hosts as well."""
    rpc = json.loads((host.data / "address.json").read_text())["rpc_url"]
    assert requests.get(f"{rpc}instances", timeout=20).status_code == 200
    refused = requests.get(f"{rpc}instances", headers={"Host": "evil.example"}, timeout=20)
    assert refused.status_code == 403


@pytest.mark.parametrize("path", ["runtime/webhooks/durabletask/orchestrators/waiting", "admin/functions/x"])
def test_json_endpoints_take_json_only(host: Any, path: str) -> None:
    """A body of another type, which a page can send without asking first, is 415."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Content-Type": kind}
        assert requests.post(f"{host.url}/{path}", data="{}", headers=headers, timeout=20).status_code == 415


def test_json_answers_are_not_sniffed_or_stored(host: Any) -> None:
    """Answers of the management API forbid sniffing and caching."""
    headers = requests.get(f"{host.durable}/instances", timeout=20).headers
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_addresses_in_answers_are_checked(make_host: Any) -> None:
    """Behind an open address an unknown Host appears in no Location, no link and no function's URL."""
    host = make_host(_APP, "--address", "0.0.0.0", "--host-name", "fleet.test", "--workers", "1").start()  # noqa: S104
    url = host.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    port = url.rpartition(":")[2]
    for given, expected in (("evil.example", f"127.0.0.1:{port}"), ("fleet.test:80", "fleet.test:80")):
        headers = {"Host": given}
        assert (
            requests.get(f"{url}/api/url?a=1", headers=headers, timeout=20).text
            == f"http://{expected}/api/url?a=1"
        )
        for start in (f"{url}/runtime/webhooks/durabletask/orchestrators/waiting", f"{url}/api/start"):
            answer = requests.post(start, headers=headers, timeout=20)
            assert answer.headers["Location"].startswith(f"http://{expected}/runtime/")
            assert "evil" not in answer.text + str(answer.headers)
        look = f"{url}/runtime/webhooks/durabletask/instances/{answer.json()['id']}"
        status = requests.get(look, headers=headers, timeout=20)
        assert status.headers["Location"].startswith(f"http://{expected}/runtime/")


def test_rpc_port_demands_a_key_with_auth(make_host: Any) -> None:
    """With --enable-auth the port of the durable clients answers only addresses that hold its key; clients
    work.
    """
    host = make_host(_APP, "--enable-auth", "--workers", "1").start()
    rpc = json.loads((host.data / "address.json").read_text())["rpc_url"]
    assert requests.get(f"{rpc}instances", timeout=20).status_code == 401
    wrong = rpc.replace("/durabletask/", "/wrong/durabletask/")
    assert requests.get(f"{wrong}instances", timeout=20).status_code == 401
    assert requests.post(f"{host.url}/api/start", timeout=20).status_code == 202


@pytest.mark.parametrize(
    "odd", [b"x-functions-key: \xff\xfe", b"X: \xed\xa0\x80", b"\xff: 1", b"Cookie: \xe9=1"]
)
def test_headers_that_are_no_text_are_refused(host: Any, odd: bytes) -> None:
    """Bytes that are no UTF-8 in any header are a malformed request, never an error of the host; UTF-8 is served."""
    port = int(host.url.rpartition(":")[2])
    for line, expected in ((odd, b"400"), ("X: é".encode(), b"200")):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            head = b"GET /api/url HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            client.sendall(head + line + b"\r\n\r\n")
            assert client.recv(100).split()[1] == expected


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_clients_that_never_finish_their_headers_are_dropped(make_host: Any, sent: bytes) -> None:
    """A connection whose first headers are not whole in time is closed; one that asked is served on."""
    prelude = "import devhost.serving; devhost.serving._HEADERS_TIMEOUT_S = 1.0"
    host = make_host(_APP, "--workers", "1", prelude=prelude).start()
    address = ("127.0.0.1", int(host.url.rpartition(":")[2]))
    with requests.Session() as session, socket.create_connection(address, timeout=20) as slow:
        session.get(f"{host.url}/api/url", timeout=20)
        started = time.monotonic()
        slow.sendall(sent)
        assert slow.recv(100) == b""
        assert time.monotonic() - started < 10
        assert session.get(f"{host.url}/api/url", timeout=20).status_code == 200
