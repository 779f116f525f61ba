"""Run records: the story of each run, and its line in the index, kept alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from fleetscore.errors import ConflictError, MissingBlobError, TakenOverError
from fleetscore.records import (
    FINAL,
    Collected,
    Ending,
    PlanHead,
    PublishedAnyway,
    RunRecord,
    RunRequest,
    RunState,
    is_idle,
    to_json,
    to_plain,
)
from fleetscore.runs.index import index_run
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.state_files import decode_truth

_log = logging.getLogger("fleetscore.runs")


def request_run(store: Store, request: RunRequest) -> bool:
    """Write the record of a requested run; False if the run is known already. This is the guard against a
    second start.
    """
    record = RunRecord(request, RunState.REQUESTED, request.requested)
    created = store.create(run_path(request.run, "run.json"), to_json(record))
    if created:
        index_run(store, record)
    return created


def read_run(store: Store, run: str) -> RunRecord:
    """The record of the run; MissingBlobError when there is no such run."""
    return _read_tagged(store, run)[0]


def check_instance(store: Store, run: str, instance: str) -> None:
    """TakenOverError unless the orchestration `instance` ("": one of an earlier version) is the one that
    has the run.
    """
    if instance and (holder := read_run(store, run).instance) != instance:
        raise TakenOverError(f"{instance} has lost {run}, which {holder} has taken over.", field="run")


def take_over(store: Store, run: str, lost: str, now: datetime) -> RunRecord | None:
    """The run gets a new orchestration in place of `lost`; what that one still does is refused from now on.

    None where the run has ended or another has taken it over already: of those that find a run lost at the
    same moment one starts it again, and one loss counts once.
    """
    while True:
        record, etag = _read_tagged(store, run)
        if record.state in FINAL or record.instance != lost:
            return None
        taken = _with_takeover(record, now)
        try:
            store.replace(run_path(run, "run.json"), to_json(taken), etag)
        except ConflictError:
            continue
        index_run(store, taken)
        return taken


def record_takeover(store: Store, run: str, now: datetime) -> RunRecord:
    """No orchestration so far has the run any more; what one still does is refused from now on."""
    return _move(store, run, lambda record: _with_takeover(record, now))


def _with_takeover(record: RunRecord, now: datetime) -> RunRecord:
    return replace(record, updated=now, takeovers=record.takeovers + 1)


def record_planned(store: Store, head: PlanHead, now: datetime) -> RunRecord:
    """The run is planned: scoring begins."""
    return _move(
        store,
        head.request.run,
        lambda record: replace(
            record,
            state=RunState.SCORING,
            updated=now,
            started=record.started or now,
            partitions=head.partitions,
            counts=head.settled,
            shards=head.shards,
            predicted_s=head.predicted_s,
            models=head.models,
            remarks=head.remarks,
            findings=head.findings,
        ),
    )


def record_state(store: Store, run: str, state: RunState, now: datetime) -> RunRecord:
    """The run is in another phase."""
    return _move(
        store, run, lambda record: replace(record, state=state, updated=now, started=record.started or now)
    )


def record_ending(
    store: Store,
    run: str,
    ending: Ending,
    collected: Collected | None,
    now: datetime,
    facts: Mapping[str, Any],
) -> RunRecord:
    """The run has ended; what it collected goes into its record and its line of the index, and one line
    into the log.
    """

    def ended(record: RunRecord) -> RunRecord:
        record = replace(
            record,
            state=ending.state,
            updated=now,
            ended=now,
            manifest=ending.manifest,
            model_set=ending.model_set,
            error=ending.reason,
            idle=ending.idle,
            facts={**record.facts, **facts},
            seconds={"total": (now - record.request.requested).total_seconds()},
        )
        return _with_collected(record, collected) if collected else record

    record = _move(store, run, ended)
    _log_ending(record)
    return record


def record_published_anyway(
    store: Store, run: str, manifest: str, anyway: PublishedAnyway, version: int | None, now: datetime
) -> RunRecord:
    """An unpublished run was published after all: its record says so, and why; a second call changes
    nothing.
    """
    record = read_run(store, run)
    if record.state is not RunState.PUBLISHED:
        facts = {**record.facts, "published_anyway": to_plain(anyway), "table_version": version}
        record = replace(
            record,
            state=RunState.PUBLISHED,
            updated=now,
            manifest=manifest,
            error="",
            idle=False,
            facts=facts,
        )
        store.write(run_path(run, "run.json"), to_json(record))
        _log_ending(record)
    index_run(store, record)
    return record


def _log_ending(record: RunRecord) -> None:
    """One line, which the alerts of infra/modules/alerts.bicep read: `run_ended run=... workload=...
    window=... state=... reason=...`. Of a run that had nothing to do the state is `idle`, which is no alert.
    """
    request, idle = record.request, is_idle(record)
    _log.log(
        logging.INFO if idle or record.state is RunState.PUBLISHED else logging.ERROR,
        "run_ended run=%s workload=%s window=%s state=%s reason=%s",
        request.run,
        request.workload,
        request.window,
        "idle" if idle else record.state,
        record.error,
    )


def _with_collected(record: RunRecord, collected: Collected) -> RunRecord:
    return replace(
        record,
        partitions=collected.partitions,
        counts=collected.counts,
        rows=collected.rows,
        input_rows=collected.input_rows,
        models=collected.models,
        causes=collected.causes,
        slowest=collected.slowest,
        measured_s=collected.measured_s,
    )


def _move(store: Store, run: str, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
    """Change the record unless it is final already, and its line of the index with it; only the run's own
    orchestration calls this.
    """
    while True:
        record, etag = _read_tagged(store, run)
        changed = record if record.state in FINAL else change(record)
        try:
            if changed is not record:
                store.replace(run_path(run, "run.json"), to_json(changed), etag)
        except ConflictError:
            continue
        index_run(store, changed)
        return changed


def _read_tagged(store: Store, run: str) -> tuple[RunRecord, str]:
    path = run_path(run, "run.json")
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError as error:
        raise MissingBlobError(
            f"There is no run {run!r}.", fix="`fleetscore runs` lists them.", code="no_run"
        ) from error
    return decode_truth(data, path, RunRecord), etag
