"""The real function app on the local host: its endpoints, and what a kill at any phase leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from app_host import Host, running, wait_until
from toy_workload import write_lines

from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running host with a store of its own."""
    here = str(Path(__file__).parent)
    toy = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": here}
    with running(Host(tmp_path_factory.mktemp("app"), **toy)) as host:
        yield host


def rows_of(store: Store, window: str) -> list[tuple[str, int]]:
    """The published rows, sorted."""
    table = read_results(store, read_manifest(store, "toy", window))
    return sorted(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def test_a_run_is_started_followed_and_published(host: Host) -> None:
    """202 with links and no key in them; the status ends published; asking again gives 200 and the same run."""
    write_lines(host.store, "2026-01-01T10", [(f"p{i}", i, "ok") for i in range(20)])
    answer = host.post("runs", {"workload": "toy", "window": "2026-01-01T10"})
    body = answer.json()
    assert (answer.status_code, body["created"]) == (202, True)
    assert answer.headers["Location"] == body["links"]["wait"]
    assert "management" not in body, "the durable system key is not for holders of a function key"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    status = host.ended(body["id"])
    assert (status["state"], status["verdict"], status["record"]["counts"]) == (
        "published",
        "good",
        {"scored": 20},
    )
    again = host.post("runs", {"workload": "toy", "window": "2026-01-01T10"})
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, body["id"], "published")
    assert any(line["run"] == body["id"] for line in host.get("runs?workload=toy")["runs"])


def test_a_poller_without_a_key_waits_for_the_end(host: Host) -> None:
    """Location answers 202 with Retry-After while the run is under way, then 200; 500 with the cause where nothing was published."""
    host.store.write("settings/toy.toml", b"slow_s = 0.2\n")
    write_lines(host.store, "2026-01-05T13", [(f"p{i}", i, "slow") for i in range(8)])
    address = host.post("runs", {"workload": "toy", "window": "2026-01-05T13"}).headers["Location"]
    first = requests.get(address, timeout=30)
    assert (first.status_code, first.headers["Location"]) == (202, address)
    assert 2 <= int(first.headers["Retry-After"]) <= 60
    wait_until(lambda: requests.get(address, timeout=30).status_code != 202)
    assert requests.get(address, timeout=30).status_code == 200
    host.store.write("settings/toy.toml", b"")
    write_lines(host.store, "2026-01-05T14", [("a", 1, "fail")])
    bad = host.post("runs", {"workload": "toy", "window": "2026-01-05T14"}).headers["Location"]
    wait_until(lambda: requests.get(bad, timeout=30).status_code != 202)
    ended = requests.get(bad, timeout=30)
    assert ended.status_code == 500
    assert "1 failed" in ended.json()["first_cause"] or "failed" in ended.json()["record"]["error"]


@pytest.mark.parametrize("token", ["", "0" * 32, "é", "x" * 5_000])
def test_a_wait_address_without_its_token_opens_nothing(host: Host, token: str) -> None:
    """A missing, foreign or unreadable token is answered 401 and says nothing of the run."""
    write_lines(host.store, "2026-01-05T15", [("a", 1, "ok")])
    run = host.post("runs", {"workload": "toy", "window": "2026-01-05T15"}).json()["id"]
    answer = requests.get(f"{host.url}/api/runs/{run}/wait", params={"token": token}, timeout=30)
    assert answer.status_code == 401
    assert "record" not in answer.json()


@pytest.mark.parametrize(
    ("path", "status"),
    [("runs?limit=" + "9" * 6_000, 400), ("runs/toy-x/partitions/", 404), ("runs/toy-x/replay/", 404)],
)
def test_odd_addresses_are_no_server_errors(host: Host, path: str, status: int) -> None:
    """A number of 6,000 digits and an empty partition are the caller's fault, told as such."""
    assert host.ask(path).status_code == status


