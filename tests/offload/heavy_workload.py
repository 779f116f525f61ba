"""The toy workload with two more behaviours: `hog` asks for memory that nobody has, `size:N` says that it has N rows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
from toy_workload import Toy, read_lines, score_one  # type: ignore[import-not-found]  # on the workers' PYTHONPATH

from fleetscore.predictions import Rates
from fleetscore.workload import Partitions, RunContext, Scored, Shard


class Heavy(Toy):  # type: ignore[misc]  # as above
    """Doubles values; a row is predicted to take a tenth of a second."""

    name = "heavy"
    rates = Rates(0.01, 0.0, 0.1, 1000.0)

    def discover(self, run: RunContext) -> Partitions:
        found: Partitions = super().discover(run)
        sizes = [_rows(how) for _, _, how in read_lines(run.store, run.window)]
        column = pa.array(sizes, pa.int64())
        return replace(found, expected=found.expected.set_column(1, "rows", column))

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        lines = {key: (value, how) for key, value, how in read_lines(run.store, run.window)}
        for key in shard.keys:
            value, how = lines[key]
            if how == "hog":
                bytearray(1 << 55)
            yield score_one(key, value, how, _slow_s(run.settings))


def _rows(how: str) -> int:
    return int(how.removeprefix("size:")) if how.startswith("size:") else 1


def _slow_s(settings: Any) -> float:
    slow_s: float = settings.slow_s
    return slow_s
