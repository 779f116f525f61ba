"""Runs whose orchestration was lost or never started: taken over or closed by the timers, and by requests
for their windows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from activities.store import app_store
from fleetscore.app_settings import read_app_settings
from triggers.http_answers import run_in_thread

if TYPE_CHECKING:
    from fleetscore.operations.watchdog import Rescue
    from fleetscore.records import RunRecord, RunRequest

_log = logging.getLogger("fleetscore.watchdog")


async def rescue_runs(client: Any) -> None:
    """See to all runs whose orchestration was lost or never started."""
    from fleetscore.operations.watchdog import list_open_runs

    now = datetime.now(UTC)
    for record in await run_in_thread(list_open_runs, app_store(), now):
        await rescue_run(client, record.request.run, now)


async def rescue_windows(client: Any, workload: str, windows: Sequence[str]) -> None:
    """The same for these windows only, also for runs that are too old for the timers."""
    from fleetscore.operations.watchdog import list_open_among

    now = datetime.now(UTC)
    for record in await run_in_thread(list_open_among, app_store(), workload, windows):
        await rescue_run(client, record.request.run, now)


async def rescue_run(client: Any, run: str, now: datetime) -> str:
    """See to one run; gives what was done, "" for nothing. What keeps from it is logged and costs no other
    run.
    """
    try:
        rescue, record = await _judge(client, run, now)
        if rescue is None:
            return ""
        _log.warning("%s: %s", run, rescue.reason)
        done = await _carry_out(client, record, rescue, now)
    except Exception as error:  # what the SDK raises for an answer of Durable has no type of its own
        _log.error("%s could not be seen to: %s", run, error, exc_info=error)
        return ""
    return rescue.do if done else ""


async def begin_run(client: Any, request: RunRequest, instance: str) -> bool:
    """Start the instance of the run's orchestration; False where another start of it came first."""
    from fleetscore.runs.orchestration_inputs import run_input

    try:
        await client.start_new("run", instance_id=instance, client_input=run_input(request))
    except Exception as error:  # the SDK has no type for Durable's refusal of a second start
        if not await is_known(client, instance):
            raise
        _log.info("%s was started by another at the same moment: %s", instance, error)
        return False
    return True


async def is_known(client: Any, instance: str) -> bool:
    """Whether Durable Functions has an orchestration of this id."""
    status = await client.get_status(instance)
    return bool(status and status.instance_id)


async def _judge(client: Any, run: str, now: datetime) -> tuple[Rescue | None, RunRecord]:
    """What is to be done about the run, and its record, read again once its orchestration is seen to have
    ended.
    """
    from fleetscore.operations.watchdog import find_last_step, judge_orchestration
    from fleetscore.records import FINAL
    from fleetscore.runs.run_records import read_run

    store = app_store()
    record = await run_in_thread(read_run, store, run)
    status, output, last_updated = await _status_of(client, record.instance)
    instance, record = record.instance, await run_in_thread(read_run, store, run)
    if record.state in FINAL or record.instance != instance:
        return None, record
    last_step = await run_in_thread(find_last_step, store, record, last_updated, now)
    return judge_orchestration(record, status, output, now, last_step), record


async def _carry_out(client: Any, record: RunRecord, rescue: Rescue, now: datetime) -> bool:
    """Do it; False where another did the same at the same moment."""
    from fleetscore.operations.metadata.lineage import hand_over_lineage
    from fleetscore.operations.notices.ended_runs import hand_over_ending_notices
    from fleetscore.operations.watchdog import close_run
    from fleetscore.runs.run_records import take_over
    from fleetscore.telemetry import count_window

    store, run = app_store(), record.request.run
    if rescue.do == "fail":
        closed = await run_in_thread(close_run, store, run, rescue.reason, now)
        await run_in_thread(hand_over_ending_notices, store, read_app_settings(), closed)
        await run_in_thread(hand_over_lineage, store, run, now)
        count_window(closed.request.workload, closed.request.purpose, closed.state)
        return True
    holder = record
    if rescue.do == "take_over":
        taken = await run_in_thread(take_over, store, run, record.instance, now)
        if taken is None:
            return False
        holder = taken
    return await begin_run(client, holder.request, holder.instance)


async def _status_of(client: Any, instance: str) -> tuple[str, str, datetime | None]:
    """Durable's word for the state of the orchestration, "" for none, what it ended with, and when it last
    changed.
    """
    status = await client.get_status(instance)
    if not status or not status.instance_id:
        return "", "", None
    changed: datetime | None = status.last_updated_time
    if changed is not None and changed.tzinfo is None:
        changed = changed.replace(tzinfo=UTC)
    output = status.output if isinstance(status.output, str) else json.dumps(status.output)
    return str(status.runtime_status.value), output[:500] if status.output else "", changed
