"""The warm-up: run once, shared by all workers, and never in the way."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import requests

_HEAD = """
import asyncio, os, threading, time
from pathlib import Path
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
state = {"warmed_by": 0}

def note():
    state["warmed_by"] = os.getpid()
    with Path(os.environ["OUT"]).open("a") as file:
        file.write("warmed\\n")

@app.route(route="state")
def show(req: func.HttpRequest) -> str:
    return f"{state['warmed_by']} {os.getpid()}"

@app.activity_trigger(input_name="seconds")
def look(seconds: float) -> list:
    time.sleep(seconds)
    return [state["warmed_by"], os.getpid()]

@app.orchestration_trigger(context_name="context")
def many(context):
    return (yield context.task_all([context.call_activity("look", 0.2) for _ in range(4)]))

@app.warm_up_trigger("context")
"""
_PLAIN = _HEAD + "def warmup(context):\n    note()\n"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The file in which the warm-up leaves a line."""
    path = tmp_path / "out"
    path.touch()
    return path


def _state(host: Any) -> tuple[int, int]:
    warmed_by, pid = requests.get(f"{host.url}/api/state", timeout=60).text.split()
    return int(warmed_by), int(pid)


def test_all_workers_have_what_the_warm_up_made(make_host: Any, out: Path) -> None:
    """The warm-up runs once, in a process of its own, and every worker of every role has what it left in
    memory.
    """
    host = make_host(_PLAIN, "--workers", "2", OUT=str(out)).start()
    warmed_by, pid = _state(host)
    seen = host.wait_for(host.post("orchestrators/many").json()["id"])["output"]
    assert {each[0] for each in seen} == {warmed_by}
    assert len({each[1] for each in seen} | {pid}) == 3  # two for activities, one for HTTP
    assert warmed_by not in (0, pid)
    assert out.read_text() == "warmed\n"


def test_replaced_workers_are_warm_as_well(make_host: Any, out: Path) -> None:
    """A worker that is started after another died comes from the same warm process."""
    host = make_host(_PLAIN, "--workers", "1", OUT=str(out)).start()
    warmed_by, pid = _state(host)
    os.kill(pid, 9)
    time.sleep(0.05)
    again, successor = _state(host)
    assert (again, out.read_text()) == (warmed_by, "warmed\n")
    assert successor != pid


def test_asynchronous_warm_up_runs_too(make_host: Any, out: Path) -> None:
    """A warm-up may be a coroutine; its loop is gone before workers are forked."""
    body = "async def warmup(context):\n    await asyncio.sleep(0)\n    note()\n"
    host = make_host(_HEAD + body, "--workers", "1", OUT=str(out)).start()
    assert _state(host)[0] > 0


def test_raising_warm_up_is_logged_and_forgiven(make_host: Any, out: Path) -> None:
    """The traceback is in the log, what was warmed before stays, and the app works."""
    body = "def warmup(context):\n    note()\n    raise LookupError('nothing to warm with')\n"
    host = make_host(_HEAD + body, "--workers", "1", OUT=str(out)).start()
    assert _state(host)[0] > 0
    assert "LookupError: nothing to warm with" in host.log
    assert "in warmup" in host.log


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "which a fork would lose"),
        ("os._exit(7)", "Listening"),
        ("os.kill(os.getpid(), 11)", "Listening"),
    ],
)
def test_warm_up_that_cannot_be_shared_is_given_up(make_host: Any, out: Path, ending: str, told: str) -> None:
    """One that leaves a thread, which a fork would not copy, or ends its process: workers start cold, and
    work.
    """
    host = make_host(
        f"{_HEAD}def warmup(context):\n    note()\n    {ending}\n", "--workers", "1", OUT=str(out)
    ).start()
    assert _state(host)[0] == 0
    assert out.read_text() == "warmed\n"
    assert told in host.log
    assert host.stop() == 0


def test_nobody_waits_for_a_warm_up_in_vain(make_host: Any, out: Path) -> None:
    """A warm-up is stopped as soon as it starts a thread: the first request does not wait for the rest of it."""
    body = "def warmup(context):\n    threading.Thread(target=time.sleep, args=(9,)).start()\n    time.sleep(9)\n    note()\n"
    host = make_host(_HEAD + body, "--workers", "1", OUT=str(out)).start()
    started = time.monotonic()
    assert _state(host)[0] == 0
    assert time.monotonic() - started < 5
    assert out.read_text() == ""
    assert "which a fork would lose" in host.log


def test_other_names_are_not_called(make_host: Any, out: Path) -> None:
    """Azure calls the function of that kind named warmup, in any case, and no other."""
    named = make_host(_HEAD + "def WarmUp(context):\n    note()\n", "--workers", "1", OUT=str(out)).start()
    assert _state(named)[0] > 0
    other = make_host(_HEAD + "def heat(context):\n    note()\n", "--workers", "1", OUT=str(out)).start()
    assert _state(other)[0] == 0


def test_nothing_remains_of_a_warm_host(make_host: Any, out: Path) -> None:
    """When the host ends, so do the process that warmed up and the one that waited for it."""
    import psutil

    host = make_host(_PLAIN, "--workers", "1", OUT=str(out)).start()
    _state(host)
    processes = psutil.Process(host.process.pid).children(recursive=True)
    assert host.stop() == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
