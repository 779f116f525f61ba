"""The health endpoint: 503 with the reasons where something did not load or a timer is silent; it then
starts what is due itself.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.http_answers import answer_json, handle_errors, run_in_thread

blueprint = df.Blueprint()
STARTED = datetime.now(UTC)
PROBLEMS: list[str] = []
"""What did not load, as sentences; function_app.py adds to it."""

_log = logging.getLogger("fleetscore.health")


@blueprint.route(route="health", methods=["GET"])
@blueprint.durable_client_input(client_name="client")
@handle_errors
async def show_health(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """200 when the app does its work, else 503 with the reasons; a silent timer's work is done then."""
    return await answer_health(req, client)


async def answer_health(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    """What the endpoint answers, and does where a timer is silent."""
    from fleetscore.operations.ticks import judge_health, read_ticks

    now = datetime.now(UTC)
    ticks = await run_in_thread(read_ticks, app_store())
    health = judge_health(ticks, tuple(PROBLEMS), STARTED, now)
    if not health.healthy and not PROBLEMS:
        _log.error("unhealthy: %s", " ".join(health.problems))
        await _do_their_work(client)
    return answer_json(health, 200 if health.healthy else 503)


async def _do_their_work(client: Any) -> None:
    """Start what is due and rescue what is lost, as the silent timers would."""
    from triggers.rescue import rescue_runs
    from triggers.schedules import start_runs

    await start_runs(client)
    await rescue_runs(client)
