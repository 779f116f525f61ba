"""Bodies, queries and headers as clients write them by hand: refused, accepted, and read back."""

from typing import Any

import pytest
import requests

from batch_requests import Client, make_job, make_pool, until
from devbatch.process import ServiceProcess

MACHINE = {
    "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}
POOL = {"id": "by-hand", "vmSize": "Standard_D4ads_v5", "virtualMachineConfiguration": MACHINE}
JOB = {"id": "by-hand", "poolInfo": {"poolId": "p"}}
TASK = {"id": "by-hand", "commandLine": "true"}


def send(
    service: ServiceProcess, method: str, path: str, body: Any = None, **options: Any
) -> requests.Response:
    """The answer to a request that no client checked before it was sent."""
    separator = "&" if "?" in path else "?"
    url = f"{service.url}{path}{separator}api-version=2025-06-01"
    headers = {"Authorization": "Bearer x", **options.pop("headers", {})}
    return requests.request(
        method, url, json=body, headers=headers, verify=service.ca_path, timeout=5, **options
    )


@pytest.fixture
def job(client: Client) -> str:
    """A job whose tasks wait."""
    return make_job(client, "no-such-pool")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/pools", POOL | {"bogus": 1}, "bogus"),
        ("/pools", POOL | {"vmSizee": "x"}, "vmSizee"),
        ("/pools", POOL | {"targetNodeCommunicationMode": "simplified"}, "targetNodeCommunicationMode"),
        ("/pools", POOL | {"certificateReferences": []}, "certificateReferences"),
        ("/pools", POOL | {"resourceTags": {"a": "b"}}, "resourceTags"),
        ("/pools", POOL | {"cloudServiceConfiguration": {"osFamily": "5"}}, "cloudServiceConfiguration"),
        ("/pools", POOL | {"virtualMachineConfiguration": MACHINE | {"disk": 1}}, "disk"),
        ("/jobs", JOB | {"Priority": 1}, "Priority"),
        ("/jobs", JOB | {"constraints": {"retries": 1}}, "retries"),
        ("/jobs/{job}/tasks", TASK | {"retries": 3}, "retries"),
        ("/jobs/{job}/tasks", TASK | {"containersettings": {"imageName": "x"}}, "containersettings"),
        ("/jobs/{job}/tasks", TASK | {"authenticationTokenSettings": {"access": ["job"]}}, "authentication"),
        ("/jobs/{job}/tasks", TASK | {"environmentSettings": [{"name": "a", "valeu": "b"}]}, "valeu"),
        ("/jobs/{job}/disable", {"disableTasks": "wait", "why": "x"}, "why"),
        ("/jobs/{job}/terminate", {"reason": "x"}, "reason"),
    ],
)
def test_unknown_and_removed_properties_are_refused(
    service: ServiceProcess, job: str, path: str, body: dict[str, Any], named: str
) -> None:
    """A property that the type does not have, at any depth, is 400 InvalidRequestBody and named."""
    reply = send(service, "POST", path.format(job=job), body)
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidRequestBody")
    assert named in reply.json()["values"][0]["value"]


@pytest.mark.parametrize("path", ["/jobs/{job}", "/pools/{pool}"])
def test_changes_of_unknown_properties_are_refused(
    service: ServiceProcess, client: Client, job: str, path: str
) -> None:
    """A PATCH with a property that cannot be changed is 400 InvalidRequestBody, and nothing is changed."""
    pool = make_pool(client)
    reply = send(service, "PATCH", path.format(job=job, pool=pool), {"metadata": [], "id": "other"})
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidRequestBody")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/pools", POOL | {"networkConfiguration": {"subnetId": "/nowhere"}}, "networkConfiguration"),
        ("/pools", POOL | {"userAccounts": [{"name": "a", "password": "b"}]}, "userAccounts"),
        ("/pools", POOL | {"enableInterNodeCommunication": True}, "enableInterNodeCommunication"),
        ("/jobs", JOB | {"networkConfiguration": {"subnetId": "/nowhere"}}, "networkConfiguration"),
        ("/jobs/{job}/tasks", TASK | {"affinityInfo": {"affinityId": "TVM:x"}}, "affinityInfo"),
        ("/jobs/{job}/tasks", TASK | {"userIdentity": {"username": "me"}}, "userIdentity.username"),
    ],
)
def test_properties_that_are_not_carried_out_are_refused_by_name(
    service: ServiceProcess, job: str, path: str, body: dict[str, Any], named: str
) -> None:
    """A property that exists and is not carried out is 400 UnsupportedByLocalService, never ignored."""
    reply = send(service, "POST", path.format(job=job), body)
    assert (reply.status_code, reply.json()["code"]) == (400, "UnsupportedByLocalService")
    assert named in reply.json()["message"]["value"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"virtualMachineConfiguration": None}, "MissingRequiredProperty"),
        ({"virtualMachineConfiguration": {"imageReference": {}}}, "MissingRequiredProperty"),
        (
            {"virtualMachineConfiguration": MACHINE | {"nodeAgentSKUId": "batch.node.ubuntu 20.04"}},
            "InvalidPropertyValue",
        ),
        ({"vmSize": "small"}, "InvalidPropertyValue"),
    ],
)
def test_machines_that_cannot_be_had_are_refused(
    service: ServiceProcess, changes: dict[str, Any], code: str
) -> None:
    """A pool without a machine configuration, with a retired node agent or a size of no known form is 400."""
    reply = send(service, "POST", "/pools", POOL | changes)
    assert (reply.status_code, reply.json()["code"]) == (400, code)


