"""The timers: each tick starts every window that is due and was never run, so a missed tick heals itself."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.app_settings import read_app_settings
from triggers.http_answers import off_loop

blueprint = df.Blueprint()
_app = read_app_settings()
_log = logging.getLogger("fleetscore.schedules")


@blueprint.timer_trigger(arg_name="timer", schedule=_app.sensor_anomaly_schedule)
@blueprint.durable_client_input(client_name="client")
async def sensor_anomaly_timer(timer: func.TimerRequest, client: str) -> None:
    """Start due hours of sensor readings."""
    await start_due_windows("sensor_anomaly", client)


@blueprint.timer_trigger(arg_name="timer", schedule=_app.store_sales_schedule)
@blueprint.durable_client_input(client_name="client")
async def store_sales_timer(timer: func.TimerRequest, client: str) -> None:
    """Start due weeks of sales."""
    await start_due_windows("store_sales", client)


@blueprint.timer_trigger(arg_name="timer", schedule=_app.server_load_schedule)
@blueprint.durable_client_input(client_name="client")
async def server_load_timer(timer: func.TimerRequest, client: str) -> None:
    """Start due days of server logs."""
    await start_due_windows("server_load", client)


async def start_due_windows(workload: str, client: Any) -> list[str]:
    """Start the run of every due window; gives the runs that were started."""
    from fleetscore.operations.due import ask_due_windows
    from fleetscore.records import RunState, to_plain

    started = []
    for asked in await off_loop(ask_due_windows, app_store(), workload, datetime.now(UTC)):
        run = asked.request.run
        status = None if asked.fresh else await client.get_status(run)
        orphaned = asked.state is RunState.REQUESTED and not (status and status.instance_id)
        if asked.fresh or orphaned:
            await client.start_new("run", instance_id=run, client_input=to_plain(asked.request))
            started.append(run)
    _log.info("%s: started %s", workload, ", ".join(started) or "nothing; no window is due")
    return started
