"""Records of runs and manifests, made anew from what else the store knows of the run."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError, ModelError, PublishError
from fleetscore.models.model_sets import list_model_sets, read_model_set
from fleetscore.pipeline.collect import summarise
from fleetscore.pipeline.ledger import count_outcomes, group_causes
from fleetscore.records import (
    Collected,
    Manifest,
    Outcome,
    PublishedRun,
    ResultFile,
    RunRecord,
    RunRequest,
    RunState,
)
from fleetscore.registry import read_warnings, workload_names
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.index_files import list_workloads
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.plans import read_plan
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path, run_id, run_path
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import count_values, open_truth

_REASON = "Its record was damaged and was made anew; what is not known any more is left out."


def make_collected(store: Store, run: str) -> Collected:
    """The summary of an ended run from its ledger and manifest, for where its plan is lost too: without the
    times and memory of its shards. PublishError where its window is not published.
    """
    request = read_run(store, run).request
    scored = request.purpose == "score"
    files = make_manifest(store, request.workload, request.window).files if scored else ()
    return summarise([], read_ledger(store, run), read_warnings(store, request.workload), files)


def is_replaced(store: Store, request: RunRequest) -> bool:
    """Whether a later run has published the window that the run scored."""
    if request.purpose != "score":
        return False
    try:
        return read_manifest(store, request.workload, request.window).run != request.run
    except (MissingBlobError, DamagedStateError):
        return False


def has_plan(store: Store, run: str) -> bool:
    """Whether the run's plan can be read."""
    try:
        read_plan(store, run)
    except (DamagedStateError, MissingBlobError):
        return False
    return True


def make_manifest(store: Store, workload: str, window: str) -> Manifest:
    """The manifest of the newest run that published the window: the run's copy, else one from its ledger
    and the files that this names.

    PublishError where no run's record says that it published the window.
    """
    published = [run for run in _rounds(store, workload, window) if run.state is RunState.PUBLISHED]
    if not published:
        raise PublishError(f"No record of a run says that it published {workload} {window}.")
    *before, newest = published
    run = newest.request.run
    with suppress(MissingBlobError, DamagedStateError):
        copy = read_truth(store, run_path(run, "manifest.json"), Manifest)
        if (copy.workload, copy.window, copy.run) == (workload, window, run):
            return copy
    ledger = read_ledger(store, run)
    files = tuple(_describe(store, path, ledger) for path in _files_of(ledger))
    return Manifest(
        workload=workload,
        window=window,
        run=run,
        round=newest.request.round,
        published=newest.ended or newest.updated,
        models=_models_of(ledger),
        outcomes=count_outcomes(ledger),
        partitions=ledger.num_rows,
        rows=sum(file.rows for file in files),
        files=files,
        ledger=run_path(run, "ledger.parquet"),
        history=tuple(PublishedRun(r.request.run, r.ended or r.updated, r.counts, r.rows) for r in before),
    )


def make_record(store: Store, run: str, now: datetime) -> RunRecord:
    """The run's record: its request from its plan or its name, its outcomes from its ledger, published if
    the manifest says so.

    DamagedStateError where the name is that of no workload's run.
    """
    request = _request_of(store, run, now)
    manifest = _manifest_of(store, request)
    model_set = _model_set_of(store, request) if request.purpose == "train" else ""
    published = _is_indexed_as_published(store, request) or (
        manifest is not None and run in {manifest.run, *(line.run for line in manifest.history)}
    )
    record = RunRecord(
        request,
        RunState.PUBLISHED if published or model_set else RunState.FAILED,
        updated=now,
        ended=now,
        manifest=manifest_path(request.workload, request.window) if published else "",
        model_set=model_set,
        error="" if published or model_set else _REASON,
        remarks=(_REASON,),
    )
    return _with_ledger(store, record)


def _with_ledger(store: Store, record: RunRecord) -> RunRecord:
    with suppress(MissingBlobError, DamagedStateError):
        ledger = read_ledger(store, record.request.run)
        return replace(
            record,
            partitions=ledger.num_rows,
            counts=count_outcomes(ledger),
            rows=pc.sum(ledger["rows"]).as_py() or 0,
            input_rows=pc.sum(ledger["input_rows"]).as_py() or 0,
            models=_models_of(ledger),
            causes=group_causes(ledger),
        )
    return record


def _rounds(store: Store, workload: str, window: str) -> list[RunRecord]:
    """The records of the window's runs, in order; a damaged one is passed over."""
    found, number = [], 1
    while store.stat(run_path(run_id(workload, window, number), "run.json")) is not None:
        with suppress(DamagedStateError):
            found.append(read_run(store, run_id(workload, window, number)))
        number += 1
    return found


def _request_of(store: Store, run: str, now: datetime) -> RunRequest:
    with suppress(MissingBlobError, DamagedStateError):
        return read_plan(store, run).request
    names = sorted({*workload_names(store), *list_workloads(store)}, key=len, reverse=True)
    workload = next((name for name in names if run.startswith(f"{name}-")), "")
    if not workload:
        raise DamagedStateError(f"{run} is the run of no workload that is known here.", field=run)
    lines = list_runs_since(store, workload, "")
    requested = next((line.requested for line in lines if line.run == run), now)
    window, _, round_text = run.removeprefix(f"{workload}-").partition("-r")
    number = int(round_text) if round_text.isdigit() else 1
    if window.startswith("train-"):
        return RunRequest(
            run, workload, window.removeprefix("train-"), number, requested, "fleetscore repair", "train"
        )
    return RunRequest(run, workload, window, number, requested, "fleetscore repair")


def _manifest_of(store: Store, request: RunRequest) -> Manifest | None:
    if request.purpose == "train":
        return None
    with suppress(MissingBlobError, DamagedStateError):
        return read_manifest(store, request.workload, request.window)
    return None


def _is_indexed_as_published(store: Store, request: RunRequest) -> bool:
    """Whether the index of runs, kept beside the records, says that the run published its window."""
    if request.purpose == "train":
        return False
    lines = list_runs_since(store, request.workload, f"{request.requested:%Y-%m-%d}")
    return any(line.run == request.run and line.state is RunState.PUBLISHED for line in lines)


def _model_set_of(store: Store, request: RunRequest) -> str:
    """The version that the training stored; "" where it stored none."""
    for version in list_model_sets(store, request.workload):
        with suppress(ModelError):
            if read_model_set(store, request.workload, version).card.get("run") == request.run:
                return version
    return ""


def _files_of(ledger: pa.Table) -> list[str]:
    return sorted(set(ledger["file"].to_pylist()) - {""})


def _describe(store: Store, path: str, ledger: pa.Table) -> ResultFile:
    """The file, hashed anew, with the partitions that have rows in it."""
    with open_truth(store, path) as source:
        rows = pq.read_metadata(source).num_rows
    mine = pc.and_(pc.equal(ledger["file"], path), pc.greater(ledger["rows"], 0))
    return ResultFile(path, rows, hashlib.sha256(store.read(path)).hexdigest(), pc.sum(mine).as_py() or 0)


def _models_of(ledger: pa.Table) -> dict[str, int]:
    return count_values(ledger.filter(pc.equal(ledger["outcome"], Outcome.SCORED))["model"])
