"""The history of one partition in one run: what was found, which attempt scored it with which model, the
outcome, why, and what to do next.

`explain` reads the store; everything that is decided about what was read is in pure functions below it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError, ModelError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import Pins, read_pins
from fleetscore.operations.advice import advise, ways_to_models
from fleetscore.operations.model_keys import read_model_keys
from fleetscore.partition_keys import find_unescaped
from fleetscore.pipeline.attempt_marker import AttemptMarker
from fleetscore.pipeline.score import read_shard_record
from fleetscore.pipeline.spellings import find_spelled, speller_of
from fleetscore.records import (
    InputFile,
    Outcome,
    PlanHead,
    ResultFile,
    RunRecord,
    RunState,
    ShardPlan,
    ShardRecord,
)
from fleetscore.registry import get_workload, workload_names
from fleetscore.runs.causes import read_causes_of
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import run_path, shard_folder
from fleetscore.store.state_files import read_hint, read_truth
from fleetscore.store.tables import open_truth

_MOST_FILES = 20
_READS = 4


@dataclass(frozen=True, slots=True)
class InputFound:
    """What discovery found of the partition: `rows` and `size_bytes` are its own, `files` are those of its
    window (the first 20).
    """

    rows: int
    size_bytes: int
    files: tuple[InputFile, ...]
    files_in_all: int
    is_estimate: bool = False  # `rows` is what the plan of a training expected, nothing that was counted


@dataclass(frozen=True, slots=True)
class AttemptStory:
    """One try at the shard. `state` is committed, beaten (another was committed first), died (so another
    was needed), or unfinished.
    """

    attempt: str
    state: str
    began: datetime
    touched: datetime  # when it last wrote anything
    placement: str = ""
    worker: str = ""
    seconds: float = 0.0
    group: int = 0  # partitions it was scoring together at its last sign of life; 0: not known
    has_partition: bool = True  # whether this partition was among them
    log: str = ""


@dataclass(frozen=True, slots=True)
class ShardStory:
    """The shard that the partition was planned into."""

    shard: int
    partitions: int
    placement: str
    reason: str
    predicted_s: float
    measured_s: float | None  # None while nothing is committed


@dataclass(frozen=True, slots=True)
class ModelStory:
    """The model set that scores the partition; `version` is "" for none."""

    version: str
    created: datetime | None = None
    # how it was chosen: for this run, for this partition, for its model key, current; "": otherwise
    pinned: str = ""
    problem: str = ""
    keys: tuple[str, ...] = ()  # of the models of the set that scored its rows, where the results name them


@dataclass(frozen=True, slots=True)
class OutputStory:
    """Where the partition's rows are; `file` is "" when it has none."""

    file: str
    rows: int
    sha256: str = ""
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class PartitionStory:
    """All that the store holds on one partition of one run."""

    run: str
    workload: str
    window: str
    partition: str
    state: RunState  # of the run
    outcome: str  # "" while it is not settled
    cause: str
    detail: str
    input: InputFound
    shard: ShardStory | None
    attempts: tuple[AttemptStory, ...]
    model: ModelStory
    output: OutputStory
    scored_by: str  # the run whose line this is: an earlier one where a retry kept it
    advice: str
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """What its shard kept of it: the sketch of input and prediction, or how training went; None is not a
    number.
    """

    causes: tuple[str, ...] = ()  # all of them, `cause` first
    schema: int = 1


def explain(store: Store, run: str, partition: str) -> PartitionStory:
    """The story of `partition` in `run`; MissingBlobError for an unknown run, InputError for a partition it
    does not have.
    """
    record = read_run(store, run)
    with ThreadPoolExecutor(_READS) as pool:  # a store far away answers them in the time of one
        in_ledger = pool.submit(_ledger_row, store, run, partition)
        digests = pool.submit(_digests, store, run)
        pins = pool.submit(read_pins, store, record.request.workload)
        head = _planned(store, record)
        shards = pool.submit(read_shard_plans, store, head)
        row = _find_row(store, head.table, partition)
        if row is None:
            return explain(store, run, _other_spelling(store, head, partition))
        own_commit = read_shard_record(store, run, row["shard"]) if row["shard"] >= 0 else None
        line = (
            in_ledger.result() or _committed_row(store, run, own_commit, partition) or _planned_row(run, row)
        )
        source, number = line["run"], line["shard"]  # an earlier run where a retry kept its line
        commit = own_commit if source == run else read_shard_record(store, source, number)
        model = pool.submit(_model, store, record, pins.result(), partition, line["model"] or row["model"])
        keys = pool.submit(read_model_keys, store, record.request.workload, partition, line["file"])
        figures = pool.submit(_figures, store, commit, partition)
        shard = None
        if number >= 0:
            planned = shards.result() if source == run else read_shard_plans(store, read_plan(store, source))
            shard = _shard(planned[number], commit)
        attempts = _attempts(store, source, partition, number, commit)
    return PartitionStory(
        run=run,
        workload=record.request.workload,
        window=record.request.window,
        partition=partition,
        state=record.state,
        outcome=line["outcome"],
        cause=line["cause"],
        detail=line["detail"] or "",
        input=_input(record, row, line, head),
        shard=shard,
        attempts=attempts,
        model=_with_keys(model.result(), keys.result(), pins.result()),
        output=_output(record, line, digests.result()),
        scored_by=source,
        advice=advise(
            record, partition, line["outcome"], line["cause"], ways_to_models(store, record.request.workload)
        ),
        figures=figures.result(),
        causes=read_causes_of(store, run, partition, line["cause"]),
    )


