"""Published results, read by partition: only the file that the ledger names, only the row groups that can
hold it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import MissingBlobError
from fleetscore.partition_keys import is_utf8, join_columns, split_key
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A partition's line of a run's ledger."""

    partition: str
    outcome: str
    cause: str
    detail: str
    input_rows: int
    rows: int
    model: str
    seconds: float
    shard: int
    file: str
    run: str


def read_ledger_line(store: Store, run: str, partition: str) -> LedgerLine:
    """The partition's line, reading only the row groups whose key range holds it; MissingBlobError when it
    was not expected.
    """
    found: list[dict[str, Any]] = []
    if is_utf8(partition):  # Arrow's own error about anything else would read as damage of the ledger
        with open_truth(store, run_path(run, "ledger.parquet")) as source:
            found = pq.read_table(source, filters=[("partition", "=", partition)]).to_pylist()
    if not found:
        raise MissingBlobError(
            f"{run} has no partition {partition!r}.",
            fix=f"See what is like it: fleetscore explain {run} {shlex.quote(partition)}",
            code="no_partition",
            field="partition",
        )
    return LedgerLine(**found[0])


def read_partition_rows(
    store: Store, schema: pa.Schema, partition_columns: Sequence[str], line: LedgerLine
) -> pa.Table:
    """The partition's result rows, in file order; none where its line names no file."""
    if not line.file:
        return schema.empty_table()
    fields = split_key(line.partition)
    filters = [(name, "=", value) for name, value in zip(partition_columns, fields, strict=True)]
    with open_truth(store, line.file) as source:
        return pq.read_table(source, filters=filters)


def read_frame(store: Store, workload: str, window: str) -> pandas.DataFrame:
    """All published rows of the window as a pandas table, for notebooks and reports; MissingBlobError when
    it is not published.
    """
    return read_results(store, read_manifest(store, workload, window)).to_pandas()


def rows_of_partition(partition_columns: Sequence[str], table: pa.Table, partition: str) -> pa.Table:
    """The rows of the partition among results in memory."""
    keys = join_columns([pc.cast(table[name], pa.string()) for name in partition_columns])
    return table.filter(pc.equal(keys, partition))
