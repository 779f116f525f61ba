"""The tables of a run: its expected partitions, what became of each, and how far results turned out wrong."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
        ("causes", pa.list_(pa.string())),  # all causes, `cause` first; none for scored without remarks
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

EVENTS = pa.schema(
    [
        ("event", pa.string()),  # id: the same in every window that the event touches
        ("partition", pa.string()),
        ("group", pa.string()),  # partitions of a group have incidents together: the device of a sensor
        ("start", pa.timestamp("us", tz="UTC")),
        ("end", pa.timestamp("us", tz="UTC")),  # last reading so far
        ("readings", pa.int64()),  # so far
        ("severity", pa.float64()),  # the largest so far
        (
            "peak",
            pa.timestamp("us", tz="UTC"),
        ),  # of the reading in this window that is furthest from what is expected
        ("value", pa.float64()),  # of that reading
        ("expected_low", pa.float64()),
        ("expected_high", pa.float64()),
        ("detector", pa.string()),  # with the largest part in the severity at the peak
        ("window", pa.string()),  # as of whose end this is
    ]
)
"""The events of a window, one row each, as of the window's end; an event that goes on has a row in each of
its windows.
"""

EVENT_FILES = pa.schema([field for field in EVENTS if field.name != "window"])
"""EVENTS as they are stored: the window is the name of the file's folder."""


def fill_table(schema: pa.Schema, **columns: Any) -> pa.Table:
    """A table of the schema from one value for all rows, or a sequence with one for each, by column.

    The first column sets the number of rows; a column that is not given is null. ValueError names the
    column whose length is another.

    >>> fill_table(JUDGED, partition=["a", "b"], loss=[0.5, 0.25], cases=4)["cases"].to_pylist()
    [4, 4]
    """
    keys = columns[schema.names[0]]
    count = 1 if isinstance(keys, str) else len(keys)
    return pa.Table.from_arrays(
        [_filled(field, columns.get(field.name), count) for field in schema], schema=schema
    )


def complete_outcomes(table: pa.Table, schema: pa.Schema = OUTCOMES) -> pa.Table:
    """The rows as `schema` has them, with `causes` filled from `cause` where rows of an earlier version, or
    of a kind, have none.

    >>> rows = fill_table(OUTCOMES, partition=["a", "b"], outcome="late", cause=["no_readings", ""])
    >>> complete_outcomes(rows)["causes"].to_pylist()
    [['no_readings'], []]
    """
    single = _one_each(table["cause"])
    if "causes" in table.column_names:
        given = table["causes"].combine_chunks().cast(single.type)
        single = pc.if_else(pc.is_valid(given), given, single)
    columns = [single if name == "causes" else table[name] for name in schema.names]
    return pa.Table.from_arrays(columns, schema.names).cast(schema)


def list_texts(rows: Sequence[Sequence[str]]) -> pa.Array:
    """One list of texts for each row, as an Arrow array: the column `causes` of OUTCOMES."""
    return pa.array([list(row) for row in rows], OUTCOMES.field("causes").type)


def _one_each(cause: pa.ChunkedArray) -> pa.ListArray:
    """A list for each row: its cause, nothing for "" or null."""
    texts = pc.fill_null(cause, "").combine_chunks()
    there = pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(there)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, texts.filter(pa.array(there)).cast(pa.string()))


def _filled(field: pa.Field, values: Any, count: int) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, str) or not isinstance(values, Sized):
        value = str(values) if isinstance(values, str) else values  # an Outcome is a str
        return pa.repeat(pa.scalar(value, field.type), count)
    if len(values) != count:
        raise ValueError(f"Column {field.name} has {len(values)} values for {count} rows.")
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(field.type)
    return pa.array(values, field.type)