def test_numbers_may_be_written_as_text(service: ServiceProcess, client: Client, job: str) -> None:
    """A whole number written as text is taken and read back as a number; other text is still refused."""
    assert send(service, "PATCH", f"/jobs/{job}", {"priority": "5"}).status_code == 200
    assert send(service, "GET", f"/jobs/{job}").json()["priority"] == 5
    body = TASK | {"requiredSlots": "2", "constraints": {"maxTaskRetryCount": "-1"}}
    assert send(service, "POST", f"/jobs/{job}/tasks", body).status_code == 201
    found = client.get_task(job, "by-hand")
    assert (found.required_slots, found.constraints.max_task_retry_count) == (2, -1)
    pool = make_pool(client)
    assert send(service, "POST", f"/pools/{pool}/resize", {"targetDedicatedNodes": "1"}).status_code == 202
    assert client.get_pool(pool).target_dedicated_nodes == 1
    refused = send(service, "PATCH", f"/jobs/{job}", {"priority": "high"})
    assert (refused.status_code, refused.json()["code"]) == (400, "InvalidPropertyValue")


def test_null_is_the_same_as_absent(service: ServiceProcess, client: Client, job: str) -> None:
    """A property that is null takes its default and is not echoed."""
    body = TASK | {
        "constraints": None,
        "environmentSettings": None,
        "outputFiles": None,
        "displayName": "shown",
    }
    assert send(service, "POST", f"/jobs/{job}/tasks", body).status_code == 201
    found = send(service, "GET", f"/jobs/{job}/tasks/by-hand").json()
    assert found["displayName"] == "shown"
    assert "environmentSettings" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?$filter=colour eq 'x'",
        "/jobs?$select=id,colour",
        "/jobs/{job}?$select=colour",
        "/jobs/{job}/tasks?$filter=executionInfo/exitCod eq 0",
        "/jobs/{job}/tasks?$select=isDedicated",
        "/pools?$filter=startswith(colour,'x')",
        "/pools/{pool}/nodes?$filter=colour eq 'x'",
        "/nodecounts?$filter=pool eq 'x'",
    ],
)
def test_filters_and_selections_of_unknown_fields_are_refused(
    service: ServiceProcess, client: Client, job: str, path: str
) -> None:
    """A field that the listed resources do not have is 400 InvalidQueryParameterValue, not an empty list."""
    reply = send(service, "GET", path.format(job=job, pool=make_pool(client)))
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidQueryParameterValue")


@pytest.mark.parametrize(
    ("query", "code", "named"),
    [
        ("$orderby=id", "UnsupportedQueryParameter", "$orderby"),
        ("$top=1", "UnsupportedQueryParameter", "$top"),
        ("maxresult=1", "UnsupportedQueryParameter", "maxresult"),
        ("maxresults=1_0", "InvalidQueryParameterValue", "maxresults"),
        ("maxresults=0", "InvalidQueryParameterValue", "maxresults"),
        ("$skiptoken=next", "InvalidQueryParameterValue", "$skiptoken"),
    ],
)
def test_query_parameters_that_cannot_act_are_refused_by_name(
    service: ServiceProcess, query: str, code: str, named: str
) -> None:
    """A parameter that is none, or has a value that it cannot have, is 400 with its name; the whole list would hide a typo."""
    reply = send(service, "GET", f"/jobs?{query}")
    values = {each["key"]: each["value"] for each in reply.json().get("values", [])}
    assert (reply.status_code, reply.json().get("code")) == (400, code)
    assert values["QueryParameterName"] == named


def test_every_field_of_an_answer_may_be_selected(service: ServiceProcess, client: Client, job: str) -> None:
    """Whatever a resource answers can be selected and filtered on."""
    pool = make_pool(client, target_dedicated_nodes=1)
    send(service, "POST", f"/jobs/{job}/tasks", TASK)
    for path in (f"/jobs/{job}", f"/jobs/{job}/tasks/by-hand", f"/pools/{pool}"):
        names = [name for name in send(service, "GET", path).json() if not name.startswith("odata")]
        selected = send(service, "GET", f"{path}?$select={','.join(names)}").json()
        assert [name for name in selected if not name.startswith("odata")] == names
    node = until(lambda: booted_node(service, pool))
    assert node["nodeAgentInfo"].keys() == {"version", "lastUpdateTime"}
    assert send(service, "GET", f"/pools/{pool}/nodes?$select={','.join(node)}").status_code == 200


def booted_node(service: ServiceProcess, pool: str) -> dict[str, Any] | None:
    """The only node of a pool, once its agent runs."""
    (node,) = send(service, "GET", f"/pools/{pool}/nodes").json()["value"]
    return node if "nodeAgentInfo" in node else None


def test_client_request_id_is_echoed_when_asked_for(service: ServiceProcess) -> None:
    """`return-client-request-id: true` brings the request's own id back, in refusals too."""
    headers = {"client-request-id": "my-id", "return-client-request-id": "true"}
    assert send(service, "GET", "/jobs", headers=headers).headers["client-request-id"] == "my-id"
    assert send(service, "GET", "/jobs/none", headers=headers).headers["client-request-id"] == "my-id"
    quiet = send(service, "GET", "/jobs", headers={"client-request-id": "my-id"})
    assert "client-request-id" not in quiet.headers
