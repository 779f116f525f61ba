"""The runs API: start, follow, cancel and retry runs, train models, backfill windows."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.errors import InputError, MissingBlobError
from triggers.bodies import BackfillBody, CancelBody, RetryBody, RunBody, TrainingBody
from triggers.callers import requester
from triggers.completions import wake_offload
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread
from triggers.rescue import rescue_windows
from triggers.starting import start_submitted
from triggers.wait_tokens import is_valid, make_token

blueprint = df.Blueprint()


@blueprint.route(route="runs", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def start_run(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Start the run of a window; 202 if it is started now, 200 with the run that is under way or
    published.
    """
    from fleetscore.pipeline.submit import submit_run

    body = read_body(req, RunBody)
    submission = await run_in_thread(
        submit_run, app_store(), body.workload, body.window, datetime.now(UTC), requester("http"),
        partitions=body.only, models=body.models, force=body.force,
    )  # fmt: skip
    return await answer_started(req, client, submission, body.callBackUri)


@blueprint.route(route="runs", methods=["GET"])
@handle_errors
async def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """The newest runs, newest first; `next` is the run to ask `before` for the page after this one, "" on
    the last.
    """
    from fleetscore.registry import find_workload
    from fleetscore.runs.index import list_page

    workload = req.params.get("workload", "")
    if workload:
        await run_in_thread(find_workload, app_store(), workload)
    limit = read_number(req, "limit", 100, 1, 10_000)
    return answer_json(
        await run_in_thread(list_page, app_store(), workload, limit, req.params.get("before", ""))
    )


@blueprint.route(route="runs/{id}", methods=["GET"])
@handle_errors
async def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """How a run stands."""
    from fleetscore.runs.status import describe_run

    return answer_json(await run_in_thread(describe_run, app_store(), run_in_route(req), datetime.now(UTC)))


