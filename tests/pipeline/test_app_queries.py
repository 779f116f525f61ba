"""Query parameters of the app's endpoints: what one does not have is refused, what it has and what keys and pollers add is taken."""

import asyncio
import json
import re
from urllib.parse import urlencode

import azure.functions as func
import pytest

from fleetscore.errors import InputError
from triggers.api_document import describe_api
from triggers.blueprints import blueprints
from triggers.endpoints import Endpoint, find_endpoint
from triggers.queries import _known_parameters, check_query

PARAMETERS = sorted(_known_parameters().items())


def request(method: str, **query: str) -> func.HttpRequest:
    return func.HttpRequest(method, f"http://app/api/x?{urlencode(query)}", params=query, body=b"")


async def answered(endpoint: Endpoint, req: func.HttpRequest) -> func.HttpResponse:
    return await endpoint.function(req=req)


@pytest.mark.parametrize(("endpoint", "names"), PARAMETERS, ids=[name for name, _ in PARAMETERS])
def test_an_endpoint_takes_its_own_parameters_alone(endpoint: str, names: tuple[str, ...]) -> None:
    """Each endpoint takes those of the OpenAPI document, and those of keys and pollers; any other is named, with those that exist."""
    added = {"code": "k", "clientId": "default", "api-version": "2018-11-01"}
    check_query(request("GET", **dict.fromkeys(names, "1"), **added), endpoint)
    with pytest.raises(InputError) as refused:
        check_query(request("GET", **added, columns="nope"), endpoint)
    assert refused.value.field == "columns"
    assert all(name in refused.value.message for name in ("columns", *names))


def test_a_request_with_an_unknown_parameter_is_answered_with_400() -> None:
    """`?limit=NaN` of an endpoint without `limit` was ignored."""
    found = find_endpoint("GET", "anomalies")
    assert found is not None
    answer = asyncio.run(answered(found[0], request("GET", limit="NaN")))
    error = json.loads(answer.get_body())["error"]
    assert (answer.status_code, error["field"], error["code"]) == (400, "limit", "bad_input")
    assert "workload, since, device" in error["message"]


def test_every_documented_endpoint_is_checked_or_takes_anything() -> None:
    """Only the dashboard, the health and the wait address take parameters that the document does not name."""
    document = describe_api()["paths"]
    documented = sum(len(methods) for methods in document.values())
    assert documented - len(_known_parameters()) == 3
    for function in ("dashboard", "show_health", "wait_for_run"):
        check_query(request("GET", columns="nope"), function)
    assert "400" not in document["/health"]["get"]["responses"]
    assert all(
        "400" in methods[method]["responses"]
        for path, methods in document.items()
        for method in methods
        if path not in ("/health", "/runs/{id}/wait")
    )


def test_an_operation_is_named_as_the_function_that_carries_it_out() -> None:
    """The document's `operationId`, by which a generated client names its calls, is the function behind path and method."""
    functions = {
        (
            function.get_trigger().route,
            str(getattr(method, "value", method)).lower(),
        ): function.get_function_name()
        for blueprint in blueprints
        for function in (builder._function for builder in blueprint._function_builders)
        if function.get_trigger().type == "httpTrigger"
        for method in function.get_trigger().methods
    }
    for path, methods in describe_api()["paths"].items():
        for method, operation in methods.items():
            routes = [
                path[1:],
                re.sub(r"\{(\w+)\}$", r"{*\1}", path[1:]),
            ]  # a last parameter may hold slashes
            assert operation["operationId"] in [functions.get((route, method)) for route in routes]
