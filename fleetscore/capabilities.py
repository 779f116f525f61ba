"""What a kind may do beyond `discover` and `score`: each capability is a small class that a kind inherits
from.

A command or endpoint that needs a capability says in one sentence what the kind lacks (`require`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.models.fit_record import FitCheck
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.records import Collected, ResultFile
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import (
    MapItem,
    ModelSetDraft,
    Partitions,
    RunContext,
    Shard,
    Trained,
    Workload,
)

Capability = TypeVar("Capability")


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What `samples` wrote: the windows worth running, and sentences that say what was planted."""

    first: Window
    stop: Window
    partitions: int
    rows: int
    remarks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Prepares(ABC):
    """The capability to compute once per input file what every shard needs, before the plan is made."""

    lacking: ClassVar[str] = "prepares no input"

    @abstractmethod
    def map_items(self, run: RunContext) -> Sequence[MapItem]:
        """The pieces of preparation that the run needs and the store lacks; called again after they are
        done, until none is missing.
        """

    @abstractmethod
    def map_item(self, run: RunContext, item: MapItem) -> Mapping[str, Any]:
        """Compute one partial and write it to `item.output`; returns counts for the run's record (JSON
        values).
        """


class HoldsModels(ABC):
    """The capability to say what the models of a run weigh beside its rows."""

    lacking: ClassVar[str] = "keeps its models beside its rows"

    @abstractmethod
    def model_bytes(self, run: RunContext) -> tuple[int, int]:
        """Bytes of the models that a shard reads at most, and of those that it holds at once."""

    def row_bytes(self, run: RunContext) -> float:  # noqa: ARG002  # kinds with columns of their own use it
        """Bytes that a row takes at least while it is scored or trained on, by the columns that are read;
        0: as the rates have it.
        """
        return 0.0


class Trains(ABC):
    """The capability to train models; `run.window` and `run.end` bound the span of data."""

    lacking: ClassVar[str] = "cannot be trained"
    training_rates: Rates | None = None  # where training costs other than scoring
    training_schedule: str = ""  # NCRONTAB, in the workload's zone; "": on demand only
    training_days: int = 90  # of data before the tick that a scheduled training reads

    @property
    def enters(self) -> str:
        """How a new set comes into use where the request does not say: challenger, if better, or pinned;
        "": pinned, but where the span has a set already.
        """
        return ""

    def check_training(self) -> None:  # noqa: B027  # most kinds can always be trained
        """InputError where the settings do not say how to train."""

    @abstractmethod
    def discover_training(self, run: RunContext) -> Partitions:
        """What is to be trained; a partition is whatever gets a model of its own."""

    @abstractmethod
    def train(self, run: RunContext, shard: Shard) -> Trained:
        """Train the shard's models."""

    @abstractmethod
    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        """Join the shards' files, in shard order, into one model set with its card."""

    def training_profile(self, store: Store, version: str) -> pa.Table | None:
        """What the version was trained on: partition, n, mean, std; None (the default) leaves it to the
        model set's profile.parquet.
        """
        del store, version
        return None


class ImportsModels(ABC):
    """The capability to take models that were made elsewhere."""

    lacking: ClassVar[str] = "has no importer of models"

    @abstractmethod
    def import_models(self, store: Store, source: Path) -> ModelSetDraft:
        """Read models from a file or folder, without executing anything of them."""


@dataclass(frozen=True, slots=True)
class FleetImport:
    """What importing a folder of models by key would make: the set's files, its card, and what becomes of
    the models before.

    `counts` has imported, refused, replaced, new and kept; `lost` names partitions' keys that have a model
    now and would not, `absent` the partitions that stay expected without one, `unnamed` the models that the
    manifest does not name. `base` is the version that was current then and that all of this is relative to.
    """

    draft: ModelSetDraft
    counts: Mapping[str, int]
    lost: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    base: str | None = None
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """A line of the settings that was proposed: how sure it is (given, sure, likely, guess), and why."""

    line: str
    value: str
    certainty: Literal["given", "sure", "likely", "guess"]
    why: str


@dataclass(frozen=True, slots=True)
class NewFleet:
    """What a new workload is to be made of, and what the user said about it; "" is to be found out.

    `data` is a pattern or folder in `store`, or below `folder` on this machine, from where it is copied to
    data/<name>/.
    """

    name: str
    data: str
    folder: Path | None = None
    models: Path | None = None
    manifest: Path | None = None
    trusted: bool = False
    partition: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # patterns, the first choice first
    time: str = ""
    window: str = ""
    timezone: str = ""
    output: str = ""
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The settings file of a new workload, how each line came about, and its models, not stored yet."""

    settings: str
    guesses: tuple[Guess, ...]
    models: FleetImport | None = None
    copied: tuple[str, ...] = ()  # files of `folder` to be copied, relative to it
    remarks: tuple[str, ...] = ()


class ProposesFleets(ABC):
    """The capability to make a workload's settings of its data and models."""

    lacking: ClassVar[str] = "cannot be made from data and models"

    @abstractmethod
    def propose(
        self, store: Store, asked: NewFleet, report: Callable[[str, int, int, str], None] | None = None
    ) -> Proposal:
        """Look at data and models and propose settings; nothing is written. InputError names what only the
        user can say.
        """


