"""Columns and tables, counted and written the one way that all steps do it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.exhaustion import raise_lack
from fleetscore.store.base import Store
from fleetscore.store.state_files import damaged

UNREADABLE_TABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError)
"""What Arrow raises for a file that was cut short or altered."""

_log = logging.getLogger("fleetscore.state")


def count_values(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, in the order of first appearance.

    >>> count_values(pa.chunked_array([["late", "scored", "late"]]))
    {'late': 2, 'scored': 1}
    """
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


@contextmanager
def open_truth(store: Store, path: str) -> Iterator[pa.NativeFile]:
    """As `store.open`, of a table that nothing replaces: what Arrow raises inside the block is a
    DamagedStateError with the path.
    """
    with store.open(path) as source:
        try:
            yield source
        except UNREADABLE_TABLE as error:
            raise_lack(error)
            raise damaged(path, error, source.size()) from error


def has_table(store: Store, path: str) -> bool:
    """Whether a Parquet file stands there whole; one that was cut short counts as absent, with a warning:
    for what is made anew.
    """
    try:
        with open_truth(store, path) as source:
            pq.read_metadata(source)
    except MissingBlobError:
        return False
    except DamagedStateError as error:
        _log.warning("%s It is made anew.", error.message)
        return False
    return True


def write_table(store: Store, path: str, table: pa.Table) -> None:
    """Write the table as one Parquet file that appears whole or not at all."""
    with store.sink(path) as file:
        pq.write_table(table, file, compression="zstd")
