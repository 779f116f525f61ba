"""The operations API: look again at what runs did, and at how the fleet is."""

from __future__ import annotations

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.http_answers import answer_json, off_loop, telling_errors
from triggers.runs_api import run_in_route

blueprint = df.Blueprint()


@blueprint.route(route="runs/{id}/replay/{*partition}", methods=["GET"])
@telling_errors
async def replay_partition(req: func.HttpRequest) -> func.HttpResponse:
    """Score one partition again, from the same bytes and with the same model version, and compare; writes nothing."""
    from fleetscore.replay import replay_partition as replay

    return answer_json(await off_loop(replay, app_store(), run_in_route(req), req.route_params["partition"]))


@blueprint.route(route="costs", methods=["GET"])
@telling_errors
async def list_costs(req: func.HttpRequest) -> func.HttpResponse:
    """What the workloads cost, month by month, newest first."""
    from fleetscore.costs import list_costs as list_months

    workload, since = req.params.get("workload", ""), req.params.get("since", "")
    return answer_json(await off_loop(list_months, app_store(), workload, since))
