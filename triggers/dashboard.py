"""The dashboard: one page of HTML at GET /api/dashboard, or its data as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.callers import requester
from triggers.http_answers import answer_error, answer_json, run_in_thread, status_of

blueprint = df.Blueprint()


@blueprint.route(route="dashboard", methods=["GET"])
async def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """The view that the parameters name; an error is a page too, unless JSON was requested."""
    return await run_in_thread(_answer, req)


def _answer(req: func.HttpRequest) -> func.HttpResponse:
    from fleetscore.dashboard.links import Links
    from fleetscore.dashboard.page import render_page
    from fleetscore.dashboard.views import ViewRequest, read_view, read_view_request, show_error
    from fleetscore.errors import FleetscoreError

    now = datetime.now(UTC)
    request = ViewRequest({"code": req.params.get("code", ""), "format": req.params.get("format", "")})
    try:
        request = read_view_request(parse_qsl(urlsplit(req.url).query, keep_blank_values=True))
        data, body = read_view(app_store(), request, now)
    except FleetscoreError as error:
        if request.get("format") == "json":
            return answer_error(error)
        return _page(show_error(error, request, now), status_of(error))
    except Exception as error:
        return answer_error(error)
    if request.get("format") == "json":
        return answer_json(data)
    return _page(render_page(body, Links(request.get("code")), now), 200)


@blueprint.route(route="dashboard", methods=["POST"])
async def change_on_dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """Carry out what a form of the page asks for, a mute or its end, and show the page again; an error is a
    page too.
    """
    return await run_in_thread(_change, req)


def _change(req: func.HttpRequest) -> func.HttpResponse:
    from fleetscore.dashboard.forms import REQUESTED_BY, carry_out
    from fleetscore.dashboard.links import Links
    from fleetscore.dashboard.views import ViewRequest, show_error
    from fleetscore.errors import FleetscoreError, InputError

    now, code = datetime.now(UTC), req.params.get("code", "")
    try:
        if not _is_own_page(req):
            raise InputError(
                "The form comes from another site.", fix="Use the dashboard itself.", field="origin"
            )
        fields = dict(parse_qsl(req.get_body().decode(errors="replace"), keep_blank_values=True))
        workload = carry_out(app_store(), fields, now, requester(REQUESTED_BY))
    except FleetscoreError as error:
        return _page(show_error(error, ViewRequest({"code": code}), now), status_of(error))
    except Exception as error:
        return answer_error(error)
    return func.HttpResponse(status_code=303, headers={"Location": Links(code).workload(workload)})


def _is_own_page(req: func.HttpRequest) -> bool:
    """Whether a form was sent by a page of this app, as the browser says; programs say nothing, and have a
    key.
    """
    site, origin = req.headers.get("sec-fetch-site", ""), req.headers.get("origin", "")
    if site:
        return site in ("same-origin", "none")
    return origin in ("", "null") or urlsplit(origin).netloc == req.headers.get("host", "")


def _page(html: str, status: int) -> func.HttpResponse:
    from fleetscore.dashboard.page import security_headers

    return func.HttpResponse(
        html, status_code=status, headers=security_headers(), mimetype="text/html", charset="utf-8"
    )
