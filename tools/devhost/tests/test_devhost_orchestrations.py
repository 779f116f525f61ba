"""Orchestrations end to end: the unmodified SDK, its client, and a host process."""

import time
from pathlib import Path
from typing import Any

import pytest
import requests


def test_chain_of_sync_async_and_named_activities(features: Any) -> None:
    """Activities run one after the other, whether plain, async or under a name of their own."""
    assert features.output("chain", 3) == 112


def test_fan_out_and_in_keeps_order_and_custom_status(features: Any) -> None:
    """task_all returns every result, and the custom status set last remains."""
    status = features.run("fan", 20)
    assert (status["output"], status["customStatus"]) == (380, {"stage": "summed"})


def test_sub_orchestrations_nest(features: Any) -> None:
    """Sub-orchestrations run as instances of their own and return their results to the parent."""
    assert features.output("nested", [2, 3, 0]) == [2, 6, 0]


def test_child_with_an_id_of_its_own_can_be_looked_up(features: Any) -> None:
    """A sub-orchestration with an explicit id is found under it; its input is a text, as in Azure."""
    instance_id = features.start_instance("named_child")
    assert features.wait_for(instance_id)["output"] == 104
    child = features.status(f"{instance_id}-child")
    assert (child["runtimeStatus"], child["input"], child["output"]) == ("Completed", "1", 104)


def test_failure_texts_nest_as_in_azure(features: Any) -> None:
    """A failing activity's text goes up through child and parent, with the two spaces before the type."""
    status = features.run("failing_parent", "ouch")
    assert status["runtimeStatus"] == "Failed"
    assert status["output"].startswith(
        "Orchestrator function 'failing_parent' failed: Orchestrator function 'failing' failed: "
        "Activity function 'boom' failed:  ValueError: ouch \n "
    )


def test_activity_failure_is_a_plain_exception_in_the_orchestrator(features: Any) -> None:
    """The orchestrator catches Exception with the reason and details, never the original type."""
    assert features.output("catching").startswith(
        "Exception: Activity function 'boom' failed:  ValueError: caught \n "
    )


def test_retries_keep_both_numberings_in_step(features: Any, tmp_path: Path) -> None:
    """An activity that fails twice and then works goes on with the next activity under the right id."""
    result = features.output("retrying", {"counter": str(tmp_path / "n"), "failures": 2})
    assert result == ["attempt 3 worked", 42]


def test_retries_end_with_the_last_failure(features: Any, tmp_path: Path) -> None:
    """After the last attempt the text of the last failure is raised."""
    status = features.run("retrying", {"counter": str(tmp_path / "n"), "failures": 9})
    assert "RuntimeError: attempt 3" in status["output"] and status["runtimeStatus"] == "Failed"
    assert (tmp_path / "n").read_text() == "3"


def test_timer_wins_the_race(features: Any) -> None:
    """A durable timer fires about when it should."""
    started = time.monotonic()
    assert features.output("race", 1) == "too late"
    assert 0.9 < time.monotonic() - started < 5


def test_event_wins_the_race_and_cancels_the_timer(features: Any) -> None:
    """An event posted as JSON arrives as that value; a cancelled timer does not keep the instance alive."""
    instance_id = features.start_instance("race", 3600)
    answer = features.post(f"instances/{instance_id}/raiseEvent/approval", json={"by": "me"})
    assert answer.status_code == 202 and answer.content == b""
    assert features.wait_for(instance_id)["output"] == {"by": "me"}


def test_event_from_the_sdk_client_arrives_as_text(features: Any) -> None:
    """The SDK's client encodes twice, so that its event data arrive as JSON text, as in Azure."""
    instance_id = features.start_instance("race", 3600)
    given = {"event_name": "approval", "event_data": {"x": 1}}
    assert requests.post(
        f"{features.url}/api/client/raise_event/{instance_id}", json=given, timeout=60
    ).json() == {"returned": None}
    assert features.wait_for(instance_id)["output"] == '{"x": 1}'


def test_events_before_their_wait_are_kept(features: Any) -> None:
    """Events that arrive before the code waits for them are delivered when it does, whatever their order."""
    instance_id = features.start_instance("two_events")
    features.post(f"instances/{instance_id}/raiseEvent/b", json=2)
    features.post(f"instances/{instance_id}/raiseEvent/a", json=1)
    assert features.wait_for(instance_id)["output"] == [1, 2]


def test_continue_as_new_starts_over_under_the_same_id(features: Any) -> None:
    """Generations follow each other with the new input; only the last one's history remains."""
    instance_id = features.start_instance("counting", 3)
    status = features.wait_for(instance_id)
    assert (status["output"], status["input"]) == (instance_id, "0")
    events = features.status(instance_id, showHistory=True)["historyEvents"]
    assert [each["EventType"] for each in events] == [
        "ExecutionStarted",
        "TaskCompleted",
        "ExecutionCompleted",
    ]