class ImportsFleets(ABC):
    """The capability to take a folder of models by key, file by file, whole or on top of the current
    version.
    """

    lacking: ClassVar[str] = "takes a model set as a whole; --add, --trust-pickles and --manifest cannot act"

    @abstractmethod
    def import_fleet(
        self, store: Store, source: Path, *, base: str = "", add: bool = False, trusted: bool = False,
        manifest: Path | None = None, report: Callable[[str, int, int, str], None] | None = None,
    ) -> FleetImport:  # fmt: skip
        """Import the files; with `add` the models of the version `base` stay where the source has none of
        the same key.

        `trusted` lets pickles run, each in a limited process. `report` gets name, number, total and refusal
        ("") of each file.
        """


class ScoresRows(ABC):
    """The capability to answer a few rows at once, without a run."""

    lacking: ClassVar[str] = "does not answer mini-batches"

    @abstractmethod
    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer per row, in order; InputError names the row and the field."""

    def warm_rows(self, store: Store, pins: Pins) -> None:
        """Load what `score_rows` needs with these pins, so that the first rows do not wait for it; by
        default nothing.
        """
        del store, pins


class HasModelKeys(ABC):
    """The capability to choose models by a key that partitions may share, so that a key can be pinned."""

    lacking: ClassVar[str] = "has no model keys"

    @abstractmethod
    def model_keys(self, store: Store, version: str) -> frozenset[str]:
        """The keys that have a model in the version; ModelError when there is no such version."""


class Respells(ABC):
    """The capability to know one partition under several spellings of its key."""

    lacking: ClassVar[str] = "has one spelling of each partition"

    @abstractmethod
    def canonical_key(self, key: str) -> str:
        """The key that discovery gives the partition which `key` means; `key` itself where it is no other
        spelling.
        """


class FindsEvents(ABC):
    """The capability to say which published rows together are events that people act on."""

    lacking: ClassVar[str] = "finds no events"

    @abstractmethod
    def find_events(self, store: Store, files: Sequence[ResultFile], window: Window) -> pa.Table:
        """The EVENTS rows of the window's result files, ordered by partition and start."""

    @abstractmethod
    def event_gap(self) -> timedelta:
        """How long after its last reading an event may go on; after that it is over."""


class Judges(ABC):
    """The capability to compare results with what came later."""

    lacking: ClassVar[str] = "cannot judge results against actuals"
    loss: str = ""  # what `judge` measures, in words

    @abstractmethod
    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        """JUDGED rows of the window's results; none for partitions whose actuals are not known yet."""


class ChecksResults(ABC):
    """The capability to hold a run's results back before they are published."""

    lacking: ClassVar[str] = "checks no results"

    @abstractmethod
    def check_results(self, run: RunContext, collected: Collected) -> str:
        """Why the collected results must not be published, as a sentence; "" where they may be."""


class ChecksFit(ABC):
    """The capability to say before any run what of settings, data and models does not fit together."""

    lacking: ClassVar[str] = "has no check of settings, data and models"

    @abstractmethod
    def check_fit(
        self, store: Store, pins: Pins, window: Window | None = None, source: Path | None = None, *, trusted: bool = False,
        report: Callable[[str, int, int, str], None] | None = None,
    ) -> FitCheck:  # fmt: skip
        """Read data of the window, or the newest there is, and try the pinned models on it, or those in the
        folder `source`.

        `trusted` lets pickles of the folder run, each in a limited process. Nothing is written.
        """


class MakesSamples(ABC):
    """The capability to write sample data with planted defects, and to judge results by them."""

    lacking: ClassVar[str] = "has no sample data"
    title: ClassVar[str] = ""  # of the demo's section; "": the name of the workload

    @abstractmethod
    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data, and the truth to judge results by under samples/; a given seed gives the same
        bytes.
        """

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        """Compare the published results with what `samples` planted; figures for the demo's summary."""
        del store, windows
        return {}


class MakesCaptureSamples(ABC):
    """The capability to write the sample data as Event Hubs Capture would."""

    lacking: ClassVar[str] = "writes no sample data as files of Event Hubs Capture"

    @abstractmethod
    def capture_samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write the rows of `samples` as captured events, the settings that read them, and the truth.

        InputError, before anything is written, where the workload has settings that read something else.
        """


class Backtests(ABC):
    """The capability to judge the way of training on the past."""

    lacking: ClassVar[str] = "has no backtest"

    # "module:function" that draws what `backtest` gives; "" for no picture
    backtest_chart: ClassVar[str] = ""

    @abstractmethod
    def backtest(self, store: Store, cutoffs: int) -> Mapping[str, Any]:
        """Train before each cutoff, score after it, compare: a table as JSON values."""


def require(kind: Workload, capability: type[Capability]) -> Capability:
    """The kind as one that has the capability; InputError says in one sentence what it lacks."""
    if isinstance(kind, capability):
        return kind
    lacking: str = capability.lacking  # type: ignore[attr-defined]  # every capability has it
    raise InputError(
        f"{kind.name} {lacking}.",
        fix=f"Its kind {type(kind).__name__} does not implement {capability.__name__}.",
        field="workload",
    )
