"""The extension seam: what a kind of workload implements, what it is given of a run, and what it returns.

A kind is a class that implements two methods of `Workload`: `discover` names the expected partitions of a
window, `score` gives the results of a shard. All else is a capability that a kind may have, see
`fleetscore.capabilities`. A workload is an instance of its kind: it has a name and settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.records import InputFile, Outcome
from fleetscore.schemas import OUTCOMES, PARTITIONS, complete_outcomes, fill_table, list_texts
from fleetscore.settings import NoSettings, RunPolicy, workload_settings_path
from fleetscore.sources import DataSettings, KeyedSpan, Listing, TableCover, cover_until, list_inputs
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_key, parse_window

Purpose = Literal["score", "train"]
# one text for all partitions, or a sequence or Arrow array with one for each
Texts: TypeAlias = str | Sequence[str] | Any
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
    """A remark on a run's input that needs attention, though it costs no partition its result; `cause` is a
    stable code.

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
    """Every expected partition of a run and the input files that were found for them, with remarks for the
    run record.

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
    """A piece of a shard's results: rows of the kind's result schema, and OUTCOMES rows of the partitions
    that it settles.

    The rows of a partition lie in one piece. `sketches` (optional) has one row per partition: `partition`
    and float64 columns that describe input and prediction (n, mean, std, share of missing, ...). Make it
    with `of` or `failed`.
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

        Each argument but the tables is one value for all partitions, or a sequence with one for each. A
        scored partition has the cause "" unless there is something to remark on. `causes` names all
        causes of each partition, its `cause` first; without it each has the one.

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
    """One piece of preparation: an input file or a byte range of it, and the path that its partial is
    written to.

    `output` depends on the content only (path and etag of the input), so that a later window finds it and
    does not repeat the work.
    """

    item: str  # unique in the run
    input: InputFile
    first_byte: int
    stop_byte: int
    output: str
    rows: int  # predicted


@dataclass(frozen=True, slots=True)
class Trained:
    """What training a shard gave: named files in safe formats, and OUTCOMES rows (scored = trained),
    metrics per partition optional.
    """

    files: Mapping[str, bytes]
    outcomes: pa.Table
    metrics: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class ModelSetDraft:
    """A model set that is not stored yet: its files in safe formats, and its model card (JSON values)."""

    files: Mapping[str, bytes]
    card: Mapping[str, Any]


class Workload(ABC):
    """A kind of workload, and with a name and settings a workload of that kind.

    Subclasses lie in `fleetscore/workloads/<kind>/workload.py`, in `fleets/<kind>.py`, or in an installed
    package that names them under the entry point group `fleetscore.kinds`. They keep no state but caches of
    what never changes, and import model libraries inside the methods that need them.
    """

    name: str = ""  # of the workload; as a class attribute the name of the kind
    # the forms of window it takes; the schedule starts windows of the first calendar one
    cadences: tuple[Cadence, ...]
    result_schema: pa.Schema
    # a frozen dataclass with defaults: the lines of settings/<workload>.toml
    settings_type: type = NoSettings
    partition_columns: tuple[str, ...] = ("partition",)  # of the results; joined they are the partition key
    rates: Rates = _DEFAULT_RATES  # until this store has measured its own
    run_defaults: Mapping[
        str, Any
    ] = {}  # lines of the [run] table where this kind needs others than RunPolicy has
    parquet_options: Mapping[str, Any] = {}  # for pyarrow.parquet.ParquetWriter of the results
    warnings: frozenset[str] = frozenset()  # causes of scored partitions that need attention
    schedule: str = ""  # NCRONTAB, UTC: of the workload of the kind's own name, unless its settings have a line `schedule`
    outputs: tuple[str, ...] = ()  # the results' columns that pictures show; (): those that are numbers
    # "module:function" that draws a published window
    chart: str = "fleetscore.dashboard.charts.outputs:draw_outputs"

    def __init__(self, name: str = "", settings: Any = None, zone: str = "UTC") -> None:
        """The workload `name` with these settings, by default that of the kind's own name, with the kind's
        defaults.

        Days, weeks and months are cut in `zone`, an IANA name.
        """
        self.name = name or type(self).name
        self.zone = zone
        self.settings = self.settings_type() if settings is None else settings

    @abstractmethod
    def discover(self, run: RunContext) -> Partitions:
        """The expected partitions of the window: those with data and those with a model; never a list kept
        by hand.
        """

    @abstractmethod
    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        """The results of the shard, piece by piece; every partition is settled exactly once. Expected
        failures are outcomes.
        """

    def data_prefixes(self) -> tuple[str, ...]:
        """Where the input lies: prefixes of paths in the store. Without a file below them no window is due.

        By default the folders of the [data] table where `settings_type` has a field `data`, else
        data/<kind>/. Data in another container or a database is stood for by the workload's settings, which
        are always there.
        """
        data = self.source()
        found = data.prefixes(workload_settings_path(self.name)) if data else ()
        return found or (f"data/{type(self).name}/",)

    def code_distrust(self) -> str | None:
        """Why code of the user's that the settings name may not run here, as a sentence with what to do; ""
        where it may.

        None (the default) where the settings name none.
        """
        return None

    def idle_reason(self, window: Window) -> str:
        """Why no data is expected in the window, to follow "No data is expected"; "" (the default) where it
        is. Without data such a window ends unpublished, and needs no attention.
        """
        del window
        return ""

    def source(self) -> DataSettings | None:
        """How the input is listed and read: the [data] table with its defaults; None for a kind that reads
        otherwise.
        """
        data = getattr(self.settings, "source", None) or getattr(self.settings, "data", None)
        return data.with_defaults("", self.zone) if isinstance(data, DataSettings) else None

    def table_cover(self, window: Window) -> TableCover:
        """When Delta tables of the input cover the window, for `ready.delta`: each holds a time after it."""
        data = self.source()
        return cover_until(data.paths, window.end, data.timezone) if data else cover_until((), window.end)

    def landed_span(self, run: RunContext) -> KeyedSpan:
        """The span of time whose rows the window's own landing holds, where they are in a database: the
        window.
        """
        return run.window

    def list_input(self, store: Store) -> Listing:
        """All files of the input's folders, whatever their window: those that are read, and those passed
        over.
        """
        data = self.source()
        return list_inputs(store, data, None) if data and not data.database else Listing((), (), 0)

    def modelled_partitions(self, read: Callable[[str], bytes]) -> Sequence[str] | None:
        """The partitions that have a model of their own in a set whose files `read` gives; None where
        models are shared.
        """
        del read
        return None

    def parse_window(self, text: str) -> Window:
        """The window that `text` names; InputError with the expected form otherwise."""
        return parse_window(text, *self.cadences, zone=self.zone)

    def is_own_window(self, key: str) -> bool:
        """Whether windows are as long now as the one of a stored key."""
        return parse_key(key).cadence in self.cadences

    def stored_window(self, key: str) -> Window:
        """The window of a stored key; InputError for one of another length than windows have now: it would be
        taken for the first of those that lie in it.
        """
        if self.is_own_window(key):
            return parse_key(key, self.zone)
        raise InputError(
            f"{key} is of the time when windows of {self.name} had another length.",
            fix="Set `window` in its settings back, or use a second workload, to run such a window again.",
            field="window",
            code="other_length",
        )
