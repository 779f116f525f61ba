"""How many rows each file of a window has per partition and model keys, counted once for each version of a file.

The counts are a hint: they are made again where the file that keeps them is missing or cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import FileError, StoreError
from fleetscore.sources import InputFile, Span, read_table
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.workloads.models.rows import key_kinds, model_keys, partition_keys
from fleetscore.workloads.models.settings import FleetSettings

_CHOICE = "key_{}"


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Rows by file, partition and model keys (columns path, etag, partition, key_0 ..., rows), files at fault, and remarks."""

    table: pa.Table
    faults: dict[str, FileError]
    remarks: tuple[str, ...]

    @property
    def keyed(self) -> pa.Table:
        """The lines that count rows, without those that only say that a file was counted, or remark on it."""
        return self.table.filter(pc.greater(self.table["rows"], 0))


def counts_schema(settings: FleetSettings) -> pa.Schema:
    """The columns of counts: key_0 is the first choice of a model key."""
    keys = [(_CHOICE.format(at), pa.string()) for at in range(len(settings.key_patterns))]
    return pa.schema(
        [
            ("path", pa.string()),
            ("etag", pa.string()),
            ("partition", pa.string()),
            *keys,
            ("rows", pa.int64()),
            ("remark", pa.string()),
        ]
    )


def count_keys(
    store: Store, workload: str, window: str, settings: FleetSettings, files: Sequence[InputFile], span: Span
) -> WindowCounts:
    """The counts of the window's files; only versions of files that were not counted before are opened."""
    path = f"hints/{workload}/counts/{window}.parquet"
    known = _read_known(store, path, counts_schema(settings))
    wanted = {(file.path, file.etag) for file in files}
    kept = _of_versions(known, wanted)
    counted = set(zip(kept["path"].to_pylist(), kept["etag"].to_pylist(), strict=True))
    fresh = [file for file in files if (file.path, file.etag) not in counted]
    new_counts = side_by_side(lambda file: _count_file(store, settings, file, span), fresh)
    faults = {
        file.path: one for file, one in zip(fresh, new_counts, strict=True) if isinstance(one, FileError)
    }
    read = [one for one in new_counts if not isinstance(one, FileError)]
    table = pa.concat_tables([kept, *read])
    if read:
        _keep(store, path, table)
    remarks = [remark for remark in table["remark"].to_pylist() if remark]
    return WindowCounts(table, faults, tuple(remarks))


def _count_file(store: Store, settings: FleetSettings, file: InputFile, span: Span) -> pa.Table | FileError:
    try:
        rows = read_table(store, file, settings.data, key_kinds(settings), span)
    except FileError as error:
        return error
    names = ["partition", *(_CHOICE.format(at) for at in range(len(settings.key_patterns)))]
    columns = [
        partition_keys(rows.table, settings),
        *(model_keys(rows.table, pattern) for pattern in settings.key_patterns),
    ]
    grouped = pa.table(columns, names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    schema, count = counts_schema(settings), grouped.num_rows
    counts = {
        "path": pa.repeat(file.path, count),
        "etag": pa.repeat(file.etag, count),
        **{name: grouped[name] for name in names},
        "rows": pc.cast(grouped["count_all"], pa.int64()),
        "remark": pa.repeat("", count),
    }
    about = {**dict.fromkeys(schema.names, ""), "path": file.path, "etag": file.etag, "rows": 0}
    lines = [{**about, "remark": remark} for remark in rows.sentences(file.path)] or [about]
    return pa.concat_tables([pa.table(counts, schema=schema), pa.Table.from_pylist(lines, schema)])


def _read_known(store: Store, path: str, schema: pa.Schema) -> pa.Table:
    try:
        with store.open(path) as source:
            table = pq.read_table(source)
    except (StoreError, pa.ArrowException, OSError):  # a hint: counted again
        return schema.empty_table()
    return table if table.schema.equals(schema) else schema.empty_table()


def _of_versions(known: pa.Table, wanted: set[tuple[str, str]]) -> pa.Table:
    pairs = zip(known["path"].to_pylist(), known["etag"].to_pylist(), strict=True)
    return known.filter(pa.array([pair in wanted for pair in pairs], pa.bool_()))


def _keep(store: Store, path: str, table: pa.Table) -> None:
    with store.sink(path) as file:
        pq.write_table(table, file, compression="zstd")
