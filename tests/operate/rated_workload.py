"""The toy workload with models that matter: a model set's factor multiplies values, and actual values come later.

factor.txt of a model set holds a number, or `raise` or `kill` for what its scoring does. Actuals are lines of actuals/<window>.csv.
"""

import os
import signal
from collections.abc import Iterator

import pyarrow as pa
from toy_workload import Toy, read_lines

from fleetscore.models.model_sets import read_model_file, read_model_set, write_model_set
from fleetscore.records import Outcome
from fleetscore.schemas import settle
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import JUDGED, Scored, ShardTask


class Rated(Toy):
    """Multiplies values by the factor of the model set."""

    loss = "mean distance"

    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        values = {key: value for key, value, _ in read_lines(store, task.window)}
        for row in task.partitions.to_pylist():
            key, version = row["partition"], row["model"]
            factor = factor_of(store, version)
            results = pa.table(
                {"partition": [key], "doubled": [int(values[key] * factor)]}, schema=self.result_schema
            )
            outcomes = settle([key], Outcome.SCORED, "", "", {key: 1}, {key: version})
            place = outcomes.schema.get_field_index("rows")
            yield Scored(results, outcomes.set_column(place, "rows", pa.array([1], pa.int64())))

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
