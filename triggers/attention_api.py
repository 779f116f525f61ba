"""The attention API: what needs attention, and mutes of what is known."""

from __future__ import annotations

from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.bodies import MuteBody, RetireBody, UnmuteBody
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread

blueprint = df.Blueprint()


@blueprint.route(route="attention", methods=["GET"])
@handle_errors
async def list_attention(req: func.HttpRequest) -> func.HttpResponse:
    """What needs attention, of each workload that has something."""
    from fleetscore.operations.attention.overview import read_attention

    workload = req.params.get("workload", "")
    return answer_json(await run_in_thread(read_attention, app_store(), workload, datetime.now(UTC)))


@blueprint.route(route="anomalies", methods=["GET"])
@handle_errors
async def list_anomalies(req: func.HttpRequest) -> func.HttpResponse:
    """The incidents of published windows, open ones first, then the most severe."""
    from fleetscore.operations.anomalies import list_anomalies as list_incidents

    workload, since, device = (req.params.get(name, "") for name in ("workload", "since", "device"))
    return answer_json(
        await run_in_thread(
            list_incidents, app_store(), datetime.now(UTC), workload=workload, since=since, device=device
        )
    )


@blueprint.route(route="attention/{workload}/mutes", methods=["GET"])
@handle_errors
async def list_mutes(req: func.HttpRequest) -> func.HttpResponse:
    """The mutes in force, oldest first."""
    from fleetscore.operations.attention.mutes import list_mutes as list_in_force

    return answer_json(await run_in_thread(list_in_force, app_store(), _workload(req), datetime.now(UTC)))


@blueprint.route(route="attention/{workload}/mutes", methods=["POST"])
@handle_errors
async def mute_attention(req: func.HttpRequest) -> func.HttpResponse:
    """Ask for no attention to a cause, a partition, both or an incident until a set time."""
    from fleetscore.operations.normal_incidents import request_mute

    workload, body = _workload(req), read_body(req, MuteBody)
    return answer_json(
        await run_in_thread(
            request_mute, app_store(), workload, why=body.why, until=body.until, now=datetime.now(UTC),
            requested_by=body.requested_by, partition=body.partition, cause=body.cause, normal=body.normal,
        )
    )  # fmt: skip


@blueprint.route(route="attention/{workload}/mutes/{id}/end", methods=["POST"])
@handle_errors
async def unmute_attention(req: func.HttpRequest) -> func.HttpResponse:
    """End a mute before its time."""
    from fleetscore.operations.attention.mutes import unmute

    workload, mute, body = _workload(req), str(req.route_params["id"]), read_body(req, UnmuteBody)
    return answer_json(
        await run_in_thread(
            unmute,
            app_store(),
            workload,
            mute,
            why=body.why,
            now=datetime.now(UTC),
            requested_by=body.requested_by,
        )
    )


@blueprint.route(route="attention/{workload}/retired", methods=["GET"])
@handle_errors
async def list_retired(req: func.HttpRequest) -> func.HttpResponse:
    """The partitions that are retired."""
    from fleetscore.runs.retirements import list_retired as list_them

    return answer_json(await run_in_thread(list_them, app_store(), _workload(req)))


@blueprint.route(route="attention/{workload}/retired", methods=["POST"])
@handle_errors
async def retire_partition(req: func.HttpRequest) -> func.HttpResponse:
    """Expect a partition no more, or again."""
    from fleetscore.operations.retiring import retire_partition as retire

    workload, body = _workload(req), read_body(req, RetireBody)
    return answer_json(
        await run_in_thread(
            retire, app_store(), workload, body.partition, why=body.why, undo=body.undo, now=datetime.now(UTC),
            requested_by=body.requested_by,
        )
    )  # fmt: skip


def _workload(req: func.HttpRequest) -> str:
    from fleetscore.operations.known_workloads import find_named_workload

    return find_named_workload(app_store(), str(req.route_params["workload"])).name
