"""The timer: each minute it starts the windows of all workloads that their schedules call for, so a missed
tick heals itself.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.http_answers import run_in_thread
from triggers.starting import start_submitted

if TYPE_CHECKING:
    from fleetscore.pipeline.submit import Submission

blueprint = df.Blueprint()
_log = logging.getLogger("fleetscore.schedules")


@blueprint.timer_trigger(arg_name="timer", schedule="0 * * * * *")
@blueprint.durable_client_input(client_name="client")
async def start_due_windows(timer: func.TimerRequest, client: str) -> None:
    """Start the windows that are due, of every workload by its own schedule."""
    from fleetscore.operations.ticks import record_tick

    await start_runs(client)
    await run_in_thread(record_tick, app_store(), "start_due_windows", datetime.now(UTC))


async def start_runs(client: Any) -> list[str]:
    """Start the run of every due window; gives the runs that were started."""
    from fleetscore.operations.due.windows import submit_due

    submissions = await run_in_thread(submit_due, app_store(), datetime.now(UTC))
    started = [one.request.run for one in submissions if await _start_alone(client, one)]
    _log.info("started %s", ", ".join(started) or "nothing; no window is due")
    return started


async def _start_alone(client: Any, submission: Submission) -> bool:
    """Start a due window's run; an error is logged, costs no other window its start, and the watchdog starts
    the run.
    """
    try:
        return await start_submitted(client, submission)
    except Exception as error:  # what the SDK raises for an answer of Durable has no type of its own
        _log.error("%s could not be started: %s", submission.request.run, error, exc_info=error)
        return False
