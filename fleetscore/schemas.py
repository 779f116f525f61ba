"""Outcomes: what became of a partition; exactly one per expected partition of a run."""

from __future__ import annotations

import pyarrow as pa

# Defined beside the records that hold them, which import no Arrow.
from fleetscore.records import GOOD as GOOD
from fleetscore.records import Outcome as Outcome

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
