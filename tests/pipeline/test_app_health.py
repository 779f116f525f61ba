"""The app tells whether it does its work, and shows why where it does not load."""

import ast
import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import azure.functions as func
import pytest
import requests
from app_host import ROOT, Host, running, wait_until
from toy_workload import write_lines

from fleetscore.operations.doctor.timers import find_silent_timers
from fleetscore.operations.ticks import judge_health, read_ticks, record_tick
from fleetscore.pipeline.submit import submit_run
from fleetscore.store.base import Store
from orchestrators.calls import _called

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CALLING = re.compile(r"^_?call$|\.call_\w+$")  # what calls an activity or an orchestrator


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running host with the toy workload."""
    toy = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": str(Path(__file__).parent)}
    with running(Host(tmp_path_factory.mktemp("health"), **toy)) as host:
        yield host


def test_a_timer_that_is_silent_for_five_minutes_makes_the_app_unhealthy() -> None:
    """Each minute's timers count from their last tick, or from the start of the app where they never ran."""
    fresh = {"start_due_windows": NOW, "rescue_timer": NOW}
    assert judge_health(fresh, (), NOW - timedelta(days=1), NOW + timedelta(minutes=4)).healthy
    told = judge_health({"start_due_windows": NOW}, (), NOW - timedelta(days=1), NOW)
    assert told.problems == ("rescue_timer runs each minute and never ran.",)
    assert judge_health({}, (), NOW, NOW + timedelta(minutes=1)).healthy
    assert not judge_health(fresh, ("x did not load.",), NOW, NOW).healthy


def test_a_damaged_tick_counts_as_none(store: Store) -> None:
    """The next tick replaces it."""
    record_tick(store, "rescue_timer", NOW)
    store.write("ticks/start_due_windows.json", b'{"timer"')
    assert read_ticks(store) == {"rescue_timer": NOW}


def test_the_health_endpoint_needs_a_key_and_shows_the_ticks(host: Host) -> None:
    """200 with the last tick of each timer that ran; without a key 401."""
    host.fire("rescue_timer")
    wait_until(lambda: "rescue_timer" in host.get("health")["ticks"])
    assert host.ask("health").status_code == 200
    assert requests.get(f"{host.url}/api/health", timeout=30).status_code == 401


def test_the_doctor_says_when_each_timer_last_ran(store: Store) -> None:
    """Each timer's last tick; a minute's timer that is silent or never ran is a warning, and a store that no app serves is not checked."""

    def found() -> dict[str, str]:
        return {finding.detail.split()[0]: finding.state for finding in find_silent_timers(store, NOW)}

    assert set(found().values()) == {"not checked"}
    record_tick(store, "housekeeping_timer", NOW - timedelta(hours=20))
    record_tick(store, "rescue_timer", NOW - timedelta(minutes=4))
    assert found() == {"housekeeping_timer": "ok", "rescue_timer": "ok", "start_due_windows": "warning"}
    record_tick(store, "rescue_timer", NOW - timedelta(minutes=6))
    assert found()["rescue_timer"] == "warning"
    details = [finding.detail for finding in find_silent_timers(store, NOW)]
    assert "rescue_timer last ran at 2026-11-28 11:54:00 UTC, 0:06:00 ago. It runs each minute." in details


def test_the_doctor_shows_over_http_when_the_timers_ran(host: Host) -> None:
    """GET /api/doctor names the tick of a timer that ran, and when each schedule was due last."""
    host.store.write("settings/toy.toml", b'schedule = "0 5 * * * *"\n')
    host.fire("rescue_timer")
    wait_until(lambda: "rescue_timer" in host.get("health")["ticks"])
    findings = host.get("doctor")["findings"]
    assert any("rescue_timer last ran at" in each["detail"] for each in findings if each["check"] == "timers")
    due = [each["detail"] for each in findings if each["check"] == "schedules"]
    assert any("'0 5 * * * *' in UTC, due last at" in detail for detail in due), due
    host.store.delete("settings/toy.toml")


