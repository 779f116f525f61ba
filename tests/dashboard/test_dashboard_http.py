"""The endpoint GET /api/dashboard: a key, HTML with its policy, JSON, and errors that are pages."""

from collections.abc import Iterator

import pytest
import requests
from app_host import Host, running
from dashboard_store import EVIL, FAILURES, GOOD, run_of

from fleetscore.store.base import Store


@pytest.fixture(scope="module")
def host(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app over the filled store."""
    with running(Host(tmp_path_factory.mktemp("http"), FLEETSCORE_STORE=filled.url)) as host:
        yield host


def page(host: Host, query: str = "") -> requests.Response:
    """The view, asked for with the key as a header."""
    return host.ask(f"dashboard?{query}")


def test_nobody_gets_in_without_a_key(host: Host) -> None:
    """401 without a key and with a wrong one; the right one opens as header and in the address."""
    assert requests.get(f"{host.url}/api/dashboard", timeout=30).status_code == 401
    wrong = {"x-functions-key": "wrong"}
    assert requests.get(f"{host.url}/api/dashboard", headers=wrong, timeout=30).status_code == 401
    assert page(host).status_code == 200
    assert requests.get(host.dashboard(), timeout=30).status_code == 200


def test_a_page_comes_as_html_with_its_policy(host: Host) -> None:
    """UTF-8 HTML that is kept nowhere, framed by nobody, and tells its address to nobody."""
    answer = page(host, f"run={run_of(GOOD)}")
    assert answer.headers["content-type"].replace(" ", "") == "text/html;charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_key_stays_in_links_when_the_address_had_it(host: Host) -> None:
    """Every link of a page asked for with `code` works by itself; with a header none names the key."""
    html = requests.get(host.dashboard(), timeout=30).text
    assert f"code={host.key}" in html
    assert host.key not in page(host).text


def test_keys_of_partitions_survive_the_way_through_an_address(host: Host) -> None:
    """A key of quotes, ampersands and brackets is found and shown as text."""
    answer = requests.get(
        f"{host.url}/api/dashboard",
        params={"code": host.key, "run": run_of(FAILURES), "partition": EVIL},
        timeout=30,
    )
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_the_same_data_comes_as_json(host: Host) -> None:
    """format=json gives the view's data; a run's has its timeline and its counts."""
    overview = page(host, "format=json").json()
    assert {view["name"] for view in overview["workloads"]} >= {
        "toy",
        "sensor_anomaly",
        "store_sales",
        "server_load",
    }
    run = page(host, f"format=json&run={run_of(GOOD)}").json()
    assert (run["counts"], run["status"]["verdict"]) == ({"scored": 30}, "good")
    assert len(run["timeline"]["bars"]) == run["status"]["shards"]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("run=nope", 404, ""),
        ("colour=red", 400, "colour"),
        ("workload=nope", 400, "workload"),
        ("view=results&workload=toy&window=x", 400, "window"),
    ],
)
def test_errors_are_pages_and_json_with_the_same_status(
    host: Host, query: str, status: int, field: str
) -> None:
    """The page says what to do; the JSON is that of the other endpoints."""
    shown = page(host, query)
    assert shown.status_code == status
    assert "text/html" in shown.headers["content-type"]
    assert "Traceback" not in shown.text
    told = page(host, f"{query}&format=json")
    assert told.status_code == status
    assert told.json()["error"]["field"] == field


def test_runs_come_a_page_at_a_time(host: Host) -> None:
    """GET /api/runs?limit=2 gives two runs and where to go on; the pages together are all runs, each once."""
    found: list[str] = []
    before = ""
    while True:
        answer = host.get(f"runs?workload=toy&limit=2&before={before}")
        found += [line["run"] for line in answer["runs"]]
        before = answer["next"]
        if not before:
            break
    everything = host.get("runs?workload=toy")
    assert found == [line["run"] for line in everything["runs"]]
    assert len(found) == len(set(found)) == 8
    assert host.ask("runs?before=nope").status_code == 404
