"""The toy workload with models that matter: a model set's factor multiplies values, and actual values come later.

factor.txt of a model set holds a number, or `raise` or `kill` for what its scoring does. Actuals are lines of actuals/<window>.csv.
"""

import os
import signal
from collections.abc import Iterator

import pyarrow as pa
from toy_workload import Toy, read_lines

from fleetscore.capabilities import Judges
from fleetscore.models.model_sets import read_model_file, read_model_set, write_model_set
from fleetscore.schemas import JUDGED
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import RunContext, Scored, Shard


class Rated(Toy, Judges):
    """Multiplies values by the factor of the model set."""

    loss = "mean distance"

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        values = {key: value for key, value, _ in read_lines(run.store, run.window)}
        for row in shard.partitions.to_pylist():
            key, version = row["partition"], row["model"]
            factor = factor_of(run.store, version)
            results = pa.table(
                {"partition": [key], "doubled": [int(values[key] * factor)]}, schema=self.result_schema
            )
            yield Scored.of(key, results, input_rows=1, rows=1, model=version)

    def judge(self, store: Store, window: Window, results: pa.Table) -> pa.Table:
        entry = store.stat(f"actuals/{window.key}.csv")
        if entry is None:
            return JUDGED.empty_table()
        lines = (line.split(",") for line in store.read(entry.path).decode().splitlines())
        actual = {key: int(value) for key, value in lines}
        told = {row["partition"]: row["doubled"] for row in results.to_pylist()}
        keys = sorted(told.keys() & actual.keys())
        columns = [keys, [abs(told[k] - actual[k]) for k in keys], [10] * len(keys)]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, JUDGED, strict=True)], schema=JUDGED)


def write_factor(store: Store, factor: str) -> str:
    """A model set of that factor; gives its version."""
    return write_model_set(store, "toy", {"factor.txt": factor.encode()}, {}).version


def factor_of(store: Store, version: str) -> float:
    """The factor of a version; does what it says instead of being a number."""
    text = read_model_file(store, read_model_set(store, "toy", version), "factor.txt").decode()
    if text == "raise":
        raise ValueError("this model raises")
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return float(text)
