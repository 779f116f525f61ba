"""The housekeeping timer: every night it removes what is old, and Durable's history of what has ended, in
small windows of time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.app_settings import read_app_settings
from triggers.bodies import NoBody
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread

blueprint = df.Blueprint()
HISTORY_DAYS = 14
"""How long Durable keeps the history of what has ended; the records of runs stay in the store for good."""

_WINDOW = timedelta(hours=6)
_LOOKS_BACK = timedelta(days=14)  # nights that may have been missed
_log = logging.getLogger("fleetscore.housekeeping")


@blueprint.timer_trigger(arg_name="timer", schedule=read_app_settings().housekeeping_schedule)
@blueprint.durable_client_input(client_name="client")
async def housekeeping_timer(timer: func.TimerRequest, client: str) -> None:
    """Sweep the store, then purge history."""
    from fleetscore.operations.housekeeping import sweep
    from fleetscore.operations.ticks import record_tick

    swept = await run_in_thread(sweep, app_store(), datetime.now(UTC))
    _log.info("swept %s", ", ".join(f"{n} of kind {kind}" for kind, n in swept.files.items()) or "nothing")
    for remark in swept.remarks:
        _log.warning("%s", remark)
    _log.info("purged the history of %d instances", await purge_history(client, datetime.now(UTC)))
    await run_in_thread(record_tick, app_store(), "housekeeping_timer", datetime.now(UTC))


@blueprint.route(route="housekeeping", methods=["GET"])
@handle_errors
async def preview_housekeeping(req: func.HttpRequest) -> func.HttpResponse:
    """What housekeeping would remove now."""
    from fleetscore.operations.housekeeping import sweep

    return answer_json(await run_in_thread(sweep, app_store(), datetime.now(UTC), dry_run=True))


@blueprint.route(route="housekeeping", methods=["POST"])
@handle_errors
async def keep_house(req: func.HttpRequest) -> func.HttpResponse:
    """Remove now what the timer would remove tonight; Durable's history is left to the timer."""
    from fleetscore.operations.housekeeping import sweep

    read_body(req, NoBody)
    return answer_json(await run_in_thread(sweep, app_store(), datetime.now(UTC)))


async def purge_history(client: Any, now: datetime) -> int:
    """Purge what ended and was created more than HISTORY_DAYS ago, six hours' worth at a time: purging much
    at once times out.
    """
    ended = [
        df.OrchestrationRuntimeStatus(name) for name in ("Completed", "Failed", "Terminated", "Canceled")
    ]
    purged = 0
    for first, stop in purge_windows(now):
        result = await client.purge_instance_history_by(first, stop, ended)
        purged += result.instances_deleted
    return purged


def purge_windows(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The spans of creation time to purge, oldest first, without a gap."""
    stop = now - timedelta(days=HISTORY_DAYS)
    first = stop - _LOOKS_BACK
    while first < stop:
        yield first, min(first + _WINDOW, stop)
        first += _WINDOW
