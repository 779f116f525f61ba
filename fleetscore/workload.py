"""The extension seam: what a kind of workload implements, what it is given of a run, and what it returns.

A kind is a class that implements two methods of `Workload`: `discover` names the expected partitions of a window, `score` gives
the results of a shard. All else is a capability that a kind may have: `Prepares`, `Trains`, `ImportsModels`, `ScoresRows`,
`Judges`, `FindsEvents`, `MakesSamples`, `Backtests`. A workload is an instance of its kind: it has a name and settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.model_sets import Pins
from fleetscore.records import Collected, FitCheck, InputFile, Outcome, Rates, ResultFile
from fleetscore.schemas import OUTCOMES, PARTITIONS, complete_outcomes, fill_table, list_texts
from fleetscore.settings import NoSettings, RunPolicy, workload_settings_path
from fleetscore.sources import DataSettings, Listing, list_inputs
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_window

Purpose = Literal["score", "train"]
Capability = TypeVar("Capability")
Texts: TypeAlias = (
    str | Sequence[str] | Any
)  # one text for all partitions, or a sequence or Arrow array with one for each
Numbers: TypeAlias = float | Sequence[float] | Any

_DEFAULT_RATES = Rates(shard_s=0.5, partition_s=1e-3, row_s=1e-6, bytes_per_row=200.0)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a kind is given of a run. Opened once per activity or command by `pipeline.context.open_run`.

    `window` is the window that is scored; of a training run the first of the span [window, end).
    """

    store: Store
    kind: Workload
    window: Window
    pins: Pins = field(default_factory=Pins)
    policy: RunPolicy = field(default_factory=RunPolicy)
    purpose: Purpose = "score"
    end: Window | None = None  # exclusive; of a training run only
    run: str = ""
    inputs: tuple[InputFile, ...] = ()  # the input files that the plan found; empty before there is one

    @property
    def workload(self) -> str:
        """The name of the workload."""
        return self.kind.name

    @property
    def settings(self) -> Any:
        """The workload's settings, of the kind's `settings_type`."""
        return self.kind.settings

    @property
    def span(self) -> tuple[Window, Window]:
        """The first window and the one after the last: of the training, or the window and the next one."""
        return self.window, self.end or self.window.next()


class Remark(str):
    """A remark on a run's input that needs attention, though it costs no partition its result; `cause` is a stable code.

    >>> Remark("repeated_rows", "10 rows stand in both a.csv and b.csv.").cause
    'repeated_rows'
    """

    cause: str

    def __new__(cls, cause: str, detail: str) -> Remark:
        """The sentence `detail` with its code."""
        remark = super().__new__(cls, detail)
        remark.cause = cause
        return remark