def test_events_survive_continue_as_new(features: Any) -> None:
    """No event is lost between generations, however they arrive."""
    instance_id = features.start_instance("mailbox")
    for letter in ("a", "b", "c"):
        assert features.post(f"instances/{instance_id}/raiseEvent/letter", json=letter).status_code == 202
        features.status(instance_id)
    deadline = time.monotonic() + 5
    while features.status(instance_id)["runtimeStatus"] == "Running" and time.monotonic() < deadline:
        time.sleep(0.05)
    status = features.status(instance_id)
    if status["runtimeStatus"] == "Running":  # the framework drops what it had buffered before starting over
        features.post(f"instances/{instance_id}/raiseEvent/letter", json="d")
        features.post(f"instances/{instance_id}/raiseEvent/letter", json="e")
    assert len(features.wait_for(instance_id)["output"]) == 3


def test_instance_runs_on_until_the_loser_has_finished(features: Any) -> None:
    """An orchestration that has returned stays Running while an activity that it started is not finished."""
    instance_id = features.start_instance("loser_keeps_running")
    time.sleep(0.4)
    assert features.status(instance_id)["runtimeStatus"] == "Running"
    assert features.wait_for(instance_id)["output"] == "winner"


def test_odd_values_pass_unchanged(features: Any) -> None:
    """None results, custom objects and an empty task_all are what they are in Azure."""
    none, x, empty, unique = features.output("odd_values")
    assert (none, x, empty) == (None, 2, None) and len(unique) == 36


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        (
            "unknown_activity",
            None,
            "Orchestrator function 'unknown_activity' failed: The function 'nobody' doesn't exist, is disabled, or is "
            "not an activity function. Additional info: The following are the known activity functions: 'double', ",
        ),
        (
            "renamed_activity",  # the SDK sends the Python name of the function, which is not registered
            None,
            "Orchestrator function 'renamed_activity' failed: The function 'with_another_name' doesn't exist",
        ),
        (
            "unserializable",
            None,
            "Orchestrator function 'unserializable' failed: Object of type set is not JSON serial",
        ),
        (
            "wordy",
            9000,
            "Orchestrator function 'wordy' failed: The UTF-16 size of the JSON-serialized payload must not exceed 16 KB.",
        ),
        (
            "entity_caller",
            None,
            "Orchestrator function 'entity_caller' failed: The local host does not support entities",
        ),
        (
            "http_caller",
            None,
            "Orchestrator function 'http_caller' failed: The local host does not support call_http",
        ),
    ],
)
def test_refused_calls_fail_with_a_text(features: Any, name: str, given: Any, text: str) -> None:
    """What cannot be done fails the instance with the extension's text, or the host's own where it falls
    short.
    """
    status = features.run(name, given)
    assert status["runtimeStatus"] == "Failed" and status["output"].startswith(text), status["output"]


def test_nan_is_refused(features: Any) -> None:
    """An activity that returns NaN fails with a text, because Azure would turn it into a string."""
    assert "NaN, which is not JSON" in features.run("nan_result")["output"]


def test_activities_can_use_a_durable_client(features: Any) -> None:
    """An activity with a durable client sees the instance that called it."""
    assert features.output("asking") == "Running"


@pytest.mark.parametrize(
    ("kind", "text"), [("cancel", "CancelledError"), ("surrogate", "ValueError: a surrogate \ufffd")]
)
def test_failures_that_are_hard_to_report_are_reported(features: Any, kind: str, text: str) -> None:
    """A cancellation, or a text that is no valid Unicode, fails the activity like anything else."""
    assert f"Activity function 'misbehave' failed:  {text}" in features.run("misbehaving", kind)["output"]


def test_custom_status_at_the_limit_passes(features: Any) -> None:
    """A custom status of just under 16 KB of UTF-16 is accepted."""
    assert features.output("wordy", 8000) == "done"


def test_orchestrator_that_does_not_yield(features: Any) -> None:
    """A plain function completes with what it returns."""
    assert features.output("not_a_generator", {"a": 1}) == {"a": 1}


def test_worker_that_dies_is_replaced(features: Any, tmp_path: Path) -> None:
    """An activity that ends its process fails as on Azure; the next one runs on another process."""
    marker = str(tmp_path / "marker")
    status = features.run("resilient", marker)
    assert "Activity function 'die_once' failed: python exited with code" in status["output"]
    assert features.output("resilient", marker) == "alive"


def test_plain_race_is_not_mistaken_for_a_broken_one(features: Any) -> None:
    """A task_any loop over plain activities works and raises no alarm."""
    assert features.output("plain_race") == 20


@pytest.mark.parametrize("name", ["retry_in_fan_out", "retry_in_race"])
def test_patterns_that_break_in_azure_are_refused(features: Any, name: str, tmp_path: Path) -> None:
    """An orchestration whose numbering parts from the host's fails with a text that says what to write
    instead.
    """
    status = features.run(name, {"counter": str(tmp_path / "n"), "failures": 2})
    assert status["runtimeStatus"] == "Failed", status
    assert "Write instead" in status["output"] or "Non-Deterministic workflow detected" in status["output"]


def test_clock_never_goes_back_and_replay_flag_ends_false(features: Any) -> None:
    """The orchestration's time only grows, and the last stretch is not a replay."""
    times, is_replaying = features.output("clock")
    assert times == sorted(times) and is_replaying is False


def test_client_waits_for_completion(features: Any) -> None:
    """The SDK's waiting start returns the output itself."""
    answer = requests.post(f"{features.url}/api/wait/chain", json=3, timeout=60)
    assert (answer.status_code, answer.json()) == (200, 112)
