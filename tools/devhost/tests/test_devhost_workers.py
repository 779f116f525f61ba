"""Worker processes: how many calls run at once, what blocks what, and what happens when one hangs or dies."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import requests

_APP = """
import asyncio, json, os, threading, time
from pathlib import Path
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
calls = []

def note(kind):
    with Path(os.environ["OUT"]).open("a") as file:
        file.write(json.dumps([kind, os.getpid(), time.time()]) + "\\n")

@app.activity_trigger(input_name="seconds")
def busy(seconds: float) -> int:
    note("begin")
    time.sleep(seconds)
    note("end")
    calls.append(1)
    return len(calls)

@app.activity_trigger(input_name="seconds")
async def waiting(seconds: float) -> int:
    note("begin")
    await asyncio.sleep(seconds)
    note("end")
    return threading.get_ident()

@app.orchestration_trigger(context_name="context")
def many(context):
    name, count, seconds = context.get_input()
    results = yield context.task_all([context.call_activity(name, seconds) for _ in range(count)])
    return results

@app.route(route="block")
async def block(req: func.HttpRequest) -> str:
    time.sleep(2)
    return "done"

@app.route(route="hang")
def hang(req: func.HttpRequest) -> str:
    time.sleep(60)
    return "never"

@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return str(os.getpid())
"""


def _most_at_once(out: Path) -> int:
    """Return the largest number of activities that ran at the same time."""
    running = most = 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    for kind, _, _ in sorted(lines, key=lambda line: (line[2], line[0] == "begin")):
        running += 1 if kind == "begin" else -1
        most = max(most, running)
    return most


def _run_many(host: Any, *given: Any) -> list[int]:
    answer = host.post("orchestrators/many", json=json.dumps(given))
    return list(host.wait_for(answer.json()["id"])["output"])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The file in which activities note what they do."""
    path = tmp_path / "out"
    path.touch()
    return path


def test_sync_activities_run_one_to_a_process(make_host: Any, out: Path) -> None:
    """Two workers run two synchronous activities at once, each in its own process, whose state stays warm."""
    host = make_host(_APP, "--workers", "2", OUT=str(out)).start()
    results = _run_many(host, "busy", 6, 0.1)
    assert _most_at_once(out) == 2
    assert max(results) >= 2  # a count kept in the process grew
    assert len({json.loads(line)[1] for line in out.read_text().splitlines()}) == 2


def test_thread_count_setting_lets_more_run_at_once(make_host: Any, out: Path) -> None:
    """PYTHON_THREADPOOL_THREAD_COUNT gives each worker that many threads."""
    host = make_host(_APP, "--workers", "1", OUT=str(out), PYTHON_THREADPOOL_THREAD_COUNT="3").start()
    _run_many(host, "busy", 6, 0.2)
    assert _most_at_once(out) == 3


def test_async_activities_share_one_loop_up_to_the_limit(make_host: Any, out: Path) -> None:
    """Asynchronous activities overlap on one loop of a worker, as many as host.json allows."""
    limit = {"AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions": "4"}
    host = make_host(_APP, "--workers", "1", OUT=str(out), **limit).start()
    threads = _run_many(host, "waiting", 8, 0.2)
    assert _most_at_once(out) == 4 and len(set(threads)) == 1


def test_blocked_user_loop_does_not_block_the_host(make_host: Any, out: Path) -> None:
    """While a function blocks its event loop, the host goes on answering and orchestrating."""
    import threading

    host = make_host(_APP, "--workers", "1", OUT=str(out)).start()
    requests.get(f"{host.url}/api/pid", timeout=60)
    blocking = threading.Thread(target=requests.get, args=(f"{host.url}/api/block",), kwargs={"timeout": 60})
    blocking.start()
    time.sleep(0.2)
    started = time.monotonic()
    assert requests.get(f"{host.url}/admin/host/status", timeout=60).status_code == 200
    assert len(_run_many(host, "busy", 1, 0.0)) == 1
    assert time.monotonic() - started < 1.6
    blocking.join()


