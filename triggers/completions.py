"""The completion queue: each message wakes the orchestration that waits for its run's shards."""

from __future__ import annotations

import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.app_settings import read_app_settings
from triggers.http_answers import run_in_thread

blueprint = df.Blueprint()
_app = read_app_settings()
_log = logging.getLogger("fleetscore.completions")


async def wake_run(message: func.QueueMessage, client: str) -> None:
    """Raise the event that the run's offload waits for next; a message of a run that is over is dropped
    with a line in the log.
    """
    await raise_completion(message.get_body(), client)


async def raise_completion(body: bytes, client: Any) -> bool:
    """Whether an orchestration waited for the completion in `body`."""
    from fleetscore.batch.completions import read_completion

    completion = read_completion(body)
    woken = await wake_offload(client, completion.run, completion.group)
    if not woken:
        _log.info("%s: group %d is not waited for any more", completion.run, completion.group)
    return woken


async def wake_offload(client: Any, run: str, why: Any) -> bool:
    """Have the run's shards on Batch looked after now instead of at the next timer; False when nothing of
    the run waits.
    """
    from fleetscore.errors import MissingBlobError
    from fleetscore.runs.run_records import read_run
    from orchestrators.offload import event_name
    from orchestrators.run import offload_instance

    try:
        record = await run_in_thread(read_run, app_store(), run)
    except MissingBlobError:
        return False
    instance = offload_instance(record.instance)
    status = await client.get_status(instance)
    wait = (status.custom_status or {}).get("wait") if status and status.instance_id else None
    if wait is None or status.runtime_status is not df.OrchestrationRuntimeStatus.Running:
        return False
    await client.raise_event(instance, event_name(wait), why)
    return True


if _app.queue_service:  # without a queue there is nothing to listen to
    _bound = blueprint.durable_client_input(client_name="client")(wake_run)
    blueprint.queue_trigger(
        arg_name="message", queue_name=_app.completion_queue, connection="FLEETSCORE_QUEUE"
    )(_bound)
