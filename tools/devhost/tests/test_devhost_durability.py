"""A host that is killed at the worst moment loses nothing and finishes nothing twice."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

_APP = """
import os, time
from datetime import timedelta
from pathlib import Path
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.activity_trigger(input_name="work")
def note(work: dict) -> str:
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(work["name"] + "\\n")
    time.sleep(work.get("seconds", 0))
    return work["name"]

@app.activity_trigger(input_name="name")
def fail_once(name: str) -> str:
    marker = Path(os.environ["NOTES"] + "." + name)
    if not marker.exists():
        marker.write_text("")
        raise RuntimeError("not yet")
    return name

@app.orchestration_trigger(context_name="context")
def child(context: df.DurableOrchestrationContext):
    result = yield context.call_activity(note, {"name": context.get_input()})
    return result

@app.orchestration_trigger(context_name="context")
def rounds(context: df.DurableOrchestrationContext):
    left = context.get_input()
    yield context.call_activity(note, {"name": f"round-{left}"})
    if left:
        context.continue_as_new(left - 1)
    return "rounds"

@app.orchestration_trigger(context_name="context")
def everything(context: df.DurableOrchestrationContext):
    some = yield context.task_all([context.call_activity(note, {"name": f"fan-{i}"}) for i in range(3)])
    retried = yield context.call_activity_with_retry(fail_once, df.RetryOptions(10, 3), context.instance_id)
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=0.1))
    one = yield context.call_sub_orchestrator("child", "child")
    many = yield context.call_sub_orchestrator("rounds", 2)
    event = yield context.wait_for_external_event("go")
    return [some, retried == context.instance_id, one, many, event]

@app.orchestration_trigger(context_name="context")
def slow(context: df.DurableOrchestrationContext):
    late = context.create_timer(context.current_utc_datetime + timedelta(seconds=2))
    work = context.call_activity(note, {"name": "slow", "seconds": 1.5})
    event = context.wait_for_external_event("go")
    results = yield context.task_all([work, late, event])
    return [results[0], results[2]]

@app.orchestration_trigger(context_name="context")
def clock(context: df.DurableOrchestrationContext):
    times = [context.current_utc_datetime.isoformat()]
    for number in range(4):
        yield context.call_activity(note, {"name": f"clock-{number}"})
        times.append(context.current_utc_datetime.isoformat())
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=200))
    return times
"""

# Kills the process at its n-th commit, before or after the database has it.
_CRASH = """
import os, signal
from devhost.store import Store
_transact, _left = Store._transact, [{commits}]
def _crash(self, batch):
    _left[0] -= 1
    if _left[0] == 0 and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    _transact(self, batch)
    if _left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