def test_deep_json_and_long_texts_are_refused_by_name(host: Host) -> None:
    """100,000 nested arrays among rows, and a reason of 40 MB: 400, and nothing of it is kept."""
    deep = b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = requests.post(f"{host.url}/api/score/toy", data=deep, headers=host.headers, timeout=30)
    assert answer.status_code == 400
    why = host.post("models/toy/pin", {"version": "v", "why": "x" * 3_000})
    assert (why.status_code, why.json()["error"]["field"]) == (400, "why")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"workload": "toy"}, "window"),
        ({"workload": "toy", "window": 5}, "window"),
        ({"workload": "toy", "window": "noon"}, "window"),
        ({"workload": "nope", "window": WINDOW}, "workload"),
        ({"workload": "toy", "window": WINDOW, "colour": "red"}, "colour"),
        ({"workload": "toy", "window": WINDOW, "only": "p1"}, "only"),
        ([1], "body"),
    ],
)
def test_a_wrong_request_is_answered_with_the_field_at_fault(host: Host, body: Any, field: str) -> None:
    """400 with a code, a sentence, and the field; never a traceback."""
    answer = host.post("runs", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert "Traceback" not in answer.text


def test_what_is_not_there_is_404(host: Host) -> None:
    """Unknown runs and backfills, and ids that are no ids."""
    for path in ("runs/nope", "runs/a%2Fb", "backfills/nope"):
        assert host.ask(path).status_code == 404, path
    assert host.post("runs/nope/cancel", {}).status_code == 404
    assert host.post("runs/nope/retry", {}).status_code == 404


def test_a_retry_mends_what_failed(host: Host) -> None:
    """The retry is a new round; it scores the failed partition and the window is whole."""
    window = "2026-01-01T11"
    store = host.store
    write_lines(store, window, [(f"p{i}", i, "fail" if i == 3 else "ok") for i in range(20)])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    assert host.ended(run)["verdict"] == "with_failures"
    write_lines(store, window, [(f"p{i}", i, "ok") for i in range(20)])
    answer = host.post(f"runs/{run}/retry", {})
    assert (answer.status_code, answer.json()["id"]) == (202, f"{run}-r2")
    assert host.ended(f"{run}-r2")["verdict"] == "good"
    assert rows_of(store, window) == sorted((f"p{i}", 2 * i) for i in range(20))


def test_cancel_stops_a_run_that_is_under_way(host: Host) -> None:
    """Slow shards that have not begun are left; the run ends cancelled and nothing is published."""
    window = "2026-01-01T12"
    store = host.store
    store.write("settings/toy.toml", b"slow_s = 0.3\n")
    write_lines(store, window, [(f"p{i}", i, "slow") for i in range(400)])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    wait_until(lambda: host.get(f"runs/{run}")["state"] == "scoring")
    assert host.post(f"runs/{run}/cancel", {}).status_code == 202
    store.write("settings/toy.toml", b"")
    assert host.ended(run)["state"] == "cancelled"
    assert store.stat(f"results/toy/{window}/manifest.json") is None


def test_a_backfill_runs_its_windows(host: Host) -> None:
    """Four windows, one without data: three published, one not, each with its run."""
    for hour in (20, 21, 22):
        write_lines(host.store, f"2026-01-01T{hour}", [("a", hour, "ok")])
    asked = {"workload": "toy", "from": "2026-01-01T20", "to": "2026-01-02T00", "max_parallel": 2}
    answer = host.post("backfills", asked)
    assert answer.status_code == 202
    backfill = answer.json()["id"]
    wait_until(lambda: host.get(f"backfills/{backfill}")["state"] == "Completed", 60)
    windows = host.get(f"backfills/{backfill}")["windows"]
    assert [w["verdict"] for w in windows] == ["good", "good", "good", "unpublished"]


def test_training_over_http_stores_a_pinned_model_set(host: Host) -> None:
    """POST /api/training gives a run whose record names the new model set."""
    write_lines(host.store, "2026-01-01T05", [("a", 1, "ok")])
    asked = {"workload": "toy", "from": "2026-01-01T05", "to": "2026-01-01T06"}
    run = host.post("training", asked).json()["id"]
    status = host.ended(run)
    assert status["state"] == "published"
    assert host.store.stat(f"models/toy/{status['record']['model_set']}/set.json") is not None


def test_a_partition_that_kills_its_process_is_quarantined_and_costs_nobody_a_row(host: Host) -> None:
    """The workers that die are replaced; the run is published without the killer."""
    window = "2026-01-01T13"
    write_lines(host.store, window, [(f"p{i}", i, "kill" if i == 5 else "ok") for i in range(30)])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    status = host.ended(run)
    assert status["record"]["counts"] == {"scored": 29, "quarantined": 1}
    assert "p5" in status["first_cause"]
    assert rows_of(host.store, window) == sorted((f"p{i}", 2 * i) for i in range(30) if i != 5)


PHASES: dict[str, str] = {
    "requested": "run.json",
    "planned": "plan.json",
    "first shard committed": "shards/00000/result.json",
    "collected": "collected.json",
    "published": "manifest.json",
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_at_any_phase_loses_nothing_and_doubles_nothing(tmp_path: Path, phase: str) -> None:
    """Host and workers get SIGKILL as the phase's file appears; started again on the same folder, the run ends as if nothing had been."""
    here = str(Path(__file__).parent)
    host = Host(
        tmp_path, FLEETSCORE_WORKLOADS="toy=toy_workload:Toy", PYTHONPATH=here, FLEETSCORE_INLINE_SHARD_S="20"
    )
    store = host.store
    store.write("settings/toy.toml", b"slow_s = 0.01\n")
    write_lines(store, WINDOW, [(f"p{i}", i, "slow" if i % 2 else "ok") for i in range(120)])
    with running(host):
        run = host.post("runs", {"workload": "toy", "window": WINDOW}).json()["id"]
        wait_until(lambda: store.stat(f"runs/{run}/{PHASES[phase]}") is not None)
        host.kill()
        host.start()
        status = host.ended(run)
    assert (status["state"], status["record"]["counts"]) == ("published", {"scored": 120})
    assert rows_of(store, WINDOW) == sorted((f"p{i}", 2 * i) for i in range(120))
