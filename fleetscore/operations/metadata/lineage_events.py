"""OpenLineage's run events of a run or training, made from its record, plan and manifest: START, then
COMPLETE, FAIL or ABORT.

They are the same whenever they are made, so that a receiver that gets one again has nothing new.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import attr
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    nominal_time_run,
    processing_engine_run,
)
from openlineage.client.generated.base import InputDataset, OutputDataset, RunFacet

from fleetscore import __version__
from fleetscore.errors import FleetscoreError, MissingBlobError
from fleetscore.operations.metadata.lineage_datasets import (
    input_datasets,
    model_datasets,
    model_set_dataset,
    result_dataset,
)
from fleetscore.records import FINAL, PlanHead, RunRecord
from fleetscore.records import RunState as State
from fleetscore.registry import find_workload
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from fleetscore.windows import parse_key
from fleetscore.workload import Workload

PRODUCER = f"pkg:pypi/fleetscore@{__version__}"
_ENDS = {State.PUBLISHED: RunState.COMPLETE, State.CANCELLED: RunState.ABORT}
_ERROR_LENGTH = 2000


@attr.define(kw_only=True)
class FleetscoreRunFacet(RunFacet):
    """What only Fleetscore has: round, outcomes, pins; its own facet, as OpenLineage's rules allow."""

    run: str
    purpose: str
    window: str
    round: int
    state: str
    partitions: int
    outcomes: dict[str, int]
    models: dict[str, int]
    modelSet: str  # noqa: N815  # facets are named so
    pinnedAs: str  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"


def id_of(store: Store, run: str) -> str:
    """The run's UUID, the same for the same run of the same store."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{store.url}/runs/{run}"))


def start_event(store: Store, record: RunRecord, namespace: str) -> RunEvent:
    """The event of the run's start, with what its plan reads and the models that it uses."""
    head = _plan_of(store, record.request.run)
    inputs = _inputs(store, record, head, with_quality=False)
    return _event(
        store, record, namespace, RunState.START, record.started or record.request.requested, inputs, []
    )


def end_event(store: Store, record: RunRecord, namespace: str) -> RunEvent:
    """The event of the run's end, with what it wrote, rows and quality; ValueError before the end."""
    if record.state not in FINAL:
        raise ValueError(f"{record.request.run} is {record.state}")
    head = _plan_of(store, record.request.run)
    kind = _ENDS.get(record.state, RunState.FAIL)
    inputs = _inputs(store, record, head, with_quality=True)
    return _event(
        store, record, namespace, kind, record.ended or record.updated, inputs, _outputs(store, record)
    )


def _plan_of(store: Store, run: str) -> PlanHead | None:
    try:
        return read_plan(store, run)
    except MissingBlobError:  # it ended before it was planned, or its files are swept
        return None


def _inputs(
    store: Store, record: RunRecord, head: PlanHead | None, *, with_quality: bool
) -> list[InputDataset]:
    if head is None:
        return []
    counts = dict(record.counts) if with_quality else {}
    models = {} if record.request.purpose == "train" else {**head.models, **record.models}
    return [
        *input_datasets(store.url, head.inputs, counts),
        *model_datasets(store.url, record.request.workload, models),
    ]


def _outputs(store: Store, record: RunRecord) -> list[OutputDataset]:
    if record.state is not State.PUBLISHED:
        return []
    workload = record.request.workload
    if record.model_set:
        return [model_set_dataset(store.url, workload, record.model_set)]
    try:
        manifest = read_manifest(store, workload, record.request.window)
    except MissingBlobError:
        return []
    if manifest.run != record.request.run:  # a later round has replaced it
        return []
    schema = getattr(_kind_of(store, workload), "result_schema", None)
    return [result_dataset(store.url, manifest, record.facts.get("table_version"), schema)]


def _kind_of(store: Store, workload: str) -> Workload | None:
    try:
        return find_workload(store, workload).workload
    except FleetscoreError:  # its settings broke after the run
        return None


def _event(
    store: Store,
    record: RunRecord,
    namespace: str,
    kind: RunState,
    at: datetime,
    inputs: list[InputDataset],
    outputs: list[OutputDataset],
) -> RunEvent:
    request = record.request
    step = "train" if request.purpose == "train" else "score"
    job_type = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="FLEETSCORE", jobType=step.upper()
    )
    event = RunEvent(
        eventTime=at.isoformat(),
        producer=PRODUCER,
        run=Run(id_of(store, request.run), facets=_run_facets(store, record, kind)),
        job=Job(namespace, f"{request.workload}.{step}", facets={"jobType": job_type}),
        eventType=kind,
        inputs=inputs,
        outputs=outputs,
    )
    _name_producer(event)
    return event


def _run_facets(store: Store, record: RunRecord, kind: RunState) -> dict[str, Any]:
    is_start = kind is RunState.START
    facets: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(__version__, "Fleetscore"),
        "fleetscore": _own_facet(record, is_start=is_start),
    }
    times = _window_times(store, record)
    if times is not None:
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(*times)
    if kind in (RunState.FAIL, RunState.ABORT):
        message = (record.error or f"The run ended {record.state}.")[:_ERROR_LENGTH]
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "Python")
    return facets


def _own_facet(record: RunRecord, *, is_start: bool) -> FleetscoreRunFacet:
    request = record.request
    return FleetscoreRunFacet(
        run=request.run,
        purpose=request.purpose,
        window=request.window,
        round=request.round,
        state="started" if is_start else str(record.state),
        partitions=record.partitions,
        outcomes={} if is_start else dict(record.counts),
        models=dict(record.models),
        modelSet="" if is_start else record.model_set,
        pinnedAs="" if is_start else str(record.facts.get("entered", "")),
    )


def _window_times(store: Store, record: RunRecord) -> tuple[str, str] | None:
    """Start and end of what the run covers; None for windows without dates."""
    kind, request = _kind_of(store, record.request.workload), record.request
    zone = kind.zone if kind is not None else "UTC"
    try:
        first = parse_key(request.window, zone)
        end = parse_key(request.stop, zone).start if request.stop else first.end
        return first.start.isoformat(), end.isoformat()
    except FleetscoreError:
        return None


def _name_producer(event: RunEvent) -> None:
    """Say in every facet who made it: the client would name itself."""
    holders: list[Any] = [event.run, event.job, *(event.inputs or ()), *(event.outputs or ())]
    for holder in holders:
        for name in ("facets", "inputFacets", "outputFacets"):
            for facet in (getattr(holder, name, None) or {}).values():
                facet._producer = PRODUCER