Store._transact = _crash
"""


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _events(host: Any, instance_id: str) -> list[dict[str, Any]]:
    with sqlite3.connect(host.data / "devhost.sqlite") as database:
        rows = database.execute(
            "SELECT events FROM history WHERE instance = ? ORDER BY episode", (instance_id,)
        )
        return list(json.loads("[" + ",".join(row[0] for row in rows) + "]"))


def _check_history(events: list[dict[str, Any]]) -> None:
    """Every call has one decision and one completion at most, and there is one end."""
    ends = [each for each in events if each["EventType"] == 1]
    assert len(ends) == 1
    decided = [each["EventId"] for each in events if each["EventType"] in (4, 7, 10)]
    assert decided == sorted(set(decided))
    completed = [each["TaskScheduledId"] for each in events if each["EventType"] in (5, 6, 8, 9)]
    assert len(completed) == len(set(completed))
    clock = [each["Timestamp"] for each in events if each["EventType"] == 12]
    assert clock == sorted(clock)


_OTHERS = [pytest.param(n, before, marks=pytest.mark.slow) for n in (2, 3, 4, 7) for before in (True, False)]


@pytest.mark.parametrize(("commits", "before"), [(5, True), *_OTHERS])
def test_killed_at_commit_after_commit(make_host: Any, tmp_path: Path, commits: int, before: bool) -> None:
    """A host that dies at every n-th commit, just before or just after it, still finishes everything once."""
    notes = tmp_path / "notes"
    host = make_host(
        _APP, "--workers", "2", prelude=_CRASH.format(commits=commits, before=before), NOTES=str(notes)
    )
    started = raised = False
    starts = 0
    status: dict[str, Any] = {}
    deadline = time.monotonic() + 80
    while status.get("runtimeStatus") != "Completed":
        assert time.monotonic() < deadline, (status, host.log[-4000:])
        host.start()
        starts += 1
        try:
            while host.process.poll() is None:
                if not started:
                    answer = host.post("orchestrators/everything/all")
                    started = answer.status_code in (202, 500)  # 500: the killed host had stored it
                if not raised:
                    raised = host.post("instances/all/raiseEvent/go", json="now").status_code == 202
                status = host.status("all")
                if status["runtimeStatus"] in ("Completed", "Failed"):
                    break
                time.sleep(0.02)
        except (requests.ConnectionError, AssertionError):
            continue
        finally:
            host.kill()
    assert starts >= 4  # or nothing was tested
    assert status["output"] == [["fan-0", "fan-1", "fan-2"], True, "child", "rounds", "now"]
    _check_history(_events(host, "all"))
    done = notes.read_text().split()
    assert set(done) == {"fan-0", "fan-1", "fan-2", "child", "round-0", "round-1", "round-2"}


def test_killed_while_everything_is_under_way(make_host: Any, tmp_path: Path) -> None:
    """A running activity runs again, a pending timer fires, and a queued event arrives, after the host was
    killed.
    """
    notes = tmp_path / "notes"
    host = make_host(_APP, "--workers", "1", NOTES=str(notes)).start()
    ids = [f"slow-{number}" for number in range(2)]
    for instance_id in ids:
        host.post(f"orchestrators/slow/{instance_id}")
        host.wait_for(instance_id, "Running")
        assert host.post(f"instances/{instance_id}/raiseEvent/go", json="hello").status_code == 202
    host.kill()
    time.sleep(0.5)
    host.start()
    for instance_id in ids:
        assert host.wait_for(instance_id)["output"] == ["slow", "hello"]
        _check_history(_events(host, instance_id))
    assert notes.read_text().split().count("slow") in (2, 3)  # the interrupted one twice


def test_workers_end_with_a_killed_host(make_host: Any, tmp_path: Path) -> None:
    """No worker process outlives a host that was killed."""
    import psutil

    host = make_host(_APP, "--workers", "2", NOTES=str(tmp_path / "notes")).start()
    parent = psutil.Process(host.process.pid)
    wait_until(
        lambda: len(parent.children(recursive=True)) == 5
    )  # template, triggers, orchestrators, activities
    family = parent.children(recursive=True)
    host.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_second_host_is_refused(make_host: Any, tmp_path: Path) -> None:
    """A second host on the same data folder says who has it and ends; the first goes on."""
    first = make_host(_APP, "--workers", "1", NOTES=str(tmp_path / "notes")).start()
    second = make_host(_APP, "--workers", "1", NOTES=str(tmp_path / "notes"))
    second.data = first.data
    second.launch()
    assert second.process.wait(20) == 1
    assert f"another host (process {first.process.pid}) works on" in first.log
    assert requests.get(first.url, timeout=60).status_code == 200


def test_clock_that_goes_back_does_not_break_replay(make_host: Any, tmp_path: Path) -> None:
    """When the machine's clock is set back during a run, the orchestration's own clock stands still, and it
    ends.
    """
    offset = tmp_path / "offset"
    offset.write_text("0")
    prelude = f"""
import devhost.clock
from datetime import timedelta
from pathlib import Path
_now = devhost.clock.utc_now
devhost.clock.utc_now = lambda: _now() + timedelta(seconds=float(Path({str(offset)!r}).read_text() or 0))
"""
    host = make_host(_APP, "--workers", "1", prelude=prelude, NOTES=str(tmp_path / "notes")).start()
    host.post("orchestrators/clock/c")
    host.wait_for("c", "Running")
    offset.write_text("-1")
    status = host.wait_for("c")
    assert status["runtimeStatus"] == "Completed", status
    assert status["output"] == sorted(status["output"])
    _check_history(_events(host, "c"))


def test_stop_drains_running_activities(make_host: Any, tmp_path: Path) -> None:
    """Ctrl-C lets a running activity finish and stores its result, so that it does not run again."""
    notes = tmp_path / "notes"
    host = make_host(_APP, "--workers", "1", NOTES=str(notes)).start()
    host.post("orchestrators/slow/s")
    while not notes.exists():
        time.sleep(0.01)
    assert host.stop() == 0
    assert not (host.data / "address.json").exists()
    host.start()
    host.post("instances/s/raiseEvent/go", json=1)
    assert host.wait_for("s")["output"] == ["slow", 1]
    assert notes.read_text().split() == ["slow"]


def test_host_ends_with_the_process_it_runs_for(make_host: Any) -> None:
    """With --end-with the host ends in order when that process is killed, and at once when it is gone
    already.
    """
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    host = make_host("features", "--end-with", str(owner.pid)).start()
    owner.kill()
    owner.wait()
    assert host.process.wait(30) == 0
    assert f"Process {owner.pid}, for which this host runs, has ended" in host.log
    assert not (host.data / "address.json").exists()
    host.launch()
    assert host.process.wait(30) == 0
