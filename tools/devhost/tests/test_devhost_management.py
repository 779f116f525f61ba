"""The Durable management API, through plain HTTP and through the SDK's own client."""

import re
from pathlib import Path
from typing import Any

import pytest
import requests


def use_client(host: Any, verb: str, instance_id: str, **given: Any) -> dict[str, Any]:
    """Call a method of the SDK's client inside the app and return what it returned or raised."""
    answer = requests.post(f"{host.url}/api/client/{verb}/{instance_id}", json=given, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_start_answers_with_the_check_status_body(features: Any) -> None:
    """A start answers 202 with the eight fields, the status address as Location and Retry-After 10."""
    answer = features.post("orchestrators/chain", json=1)
    body = answer.json()
    assert answer.status_code == 202 and answer.headers["Retry-After"] == "10"
    assert answer.headers["Location"] == body["statusQueryGetUri"]
    assert set(body) == {"id"} | {
        f"{name}Uri"
        for name in [
            "statusQueryGet",
            "sendEventPost",
            "terminatePost",
            "purgeHistoryDelete",
            "restartPost",
            "suspendPost",
            "resumePost",
        ]
    }
    assert re.fullmatch("[0-9a-f]{32}", body["id"])
    assert requests.get(body["statusQueryGetUri"], timeout=60).status_code in (200, 202)


def test_start_can_wait_for_the_end(features: Any) -> None:
    """With timeout and pollingInterval the answer is the output, or the status of a failed instance."""
    query = {"timeout": 20, "pollingInterval": 1}
    done = features.post("orchestrators/fan", params=query, json="3")
    assert (done.status_code, done.json()) == (200, 6)
    failed = features.post("orchestrators/failing", params=query, json='"x"')
    assert failed.status_code == 200 and failed.json()["runtimeStatus"] == "Failed"
    waiting = features.post("orchestrators/race", params={"timeout": 0.1, "pollingInterval": 0.1}, json="60")
    assert waiting.status_code == 202
    odd = features.post("orchestrators/race", params={"timeout": 1, "pollingInterval": 5}, json="60")
    text = "Total timeout 1 should be bigger than retry timeout 5"
    assert (odd.status_code, odd.json()) == (400, {"Message": text})
    features.post(f"instances/{waiting.json()['id']}/terminate")


@pytest.mark.parametrize(
    ("timeout", "interval", "status"),
    [
        ("nan", "1", 400),
        ("1", "nan", 400),
        ("1e400", "1", 500),
        ("", "", 202),
        ("soon", "1", 202),
        ("1_0", "1", 202),
        ("60", "", 202),
    ],
)
def test_waits_that_are_no_span_of_time_hold_nobody(
    features: Any, timeout: str, interval: str, status: int
) -> None:
    """What cannot be read as seconds is ignored, as in Azure, and what is no number or endless is refused; none waits."""
    query = {"timeout": timeout, "pollingInterval": interval}
    answer = features.post("orchestrators/race", params=query, json="3600")
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("path", "body", "status", "message", "detail"),
    [
        (
            "orchestrators/nobody",
            b"1",
            400,
            "One or more of the arguments submitted is incorrect",
            "The function 'nobody' d",
        ),
        (
            "orchestrators/chain/a%5Cb",
            b"1",
            400,
            "One or more of the arguments submitted is incorrect",
            "must not contain",
        ),
        (
            f"orchestrators/chain/{'x' * 300}",
            b"1",
            400,
            "One or more of the arguments submitted is incorrect",
            "256",
        ),
        ("orchestrators/chain", b"{not json", 400, "Invalid JSON content", ""),
    ],
)
def test_bad_starts_are_refused(
    features: Any, path: str, body: bytes, status: int, message: str, detail: str
) -> None:
    """A start that cannot be gets 400 with the extension's message and says why."""
    answer = features.post(path, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json()["Message"] == message
    assert detail in answer.json().get("ExceptionMessage", "")


def test_live_id_cannot_be_started_again_but_an_ended_one_can(features: Any) -> None:
    """A start under the id of a live instance gets 409 and names its status; an ended one is overwritten."""
    instance_id = features.start_instance("race", 3600, "twice")
    features.wait_for(instance_id, "Running")
    again = features.post("orchestrators/race/twice", json="1")
    text = "An Orchestration instance with the status Running already exists."
    assert (again.status_code, again.json()) == (409, {"Message": text})
    features.post("instances/twice/terminate?reason=enough")
    features.wait_for("twice")
    assert features.post("orchestrators/chain/twice", json="3").status_code == 202
    assert features.wait_for("twice")["output"] == 112


def test_status_of_an_unknown_instance_is_404(features: Any) -> None:
    """An unknown id gets 404, with a text for a rewind and else empty; a restart of it is 400 with a text."""
    assert requests.get(f"{features.durable}/instances/nobody", timeout=60).content == b""
    for verb in ("terminate", "suspend", "resume"):
        answer = features.post(f"instances/nobody/{verb}")
        assert (answer.status_code, answer.content) == (404, b""), verb
    rewound = features.post("instances/nobody/rewind")
    text = 'No orchestration with instance ID "$nobody" found.'
    assert (rewound.status_code, rewound.json()) == (404, text)
    restarted = features.post("instances/nobody/restart")
    text = "InstanceId does not match a valid orchestration instance."
    assert (restarted.status_code, restarted.json()["Message"]) == (400, text)
    assert features.post("instances/nobody/raiseEvent/x", json=1).status_code == 404
    assert requests.delete(f"{features.durable}/instances/nobody", timeout=60).status_code == 404


def test_live_instances_are_not_purged(features: Any) -> None:
    """A purge by id of a running instance is 412 and leaves it; one by filters skips it."""
    instance_id = features.start_instance("race", 3600, "not-purged")
    features.wait_for(instance_id, "Running")
    url = f"{features.durable}/instances"
    refused = requests.delete(f"{url}/{instance_id}", timeout=60)
    assert refused.status_code == 412 and refused.json().endswith("not-purged has status Running")
    query = {"createdTimeFrom": "2000-01-01T00:00:00Z", "runtimeStatus": "Running"}
    assert requests.delete(url, params=query, timeout=60).status_code == 404
    assert features.status(instance_id)["runtimeStatus"] == "Running"
    features.post(f"instances/{instance_id}/terminate")


def test_status_codes_follow_the_state(features: Any) -> None:
    """Running is 202 with Location and Retry-After 5; a failure is 200, or 500 where that is asked for."""
    running = features.start_instance("race", 3600)
    answer = requests.get(f"{features.durable}/instances/{running}", timeout=60)
    assert (
        answer.status_code == 202
        and answer.headers["Retry-After"] == "5"
        and running in answer.headers["Location"]
    )
    features.post(f"instances/{running}/terminate")
    failed = features.run("failing", "x")["instanceId"]
    flag = {"returnInternalServerErrorOnFailure": "TRUE"}
    url = f"{features.durable}/instances/{failed}"
    assert requests.get(url, timeout=60).status_code == 200
    assert requests.get(url, params=flag, timeout=60).status_code == 500


def test_history_is_compacted(features: Any) -> None:
    """Completions carry the name and time of what they complete; protocol fields are left out."""
    instance_id = features.run("chain", 3)["instanceId"]
    events = features.status(instance_id, showHistory="true", showHistoryOutput="true", showInput="false")[
        "historyEvents"
    ]
    kinds = [each["EventType"] for each in events]
    assert kinds == ["ExecutionStarted", *["TaskCompleted"] * 3, "ExecutionCompleted"]
    assert [each["FunctionName"] for each in events[:4]] == ["chain", "double", "double_async", "named"]
    assert [each["Result"] for each in events[1:]] == [6, 12, 112, 112]
    assert events[-1]["OrchestrationStatus"] == "Completed"
    hidden = {
        "EventId",
        "IsPlayed",
        "TaskScheduledId",
        "TimerId",
        "Version",
        "OrchestrationInstance",
        "Input",
    }
    assert not hidden & {key for each in events for key in each}


def test_terminate_ends_at_once_and_keeps_the_reason(features: Any) -> None:
    """A terminated instance has the reason as output; another try gets 410, which the client takes for done."""
    instance_id = features.start_instance("race", 3600)
    assert use_client(features, "terminate", instance_id, reason="no more") == {"returned": None}
    status = features.wait_for(instance_id)
    assert (status["runtimeStatus"], status["output"]) == ("Terminated", "no more")
    assert features.post(f"instances/{instance_id}/terminate").status_code == 410
    assert features.post(f"instances/{instance_id}/raiseEvent/x", json=1).status_code == 410
    assert use_client(features, "terminate", instance_id, reason="again") == {"returned": None}
    raised = use_client(features, "raise_event", instance_id, event_name="x")
    assert "is gone: either completed or failed" in raised["raised"]


def test_suspended_instances_take_events(features: Any, wait_until: Any) -> None:
    """A suspended instance shows the reason; events are handled all the same, as by the extension."""
    instance_id = features.start_instance("two_events")
    features.wait_for(instance_id, "Running")
    assert use_client(features, "suspend", instance_id, reason="pause") == {"returned": None}
    assert features.wait_for(instance_id, "Suspended")["output"] == "pause"
    assert features.post(f"instances/{instance_id}/suspend").status_code == 500
    features.post(f"instances/{instance_id}/raiseEvent/a", json=1)
    wait_until(lambda: "EventRaised" in str(features.status(instance_id, showHistory="true")))
    assert features.status(instance_id)["runtimeStatus"] == "Suspended"
    assert use_client(features, "resume", instance_id, reason="go") == {"returned": None}
    assert features.wait_for(instance_id, "Running")["output"] is None
    features.post(f"instances/{instance_id}/suspend")
    features.post(f"instances/{instance_id}/raiseEvent/b", json=2)
    assert features.wait_for(instance_id)["output"] == [1, 2]


def test_resuming_what_is_not_suspended_is_refused(features: Any) -> None:
    """A resumption of a running instance gets 500 and names the state."""
    instance_id = features.start_instance("race", 3600)
    features.wait_for(instance_id, "Running")
    answer = features.post(f"instances/{instance_id}/resume")
    text = f"Cannot resume the orchestration instance {instance_id} because instance is in the Running state."
    assert (answer.status_code, answer.json()["ExceptionMessage"]) == (500, text)
    features.post(f"instances/{instance_id}/terminate")


def test_suspended_instances_can_be_terminated(features: Any) -> None:
    """Termination does not wait for a resumption."""
    instance_id = features.start_instance("race", 3600)
    features.post(f"instances/{instance_id}/suspend")
    features.wait_for(instance_id, "Suspended")
    features.post(f"instances/{instance_id}/terminate?reason=end")
    assert features.wait_for(instance_id)["runtimeStatus"] == "Terminated"


def test_rewind_repeats_only_what_failed(features: Any, tmp_path: Path) -> None:
    """A failed instance goes on from its failure; completed activities are not run again."""
    given = {"counter": str(tmp_path / "n"), "failures": 1}
    failed = features.run("rewindable", given)
    assert failed["runtimeStatus"] == "Failed"
    assert use_client(features, "rewind", failed["instanceId"], reason="fixed") == {"returned": None}
    assert features.wait_for(failed["instanceId"], "Completed")["output"] == [2, "attempt 2 worked"]
    assert features.post(f"instances/{failed['instanceId']}/rewind").status_code == 412


def test_rewind_reaches_failed_children(features: Any, tmp_path: Path) -> None:
    """A rewound parent has its failed sub-orchestration rewound as well."""
    failed = features.run("rewindable_parent", {"counter": str(tmp_path / "n"), "failures": 1})
    assert failed["runtimeStatus"] == "Failed"
    features.post(f"instances/{failed['instanceId']}/rewind?reason=fixed")
    assert features.wait_for(failed["instanceId"], "Completed")["output"] == [2, "attempt 2 worked"]


def test_rewind_of_a_live_instance_is_refused(features: Any) -> None:
    """Only failed instances can be rewound."""
    instance_id = features.start_instance("race", 3600)
    refused = features.post(f"instances/{instance_id}/rewind")
    assert refused.status_code == 412 and "only supported on failed" in refused.json()
    features.post(f"instances/{instance_id}/terminate")


def test_restart_runs_again_with_the_same_input(features: Any) -> None:
    """A restart gives a new instance, or the same id again, with the input of the old one."""
    old = features.run("chain", 3)["instanceId"]
    new = features.post(f"instances/{old}/restart").json()["id"]
    assert new != old and features.wait_for(new)["output"] == 112
    same = features.post(f"instances/{old}/restart?restartWithNewInstanceId=false").json()["id"]
    assert same == old and features.wait_for(old)["output"] == 112


def test_purge_deletes_one_or_many(features: Any) -> None:
    """A purged instance is gone; a purge by filter needs a start time and says how many it deleted."""
    first = features.run("fan", 1)["instanceId"]
    assert use_client(features, "purge_instance_history", first) == {"returned": 1}
    assert requests.get(f"{features.durable}/instances/{first}", timeout=60).status_code == 404
    url = f"{features.durable}/instances"
    missing = requests.delete(url, timeout=60)
    assert (missing.status_code, missing.json()) == (
        400,
        "Please provide value for 'createdTimeFrom' parameter.",
    )
    none = requests.delete(url, params={"createdTimeFrom": "2100-01-01T00:00:00Z"}, timeout=60)
    assert (none.status_code, none.content) == (404, b"")
    features.run("failing", "x")
    query = {"createdTimeFrom": "2000-01-01T00:00:00Z", "runtimeStatus": "Failed,Running"}
    assert requests.delete(url, params=query, timeout=60).json()["instancesDeleted"] >= 1
    left = requests.get(url, params={"runtimeStatus": "Failed"}, timeout=60)
    assert left.json() == []


def test_list_is_filtered_and_paged(features: Any) -> None:
    """Instances come in the order of their ids, a page at a time, with a token that leads on."""
    for number in range(5):
        features.wait_for(features.start_instance("fan", number, f"listed-{number}"))
    url = f"{features.durable}/instances"
    query: dict[str, Any] = {"instanceIdPrefix": "listed-", "top": 2, "showInput": "false"}
    seen: list[str] = []
    token = ""
    while True:
        answer = requests.get(url, params=query, headers={"x-ms-continuation-token": token}, timeout=60)
        assert all(each["input"] is None for each in answer.json())
        seen += [each["instanceId"] for each in answer.json()]
        token = answer.headers["x-ms-continuation-token"]
        if not token:
            break
    assert seen == [f"listed-{number}" for number in range(5)]
    assert requests.get(url, params={**query, "runtimeStatus": "Pending"}, timeout=60).json() == []
    bad = requests.get(url, headers={"x-ms-continuation-token": "%%%"}, timeout=60)
    assert bad.status_code == 400
    unreadable = requests.get(url, params={**query, "createdTimeFrom": "yesterday"}, timeout=60)
    assert [each["instanceId"] for each in unreadable.json()] == [
        "listed-0",
        "listed-1",
    ]  # ignored, as in Azure


@pytest.mark.parametrize(
    ("statuses", "count"),
    [
        (["completed"], 1),  # case does not matter
        (["Nonsense"], 1),  # unreadable: ignored
        (["Running", "Completed"], 1),  # repeated: a union
        (["Completed", "Running"], 1),
        (["Running", "Nonsense"], 0),
    ],
)
def test_statuses_of_a_filter_are_a_union(features: Any, statuses: list[str], count: int) -> None:
    """A repeated or unreadable runtimeStatus filters as the Durable extension does."""
    features.wait_for(features.start_instance("not_a_generator", 1, "by-status"))
    query = {"instanceIdPrefix": "by-status", "runtimeStatus": statuses}
    assert len(requests.get(f"{features.durable}/instances", params=query, timeout=60).json()) == count


@pytest.mark.parametrize("top", ["99999999999999999999", "-1", "x", "2147483648"])
def test_page_sizes_that_cannot_be_meant_are_ignored(features: Any, top: str) -> None:
    """A page size that is no positive 32-bit number counts as none given."""
    answer = requests.get(f"{features.durable}/instances", params={"top": top}, timeout=60)
    assert answer.status_code == 200


def test_sdk_client_reads_status_with_history(features: Any) -> None:
    """The client's status has what the host knows; unknown ids give it an empty status."""
    instance_id = features.run("chain", 1)["instanceId"]
    status = use_client(features, "get_status", instance_id, show_history=True, show_history_output=True)[
        "returned"
    ]
    assert (status["instanceId"], status["output"]) == (instance_id, 104)


def test_events_need_json(features: Any) -> None:
    """An event with another content type, or with broken JSON, gets 400 with the extension's message."""
    instance_id = features.start_instance("race", 3600)
    path = f"instances/{instance_id}/raiseEvent/approval"
    other = features.post(path, data="x", headers={"Content-Type": "text/plain"})
    assert (other.status_code, other.json()["Message"]) == (
        400,
        "Only application/json request content is supported",
    )
    broken = features.post(path, data="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["Message"]) == (400, "Invalid JSON content")
    features.post(f"instances/{instance_id}/terminate")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "entities/x"),
        ("POST", "makeprimary"),
        ("PUT", "instances/x"),
        ("POST", "instances/x/y/z"),
    ],
)
def test_unknown_routes_are_404_and_empty(features: Any, method: str, path: str) -> None:
    """Whatever the management API does not know is 404 with an empty body."""
    answer = requests.request(method, f"{features.durable}/{path}", timeout=60)
    assert (answer.status_code, answer.content) == (404, b"")


def test_trailing_slash_and_case_do_not_matter(features: Any) -> None:
    """Paths and function names are matched without case, and a trailing slash is ignored."""
    answer = requests.post(
        f"{features.url}/Runtime/WebHooks/DurableTask/Orchestrators/CHAIN/", json=3, timeout=60
    )
    assert answer.status_code == 202
    assert features.wait_for(answer.json()["id"])["name"] == "chain"
