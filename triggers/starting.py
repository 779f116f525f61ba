"""Starting a run's orchestration, in one place for timers and endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from triggers.rescue import rescue_run

if TYPE_CHECKING:
    from fleetscore.pipeline.submit import Submission


async def start_submitted(client: Any, submission: Submission) -> bool:
    """Start the orchestration of a fresh run, or of one whose starter ended in between; whether it was
    started now. Another run that is under way by its record is seen to where its orchestration is over.
    """
    from fleetscore.records import FINAL, RunState
    from fleetscore.runs.orchestration_inputs import run_input

    run = submission.request.run
    requested = submission.state is RunState.REQUESTED
    starts = submission.fresh or (requested and not await is_known(client, run))
    if starts:
        await client.start_new("run", instance_id=run, client_input=run_input(submission.request))
    elif submission.state not in FINAL:
        await rescue_run(client, run, datetime.now(UTC))
    return starts


async def is_known(client: Any, instance: str) -> bool:
    """Whether Durable Functions has an orchestration of this id."""
    status = await client.get_status(instance)
    return bool(status and status.instance_id)
