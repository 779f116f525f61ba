"""A kind that lies in fleets/ and a second workload of a kind that ships are in every command, endpoint, page and timer."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from app_host import ROOT, Host, running, wait_until

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.plan import commit_plan
from fleetscore.records import RunRequest, to_json
from fleetscore.runs.plans import read_shard_plans
from fleetscore.runs.run_records import request_run
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, window_at

pytestmark = pytest.mark.timeout(240)
NAMES = ("pumps", "night_watch")
SOURCES = ("fleetscore", "activities", "orchestrators", "triggers", "worker_image")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's sources, copied without any distribution's metadata, with a kind of its own in fleets/."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("function_app.py", "host.json"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "fleets").mkdir()
    shutil.copy(ROOT / "docs" / "examples" / "pumps.py", folder / "fleets" / "pumps.py")
    return folder


@pytest.fixture(scope="module")
def host(app: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host of that app, whose store has both workloads, their data of the hours that are due, and a broken third."""
    environment = {"PYTHONPATH": str(app), "FLEETSCORE_WORKLOADS": ""}
    host = Host(tmp_path_factory.mktemp("host"), app, **environment)
    every_minute = 'schedule = "0 * * * * *"\n'
    host.store.write("settings/pumps.toml", f'kind = "pumps"\n{every_minute}'.encode())
    host.store.write("settings/night_watch.toml", f'kind = "sensor_anomaly"\n{every_minute}'.encode())
    host.store.write("settings/broken_one.toml", b'kind = "nonsense"\n')
    newest = window_at(datetime.now(UTC) - timedelta(minutes=5), Cadence.HOUR)
    for window in (newest.next(-2), newest.next(-1), newest):
        lines = f"pump,pressure\na,1.0\nb,{window.ordinal}.5\n"
        host.store.write(f"data/pumps/{window.key}.csv", lines.encode())
        text = f"TS,Device,Tag,Value\n{window.start:%Y-%m-%d %H}:10:00,1,flow,1.0\n"
        host.store.write(f"data/sensor_anomaly/{window.key}.csv", text.encode())
    with running(host) as running_host:
        yield running_host


@pytest.fixture(scope="module")
def runs(host: Host) -> dict[str, str]:
    """The run of each of the two workloads that the timer started."""
    host.fire("start_due_windows")
    found = {}
    for name in NAMES:
        wait_until(lambda n=name: host.get(f"runs?workload={n}")["runs"])
        found[name] = host.get(f"runs?workload={name}")["runs"][0]["run"]
        host.ended(found[name])
    return found


_PROGRAM = """
import contextlib, io, json, sys
from fleetscore.cli.program import run_command
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        code = run_command(words)
    print(json.dumps([code, said.getvalue()]))
"""


def commands(host: Host, app: Path, *called: str) -> dict[str, tuple[int, str]]:
    """Exit code and output of each command of the copied sources on the host's store, all in one process."""
    environment = {**os.environ, "PYTHONPATH": str(app), "FLEETSCORE_WORKLOADS": ""}
    words = json.dumps([[*command.split(), "--store", host.store.url] for command in called])
    program = [sys.executable, "-c", _PROGRAM, words]
    done = subprocess.run(program, cwd=app, env=environment, capture_output=True, text=True, check=True)
    return {
        command: tuple(json.loads(line))
        for command, line in zip(called, done.stdout.splitlines(), strict=True)
    }


def test_one_timer_starts_the_due_windows_of_both_once(host: Host, runs: dict[str, str]) -> None:
    """Each gets the run of its newest due window; a second tick starts nothing more of it."""
    assert {run.partition("-")[0] for run in runs.values()} == set(NAMES)
    assert host.get(f"runs/{runs['pumps']}")["state"] == "published"
    host.fire("start_due_windows")
    newest = {name: [line["run"] for line in host.get(f"runs?workload={name}")["runs"]] for name in NAMES}
    assert all(len(set(found)) == len(found) for found in newest.values())
    assert host.get("runs?workload=sensor_anomaly")["runs"] == []


