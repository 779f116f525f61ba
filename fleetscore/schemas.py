"""Outcomes: what became of a partition; exactly one per expected partition of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fleetscore.records import Outcome

DRIFTED = "drifted"
"""The cause of a scored partition that is beyond a limit of drift: a warning, its results stand."""

OUTCOMES = pa.schema(
    [
        ("partition", pa.string()),
        ("outcome", pa.string()),  # an Outcome
        ("cause", pa.string()),  # a stable code such as no_model; "" for scored without remarks
        ("detail", pa.string()),  # a sentence with file and row, where it has one
        ("input_rows", pa.int64()),
        ("rows", pa.int64()),  # rows in the results
        ("model", pa.string()),  # model-set version, "" where none was used
        ("seconds", pa.float64()),  # share of the shard's scoring time; 0.0 where not measured
    ]
)
"""One row per partition of a shard, in any order; what a workload's `score` returns beside its results."""


def settle(
    partitions: Sequence[str],
    outcome: Outcome,
    cause: str,
    detail: str,
    input_rows: Mapping[str, int],
    models: Mapping[str, str],
) -> pa.Table:
    """OUTCOMES rows that give all `partitions` the same outcome without results."""
    count = len(partitions)
    return pa.table(
        {
            "partition": list(partitions),
            "outcome": [str(outcome)] * count,
            "cause": [cause] * count,
            "detail": [detail] * count,
            "input_rows": [input_rows.get(p, 0) for p in partitions],
            "rows": [0] * count,
            "model": [models.get(p, "") for p in partitions],
            "seconds": [0.0] * count,
        },
        schema=OUTCOMES,
    )
