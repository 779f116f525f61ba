"""Finish a run: publish what it collected, or store the models it trained, or say why not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from fleetscore.capabilities import ChecksResults, Trains, require
from fleetscore.errors import FleetscoreError
from fleetscore.models.model_sets import write_model_set
from fleetscore.pipeline.absent import CARD_LINE, find_absent
from fleetscore.pipeline.collect import collect_run, collect_whole, read_shard_records
from fleetscore.pipeline.context import open_run
from fleetscore.pipeline.held import discard_held, hold_results, release_results
from fleetscore.pipeline.run_events import write_events
from fleetscore.pipeline.score import is_cancelled
from fleetscore.pipeline.train import split_pieces
from fleetscore.pipeline.training_entry import enter
from fleetscore.records import (
    NOT_CHOSEN,
    NOT_DUE,
    NOTHING_CHOSEN,
    NOTHING_EXPECTED,
    Collected,
    Ending,
    Manifest,
    PublishedAnyway,
    RunRequest,
    RunState,
)
from fleetscore.registry import find_workload, read_policy
from fleetscore.runs.event_tables import commit_events
from fleetscore.runs.manifests import judge_publishing, publish_manifest
from fleetscore.runs.plans import read_plan
from fleetscore.runs.result_tables import commit_manifest, sizes_of
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, table_root
from fleetscore.workload import ModelSetDraft, RunContext

_log = logging.getLogger("fleetscore.tables")


def publish_run(store: Store, request: RunRequest, now: datetime) -> Ending:
    """Publish the collected run if it may be; a second call gives the same ending."""
    if is_cancelled(store, request.run):
        return Ending(RunState.CANCELLED, "The run was cancelled.")
    collected = collect_whole(store, request.run)
    threshold = read_policy(store, request.workload).error_threshold
    verdict = judge_publishing(collected.counts, threshold)
    if not verdict.publish:
        idle = _idle_reason(store, request, collected)
        return replace(_hold(store, request, collected, idle or verdict.reason), idle=bool(idle))
    if request.purpose == "train":
        return Ending(RunState.PUBLISHED, model_set=_store_models(open_run(store, request), request))
    reason = _held_back(store, request, collected)
    if reason:
        return _hold(store, request, collected, reason)
    version = publish_collected(store, request, collected, now)
    path = manifest_path(request.workload, request.window)
    return Ending(RunState.PUBLISHED, manifest=path, table_version=version)


def publish_collected(
    store: Store, request: RunRequest, collected: Collected, now: datetime, anyway: PublishedAnyway | None = None
) -> int | None:  # fmt: skip
    """Publish what was collected, from where it lies, and commit it to the workload's table; the same on a
    second call. Gives the table's version, None where the commit is left to the watchdog.
    """
    collected = release_results(store, request, collected)
    collected, sizes = _with_every_file(store, request, collected)
    events = write_events(store, request.workload, request.window, request.run, collected.files)
    manifest = publish_manifest(store, request, collected, now, anyway, events)
    version = _commit_table(open_run(store, request), manifest, now, sizes)
    discard_held(store, request.run)
    return version


def _idle_reason(store: Store, request: RunRequest, collected: Collected) -> str:
    """Why nothing was expected of the window, where nothing came and the kind says so or no partition's data
    was due, or of the training, where its settings leave out each key that has rows; "" elsewhere.
    """
    if request.purpose == "train":
        return _nothing_chosen(collected)
    if request.purpose == "score" and {cause.cause for cause in collected.causes} == {NOT_DUE}:
        return (
            f"{NOTHING_EXPECTED}: all {collected.partitions} partitions report less often, and none was due."
        )
    if request.purpose != "score" or any(collected.counts.values()):
        return ""
    kind = find_workload(store, request.workload).workload
    reason = kind.idle_reason(open_run(store, request).window) if kind is not None else ""
    return f"{NOTHING_EXPECTED} {reason}, and none came." if reason else ""


def _nothing_chosen(collected: Collected) -> str:
    """Why a training trained nothing where its settings left out each key that has rows; "" elsewhere."""
    causes = {cause.cause for cause in collected.causes}
    if NOT_CHOSEN not in causes or causes - {NOT_CHOSEN, "no_rows"}:
        return ""
    return f"{NOTHING_CHOSEN}: the settings leave out all {collected.partitions}, and their models stay."


def _hold(store: Store, request: RunRequest, collected: Collected, reason: str) -> Ending:
    """Keep the results readable, and out of the table's folder."""
    if request.purpose == "score":
        hold_results(store, request, collected)
    return Ending(RunState.UNPUBLISHED, reason)


def _with_every_file(
    store: Store, request: RunRequest, collected: Collected
) -> tuple[Collected, dict[str, int]]:
    """What was collected, anew where a file of it was taken from the table's folder; and the bytes of each
    file.
    """
    sizes = sizes_of(store, request.workload, request.window)
    root = table_root(request.workload)
    if any(file.path.startswith(root) and file.path not in sizes for file in collected.files):
        collected = collect_run(store, request.run)
        sizes = sizes_of(store, request.workload, request.window)
    return collected, sizes


def _commit_table(run: RunContext, manifest: Manifest, now: datetime, sizes: Mapping[str, int]) -> int | None:
    """Commit the window to the workload's tables; what fails is made up for by the watchdog, and costs the
    run nothing.
    """
    try:
        commit_events(
            run.store, manifest, now
        )  # first: a window that the table of results has is looked at no more
        return commit_manifest(run.store, manifest, run.kind.result_schema, now, sizes)
    except FleetscoreError as error:
        _log.error("table_behind workload=%s window=%s reason=%s", run.workload, manifest.window, error)
        return None


def _held_back(store: Store, request: RunRequest, collected: Collected) -> str:
    """Why the kind's own checks hold the results back; "" where they do not, or the kind has none.

    Settings that broke while the run was under way say no more what to check, so they hold them back, too.
    """
    known = find_workload(store, request.workload)
    kind: object = known.workload
    if known.reason and (kind is None or isinstance(kind, ChecksResults)):
        return f"The checks before publishing cannot be read: {known.reason}"
    return kind.check_results(open_run(store, request), collected) if isinstance(kind, ChecksResults) else ""


def _store_models(run: RunContext, request: RunRequest) -> str:
    """Join the shards' models into one set, named after the request's time and so the same set on a second
    call.
    """
    store = run.store
    draft = require(run.kind, Trains).assemble(run, _trained_files(store, request.run))
    stored = write_model_set(
        store,
        run.workload,
        draft.files,
        dict(draft.card) | {"run": request.run} | _absent_line(run, draft),
        request.requested,
    )
    enter(store, request, stored.version, draft.card)
    return stored.version


def _absent_line(run: RunContext, draft: ModelSetDraft) -> dict[str, list[str]]:
    """The card's line of partitions that the pinned set has a model for and the new one has not; {} for
    none.
    """
    absent = find_absent(run.store, run.kind, run.pins.current, draft.files)
    return {CARD_LINE: absent} if absent else {}


def _trained_files(store: Store, run: str) -> Iterator[Mapping[str, bytes]]:
    for record in read_shard_records(store, read_plan(store, run)):
        for piece in split_pieces(record.files):
            yield {name: store.read(path) for name, path in piece.items()}
