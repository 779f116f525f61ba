"""Starting a run's orchestration, in one place for timers and endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from triggers.rescue import begin_run, is_known, rescue_run

if TYPE_CHECKING:
    from fleetscore.pipeline.submit import Submission


async def start_submitted(client: Any, submission: Submission) -> bool:
    """Start the orchestration of a fresh run, or of one whose starter ended in between; whether it was
    started now, and by this call. Another run that is under way by its record is seen to where its
    orchestration is over.
    """
    from fleetscore.records import FINAL, RunState

    run = submission.request.run
    requested = submission.state is RunState.REQUESTED
    if submission.fresh or (requested and not await is_known(client, run)):
        return await begin_run(client, submission.request, run)
    if submission.state not in FINAL:
        await rescue_run(client, run, datetime.now(UTC))
    return False
