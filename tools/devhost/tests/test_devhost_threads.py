"""One process for all functions, as Azure's worker has it: activities are its threads."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

_APP = '''
import json, os, threading, time
from pathlib import Path
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
barrier = threading.Barrier(8)
together = []

@app.activity_trigger(input_name="x")
def meet(x: int) -> list:
    """Go on only when eight activities run in this process at once."""
    barrier.wait(timeout=30)
    together.append(x)
    return [os.getpid(), threading.current_thread().name]

@app.activity_trigger(input_name="x")
async def wait(x: int) -> int:
    return os.getpid()

@app.activity_trigger(input_name="x")
def die_once(x: str) -> int:
    """Wait until the process is killed the first time."""
    mark = Path(os.environ["MARK"])
    with mark.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if len(set(mark.read_text().split())) == 1:
        time.sleep(60)
    return os.getpid()

@app.orchestration_trigger(context_name="context")
def meeting(context):
    name, count = context.get_input()["name"], context.get_input()["count"]
    results = yield context.task_all([context.call_activity(name, number) for number in range(count)])
    return [os.getpid(), results]

@app.orchestration_trigger(context_name="context")
def retrying(context):
    options = df.RetryOptions(100, 3)
    tasks = [context.call_activity_with_retry("die_once", options, str(number)) for number in range(8)]
    results = yield context.task_all(tasks)
    return results

@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return json.dumps([os.getpid(), len(together)])
'''
_EIGHT = {"PYTHON_THREADPOOL_THREAD_COUNT": "8"}


def _start(host: Any, name: str, given: Any = None) -> str:
    return str(host.post(f"orchestrators/{name}", json=given).json()["id"])


def test_all_functions_share_one_process(make_host: Any) -> None:
    """Eight activities run at once as threads of the process that also serves HTTP and replays
    orchestrations.
    """
    host = make_host(_APP, "--concurrency", "threads", **_EIGHT).start()
    process, results = host.wait_for(_start(host, "meeting", {"name": "meet", "count": 8}))["output"]
    assert {pid for pid, _ in results} == {process}
    assert len({thread for _, thread in results}) == 8
    assert requests.get(f"{host.url}/api/pid", timeout=60).json() == [process, 8]
    _, waited = host.wait_for(_start(host, "meeting", {"name": "wait", "count": 3}))["output"]
    assert set(waited) == {process}


def test_process_count_setting_makes_more(make_host: Any) -> None:
    """FUNCTIONS_WORKER_PROCESS_COUNT gives that many such processes; activities are spread over them."""
    host = make_host(_APP, "--concurrency", "threads", FUNCTIONS_WORKER_PROCESS_COUNT="2", **_EIGHT).start()
    _, results = host.wait_for(_start(host, "meeting", {"name": "wait", "count": 6}))["output"]
    assert 1 <= len(set(results)) <= 2


@pytest.mark.parametrize("lost", ["repeat", "fail"])
def test_process_killed_under_eight_activities(
    make_host: Any, tmp_path: Path, wait_until: Any, lost: str
) -> None:
    """When the process dies all its activities are lost; they run again, or fail and are retried by their
    code.
    """
    mark = tmp_path / "mark"
    mark.touch()
    options = ["--concurrency", "threads", "--lost-activities", lost]
    host = make_host(_APP, *options, MARK=str(mark), **_EIGHT).start()
    instance_id = _start(host, "retrying")
    wait_until(lambda: len(mark.read_text().split()) == 8)
    killed = int(mark.read_text().split()[0])
    os.kill(killed, signal.SIGKILL)
    status = host.wait_for(instance_id)
    assert status["runtimeStatus"] == "Completed" and len(set(status["output"])) == 1
    assert killed not in status["output"]
    history = json.dumps(host.status(instance_id, showHistory="true")["historyEvents"])
    assert history.count('"TaskFailed"') == (8 if lost == "fail" else 0)


def test_worker_count_cannot_be_given_with_threads(make_host: Any) -> None:
    """--workers would count nothing then, so it is refused with the settings that do."""
    host = make_host(_APP, "--concurrency", "threads", "--workers", "2")
    host.launch()
    assert host.process.wait(20) == 1
    assert "set PYTHON_THREADPOOL_THREAD_COUNT" in host.log