def _input(record: RunRecord, row: Mapping[str, Any], line: Mapping[str, Any], head: PlanHead) -> InputFound:
    """What discovery found; of a training the rows that were read, where they were, since plans estimate
    them.
    """
    is_training = record.request.purpose == "train"
    is_counted = not is_training or line["outcome"] == Outcome.SCORED
    rows = line["input_rows"] if is_training and is_counted else row["rows"]
    return InputFound(rows, row["size_bytes"], head.inputs[:_MOST_FILES], len(head.inputs), not is_counted)


def describe_attempts(
    entries: Sequence[Entry],
    prefix: str,
    markers: Mapping[str, Sequence[str]],
    partition: str,
    commit: ShardRecord | None,
) -> tuple[AttemptStory, ...]:
    """The attempts whose files are `entries` (all below `prefix`), oldest first.

    `markers` says of an attempt which partitions it was scoring at its last sign of life. An attempt
    without an outcomes file has not finished: it died, if another was committed since. One that finished
    and is not the committed one was beaten by it.
    """
    files: dict[str, list[Entry]] = {}
    for entry in entries:
        files.setdefault(entry.path[len(prefix) :].split("/", 1)[0], []).append(entry)
    stories = [
        _describe_attempt(name, found, markers.get(name), partition, commit) for name, found in files.items()
    ]
    return tuple(sorted(stories, key=lambda story: (story.began, story.attempt)))


def _describe_attempt(
    name: str,
    files: Sequence[Entry],
    marker: Sequence[str] | None,
    partition: str,
    commit: ShardRecord | None,
) -> AttemptStory:
    began, touched = min(file.modified for file in files), max(file.modified for file in files)
    has_partition = marker is None or partition in marker
    if commit is not None and commit.attempt == name:
        return AttemptStory(
            name, "committed", commit.started, touched, commit.placement, commit.worker, commit.seconds,
            len(marker or ()), has_partition, commit.log,
        )  # fmt: skip
    finished = any(file.path.endswith("/outcomes.parquet") for file in files)
    state = "beaten" if finished else "died" if commit is not None else "unfinished"
    return AttemptStory(
        name, state, began, touched, group=len(marker or ()), has_partition=has_partition
    )  # fmt: skip


def _attempts(
    store: Store, run: str, partition: str, shard: int, commit: ShardRecord | None
) -> tuple[AttemptStory, ...]:
    if shard < 0:
        return ()
    prefix = f"{shard_folder(run, shard)}attempts/"
    entries = list(store.list(prefix))
    markers: dict[str, list[str]] = {}
    for entry in entries:
        if entry.path.endswith("/crumb.json"):
            name = entry.path[len(prefix) :].split("/", 1)[0]
            marker = read_hint(store, entry.path, AttemptMarker)
            markers[name] = list(marker.partitions) if marker else []
    return describe_attempts(entries, prefix, markers, partition, commit)


def _shard(plan: ShardPlan, commit: ShardRecord | None) -> ShardStory:
    measured_s = commit.seconds if commit else None
    return ShardStory(plan.shard, plan.partitions, plan.placement, plan.reason, plan.predicted_s, measured_s)


def _planned(store: Store, record: RunRecord) -> PlanHead:
    try:
        return read_plan(store, record.request.run)
    except MissingBlobError as error:
        reason = f" {record.error}" if record.error else ""
        raise InputError(
            f"{record.request.run} has no plan: it is {record.state}.{reason}",
            fix=f"See `fleetscore show {record.request.run}`.",
            code="not_planned",
            field="run",
        ) from error


