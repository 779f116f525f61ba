"""A workload of any size whose scoring costs next to nothing: what is left to measure is the spine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fleetscore.partition_keys import join_columns
from fleetscore.records import Rates
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window
from fleetscore.workload import (
    Discovery,
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

    def discover(self, store: Store, request: WindowRequest) -> Discovery:
        count = request.settings.partitions
        numbers = pa.array(np.arange(count))
        keys = join_columns(
            [
                pa.compute.cast(pa.compute.divide(numbers, 5), pa.string()),
                pa.compute.cast(numbers, pa.string()),
            ]
        )
        rows = np.random.default_rng(1).pareto(1.5, count) * 1000 + 1
        blank = pa.repeat(pa.scalar(""), count)
        late = pa.array(np.arange(count) % 1000 == 7)
        table = pa.table(
            {
                "partition": keys,
                "rows": pa.array(np.minimum(rows, 1e6).astype(np.int64)),
                "size_bytes": pa.array(np.full(count, 8000)),
                "model": pa.repeat(pa.scalar("v1"), count),
                "outcome": pa.compute.if_else(late, "late", blank),
                "cause": pa.compute.if_else(late, "no_readings", blank),
                "detail": blank,
            }
        )
        return Discovery(table, ())

    def score(self, store: Store, task: ShardTask) -> Iterator[Scored]:
        keys, count = task.partitions["partition"], task.partitions.num_rows
        blank, ones = pa.repeat(pa.scalar(""), count), pa.array(np.ones(count, np.int64))
        outcomes = pa.table(
            {
                "partition": keys,
                "outcome": pa.repeat(pa.scalar("scored"), count),
                "cause": blank,
                "detail": blank,
                "input_rows": task.partitions["rows"],
                "rows": ones,
                "model": task.partitions["model"],
                "seconds": pa.array(np.zeros(count)),
            }
        )
        yield Scored(pa.table({"partition": keys, "score": pa.array(np.zeros(count))}), outcomes)

    def discover_training(self, store: Store, request: TrainingRequest) -> Discovery:
        raise NotImplementedError

    def train(self, store: Store, task: TrainingTask) -> Trained:
        raise NotImplementedError

    def assemble(
        self, store: Store, request: TrainingRequest, parts: Iterable[Mapping[str, bytes]]
    ) -> ModelSetDraft:
        raise NotImplementedError

    def samples(self, store: Store, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        raise NotImplementedError

    def draw(
        self, store: Store, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
    ) -> list[Path]:
        raise NotImplementedError
