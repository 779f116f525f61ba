"""The scoring API: mini-batches answered at once with the pinned models."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.http_answers import answer_json, handle_errors, run_in_thread

blueprint = df.Blueprint()


@blueprint.route(route="score/{workload}", methods=["POST"])
@handle_errors
async def score_rows(req: func.HttpRequest) -> func.HttpResponse:
    """Answer the rows of a mini-batch, in order."""
    return answer_json(await run_in_thread(_answers, req))


def _answers(req: func.HttpRequest) -> dict[str, Any]:
    from fleetscore.pipeline.score_rows import answer_rows, read_rows

    rows = read_rows(req.get_body(), req.headers.get("content-type", "application/json"))
    return answer_rows(app_store(), str(req.route_params["workload"]), rows)