def test_endpoints_know_both(host: Host, runs: dict[str, str]) -> None:
    """Runs, models, plans of backfills, mini-batches and costs take both names; what a kind lacks is one sentence."""
    for name in NAMES:
        window = runs[name].partition("-")[2]
        assert host.get(f"runs/{runs[name]}")["record"]["request"]["workload"] == name
        assert host.ask(f"models/{name}").status_code == 200
        again = host.post("runs", {"workload": name, "window": window})
        assert again.status_code in (200, 202), again.text
    answer = host.post("score/pumps", {"rows": [{"pump": "a"}]})
    assert (answer.status_code, "pumps does not answer mini-batches" in answer.text) == (400, True)
    trained = host.post("training", {"workload": "pumps", "from": "2026-01-01T00", "to": "2026-01-01T01"})
    assert (trained.status_code, "pumps cannot be trained" in trained.text) == (400, True)


def test_pages_show_both_and_what_is_broken(host: Host, runs: dict[str, str]) -> None:
    """The overview, each workload's page, and the results of both; the broken one with its reason."""
    overview = host.get("dashboard?format=json")
    views = {view["name"]: view for view in overview["workloads"]}
    assert {*NAMES, "broken_one", "sensor_anomaly", "store_sales", "server_load"} == set(views)
    assert "There is no kind 'nonsense'" in views["broken_one"]["broken"]
    for name in (*NAMES, "broken_one"):
        page = host.ask(f"dashboard?workload={name}")
        assert (page.status_code, name in page.text) == (200, True)
    assert "nonsense" in host.ask("dashboard").text
    assert host.ask("dashboard?view=results&workload=pumps").status_code == 200


def test_commands_know_both_and_say_what_is_broken(host: Host, app: Path, runs: dict[str, str]) -> None:
    """Lists, attention, costs, doctor and plan name both; a capability that is missing is one sentence."""
    windows = {name: runs[name].partition("-")[2] for name in NAMES}
    good = [
        command
        for name in NAMES
        for command in (
            f"costs --workload {name}",
            f"models list {name}",
            f"plan {name} --window {windows[name]}",
        )
    ]
    lists = {name: f"runs --workload {name}" for name in NAMES}
    lacking = {"samples pumps": "pumps has no sample data", "backtest pumps": "pumps has no backtest"}
    found = commands(host, app, "attention", "doctor --json", *good, *lists.values(), *lacking)
    assert [found[command][0] for command in good] == [0] * len(good)
    assert all(runs[name] in found[command][1] for name, command in lists.items())
    broken = "broken_one cannot run: settings/broken_one.toml, line 1: There is no kind 'nonsense'"
    assert broken in found["attention"][1]
    findings = json.loads(found["doctor --json"][1])["findings"]
    details = [finding["detail"] for finding in findings]
    for name in NAMES:
        assert any(detail.startswith(f"{name}: can be read") for detail in details)
        assert any(detail.startswith(f"{name}: '0 * * * * *'") for detail in details)
    assert any("broken_one" in finding["detail"] for finding in findings if finding["state"] == "wrong")
    for command, sentence in lacking.items():
        code, said = found[command]
        assert (code, sentence in said) == (2, True), said


def test_the_worker_of_copied_sources_scores_a_kind_of_fleets(host: Host, app: Path) -> None:
    """`python -m worker_image` of the copied sources, as Batch starts it, commits a shard of pumps."""
    store, now, window = host.store, datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00"
    store.write(f"data/pumps/{window}.csv", b"pump,pressure\na,1.0\nc,3.0\n")
    run = f"pumps-{window}"
    _planned(app, store, run, window, now)
    told = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(app), "FLEETSCORE_STORE": store.url, "FLEETSCORE_RUN": run,
        "FLEETSCORE_SHARD": "0", "FLEETSCORE_PURPOSE": "score", "FLEETSCORE_BATCH_PLACEMENT": "batch",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "worker_image"], cwd=app, env=told, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert store.stat(f"runs/{run}/shards/00000/result.json") or [
        entry for entry in store.list(f"runs/{run}/shards/") if entry.path.endswith("result.json")
    ]


def _planned(app: Path, store: Store, run: str, window: str, now: datetime) -> None:
    """Plan the run in this process, with the copied fleets/ on the path, all its shards on Batch."""
    sys.path.insert(0, str(app))
    try:
        request = RunRequest(run, "pumps", window, 1, now, "test")
        request_run(store, request)
        head = commit_plan(store, request, AppSettings(parallelism=1), now)
    finally:
        sys.path.remove(str(app))
        for name in [name for name in sys.modules if name == "fleets" or name.startswith("fleets.")]:
            del sys.modules[name]
    shards = [replace(shard, placement="batch") for shard in read_shard_plans(store, head)]
    store.write(head.shard_list, to_json(shards))
