"""Finish a run: publish it, learn its speed, close its record; a second call changes nothing."""

from __future__ import annotations

from datetime import datetime

from fleetscore.errors import ConflictError
from fleetscore.records import RunRequest, RunState
from fleetscore.run_records import record_ending
from fleetscore.steps.bill import make_bill
from fleetscore.steps.collect import read_collected
from fleetscore.steps.publish import Ending, publish_run
from fleetscore.steps.rates import learn_rates
from fleetscore.stores.base import Store


def finish_run(store: Store, request: RunRequest, now: datetime) -> Ending:
    """Publish the collected run if it may be, and write how it ended into its record."""
    try:
        ending = publish_run(store, request, now)
    except ConflictError as conflict:
        ending = Ending(RunState.UNPUBLISHED, str(conflict))
    collected = read_collected(store, request.run)
    record_ending(store, request.run, ending, collected, now, make_bill(store, request.run, collected))
    learn_rates(store, request.run)
    return ending
