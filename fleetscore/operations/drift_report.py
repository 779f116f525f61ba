"""What a run's drift says: the partitions to look at, the worst first."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth


@dataclass(frozen=True, slots=True)
class DriftLine:
    """A partition's drift; `score` is the largest measure in units of its limit, None where there is
    nothing to compare with.
    """

    partition: str
    model: str
    score: float | None
    worst: str  # shift, spread, prediction, missing; "" without a score
    shift: float | None
    spread: float | None
    prediction: float | None
    missing: float | None
    mean: float | None
    mean_before: float | None
    std: float | None
    std_before: float | None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """A run's drift: how many partitions were compared and drifted, and the worst of them, the worst
    first.
    """

    run: str
    partitions: int
    compared: int
    drifted: int
    worst: tuple[DriftLine, ...]


def describe_drift(store: Store, run: str, limit: int = 20) -> DriftReport:
    """The run's partitions to look at; MissingBlobError for an unknown run. A run without sketches gives an
    empty report.
    """
    record = read_run(store, run)
    try:
        with open_truth(store, run_path(run, "drift.parquet")) as source:
            drift = pq.read_table(source)
    except MissingBlobError:
        return DriftReport(run, record.partitions, 0, 0, ())
    compared = drift.filter(pc.is_valid(drift["score"]))
    order = pc.sort_indices(compared, [("score", "descending"), ("partition", "ascending")])
    worst = compared.take(order[:limit]).drop_columns("is_drifted").to_pylist()
    drifted = int(pc.sum(drift["is_drifted"]).as_py() or 0)
    return DriftReport(
        run, drift.num_rows, compared.num_rows, drifted, tuple(DriftLine(**row) for row in worst)
    )
