"""A workload of any size whose scoring costs next to nothing: what is left to measure is the pipeline."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import join_columns
from fleetscore.predictions import Rates
from fleetscore.windows import Cadence
from fleetscore.workload import Partitions, RunContext, Scored, Shard, Workload


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How many partitions there are."""

    partitions: int = 1000


class Fleet(Workload):
    """Partitions device/sensor, of sizes that differ a thousandfold."""

    name = "fleet"
    cadences = (Cadence.HOUR,)
    settings_type = FleetSettings
    rates = Rates(0.01, 1e-4, 1e-6, 50.0)
    result_schema = pa.schema([("partition", pa.string()), ("score", pa.float64())])
    partition_columns = ("partition",)

    def discover(self, run: RunContext) -> Partitions:
        count = run.settings.partitions
        numbers = pa.array(np.arange(count))
        keys = join_columns([pc.cast(pc.divide(numbers, 5), pa.string()), pc.cast(numbers, pa.string())])
        rows = np.random.default_rng(1).pareto(1.5, count) * 1000 + 1
        late = pa.array(np.arange(count) % 1000 == 7)
        expected = Partitions.table(
            keys, rows=np.minimum(rows, 1e6).astype(np.int64), size_bytes=8000, model="v1",
            outcome=pc.if_else(late, "late", ""), cause=pc.if_else(late, "no_readings", ""),
        )  # fmt: skip
        return Partitions(expected)

    def score(self, run: RunContext, shard: Shard) -> Iterator[Scored]:
        keys, table = shard.partitions["partition"], shard.partitions
        results = pa.table({"partition": keys, "score": pa.array(np.zeros(len(keys)))})
        yield Scored.of(keys, results, input_rows=table["rows"], rows=1, model=table["model"])