@blueprint.route(route="runs/{id}/cancel", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def cancel_run(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Ask a run to stop, or close its record by force."""
    from fleetscore.pipeline.submit import cancel_run as submit_cancellation
    from fleetscore.pipeline.submit import close_by_force
    from fleetscore.runs.status import describe_run

    run, body = run_in_route(req), read_body(req, CancelBody)
    if body.force:
        await run_in_thread(close_by_force, app_store(), run, requester("http"), datetime.now(UTC))
    else:
        await run_in_thread(submit_cancellation, app_store(), run, requester("http"))
    await wake_offload(client, run, "cancelled")
    return answer_json(await run_in_thread(describe_run, app_store(), run, datetime.now(UTC)), 202)


@blueprint.route(route="runs/{id}/retry", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def retry_run(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Score a window's failed or missing partitions again, as a new round."""
    from fleetscore.pipeline.submit import submit_retry

    body = read_body(req, RetryBody)
    check_one_of(body.only, body.partitions)
    submission = await run_in_thread(
        submit_retry, app_store(), run_in_route(req), datetime.now(UTC), requester("http"),
        only=read_only(body.only or "failed"), partitions=body.partitions, models=body.models,
    )  # fmt: skip
    return await answer_started(req, client, submission, body.callBackUri)


@blueprint.route(route="runs/{id}/partitions/{*partition}", methods=["GET"])
@handle_errors
async def explain_partition(req: func.HttpRequest) -> func.HttpResponse:
    """The story of one partition of a run."""
    from fleetscore.operations.explain import explain

    return answer_json(await run_in_thread(explain, app_store(), run_in_route(req), partition_in_route(req)))


@blueprint.route(route="training", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def start_training(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Train a new model set on the windows [from, to)."""
    from fleetscore.pipeline.submit import submit_training

    body = read_body(req, TrainingBody)
    submission = await run_in_thread(
        submit_training,
        app_store(),
        body.workload,
        body.first,
        body.end,
        datetime.now(UTC),
        requester("http"),
        pin=body.pin,
    )
    return await answer_started(req, client, submission, body.callBackUri)


@blueprint.route(route="backfills", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def start_backfill(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """Run the windows [from, to), a few at a time."""
    from fleetscore.operations.due.backfills import check_backfill_due, list_windows, preview_backfill
    from fleetscore.pipeline.submit import check_models

    body = read_body(req, BackfillBody)
    keys = await run_in_thread(
        partial(
            list_windows, app_store(), body.workload, body.first, body.end, newest_first=body.newest_first
        )
    )
    check_one_of(body.only, body.partitions)
    only = read_only(body.only or "missing")
    await run_in_thread(check_models, app_store(), body.workload, body.models)
    if body.dry_run:
        return answer_json(
            await run_in_thread(preview_backfill, app_store(), body.workload, keys, only, body.partitions)
        )
    if not body.force:
        await run_in_thread(check_backfill_due, app_store(), body.workload, keys, datetime.now(UTC))
    backfill = uuid4().hex
    await rescue_windows(client, body.workload, keys)
    payload = await run_in_thread(_backfill_input, body, keys, str(only), backfill)
    await client.start_new("backfill", instance_id=backfill, client_input=payload)
    links = {"status": _url(req, f"backfills/{backfill}")}
    return answer_json(
        {"id": backfill, "windows": len(keys), "links": links}, 202, {"Location": links["status"]}
    )


def _backfill_input(body: BackfillBody, keys: list[str], only: str, backfill: str) -> dict[str, Any]:
    """The input of a backfill's orchestration, small whatever the number of its windows and partitions."""
    from fleetscore.runs.orchestration_inputs import keep_names
    from fleetscore.windows import span_of

    given = {
        "workload": body.workload,
        "span": asdict(span_of(keys)),
        "only": only,
        "max_parallel": body.max_parallel,
        "models": body.models,
    }
    return given | keep_names(app_store(), body.workload, backfill, body.partitions)


@blueprint.route(route="backfills/{id}", methods=["GET"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def show_backfill(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """How a backfill stands: each window with its run and state."""
    from triggers.backfill_status import describe_backfill

    status = await client.get_status(checked_id(req, "backfill"), show_input=True)
    if not status or not status.instance_id or status.name != "backfill":
        raise MissingBlobError(
            f"There is no backfill {req.route_params['id']!r}.", code="no_backfill", field="id"
        )
    return answer_json(await run_in_thread(describe_backfill, app_store(), status))


@blueprint.route(route="runs/{id}/wait", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@handle_errors
async def wait_for_run(req: func.HttpRequest) -> func.HttpResponse:
    """202 while the run is under way; then 200 with its status, or 500 with the cause where nothing was
    published.

    The token in the address stands in for a key, so that pollers that send no headers can follow it.
    """
    from fleetscore.runs.status import describe_run

    run = run_in_route(req)
    if not await run_in_thread(is_valid, app_store(), run, req.params.get("token", "")):
        error = {"code": "bad_token", "message": "The token is not this run's.", "field": "token"}
        return answer_json(
            {"error": {**error, "fix": "Use the address that the start of the run answered."}}, 401
        )
    status = await run_in_thread(describe_run, app_store(), run, datetime.now(UTC))
    if status.record.ended is None:
        headers = {"Location": await _wait_url(req, run), "Retry-After": str(_retry_after_s(status.eta_s))}
        return answer_json(status, 202, headers)
    return answer_json(status, 500 if status.verdict == "unpublished" else 200)


async def answer_started(
    req: func.HttpRequest, client: Any, submission: Any, callback: str = ""
) -> func.HttpResponse:
    """Start the run's orchestration where that is to be done, and say where to wait for it."""
    run = submission.request.run
    if callback:
        await _remember_callback(run, callback)
    await start_submitted(client, submission)
    links = {
        name: _url(req, f"runs/{run}{tail}")
        for name, tail in (("status", ""), ("cancel", "/cancel"), ("retry", "/retry"))
    }
    links["wait"] = await _wait_url(req, run)
    verdict = "" if submission.fresh else await run_in_thread(_verdict_of, run)
    answer = {
        "id": run, "state": submission.state, "created": submission.fresh, "verdict": verdict, "links": links,
    }  # fmt: skip
    headers = {"Location": links["wait"], "Retry-After": str(_retry_after_s(None))}
    return answer_json(answer, 202 if submission.fresh else 200, headers)


def _verdict_of(run: str) -> str:
    """How the run ended, for callers that ask for a window again; "" while it is under way."""
    from fleetscore.runs.run_records import read_run
    from fleetscore.runs.status import judge

    record = read_run(app_store(), run)
    return judge(record) if record.ended else ""


async def _remember_callback(run: str, address: str) -> None:
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.outbound.callbacks import request_callback

    await run_in_thread(request_callback, app_store(), read_app_settings(), run, address, datetime.now(UTC))


async def _wait_url(req: func.HttpRequest, run: str) -> str:
    """The address that can be polled without a key."""
    token = await run_in_thread(make_token, app_store(), run)
    return f"{req.url.partition('/api/')[0]}/api/runs/{run}/wait?token={token}"


def _retry_after_s(eta_s: float | None) -> int:
    """How long a poller should wait: a tenth of what is left, between 2 and 60 seconds."""
    return 5 if eta_s is None else int(min(60, max(2, eta_s / 10)))


def _url(req: func.HttpRequest, tail: str) -> str:
    """An address of this API on the host that the request came to, for callers who identify themselves as
    this one did.
    """
    base, _, path = req.url.partition("/api/")
    return f"{base}/api/{'entra/' if path.startswith('entra/') else ''}{tail}"


def run_in_route(req: func.HttpRequest) -> str:
    """The run that the route names."""
    return checked_id(req, "run")


def partition_in_route(req: func.HttpRequest) -> str:
    """The partition that the route names; MissingBlobError for none."""
    partition = str(req.route_params.get("partition") or "")
    if not partition:
        raise MissingBlobError("The address names no partition.", code="no_partition", field="partition")
    return partition


def checked_id(req: func.HttpRequest, kind: str) -> str:
    """The id in the route; what cannot be an id does not exist, and never becomes part of a path."""
    text = str(req.route_params["id"])
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text):
        raise MissingBlobError(f"There is no {kind} {text!r}.", code=f"no_{kind}", field="id")
    return text


def read_only(text: str) -> Any:
    """Which partitions are meant; InputError for anything but failed, missing or all."""
    from fleetscore.records import Only

    if text not in set(Only):
        raise InputError(f"only is {text!r}.", fix=f"Expected one of {', '.join(Only)}.", field="only")
    return Only(text)


def check_one_of(only: str, partitions: tuple[str, ...]) -> None:
    """InputError where both are given: of named partitions exactly these are scored."""
    if only and partitions:
        raise InputError(
            "Both only and partitions were given.",
            fix="Give one of them: of named partitions exactly these are scored.",
            field="only",
        )


def read_number(req: func.HttpRequest, name: str, default: int, least: int, most: int) -> int:
    """The number in the query, or the default; InputError when it is none or out of range."""
    text = req.params.get(name, "")
    if text == "":
        return default
    if len(text) > 18 or not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise InputError(
            f"{name} is {text[:40]!r}.", fix=f"Expected a number from {least} to {most}.", field=name
        )
    return int(text)
