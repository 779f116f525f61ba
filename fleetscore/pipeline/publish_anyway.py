"""Publishing what a check held back: asked for by a person, with a reason, which goes on record."""

from __future__ import annotations

from datetime import datetime

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.pipeline.collect import read_collected
from fleetscore.pipeline.publish import publish_collected
from fleetscore.pipeline.submit import newest_round
from fleetscore.records import Outcome, PublishedAnyway, RunRecord, RunState, to_json
from fleetscore.runs.run_records import read_run, record_published_anyway
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, mute_path

_MOST_CHARACTERS = 2_000


def publish_anyway(store: Store, run: str, *, why: str, requested_by: str, now: datetime) -> RunRecord:
    """Publish the results of a run that ended unpublished, and keep the reason with run, manifest and
    attention.

    InputError where nothing is held back, or another round of the window has come since; ConflictError where
    one was published meanwhile.
    """
    record, reason = read_run(store, run), _check_reason(why)
    request = record.request
    if record.state is RunState.PUBLISHED and "published_anyway" in record.facts:
        return record
    _check_held(store, record)
    anyway = PublishedAnyway(reason, requested_by, now, record.error)
    version = publish_collected(store, request, read_collected(store, run), now, anyway)
    store.create(mute_path(request.workload, "published", run), to_json(anyway))
    path = manifest_path(request.workload, request.window)
    return record_published_anyway(store, run, path, anyway, version, now)


def _check_reason(why: str) -> str:
    reason = why.strip()
    if not reason or len(reason) > _MOST_CHARACTERS:
        raise InputError(
            f"The reason has {len(reason)} characters.", fix=f"Write 1 to {_MOST_CHARACTERS}.", field="why"
        )
    return reason


def _check_held(store: Store, record: RunRecord) -> None:
    """InputError unless the run is the newest of its window, ended unpublished, and scored something."""
    request, run = record.request, record.request.run
    if record.state is not RunState.UNPUBLISHED or request.purpose != "score":
        raise InputError(
            f"{run} is {record.state}: nothing of it is held back.",
            fix="Only a run of a window that ended unpublished can be published anyway.",
            field="run",
            code="not_held",
        )
    newest = newest_round(store, request.workload, request.window)
    if newest is not None and newest.request.run != run:
        raise InputError(
            f"{newest.request.run} is a later round of the window, and is {newest.state}.",
            fix="Publish that one, or run the window again.",
            field="run",
            code="not_held",
        )
    try:
        scored = read_collected(store, run).counts.get(Outcome.SCORED, 0)
    except MissingBlobError:
        scored = 0
    if not scored:
        raise InputError(
            f"{run} scored no partition: there is nothing to publish.",
            fix=f"fleetscore show {run} says why.",
            field="run",
            code="not_held",
        )
