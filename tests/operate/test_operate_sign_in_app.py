"""The app with sign-in switched on: names on record, roles, the dashboard, and keys beside them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from app_host import Host, running
from token_issuer import AUDIENCE, Issuer, issuing, principal
from toy_workload import write_lines

from fleetscore.cli.__main__ import run_command
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import read_pins
from fleetscore.runs.run_records import read_run
from triggers.endpoints import _endpoints

SPINE = Path(__file__).resolve().parents[1] / "pipeline"
WINDOW = "2026-01-01T00"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """The issuer that the app believes."""
    with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Host]:
    """The app as it runs behind App Service authentication; tests send the headers that that would send."""
    toy = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": str(SPINE)}
    auth = {
        "FLEETSCORE_AUTH": "easyauth",
        "FLEETSCORE_AUTH_ISSUER": issuer.url,
        "FLEETSCORE_AUTH_AUDIENCE": AUDIENCE,
    }
    with running(Host(tmp_path_factory.mktemp("app"), **toy, **auth)) as host:
        write_lines(host.store, WINDOW, [("a", 1, "ok")])
        yield host


def ask(app: Host, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
    """A request without a key, with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(
        method, f"{app.url}/api/{path}", json=body, headers=named, timeout=60, allow_redirects=False
    )


def test_a_run_carries_the_name_of_who_started_it(app: Host, issuer: Issuer) -> None:
    """A token takes the place of the key; its links lead on for the same caller, and the address to wait at needs nobody."""
    token = f"Bearer {issuer.token()}"
    answer = ask(app, "POST", "entra/runs", {"workload": "toy", "window": WINDOW}, authorization=token)
    assert answer.status_code == 202, answer.text
    run = answer.json()["id"]
    app.ended(run)
    assert read_run(app.store, run).request.who == "entra:anna@contoso.com"
    links = answer.json()["links"]
    assert requests.get(links["status"], headers={"authorization": token}, timeout=30).status_code == 200
    assert requests.get(links["wait"], timeout=30).status_code == 200


def test_changes_carry_the_signed_in_name_whatever_the_body_says(app: Host, issuer: Issuer) -> None:
    """Mutes and pins are on record under the caller's name, also where the body claims another, by either name of the field."""
    version = write_model_set(app.store, "toy", {"factor.txt": b"2"}, {}, read_now()).version
    token = f"Bearer {issuer.token(preferred_username='ben@contoso.com')}"
    mute = {"why": "known", "until": "7d", "requested_by": "eve"}
    made = ask(app, "POST", "entra/attention/toy/mutes", mute, authorization=token)
    assert made.json()["requested_by"] == "entra:ben@contoso.com"
    pin = {"version": version, "who": "eve"}
    assert ask(app, "POST", "entra/models/toy/pin", pin, authorization=token).status_code == 200
    assert read_pins(app.store, "toy").history[-1].who == "entra:ben@contoso.com"


def read_now():
    """The time."""
    from datetime import UTC, datetime

    return datetime.now(UTC)