def _find_row(store: Store, path: str, partition: str) -> dict[str, Any] | None:
    """The partition's row of a Parquet table, or None; reads only the row groups that can hold it."""
    with open_truth(store, path) as source:
        found = pq.read_table(source, filters=[("partition", "==", partition)]).to_pylist()
    return found[0] if found else None


def _other_spelling(store: Store, head: PlanHead, partition: str) -> str:
    """The one key of the run that is another spelling of `partition`, or reads so unescaped; InputError
    where there is none, or several.
    """
    with open_truth(store, head.table) as source:
        keys = pq.read_table(source, columns=["partition"])["partition"]
    found: tuple[str, ...] = ()
    if head.request.workload in workload_names(store):
        spell = speller_of(get_workload(store, head.request.workload))
        found = tuple(key for key in find_spelled([partition], keys.to_pylist(), spell) if key != partition)
    if len(found) == 1:
        return found[0]
    if plain := find_unescaped(partition, keys.to_pylist()):
        return plain
    raise _unknown_partition(head, partition, keys, found)


def _unknown_partition(
    head: PlanHead, partition: str, keys: pa.ChunkedArray, spelled: Sequence[str]
) -> InputError:
    near = list(spelled) or _nearest(keys, partition)
    fix = (
        f"Like it: {', '.join(near)}."
        if near
        else f"The run has {len(keys)} partitions; its first is {keys[0]}."
    )
    return InputError(f"{head.request.run} has no partition {partition!r}.", fix=fix, field="partition")


def _nearest(keys: pa.ChunkedArray, partition: str, most: int = 5) -> list[str]:
    holding = keys.filter(pc.match_substring(keys, partition, ignore_case=True))[:most].to_pylist()
    return holding or difflib.get_close_matches(partition, keys[:20_000].to_pylist(), most)


def _ledger_row(store: Store, run: str, partition: str) -> dict[str, Any] | None:
    """The partition's line of the ledger; None while there is no ledger, or where the partition is not in
    it.
    """
    with suppress(MissingBlobError):
        return _find_row(store, run_path(run, "ledger.parquet"), partition)
    return None


def _committed_row(
    store: Store, run: str, commit: ShardRecord | None, partition: str
) -> dict[str, Any] | None:
    """The partition's line as its shard's commit has it; None where it has none."""
    if commit is None:
        return None
    found = _find_row(store, commit.outcomes, partition)
    file = commit.results.path if commit.results else ""
    return found and {**found, "shard": commit.shard, "file": file if found["rows"] else "", "run": run}


def _figures(store: Store, commit: ShardRecord | None, partition: str) -> dict[str, float | None]:
    """The numbers of the partition's row beside its outcome; none where its shard kept none of it."""
    if commit is None or not commit.sketches:
        return {}
    with suppress(MissingBlobError):
        row = _find_row(store, commit.sketches, partition) or {}
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {}


def _planned_row(run: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "rows": 0, "file": "", "run": run}


def _model(store: Store, record: RunRecord, pins: Pins, partition: str, version: str) -> ModelStory:
    workload = record.request.workload
    if not version:
        return ModelStory("")
    if record.request.models:
        pinned = "for this run"
    elif pins.partitions.get(partition) == version:
        pinned = "for this partition"
    else:
        pinned = "current" if pins.current == version else ""
    try:
        return ModelStory(version, read_model_set(store, workload, version).created, pinned)
    except ModelError as error:
        return ModelStory(version, None, pinned, str(error))


def _with_keys(model: ModelStory, keys: tuple[str, ...], pins: Pins) -> ModelStory:
    """The story with the keys of the models that scored, and whether a pin of one of them chose the
    version.
    """
    by_key = model.pinned in ("", "current") and any(pins.keys.get(key) == model.version for key in keys)
    return replace(model, keys=keys, pinned="for its model key" if by_key and model.version else model.pinned)


def _digests(store: Store, run: str) -> dict[str, str]:
    """The digests of the run's result files by path; none while they are not collected."""
    with suppress(MissingBlobError):
        files = read_truth(store, run_path(run, "files.json"), tuple[ResultFile, ...])
        return {file.path: file.sha256 for file in files}
    return {}


def _output(record: RunRecord, line: Mapping[str, Any], digests: Mapping[str, str]) -> OutputStory:
    if not line["file"]:
        return OutputStory("", line["rows"])
    published = record.state is RunState.PUBLISHED
    return OutputStory(line["file"], line["rows"], digests.get(line["file"], ""), published)
