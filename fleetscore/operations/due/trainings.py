"""Due trainings: what the latest tick of a workload's [train] schedule names and nobody has requested yet."""

from __future__ import annotations

from datetime import datetime, timedelta

from fleetscore.capabilities import Trains
from fleetscore.pipeline.submit import Submission, newest_training, submit_training
from fleetscore.registry import KnownWorkload
from fleetscore.schedules import parse_schedule
from fleetscore.store.base import Store
from fleetscore.windows import window_at
from fleetscore.workload import Workload

_HEALS = timedelta(days=1)
"""How long after its tick a training that was missed is still started: a new schedule trains at its next
tick, not at once.
"""


def submit_due_training(store: Store, known: KnownWorkload, now: datetime) -> list[Submission]:
    """The training that is due, on the days before its tick, unless it was requested since; nothing where
    none is scheduled.
    """
    if known.reason or known.workload is None:
        return []
    workload: Workload = known.workload
    if not isinstance(workload, Trains) or not workload.training_schedule:
        return []
    tick = parse_schedule(workload.training_schedule, workload.zone).latest(now)
    if tick is None or now - tick > _HEALS:
        return []
    cadence = workload.cadences[0]
    end = window_at(tick, cadence, workload.zone)
    first = window_at(tick - timedelta(days=workload.training_days), cadence, workload.zone)
    newest = newest_training(store, workload.name, first.key, end.key)
    if newest is None or newest.request.requested < tick:
        return [submit_training(store, workload.name, first.key, end.key, now, "timer")]
    if newest.state == "requested":
        return [Submission(newest.request, False, newest.state)]
    return []