@dataclass(frozen=True, slots=True)
class Partitions:
    """Every expected partition of a run and the input files that were found for them, with remarks for the run record.

    A plain text among the remarks is information; a `Remark` needs attention.

    `expected` is a PARTITIONS table; make it with `Partitions.table`.
    """

    expected: pa.Table
    inputs: tuple[InputFile, ...] = ()
    remarks: tuple[str, ...] = ()

    @staticmethod
    def table(
        partition: Texts, *, rows: Numbers = 0, size_bytes: Numbers = 0, model: Texts = "",
        outcome: Texts = "", cause: Texts = "", detail: Texts = "",
    ) -> pa.Table:  # fmt: skip
        """A PARTITIONS table. Each argument is one value for all partitions, or a sequence with one for each.

        >>> Partitions.table(["a", "b"], rows=[3, 5], model="v1").to_pylist()[1]["rows"]
        5
        """
        return fill_table(
            PARTITIONS, partition=partition, rows=rows, size_bytes=size_bytes, model=model,
            outcome=outcome, cause=cause, detail=detail,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shard:
    """The partitions that are scored (or trained) together: PARTITIONS rows with outcome ""."""

    number: int
    partitions: pa.Table

    @property
    def keys(self) -> list[str]:
        """The keys of the shard's partitions, in order."""
        keys: list[str] = self.partitions["partition"].to_pylist()
        return keys

    def restricted(self, partitions: Sequence[str]) -> Shard:
        """The same shard with some of its partitions."""
        mask = pc.is_in(self.partitions["partition"], pa.array(partitions, pa.string()))
        return replace(self, partitions=self.partitions.filter(mask))


_NO_RESULTS = pa.table({})


@dataclass(frozen=True, slots=True)
class Scored:
    """A piece of a shard's results: rows of the kind's result schema, and OUTCOMES rows of the partitions that it settles.

    The rows of a partition lie in one piece. `sketches` (optional) has one row per partition: `partition` and float64 columns
    that describe input and prediction (n, mean, std, share of missing, ...). Make it with `of` or `failed`.
    """

    results: pa.Table
    outcomes: pa.Table
    sketches: pa.Table | None = None

    @classmethod
    def of(
        cls, partition: Texts, results: pa.Table = _NO_RESULTS, *, outcome: Texts = Outcome.SCORED, cause: Texts = "",
        detail: Texts = "", input_rows: Numbers = 0, rows: Numbers = 0, model: Texts = "", seconds: Numbers = 0.0,
        sketches: pa.Table | None = None, causes: Sequence[Sequence[str]] | None = None,
    ) -> Scored:  # fmt: skip
        """A piece that settles the partitions; `results` are their rows, `rows` counts them by partition.

        Each argument but the tables is one value for all partitions, or a sequence with one for each. A scored partition has the
        cause "" unless there is something to remark on. `causes` names all causes of each partition, its `cause` first; without
        it each has the one.

        >>> Scored.of("a", pa.table({"y": [1.0, 2.0]}), rows=2, input_rows=2).outcomes.to_pylist()[0]["outcome"]
        'scored'
        """
        outcomes = fill_table(
            OUTCOMES, partition=partition, outcome=outcome, cause=cause, detail=detail, input_rows=input_rows,
            rows=rows, model=model, seconds=seconds, causes=None if causes is None else list_texts(causes),
        )  # fmt: skip
        return cls(results, complete_outcomes(outcomes), sketches)

    @classmethod
    def failed(
        cls, partition: Texts, cause: Texts, detail: Texts, *, input_rows: Numbers = 0, model: Texts = "",
        outcome: Texts = Outcome.FAILED,
    ) -> Scored:  # fmt: skip
        """A piece that settles the partitions without results.

        >>> Scored.failed(["a", "b"], "no_rows", "The file is empty.").outcomes["outcome"].to_pylist()
        ['failed', 'failed']
        """
        return cls.of(
            partition, outcome=outcome, cause=cause, detail=detail, input_rows=input_rows, model=model
        )


@dataclass(frozen=True, slots=True)
class MapItem:
    """One piece of preparation: an input file or a byte range of it, and the path that its partial is written to.

    `output` depends on the content only (path and etag of the input), so that a later window finds it and does not repeat the work.
    """

    item: str  # unique in the run
    input: InputFile
    first_byte: int
    stop_byte: int
    output: str
    rows: int  # predicted


@dataclass(frozen=True, slots=True)
class Trained:
    """What training a shard gave: named files in safe formats, and OUTCOMES rows (scored = trained), metrics per partition optional."""

    files: Mapping[str, bytes]
    outcomes: pa.Table
    metrics: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class ModelSetDraft:
    """A model set that is not stored yet: its files in safe formats, and its model card (JSON values)."""

    files: Mapping[str, bytes]
    card: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What `samples` wrote: the windows worth running, and sentences that say what was planted."""

    first: Window
    stop: Window
    partitions: int
    rows: int
    remarks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Workload(ABC):
    """A kind of workload, and with a name and settings a workload of that kind.

    Subclasses lie in `fleetscore/workloads/<kind>/workload.py`, in `fleets/<kind>.py`, or in an installed package that names them
    under the entry point group `fleetscore.kinds`. They keep no state but caches of what never changes, and import model
    libraries inside the methods that need them.
    """

    name: str = ""  # of the workload; as a class attribute the name of the kind
    cadences: tuple[
        Cadence, ...
    ]  # the forms of window it takes; the schedule starts windows of the first calendar one
    result_schema: pa.Schema
    settings_type: type = (
        NoSettings  # a frozen dataclass with defaults: the lines of settings/<workload>.toml
    )
    partition_columns: tuple[str, ...] = ("partition",)  # of the results; joined they are the partition key
    rates: Rates = _DEFAULT_RATES  # until this store has measured its own
    run_defaults: Mapping[
        str, Any
    ] = {}  # lines of the [run] table where this kind needs others than RunPolicy has
    parquet_options: Mapping[str, Any] = {}  # for pyarrow.parquet.ParquetWriter of the results
    warnings: frozenset[str] = frozenset()  # causes of scored partitions that need attention
    schedule: str = ""  # NCRONTAB, UTC: of the workload of the kind's own name, unless its settings have a line `schedule`
    outputs: tuple[str, ...] = ()  # the results' columns that pictures show; (): those that are numbers
    chart: str = (
        "fleetscore.dashboard.charts.outputs:draw_outputs"  # "module:function" that draws a published window
    )

    def __init__(self, name: str = "", settings: Any = None, zone: str = "UTC") -> None:
        """The workload `name` with these settings, by default that of the kind's own name, with the kind's defaults.

        Days, weeks and months are cut in `zone`, an IANA name.
        """
        self.name = name or type(self).name
        self.zone = zone
        self.settings = self.settings_type() if settings is None else settings

    @abstractmethod
    def discover(self, run: RunContext) -> Partitions:
        """The expected partitions of the window: those with data and those with a model; never a list kept by hand."""

    @abstractmethod
    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        """The results of the shard, piece by piece; every partition is settled exactly once. Expected failures are outcomes."""

    def data_prefixes(self) -> tuple[str, ...]:
        """Where the input lies: prefixes of paths in the store. Without a file below them no window is due.

        By default the folders of the [data] table where `settings_type` has a field `data`, else data/<kind>/. Data in
        another container or a database is stood for by the workload's settings, which are always there.
        """
        data = self.source()
        found = data.prefixes(workload_settings_path(self.name)) if data else ()
        return found or (f"data/{type(self).name}/",)

    def code_distrust(self) -> str | None:
        """Why code of the user's that the settings name may not run here, as a sentence with what to do; "" where it may.

        None (the default) where the settings name none.
        """
        return None

    def source(self) -> DataSettings | None:
        """How the input is listed and read: the [data] table with its defaults; None for a kind that reads otherwise."""
        data = getattr(self.settings, "source", None) or getattr(self.settings, "data", None)
        return data.with_defaults("", self.zone) if isinstance(data, DataSettings) else None

    def list_input(self, store: Store) -> Listing:
        """All files of the input's folders, whatever their window: those that are read, and those passed over."""
        data = self.source()
        return list_inputs(store, data, None) if data and not data.database else Listing((), (), 0)

    def modelled_partitions(self, read: Callable[[str], bytes]) -> Sequence[str] | None:
        """The partitions that have a model of their own in a set whose files `read` gives; None where models are shared."""
        del read
        return None

    def parse_window(self, text: str) -> Window:
        """The window that `text` names; InputError with the expected form otherwise."""
        return parse_window(text, *self.cadences, zone=self.zone)


class Prepares(ABC):
    """The capability to compute once per input file what every shard needs, before the plan is made."""

    lacking: ClassVar[str] = "prepares no input"

    @abstractmethod
    def map_items(self, run: RunContext) -> Sequence[MapItem]:
        """The pieces of preparation that the run needs and the store lacks; called again after they are done, until none is missing."""

    @abstractmethod
    def map_item(self, run: RunContext, item: MapItem) -> Mapping[str, Any]:
        """Compute one partial and write it to `item.output`; returns counts for the run's record (JSON values)."""


class Trains(ABC):
    """The capability to train models; `run.window` and `run.end` bound the span of data."""

    lacking: ClassVar[str] = "cannot be trained"
    training_rates: Rates | None = None  # where training costs other than scoring
    training_schedule: str = ""  # NCRONTAB, in the workload's zone; "": on demand only
    training_days: int = 90  # of data before the tick that a scheduled training reads

    @property
    def enters(self) -> str:
        """How a new set comes into use where the request does not say: challenger, if better, or pinned; "": pinned, but where the span
        has a set already.
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
        """What the version was trained on: partition, n, mean, std; None (the default) leaves it to the model set's profile.parquet."""
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
    """What importing a folder of models by key would make: the set's files, its card, and what becomes of the models before.

    `counts` has imported, refused, replaced, new and kept; `lost` names partitions' keys that have a model now and would not,
    `absent` the partitions that stay expected without one.
    """

    draft: ModelSetDraft
    counts: Mapping[str, int]
    lost: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


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

    `data` is a pattern or folder in `store`, or below `folder` on this machine, from where it is copied to data/<name>/.
    """

    name: str
    data: str
    folder: Path | None = None
    models: Path | None = None
    manifest: Path | None = None
    trusted: bool = False
    partition: tuple[str, ...] = ()
    key: str | None = None
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
        """Look at data and models and propose settings; nothing is written. InputError names what only the user can say."""


class ImportsFleets(ABC):
    """The capability to take a folder of models by key, file by file, whole or on top of the current version."""

    lacking: ClassVar[str] = "takes a model set as a whole; --add, --trust-pickles and --manifest cannot act"

    @abstractmethod
    def import_fleet(
        self, store: Store, source: Path, *, base: str = "", add: bool = False, trusted: bool = False,
        manifest: Path | None = None, report: Callable[[str, int, int, str], None] | None = None,
    ) -> FleetImport:  # fmt: skip
        """Import the files; with `add` the models of the version `base` stay where the source has none of the same key.

        `trusted` lets pickles run, each in a limited process. `report` gets name, number, total and refusal ("") of each file.
        """


class ScoresRows(ABC):
    """The capability to answer a few rows at once, without a run."""

    lacking: ClassVar[str] = "does not answer mini-batches"

    @abstractmethod
    def score_rows(self, store: Store, pins: Pins, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer per row, in order; InputError names the row and the field."""


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
        """Read data of the window, or the newest there is, and try the pinned models on it, or those in the folder `source`.

        `trusted` lets pickles of the folder run, each in a limited process. Nothing is written.
        """


class MakesSamples(ABC):
    """The capability to write sample data with planted defects, and to judge results by them."""

    lacking: ClassVar[str] = "has no sample data"
    title: ClassVar[str] = ""  # of the demo's section; "": the name of the workload

    @abstractmethod
    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data, and the truth to judge results by under samples/; a given seed gives the same bytes."""

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        """Compare the published results with what `samples` planted; figures for the demo's summary."""
        del store, windows
        return {}


class Backtests(ABC):
    """The capability to judge the way of training on the past."""

    lacking: ClassVar[str] = "has no backtest"

    backtest_chart: ClassVar[str] = (
        ""  # "module:function" that draws what `backtest` gives; "" for no picture
    )

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
