"""The records of a run, as they lie in the store: the request, the plan's head, a shard's commit, the
manifest, the run's record.

Importing them imports no Arrow: the command line follows runs with them alone.

All are JSON with a `schema` number; times are aware UTC; paths are relative to the store's root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from fleetscore.predictions import Forecast, Rates
from fleetscore.typed_json import convert_value, decode_json

Record = TypeVar("Record")


class RunState(StrEnum):
    """Where a run stands. The last four are final."""

    REQUESTED = "requested"
    PREPARING = "preparing"
    SCORING = "scoring"
    COLLECTING = "collecting"
    PUBLISHED = "published"
    UNPUBLISHED = "unpublished"  # it ended, but beyond the error threshold or with nothing scored
    FAILED = "failed"  # an unexpected error stopped it
    CANCELLED = "cancelled"


FINAL = frozenset({RunState.PUBLISHED, RunState.UNPUBLISHED, RunState.FAILED, RunState.CANCELLED})


NOT_DUE = "not_due"
"""The cause of skipped partitions of which no data was expected in the window."""

NOTHING_EXPECTED = "No data is expected"
"""How the error of a run begins for whose window nothing was expected, and nothing came."""
NOTHING_CHOSEN = "No key was to be trained"
"""How the error of a training begins whose settings left out every key."""
NOT_CHOSEN = "not_chosen"
"""The cause of a key that the settings of a training leave out."""


class EndedRun(Protocol):
    """What of a run's record or line says how it ended."""

    @property
    def state(self) -> RunState:
        """Where the run stands."""

    @property
    def error(self) -> str:
        """Why it has no results."""

    @property
    def idle(self) -> bool | None:
        """Whether none were expected; None where an earlier version wrote how it ended."""


def is_idle(run: EndedRun) -> bool:
    """Whether the run ended without results because none were expected: nothing is wrong.

    Earlier versions, which did not state it, are known by how their reasons begin.
    """
    if run.idle is not None:
        return run.idle
    return run.state is RunState.UNPUBLISHED and run.error.startswith((NOTHING_EXPECTED, NOTHING_CHOSEN))


class Outcome(StrEnum):
    """What became of a partition.

    scored: results are in the published files. failed: its input, its model or the scoring was at fault.
    skipped: a stated rule says that it is not to be scored (no model yet, discontinued, filtered out).
    late: expected, but its data was not there. quarantined: it was set aside, because it kills its process
    or its input is beyond the reject threshold.
    """

    SCORED = "scored"
    FAILED = "failed"
    SKIPPED = "skipped"
    LATE = "late"
    QUARANTINED = "quarantined"


GOOD = frozenset({Outcome.SCORED, Outcome.SKIPPED})
"""The outcomes that need no attention."""


def count_bad(counts: Mapping[str, int]) -> int:
    """How many partitions have no good outcome, by the partitions of each outcome.

    >>> count_bad({"scored": 9, "late": 1, "failed": 2})
    3
    """
    return sum(count for outcome, count in counts.items() if outcome not in GOOD)


class Only(StrEnum):
    """Which partitions of a window a run scores."""

    ALL = "all"
    FAILED = "failed"  # without a good outcome in the run before: failed, late, quarantined, and those not known then
    MISSING = "missing"  # late in the run before, not known then, or with more input rows now


_NAMED = 5


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request of a run: the input of its orchestration. `previous` is the run whose good outcomes
    stay.
    """

    run: str
    workload: str
    window: str  # a training run: the first window
    round: int
    requested: datetime
    who: str
    purpose: Literal["score", "train"] = "score"
    stop: str = ""  # a training run: the window after the last
    only: Only = Only.ALL
    partitions: tuple[str, ...] = ()  # keys and patterns of keys
    models: str = (
        ""  # a version for all partitions; "current": the pinned ones, also where another one scored before
    )
    pin: bool = True  # a training run: make the new set the current one
    enters: str = ""  # a training run: pinned, challenger, if better, none; "": as `pin` says
    previous: str = ""
    schema: int = 1

    @property
    def scope(self) -> str:
        """What of the window was asked for: the first partitions by name or pattern, else failed or missing;
        "" for all.
        """
        if self.partitions:
            more = len(self.partitions) - _NAMED
            return ", ".join(self.partitions[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        return "" if self.only is Only.ALL else str(self.only)


@dataclass(frozen=True, slots=True)
class InputFile:
    """One version of an input file."""

    path: str
    etag: str
    size_bytes: int
    format: str = ""  # where it is read through `sources`
    columns: Mapping[str, str] = field(default_factory=dict)  # that its path gives


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark on a run that needs attention: something wrong with its input that costs no partition its
    result.
    """

    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One planned shard: a row group of plan.parquet, in that order."""

    shard: int
    partitions: int
    rows: int
    size_bytes: int
    predicted_s: float
    memory_bytes: int
    placement: Literal["inline", "batch"]
    reason: str


@dataclass(frozen=True, slots=True)
class PlanHead:
    """The part of a plan that every shard needs: plan.json. `table` and `shard_list` are the paths of the
    rest.
    """

    request: RunRequest
    created: datetime
    partitions: int  # expected, all outcomes
    pending: int  # to be scored
    settled: Mapping[str, int]  # outcome -> partitions whose outcome discovery settled, or the previous run
    rows: int
    size_bytes: int
    shards: int
    inline_shards: int
    predicted_s: float  # sum over shards, on one core
    table: str  # Parquet, one row group per shard in shard order, then one of the settled partitions
    shard_list: str  # JSON list of ShardPlan
    inputs: tuple[InputFile, ...]
    models: Mapping[str, int]  # version -> partitions
    rates: Rates
    remarks: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()  # those of the remarks that need attention
    kept_files: tuple[ResultFile, ...] = ()
    rewritten_files: tuple[ResultFile, ...] = ()  # files of the round before, of which some partitions stay
    forecasts: tuple[Forecast, ...] = ()
    challenger: str = ""  # the model-set version that scores the same shards in shadow
    schema: int = 1


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A published file; `partitions` counts those with rows in it."""

    path: str
    rows: int
    sha256: str
    partitions: int


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A shard's one commit: names the attempt that won and what it wrote."""

    run: str
    shard: int
    attempt: str
    placement: str
    started: datetime
    seconds: float
    counts: Mapping[str, int]  # outcome -> partitions
    rows: int
    input_rows: int
    outcomes: str  # path of the OUTCOMES table
    results: ResultFile | None  # none when no partition has rows
    sketches: str = ""
    files: Mapping[str, str] = field(default_factory=dict)  # training: name -> path
    peak_memory_bytes: int = 0
    base_memory_bytes: int = 0  # of a process that scores nothing else, before it began; 0: not known
    worker: str = ""
    log: str = ""
    causes: str = ""  # path of all causes of the partitions that have more than one; "" for none
    schema: int = 1


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """A line of a manifest's history."""

    run: str
    published: datetime
    counts: Mapping[str, int]
    rows: int


