"""Columns and tables, counted and written the one way that all steps do it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.store.base import Store


def count_values(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, in the order of first appearance.

    >>> count_values(pa.chunked_array([["late", "scored", "late"]]))
    {'late': 2, 'scored': 1}
    """
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def write_table(store: Store, path: str, table: pa.Table) -> None:
    """Write the table as one Parquet file that appears whole or not at all."""
    with store.sink(path) as file:
        pq.write_table(table, file, compression="zstd")
