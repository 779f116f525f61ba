"""Which model keys scored a partition's rows, as its results say."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import FleetscoreError, MissingBlobError
from fleetscore.partition_keys import join_columns, split_key
from fleetscore.registry import find_workload
from fleetscore.store.base import Store

COLUMN = "model_key"


def read_model_keys(store: Store, workload: str, partition: str, file: str) -> tuple[str, ...]:
    """The different model keys of the partition's rows in a file of results, sorted; none where results do
    not name any.
    """
    try:
        known = find_workload(store, workload).workload
        if known is None or not file:
            return ()
        return _keys_in(store, file, known.partition_columns, partition)
    except (FleetscoreError, pa.ArrowException) as error:
        if isinstance(error, FleetscoreError) and error.retry and not isinstance(error, MissingBlobError):
            raise
        return ()  # the story goes on without them


def _keys_in(store: Store, file: str, columns: tuple[str, ...], partition: str) -> tuple[str, ...]:
    with store.open(file) as source:
        parquet = pq.ParquetFile(source)
        if not {COLUMN, *columns} <= set(parquet.schema_arrow.names):
            return ()
        first = [(columns[0], "==", split_key(partition)[0])]
        rows = pq.read_table(source, columns=[*columns, COLUMN], filters=first)
    mine = pc.equal(join_columns([rows[name] for name in columns]), partition)
    found = pc.unique(rows.filter(mine)[COLUMN]).to_pylist()
    return tuple(sorted(key for key in found if key is not None))