def test_a_key_still_works_and_its_names_are_claimed(app: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """Holders of a key give any name but a signed-in one, and people see that it was only claimed."""
    mute = {"why": "known", "until": "7d", "partition": "a"}
    taken = app.post("attention/toy/mutes", mute | {"requested_by": "carl"})
    assert taken.json()["requested_by"] == "carl"
    forged = app.post("attention/toy/mutes", mute | {"requested_by": "Entra:anna@contoso.com"})
    assert (forged.status_code, forged.json()["error"]["field"]) == (400, "requested_by")
    header = {"x-ms-client-principal": principal("eve", "operator"), **app.headers}
    answer = requests.post(
        f"{app.url}/api/attention/toy/mutes", json=mute | {"requested_by": "dora"}, headers=header, timeout=30
    )
    assert answer.json()["requested_by"] == "dora"
    assert run_command(["mutes", "toy", "--host", app.url, "--key", app.key]) == 0
    assert "by carl (claimed)" in capsys.readouterr().out


def test_a_reader_changes_nothing(app: Host, issuer: Issuer) -> None:
    """Reading is answered; every change is 403 and names the role that is needed; a plan changes nothing."""
    token = f"Bearer {issuer.token(roles=['reader'])}"
    assert ask(app, "GET", "entra/runs", authorization=token).status_code == 200
    plan = {"workload": "toy", "window": WINDOW}
    assert ask(app, "POST", "entra/plans", plan, authorization=token).status_code == 200
    for path, body in (
        ("runs", plan), ("attention/toy/mutes", {"why": "x", "until": "7d"}), ("housekeeping", {}), ("dashboard", {}),
        ("notices/test", {"workload": "toy"}), ("repair", {}), ("backfills", {"workload": "toy", "from": WINDOW, "to": WINDOW}),
    ):  # fmt: skip
        refused = ask(app, "POST", f"entra/{path}", body, authorization=token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_access"), path
        assert "operator" in refused.json()["error"]["message"]
    nobody = ask(app, "GET", "entra/runs", authorization=f"Bearer {issuer.token(roles=[])}")
    assert nobody.status_code == 403


def test_every_endpoint_asks_for_its_role(app: Host, issuer: Issuer) -> None:
    """Of all endpoints that stand there: without a role nothing is answered, and a reader changes nothing."""
    reader, nobody = (f"Bearer {issuer.token(roles=roles)}" for roles in (["reader"], []))
    checked = 0
    for endpoint in _endpoints():
        path = re.sub(r"\{\*?\w+\}", "toy", endpoint.route)
        for method in sorted(endpoint.methods):
            assert ask(app, method, f"entra/{path}", {}, authorization=nobody).status_code == 403, path
            reads = method == "GET" or endpoint.route in ("plans", "score/{workload}")
            if not reads:
                refused = ask(app, method, f"entra/{path}", {}, authorization=reader)
                assert (refused.status_code, "operator" in refused.text) == (403, True), path
            checked += 1
    assert checked > 40


def test_without_an_identity_nothing_is_answered(app: Host, issuer: Issuer) -> None:
    """401 for no token, a bad one and a key; and the host still asks for a key where it did."""
    assert ask(app, "GET", "entra/runs").status_code == 401
    assert ask(app, "GET", "entra/runs", x_functions_key=app.key).status_code == 401
    bad = ask(app, "GET", "entra/runs", authorization=f"Bearer {issuer.token(aud='x')}")
    assert (bad.status_code, bad.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert ask(app, "GET", "runs", authorization=f"Bearer {issuer.token()}").status_code == 401
    assert (
        ask(app, "GET", "entra/admin/functions", authorization=f"Bearer {issuer.token()}").status_code == 404
    )


def test_the_dashboard_signs_in_and_mutes_in_the_name_of_the_session(app: Host) -> None:
    """A browser is sent to sign in and back to its page; a form of the page carries the name; one of another site is refused."""
    page = ask(app, "GET", "entra/dashboard?workload=toy", accept="text/html")
    assert page.status_code == 302
    assert page.headers["Location"] == (
        "/.auth/login/aad?post_login_redirect_uri=%2Fapi%2Fentra%2Fdashboard%3Fworkload%3Dtoy"
    )
    session = {"x_ms_client_principal": principal("dora@contoso.com", "operator")}
    shown = ask(app, "GET", "entra/dashboard?workload=toy", accept="text/html", **session)
    assert (shown.status_code, "toy" in shown.text) == (200, True)
    form = "workload=toy&cause=late&partition=b&why=known&until=7d"

    def send(**origin: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in (session | origin).items()}
        url = f"{app.url}/api/entra/dashboard"
        return requests.post(url, form, headers=headers, timeout=30, allow_redirects=False).status_code

    for other in (
        {"sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
    ):
        assert send(**other) == 403, other
    assert send(sec_fetch_site="same-origin") == 303
    made = app.get("attention/toy/mutes")
    assert [mute["requested_by"] for mute in made if mute["partition"] == "b"] == ["entra:dora@contoso.com"]


def test_the_command_line_signs_in_with_a_token(
    app: Host, issuer: Issuer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLEETSCORE_TOKEN takes the place of the key; without either the app refuses."""
    monkeypatch.setenv("FLEETSCORE_TOKEN", issuer.token(preferred_username="emma@contoso.com"))
    assert run_command(["mute", "toy", "--why", "w", "--until", "7d", "--cause", "x", "--host", app.url]) == 0
    assert "by emma@contoso.com" in capsys.readouterr().out
    monkeypatch.setenv("FLEETSCORE_TOKEN", issuer.token(roles=["reader"]))
    assert run_command(["mute", "toy", "--why", "w", "--until", "7d", "--host", app.url]) == 1
    assert "operator" in capsys.readouterr().err


def test_without_the_setting_there_is_no_such_endpoint(host: Host) -> None:
    """An app that was not told of authentication believes no header and has no endpoint that would."""
    headers = {"x-ms-client-principal": principal("eve", "operator")}
    assert requests.get(f"{host.url}/api/entra/runs", headers=headers, timeout=30).status_code == 404
