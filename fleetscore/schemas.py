"""The tables of a run: its expected partitions, what became of each, and how far results turned out wrong."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import pyarrow as pa

DRIFTED = "drifted"
"""The cause of a scored partition that is beyond a limit of drift: a warning, its results stand."""

PARTITIONS = pa.schema(
    [
        ("partition", pa.string()),
        ("rows", pa.int64()),  # input rows of the window, or the unit that the workload's seconds grow with
        ("size_bytes", pa.int64()),  # input columns in memory
        ("model", pa.string()),  # model-set version to score with, "" for none
        ("outcome", pa.string()),  # "" = to be scored; else settled: skipped, late, failed, quarantined
        ("cause", pa.string()),
        ("detail", pa.string()),
    ]
)
"""One row per expected partition; `partition` is unique."""

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

JUDGED = pa.schema(
    [
        ("partition", pa.string()),
        ("loss", pa.float64()),  # mean over the cases; less is better
        ("cases", pa.int64()),
    ]
)
"""How far results turned out wrong: one row per partition of which actuals are known."""


def fill_table(schema: pa.Schema, **columns: Any) -> pa.Table:
    """A table of the schema from one value for all rows, or a sequence with one for each, by column.

    The first column sets the number of rows. ValueError names the column whose length is another.

    >>> fill_table(JUDGED, partition=["a", "b"], loss=[0.5, 0.25], cases=4)["cases"].to_pylist()
    [4, 4]
    """
    keys = columns[schema.names[0]]
    count = 1 if isinstance(keys, str) else len(keys)
    return pa.Table.from_arrays(
        [_filled(field, columns[field.name], count) for field in schema], schema=schema
    )


def _filled(field: pa.Field, values: Any, count: int) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, str) or not isinstance(values, Sized):
        value = str(values) if isinstance(values, str) else values  # an Outcome is a str
        return pa.repeat(pa.scalar(value, field.type), count)
    if len(values) != count:
        raise ValueError(f"Column {field.name} has {len(values)} values for {count} rows.")
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(field.type)
    return pa.array(values, field.type)