class Client:
    """Stands in for the Durable client, which no endpoint can be asked to fail for: it knows no instance and notes what is started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def get_status(self, instance: str) -> None:
        """No instance is known."""

    async def start_new(self, name: str, instance_id: str, client_input: object) -> str:
        self.started.append(instance_id)
        return instance_id


def test_a_silent_timer_is_told_and_its_work_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after the start, without a tick, the endpoint answers 503 and starts a run that was never started."""
    modules = [import_module(f"triggers.{name}") for name in ("health", "schedules", "rescue")]
    health = modules[0]
    for module in modules:
        monkeypatch.setattr(module, "app_store", lambda: store)
    monkeypatch.setattr(health, "STARTED", datetime.now(UTC) - timedelta(hours=1))
    write_lines(store, "2026-01-07T10", [("a", 1, "ok")])
    run = submit_run(
        store, "toy", "2026-01-07T10", datetime.now(UTC) - timedelta(hours=1), "http"
    ).request.run
    client = Client()
    request = func.HttpRequest(method="GET", url="http://localhost/api/health", body=b"")
    answer = asyncio.run(health.answer_health(req=request, client=client))
    assert answer.status_code == 503
    assert b"start_due_windows runs each minute and never ran" in answer.get_body()
    assert run in client.started


def test_no_other_get_request_can_start_anything() -> None:
    """Of the endpoints that answer GET alone only health, and the status of a backfill, which reads, hold a Durable client."""
    code = (
        "import function_app, json\n"
        "for each in function_app.app.get_functions():\n"
        "    bindings = {b['type']: b for b in json.loads(each.get_function_json())['bindings']}\n"
        "    methods = bindings.get('httpTrigger', {}).get('methods', [])\n"
        "    if methods == ['GET'] and 'durableClient' in bindings: print(each.get_function_name())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["show_backfill", "show_health"]


def test_every_name_that_an_orchestrator_calls_is_a_function_of_the_app() -> None:
    """The check at load finds nothing missing in the app, and reads the name out of every call but the two that pass one on."""
    code = "import function_app; from triggers.health import PROBLEMS; print(PROBLEMS)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    nodes = [
        node
        for path in (ROOT / "orchestrators").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    calls = [node for node in nodes if isinstance(node, ast.Call) and CALLING.search(ast.unparse(node.func))]
    passed_on = [ast.unparse(node) for node in calls if not [*_called(node)]]
    assert len(calls) > 15
    assert sorted(passed_on) == [
        "call(context, activity, {**payload, 'instance': context.instance_id})",
        "context.call_activity_with_retry(activity, _RETRIES, payload)",
    ]


def copied_app(folder: Path) -> Path:
    """A folder with the app's own code, to be changed; what it imports stays that of this checkout."""
    for name in ("activities", "orchestrators", "triggers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("function_app.py", "host.json"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_a_wrong_name_in_an_orchestrator_is_told_when_the_app_loads(tmp_path: Path) -> None:
    """The log and the health endpoint's 503 name it, before any run would wait for it."""
    app = copied_app(tmp_path / "app")
    flow = app / "orchestrators" / "run.py"
    flow.write_text(flow.read_text().replace('"collect_run"', '"colect_run"'))
    with running(Host(tmp_path, app, PYTHONPATH=str(ROOT))) as host:
        answer = host.ask("health")
        wrong = "An orchestrator calls colect_run, which is no function of the app."
        assert (answer.status_code, wrong in answer.text, wrong in host.log()) == (503, True, True)


def test_an_app_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    """A broken module leaves the host running, with the reason in its log and at the health endpoint, for those with a key."""
    app = copied_app(tmp_path / "app")
    (app / "triggers" / "health.py").write_text("raise RuntimeError('a wheel is missing')\n")
    with running(Host(tmp_path, app, PYTHONPATH=str(ROOT))) as host:
        answer = host.ask("health")
        assert (answer.status_code, "RuntimeError: a wheel is missing" in answer.text) == (503, True)
        assert requests.get(f"{host.url}/api/health", timeout=30).status_code == 401
        assert "a wheel is missing" in host.log()


def test_an_app_without_durable_functions_says_so(tmp_path: Path) -> None:
    """A package of the SDK that does not import is a reason like any other."""
    text = (ROOT / "function_app.py").read_text()
    (tmp_path / "function_app.py").write_text(
        "import sys\nsys.modules['azure.durable_functions'] = None\n" + text
    )
    code = "import function_app as f; print(*[x.get_function_name() for x in f.app.get_functions()])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "show_health"
    assert "azure.durable_functions" in done.stderr
