"""What a workload is: the seam between the spine (plan, ledger, publish) and the science (data, features, models).

The spine asks a workload three things of a run: which partitions there are (`discover`), what may be computed once for all of
them (`map_items`, `map_item`; optional), and the results of a shard (`score`). Training is a run of the same shape
(`discover_training`, `train`, `assemble`). A workload reads the store, writes nothing but what it is told to, and keeps no
state but a cache of models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.model_sets import Pins
from fleetscore.records import InputFile as InputFile  # workloads meet records here only
from fleetscore.records import Rates as Rates
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_window

PARTITIONS = pa.schema(
    [
        ("partition", pa.string()),
        ("rows", pa.int64()),  # input rows of the window, or the unit that the workload's seconds grow with
        ("size_bytes", pa.int64()),  # input columns in memory
        ("model", pa.string()),  # model-set version to score with, "" for none
        (
            "outcome",
            pa.string(),
        ),  # "" = to be scored; else its outcome is settled already (skipped, late, failed, quarantined)
        ("cause", pa.string()),
        ("detail", pa.string()),
    ]
)
"""One row per expected partition; `partition` is unique."""


JUDGED = pa.schema(
    [
        ("partition", pa.string()),
        ("loss", pa.float64()),  # mean over the cases; less is better
        ("cases", pa.int64()),
    ]
)
"""How far results turned out wrong: one row per partition of which actuals are known."""


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """What discovery is asked: the window, the workload's settings, the pinned models, and `only` these partitions if not empty."""

    window: Window
    settings: Any
    pins: Pins
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """Every expected partition (a PARTITIONS table) and the input files read for them, with remarks for the run record."""

    partitions: pa.Table
    inputs: tuple[InputFile, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MapItem:
    """One piece of preparation: an input file or a byte range of it, and the path its partial is written to.

    `output` depends on the content only (path and etag of the input), so a later window finds it there and the item is not run again.
    """

    item: str  # unique in the run
    input: InputFile
    first_byte: int
    stop_byte: int
    output: str
    rows: int  # predicted


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to score: its partitions (PARTITIONS rows with outcome "") and the input files that hold them."""

    run: str
    window: Window
    shard: int
    partitions: pa.Table
    inputs: tuple[InputFile, ...]
    settings: Any

    def restricted(self, partitions: Sequence[str]) -> ShardTask:
        """The same task for some of its partitions."""
        mask = pc.is_in(self.partitions["partition"], pa.array(partitions, pa.string()))
        return replace(self, partitions=self.partitions.filter(mask))


@dataclass(frozen=True, slots=True)
class Scored:
    """A piece of a shard's results: rows of the workload's result schema, and OUTCOMES rows of the partitions that it settles.

    A partition's rows lie in one piece. `sketches` (optional) has one row per partition: `partition` and float64 columns that describe
    input and prediction (n, mean, std, share of missing, ...).
    """

    results: pa.Table
    outcomes: pa.Table
    sketches: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What training is asked: data of the windows in [first, stop), the settings, and `only` these partitions if not empty."""

    first: Window
    stop: Window
    settings: Any
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One shard to train: like ShardTask, over a span of windows."""

    run: str
    first: Window
    stop: Window
    shard: int
    partitions: pa.Table
    inputs: tuple[InputFile, ...]
    settings: Any


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
    """A kind of scoring. Subclasses live in `workloads/<name>/`, are registered in `workloads/__init__.py`, and import science lazily."""

    name: str
    cadences: tuple[Cadence, ...]  # the window forms it takes; the first calendar one is the timer's
    settings_type: type  # a frozen dataclass with defaults; read from settings/<name>.toml
    rates: Rates  # until this store has measured its own
    training_rates: Rates | None = None  # of a training run, where it costs other than scoring
    result_schema: pa.Schema
    partition_columns: tuple[str, ...]  # of the results; joined they are the partition key
    loss: str = ""  # what `judge` measures, in words
    run_defaults: Mapping[
        str, Any
    ] = {}  # lines of the [run] table where this workload needs others than RunPolicy has
    parquet_options: Mapping[str, Any] = {}  # for pyarrow.parquet.ParquetWriter of the results

    def parse_window(self, text: str) -> Window:
        """The window that `text` names; InputError with the expected form otherwise."""
        return parse_window(text, *self.cadences)

    # scoring

    @abstractmethod
    def discover(self, store: Store, request: WindowRequest) -> Discovery:
        """Find the expected partitions of the window: those with data and those with a model; never a list kept by hand."""

    @abstractmethod
    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        """Score the shard piece by piece; every partition of the task is settled exactly once. Expected failures are outcomes."""

    # preparation: nothing unless overridden

    def map_items(self, store: Store, request: WindowRequest) -> Sequence[MapItem]:
        """The pieces of preparation that the window needs and the store does not have yet."""
        del store, request
        return ()

    def training_map_items(self, store: Store, request: TrainingRequest) -> Sequence[MapItem]:
        """The same for a training run. Both are called again after their pieces are done, until nothing is missing."""
        del store, request
        return ()

    def map_item(self, store: Store, item: MapItem, settings: Any) -> Mapping[str, Any]:
        """Compute one partial and write it to `item.output`; returns counts for the ledger (JSON values)."""
        raise NotImplementedError

    # training

    @abstractmethod
    def discover_training(self, store: Store, request: TrainingRequest) -> Discovery:
        """Find what is to be trained; a partition is whatever gets a model of its own."""

    @abstractmethod
    def train(self, store: Store, task: TrainingTask) -> Trained:
        """Train the shard's models."""

    @abstractmethod
    def assemble(
        self, store: Store, request: TrainingRequest, parts: Iterable[Mapping[str, bytes]]
    ) -> ModelSetDraft:
        """Join the shards' files, in shard order, into one model set with its card."""

    # around it

    @abstractmethod
    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """Write sample data under data/<name>/, and truth to judge it by under samples/<name>/; a given seed gives the same bytes."""

    @abstractmethod
    def draw(
        self, store: Store, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        """Draw the published results of the windows as PNG files in `folder`; chooses telling partitions when none are named."""

    def training_profile(self, store: Store, version: str) -> pa.Table | None:
        """What the version was trained on: partition, n, mean, std; None (the default) leaves it to the model set's profile.parquet."""
        del store, version
        return None

    def judge_samples(self, store: Store, windows: Sequence[Window]) -> Mapping[str, Any]:
        """Compare the published results with what `samples` planted; figures for the demo's summary."""
        del store, windows
        return {}

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        """Compare results of the window with what really came: JUDGED rows, none for partitions whose actuals are not there yet."""
        del store, window, results
        raise InputError(f"{self.name} cannot judge results against actuals.", field="workload")

    def score_rows(
        self, store: Store, pins: Pins, settings: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Answer a mini-batch at once: one answer per row, in order; InputError names the row and the field."""
        del store, pins, settings, rows
        raise InputError(f"{self.name} does not answer mini-batches.", field="workload")

    def import_models(self, store: Store, source: Path) -> ModelSetDraft:
        """Read models made elsewhere, without executing anything of them."""
        del store, source
        raise InputError(f"{self.name} has no importer of models.", field="workload")

    def backtest(self, store: Store, settings: Any, cutoffs: int, folder: Path) -> Mapping[str, Any]:
        """Judge the way of training on the past: a table as JSON values, and plots in `folder`."""
        del store, settings, cutoffs, folder
        raise InputError(f"{self.name} has no backtest.", field="workload")
