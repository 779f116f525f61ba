"""Outcomes: what became of a partition; exactly one per expected partition of a run."""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa


class Outcome(StrEnum):
    """What became of a partition.

    scored: results are in the published files. failed: its input, its model or the scoring was at fault. skipped: a stated rule says
    that it is not to be scored (no model yet, discontinued, filtered out). late: expected, but its data was not there.
    quarantined: it was set aside, because it kills its process or its input is beyond the reject threshold.
    """

    SCORED = "scored"
    FAILED = "failed"
    SKIPPED = "skipped"
    LATE = "late"
    QUARANTINED = "quarantined"


GOOD = frozenset({Outcome.SCORED, Outcome.SKIPPED})
"""The outcomes after which nobody needs to look."""

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
