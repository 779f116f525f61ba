"""The app's endpoints for signed-in callers: every endpoint below /api/ that asks for a key stands below
/api/entra/ as well, where a signed-in identity with a role takes the place of the key.

Registered only where FLEETSCORE_AUTH is set. The host asks for no key here, so this is the one place that
decides; it passes nothing on before identity, origin and role are checked.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import azure.durable_functions as df
import azure.functions as func

from fleetscore.app_settings import read_app_settings
from fleetscore.errors import AccessError, FleetscoreError, MissingBlobError, SignInError
from triggers.callers import Caller, calling, check_role, identify
from triggers.endpoints import Endpoint, find_endpoint
from triggers.http_answers import answer_error, handle_errors, run_in_thread

PREFIX = "entra/"
LOGIN = "/.auth/login/aad"
_READING_POSTS = frozenset({"plans", "score/{workload}"})
"""Endpoints that take a body and change nothing."""

blueprint = df.Blueprint()


@blueprint.route(route="entra/{*path}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
@blueprint.generic_input_binding(arg_name="client", type="durableClient")
@handle_errors
async def serve_signed_in(req: func.HttpRequest, client: str) -> func.HttpResponse:
    """Answer as the endpoint of that path does, in the name of the signed-in caller."""
    try:
        caller = await run_in_thread(identify, req.headers, read_app_settings())
    except SignInError as error:
        return _ask_to_sign_in(req, error)
    path = _path_of(req)
    found = find_endpoint(str(req.method), path)
    if found is None:
        raise MissingBlobError(f"There is no endpoint {req.method} /api/{PREFIX}{path[:200]}.")
    endpoint, parameters = found
    changes = req.method != "GET" and endpoint.route not in _READING_POSTS
    _check_origin(req, caller)
    check_role(caller, changes=changes)
    with calling(caller):
        return await _call(endpoint, req, parameters, client)


async def _call(
    endpoint: Endpoint, req: func.HttpRequest, parameters: dict[str, str], client: str
) -> func.HttpResponse:
    named: dict[str, Any] = {
        "req": func.HttpRequest(
            req.method, req.url, headers=dict(req.headers), params=dict(req.params),
            route_params=parameters, body=req.get_body(),
        )
    }  # fmt: skip
    if endpoint.client:
        named[endpoint.client] = client
    answer: func.HttpResponse = await endpoint.function(**named)
    return answer


def _path_of(req: func.HttpRequest) -> str:
    """What follows the prefix in the address, as it was sent."""
    return str(urlsplit(req.url).path).partition(f"/api/{PREFIX}")[2]


def _ask_to_sign_in(req: func.HttpRequest, error: FleetscoreError) -> func.HttpResponse:
    """401; for a page that a browser opens, where App Service authentication stands in front, the way to sign
    in and back here.
    """
    is_page = req.method == "GET" and "text/html" in req.headers.get("accept", "")
    if is_page and read_app_settings().auth == "easyauth" and "authorization" not in req.headers:
        parts = urlsplit(req.url)
        here = f"/api/{PREFIX}{_path_of(req)}" + (f"?{parts.query}" if parts.query else "")
        address = f"{LOGIN}?post_login_redirect_uri={quote(here, safe='')}"
        return func.HttpResponse(status_code=302, headers={"Location": address, "Cache-Control": "no-store"})
    answer = answer_error(error)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _check_origin(req: func.HttpRequest, caller: Caller) -> None:
    """AccessError for a change that another site's page sends with the session of a browser: a session comes
    along with every request of the browser, a token does not.
    """
    if req.method == "GET" or caller.by == "token":
        return
    site, origin = req.headers.get("sec-fetch-site", ""), req.headers.get("origin", "")
    own = site == "same-origin" if site else urlsplit(origin).netloc == req.headers.get("host", "")
    if not own:
        raise AccessError(
            "The request comes from another site.",
            fix="Use the dashboard itself, or send a bearer token.",
            field="origin",
        )