def test_functions_that_hang_are_stopped(make_host: Any, out: Path) -> None:
    """Beyond functionTimeout the worker is stopped and replaced: an HTTP call gets 500, an activity fails."""
    host = make_host(
        _APP, "--workers", "1", files={"host.json": '{"functionTimeout": "00:00:01"}'}, OUT=str(out)
    ).start()
    before = requests.get(f"{host.url}/api/pid", timeout=60).text
    assert requests.get(f"{host.url}/api/hang", timeout=60).status_code == 500
    assert requests.get(f"{host.url}/api/pid", timeout=60).text != before
    answer = host.post("orchestrators/many", json='["busy", 1, 30]')
    status = host.wait_for(answer.json()["id"])
    assert "Timeout value of 00:00:01 was exceeded by function: busy" in status["output"]


def test_killed_trigger_worker_is_replaced(make_host: Any, out: Path) -> None:
    """The process that serves HTTP functions can be killed; the next call runs on its successor."""
    host = make_host(_APP, "--workers", "1", OUT=str(out)).start()
    before = int(requests.get(f"{host.url}/api/pid", timeout=60).text)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.05)
    assert int(requests.get(f"{host.url}/api/pid", timeout=60).text) != before


def test_the_app_process_is_started_again(make_host: Any, out: Path) -> None:
    """When the process that holds the app dies, another is started, and lost workers are replaced from it."""
    import psutil

    host = make_host(_APP, "--workers", "1", OUT=str(out)).start()
    pid = int(requests.get(f"{host.url}/api/pid", timeout=60).text)
    (template,) = psutil.Process(host.process.pid).children()
    template.kill()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    assert int(requests.get(f"{host.url}/api/pid", timeout=60).text) != pid
    assert len(_run_many(host, "busy", 1, 0.0)) == 1
    assert "The process that holds the app has ended; it is started again." in host.log


def test_an_app_that_changed_is_not_mixed_with_the_old_one(make_host: Any, out: Path) -> None:
    """Started again, the app must have the functions that the host serves; else the host ends with a text."""
    import psutil

    host = make_host(_APP, "--workers", "1", OUT=str(out)).start()
    pid = int(requests.get(f"{host.url}/api/pid", timeout=60).text)
    (host.app / "function_app.py").write_text(_APP.replace('route="hang"', 'route="other"'))
    (template,) = psutil.Process(host.process.pid).children()
    template.kill()
    os.kill(pid, signal.SIGKILL)
    assert host.process.wait(20) == 1
    assert "the app's functions have changed since the host started" in host.log


def test_an_app_process_killed_while_it_loads_is_started_once_more(make_host: Any, out: Path) -> None:
    """A signal during the app's import, as under a lack of memory, does not end the start; a second one does."""
    kill = "import os, signal\nfrom pathlib import Path\nmark = Path(os.environ['OUT'] + '.mark')\n"
    once = f"{kill}if not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    host = make_host(once + _APP, "--workers", "1", OUT=str(out)).start()
    assert requests.get(f"{host.url}/api/pid", timeout=60).status_code == 200
    always = make_host(f"{kill}os.kill(os.getpid(), signal.SIGKILL)\n{_APP}", OUT=str(out))
    always.launch()
    assert always.process.wait(20) == 1
    assert "the app's process ended with code -9 while it loaded" in always.log


@pytest.mark.slow
def test_killing_workers_at_random_loses_nothing(make_host: Any, out: Path) -> None:
    """While orchestrations run, worker processes of every role are killed again and again; all ends well."""
    import random

    import psutil

    host = make_host(_APP, "--workers", "2", "--lost-activities", "repeat", OUT=str(out)).start()
    ids = [host.post("orchestrators/many", json='["busy", 20, 0.02]').json()["id"] for _ in range(10)]
    (template,) = psutil.Process(host.process.pid).children()
    chance = random.Random(1)
    for _ in range(15):
        victims = template.children()
        if victims:
            chance.choice(victims).kill()
        time.sleep(0.2)
    for instance_id in ids:
        status = host.wait_for(instance_id)
        assert status["runtimeStatus"] == "Completed" and len(status["output"]) == 20
