"""A workload small enough to read at a glance: partitions and their behaviour are lines of data/toy/<window>.csv.

A line is `partition,value,behaviour`; behaviour: ok, fail (an outcome), raise (an exception), kill (kills its process), slow,
endless (never ends, and lets no other thread run), hog (needs a gigabyte),
handles (needs a hundred open files), untrainable (raises in training).
"""

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fleetscore.capabilities import Prepares, Trains
from fleetscore.errors import MissingBlobError
from fleetscore.models.pins import Pins
from fleetscore.predictions import Rates
from fleetscore.records import InputFile
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import (
    MapItem,
    ModelSetDraft,
    Partitions,
    RunContext,
    Scored,
    Shard,
    Trained,
    Workload,
)


@dataclass(frozen=True, slots=True)
class ToySettings:
    """How slow a slow partition is, and whether data has to be prepared first."""

    slow_s: float = 0.2
    prepare: bool = False


class Toy(Workload, Prepares, Trains):
    """Doubles values."""

    name = "toy"
    cadences = (Cadence.HOUR,)
    settings_type = ToySettings
    rates = Rates(0.01, 1.0, 0.0, 1.0)
    result_schema = pa.schema([("partition", pa.string()), ("doubled", pa.int64())])
    partition_columns = ("partition",)

    def discover(self, run: RunContext) -> Partitions:
        lines = read_lines(run.store, run.window)
        keys = [key for key, _, _ in lines]
        late = ["late" if how == "late" else "" for _, _, how in lines]
        expected = Partitions.table(
            keys, rows=1, size_bytes=8, model=[run.pins.version_for(key) for key in keys],
            outcome=late, cause=["no_rows" if how else "" for how in late],
        )  # fmt: skip
        entry = run.store.stat(path_of(run.window))
        inputs = (InputFile(entry.path, entry.etag, entry.size_bytes),) if entry else ()
        return Partitions(expected, inputs)

    def map_items(self, run: RunContext) -> Sequence[MapItem]:
        entry = run.store.stat(path_of(run.window))
        if not run.settings.prepare or entry is None or run.purpose == "train":
            return ()
        output = f"partials/toy/{entry.etag}"
        if run.store.stat(output) is not None:
            return ()
        return (
            MapItem(
                "all", InputFile(entry.path, entry.etag, entry.size_bytes), 0, entry.size_bytes, output, 1
            ),
        )

    def map_item(self, run: RunContext, item: MapItem) -> Mapping[str, Any]:
        run.store.write(item.output, b"prepared")
        return {"rows": 1}

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        lines = {key: (value, how) for key, value, how in read_lines(run.store, run.window)}
        for key in shard.keys:
            yield score_one(key, *lines[key], run.settings.slow_s)

    def discover_training(self, run: RunContext) -> Partitions:
        return self.discover(replace(run, pins=Pins()))

    def train(self, run: RunContext, shard: Shard) -> Trained:
        behaviours = {key: how for key, _, how in read_lines(run.store, run.window)}
        if bad := [key for key in shard.keys if behaviours[key] == "untrainable"]:
            raise ValueError(f"{bad[0]} cannot be trained")
        for key in shard.keys:
            if behaviours[key] in ("hog", "kill"):
                score_one(key, 0, behaviours[key], 0.0)
        return Trained(
            {"keys.txt": "\n".join(shard.keys).encode()}, Scored.of(shard.keys, input_rows=1).outcomes
        )

    def assemble(self, run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
        return ModelSetDraft({"keys.txt": b"\n".join(part["keys.txt"] for part in parts)}, {"kind": "toy"})


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
    if how == "endless":
        re.match("(a+)+$", "a" * 80 + "b")  # holds the interpreter's lock
    if how == "hog":
        bytearray(1 << 30)
    if how == "handles":
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(Path(os.devnull).open())
    if how == "slow":
        time.sleep(slow_s)
    if how == "fail":
        return Scored.failed(key, "bad_value", "It says fail.", input_rows=1)
    results = pa.table({"partition": [key], "doubled": [2 * value]}, schema=Toy.result_schema)
    return Scored.of(key, results, input_rows=1, rows=1)