@dataclass(frozen=True, slots=True)
class PublishedAnyway:
    """Who published what a check had held back, why, and what the check had said."""

    why: str
    requested_by: str
    at: datetime
    held_for: str
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The published truth of a window: all results are in `files`, and nowhere else."""

    workload: str
    window: str
    run: str
    round: int  # of the run; a later round replaces an earlier one, never the other way round
    published: datetime
    models: Mapping[str, int]  # version -> partitions scored with it
    outcomes: Mapping[str, int]
    partitions: int
    rows: int
    files: tuple[ResultFile, ...]
    ledger: str
    history: tuple[PublishedRun, ...] = ()
    anyway: PublishedAnyway | None = None  # where a check had held the results back
    events: tuple[ResultFile, ...] = ()  # of kinds that find events: rows of EVENTS, as of the window's end
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Cause:
    """Partitions that share a cause, with the first of them as an example, and the first few by name."""

    outcome: str
    cause: str
    partitions: int
    example: str
    detail: str
    examples: tuple[str, ...] = ()
    warning: bool = False  # needs attention although the partitions are scored


@dataclass(frozen=True, slots=True)
class Collected:
    """A run's ledger in short: collected.json, and the source of its run record."""

    partitions: int
    counts: Mapping[str, int]
    rows: int
    input_rows: int
    models: Mapping[str, int]  # version -> scored partitions
    causes: tuple[Cause, ...]
    slowest: tuple[ShardRecord, ...]
    measured_s: float
    peak_memory_bytes: int
    shards: int
    files: tuple[ResultFile, ...]
    batch_s: float = 0.0  # the part of measured_s on Batch
    drifted: int = 0  # scored partitions with that warning
    bytes_per_row: float = 0.0  # peak memory per input row, from shards on Batch; 0: not measured
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: its final state, the reason if nothing was published, and where the result is."""

    state: RunState
    reason: str = ""
    manifest: str = ""
    model_set: str = ""
    table_version: int | None = None  # of the result table, from which on it has the window
    idle: bool = False  # no results were expected, and none came: nothing is wrong


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The story of a run, kept for good; `state` moves forward only."""

    request: RunRequest
    state: RunState
    updated: datetime
    started: datetime | None = None
    ended: datetime | None = None
    partitions: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    input_rows: int = 0
    shards: int = 0
    predicted_s: float = 0.0  # of all shards on one core, before
    measured_s: float = 0.0  # the same, after
    seconds: Mapping[str, float] = field(default_factory=dict)  # phase -> wall seconds
    models: Mapping[str, int] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    slowest: tuple[ShardRecord, ...] = ()
    remarks: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()  # those of the remarks that need attention
    manifest: str = ""
    model_set: str = ""  # what a training run stored
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    takeovers: int = 0  # how often a new orchestration took the run over from one that was lost
    idle: bool | None = None  # as its ending says; None before it, and where an earlier version wrote it
    schema: int = 1

    @property
    def instance(self) -> str:
        """The id of the orchestration that has the run now."""
        run = self.request.run
        return f"{run}-takeover-{self.takeovers}" if self.takeovers else run


def to_json(record: Any) -> bytes:
    """The record as JSON bytes."""
    return msgspec.json.encode(record)


def from_json(data: bytes | str, kind: type[Record]) -> Record:
    """The record that the JSON holds; msgspec.ValidationError names the field otherwise."""
    return decode_json(data, kind)


def to_plain(record: Any) -> Any:
    """The record as dicts, lists and strings, fit for an orchestration's JSON."""
    return msgspec.to_builtins(record)


def from_plain(value: Any, kind: type[Record]) -> Record:
    """The record that `to_plain` gave."""
    return convert_value(value, kind)
