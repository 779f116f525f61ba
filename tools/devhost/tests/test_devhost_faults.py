"""The faults of Azure that the host shows when asked to: activities lost with their worker, dead partitions."""

import json
import time
from typing import Any

import pytest

from devhost.errors import SettingsError
from devhost.faults import Faults

_APP = """
import os
import azure.durable_functions as df
app = df.DFApp()

@app.activity_trigger(input_name="x")
def die(x: str) -> str:
    os._exit(7)

@app.activity_trigger(input_name="x")
def live(x: str) -> str:
    return x

@app.orchestration_trigger(context_name="context")
def dying(context):
    result = yield context.call_activity("die", "x")
    return result

@app.orchestration_trigger(context_name="context")
def surviving(context):
    try:
        yield context.call_activity("die", "x")
    except Exception as error:
        text = str(error)
    result = yield context.call_activity("live", "alive")
    return [result, text.split(" \\n ")[0]]

@app.orchestration_trigger(context_name="context")
def plain(context):
    result = yield context.call_activity("live", "alive")
    return result
"""
_TEXT = "Activity function 'die' failed: python exited with code 137 (0x89)"


@pytest.fixture(scope="module")
def host(make_shared_host: Any) -> Any:
    """A host with the app above."""
    return make_shared_host(_APP, "--workers", "1").start()


def _start(host: Any, name: str, instance_id: str = "") -> str:
    answer = host.post(f"orchestrators/{name}" + (f"/{instance_id}" if instance_id else ""))
    assert answer.status_code == 202
    return str(answer.json()["id"])


def test_activity_fails_with_its_worker(host: Any) -> None:
    """An activity whose process dies is a TaskFailed with Azure's text and type, and is not repeated."""
    instance_id = _start(host, "dying")
    status = host.wait_for(instance_id)
    assert status["runtimeStatus"] == "Failed"
    assert status["output"].startswith(f"Orchestrator function 'dying' failed: {_TEXT} \n {{")
    history = host.status(instance_id, showHistory="true")["historyEvents"]
    failed = [each for each in history if each["EventType"] == "TaskFailed"]
    assert [each["Reason"] for each in failed] == [_TEXT]
    assert json.loads(failed[0]["Details"])["$type"].startswith(
        "Microsoft.Azure.WebJobs.Script.Workers.WorkerProcessExitException"
    )


def test_orchestration_may_go_on_after_a_lost_activity(host: Any) -> None:
    """Code that catches the failure goes on, on a new worker process."""
    status = host.wait_for(_start(host, "surviving"))
    assert status["output"] == ["alive", _TEXT]


def test_lost_activities_run_again_on_request(make_host: Any, tmp_path: Any) -> None:
    """With --lost-activities repeat an activity whose process died runs again."""
    mark = tmp_path / "mark"
    once = (
        f"if os.path.exists({str(mark)!r}):\n        return 'again'\n"
        f"    open({str(mark)!r}, 'w').close()\n    os._exit(7)"
    )
    app = _APP.replace("os._exit(7)", once)
    host = make_host(app, "--workers", "1", "--lost-activities", "repeat").start()
    assert host.wait_for(_start(host, "dying"))["output"] == "again"


@pytest.mark.parametrize(
    ("instance_id", "count", "partition"),
    [("", 16, 2166136261 % 16), ("a", 4, 0xE40C292C % 4), ("foobar", 16, 0xBF9CF968 % 16)],
)
def test_partitions_are_azures(instance_id: str, count: int, partition: int) -> None:
    """The partition is the FNV-1a hash of the id, whose published test values these are, by the count."""
    assert Faults(partition_count=count).partition_of(instance_id) == partition


def test_partition_beyond_the_count_is_refused() -> None:
    """A partition that host.json does not have is an error that says how many there are."""
    with pytest.raises(SettingsError, match=r"--dead-partition 4: host\.json has 4 partitions"):
        Faults(dead_partitions=frozenset({4}))


def test_dead_partition_accepts_and_never_handles(make_host: Any) -> None:
    """Instances of a dead partition stay as they are, whatever is sent; without the option they go on."""
    faults = Faults(partition_count=4)
    dead, live = (
        next(f"i{n}" for n in range(100) if (faults.partition_of(f"i{n}") == 1) == is_dead)
        for is_dead in (True, False)
    )
    host = make_host(_APP, "--workers", "1", "--dead-partition", "1").start()
    _start(host, "plain", dead)
    assert host.wait_for(_start(host, "plain", live))["output"] == "alive"
    for path in (f"instances/{dead}/terminate", f"instances/{dead}/suspend"):
        assert host.post(path, params={"reason": "x"}).status_code == 202
    event = host.post(f"instances/{dead}/raiseEvent/e", json=1)
    assert event.status_code == 202
    time.sleep(0.5)
    assert host.status(dead)["runtimeStatus"] == "Pending"
    host.stop()
    host.options = ["--workers", "1"]
    assert host.start().wait_for(dead)["runtimeStatus"] == "Terminated"
