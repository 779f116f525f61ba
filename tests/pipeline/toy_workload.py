"""A workload small enough to read at a glance: partitions and their behaviour are lines of data/toy/<window>.csv.

A line is `partition,value,behaviour`; behaviour: ok, fail (an outcome), raise (an exception), kill (kills its process), slow.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleetscore.errors import MissingBlobError
from fleetscore.records import InputFile, Outcome, Rates
from fleetscore.schemas import OUTCOMES, settle
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import (
    PARTITIONS,
    Discovery,
    MapItem,
    ModelSetDraft,
    SampleReport,
    Scored,
    ShardTask,
    Trained,
    TrainingRequest,
    TrainingTask,
    WindowRequest,
    Workload,
)


@dataclass(frozen=True, slots=True)
class ToySettings:
    """How slow a slow partition is, and whether data has to be prepared first."""

    slow_s: float = 0.2
    prepare: bool = False


class Toy(Workload):
    """Doubles values."""

    name = "toy"
    cadences = (Cadence.HOUR,)
    settings_type = ToySettings
    rates = Rates(0.01, 1.0, 0.0, 1.0)
    result_schema = pa.schema([("partition", pa.string()), ("doubled", pa.int64())])
    partition_columns = ("partition",)

    def discover(self, store: Store, request: WindowRequest) -> Discovery:
        lines = read_lines(store, request.window)
        rows = [
            {
                "partition": key, "rows": 1, "size_bytes": 8, "model": request.pins.version_for(key),
                "outcome": "late" if how == "late" else "", "cause": "no_rows" if how == "late" else "", "detail": "",
            }
            for key, _, how in lines
        ]  # fmt: skip
        entry = store.stat(path_of(request.window))
        inputs = (InputFile(entry.path, entry.etag, entry.size_bytes),) if entry else ()
        return Discovery(pa.Table.from_pylist(rows, PARTITIONS), inputs)

    def map_items(self, store: Store, request: WindowRequest) -> Sequence[MapItem]:
        entry = store.stat(path_of(request.window))
        if not request.settings.prepare or entry is None:
            return ()
        output = f"partials/toy/{entry.etag}"
        if store.stat(output) is not None:
            return ()
        return (
            MapItem(
                "all", InputFile(entry.path, entry.etag, entry.size_bytes), 0, entry.size_bytes, output, 1
            ),
        )

    def map_item(self, store: Store, item: MapItem, settings: Any) -> Mapping[str, Any]:
        store.write(item.output, b"prepared")
        return {"rows": 1}

    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        lines = {key: (value, how) for key, value, how in read_lines(store, task.window)}
        for key in task.partitions["partition"].to_pylist():
            yield score_one(key, *lines[key], task.settings.slow_s)

    def discover_training(self, store: Store, request: TrainingRequest) -> Discovery:
        return self.discover(store, WindowRequest(request.first, request.settings, _no_pins()))

    def train(self, store: Store, task: TrainingTask) -> Trained:
        keys = task.partitions["partition"].to_pylist()
        return Trained({"keys.txt": "\n".join(keys).encode()}, _scored(keys, 0))

    def assemble(
        self, store: Store, request: TrainingRequest, parts: Iterable[Mapping[str, bytes]]
    ) -> ModelSetDraft:
        return ModelSetDraft({"keys.txt": b"\n".join(part["keys.txt"] for part in parts)}, {"kind": "toy"})

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        raise NotImplementedError

    def draw(
        self, store: Store, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        raise NotImplementedError


def path_of(window: Window) -> str:
    """Where the window's lines lie."""
    return f"data/toy/{window.key}.csv"


def write_lines(store: Store, window: str, lines: Iterable[tuple[str, int, str]]) -> None:
    """Write the data of a window."""
    text = "".join(f"{key},{value},{how}\n" for key, value, how in lines)
    store.write(f"data/toy/{window}.csv", text.encode())


def read_lines(store: Store, window: Window) -> list[tuple[str, int, str]]:
    """The lines of the window; none when there is no data."""
    try:
        text = store.read(path_of(window)).decode()
    except MissingBlobError:
        return []
    cells = (line.split(",") for line in text.splitlines())
    return [(key, int(value), how) for key, value, how in cells]


def score_one(key: str, value: int, how: str, slow_s: float) -> Scored:
    """Behave as the line says."""
    if how == "raise":
        raise ValueError(f"{key} cannot be scored")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "slow":
        time.sleep(slow_s)
    if how == "fail":
        return Scored(
            Toy.result_schema.empty_table(),
            settle([key], Outcome.FAILED, "bad_value", "It says fail.", {key: 1}, {}),
        )
    results = pa.table({"partition": [key], "doubled": [2 * value]}, schema=Toy.result_schema)
    return Scored(results, _scored([key], 1))


def _scored(keys: Sequence[str], rows: int) -> pa.Table:
    lines = [
        {
            "partition": k,
            "outcome": "scored",
            "cause": "",
            "detail": "",
            "input_rows": 1,
            "rows": rows,
            "model": "",
            "seconds": 0.0,
        }
        for k in keys
    ]
    return pa.Table.from_pylist(lines, OUTCOMES)


def _no_pins() -> Any:
    from fleetscore.models.model_sets import Pins

    return Pins()
