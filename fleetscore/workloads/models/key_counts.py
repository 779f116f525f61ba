"""How many rows each file of a window has per partition and model keys, counted once for each version of a
file.

A file that cannot be read is kept with its fault and is not tried again until it, or how it is read,
changes. The counts are a hint: they are made again where the file that keeps them is missing or cannot be
read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import FileError, StoreError
from fleetscore.sources import InputFile, RejectTally, Rows, Span, read_batches
from fleetscore.store.base import Store
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.state_files import keeping_hint
from fleetscore.workloads.models.rows import key_kinds, model_keys, partition_keys
from fleetscore.workloads.models.settings import FleetSettings

_CHOICE = "key_{}"
_HOW = "counted"
_FOLD_ROWS = 1 << 20
_LARGE_BYTES = 1 << 20
_LARGE_AT_ONCE = 2  # each holds a piece of its file; many small files are read for their latency


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Rows by file, partition and model keys (columns path, etag, partition, key_0 ..., rows), files at
    fault, and remarks.
    """

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
            (
                "fault",
                pa.string(),
            ),  # the error's code, where the file cannot be read; remark and fix are its texts
            ("fix", pa.string()),
        ]
    )


def count_keys(
    store: Store, workload: str, window: str, settings: FleetSettings, files: Sequence[InputFile], span: Span
) -> WindowCounts:
    """The counts of the window's files; only versions of files that were not counted before are opened."""
    path = f"hints/{workload}/counts/{window}.parquet"
    known = _read_known(store, path, _kept_schema(settings))
    wanted = {(file.path, file.etag) for file in files}
    kept = _of_versions(known, wanted)
    counted = set(zip(kept["path"].to_pylist(), kept["etag"].to_pylist(), strict=True))
    fresh = [file for file in files if (file.path, file.etag) not in counted]
    large = [file for file in fresh if file.size_bytes > _LARGE_BYTES]
    small = [file for file in fresh if file.size_bytes <= _LARGE_BYTES]
    new_counts = [
        *side_by_side(lambda file: _count_file(store, settings, file, span), small),
        *side_by_side(lambda file: _count_file(store, settings, file, span), large, _LARGE_AT_ONCE),
    ]
    table = pa.concat_tables([kept, *new_counts])
    if new_counts:
        _keep(store, path, table, _kept_schema(settings))
    said = table.filter(pc.not_equal(table["remark"], "")).to_pylist()
    faults = {
        line["path"]: FileError(line["remark"], fix=line["fix"], code=line["fault"], field=line["path"])
        for line in said
        if line["fault"]
    }
    return WindowCounts(table, faults, tuple(line["remark"] for line in said if not line["fault"]))


def _count_file(store: Store, settings: FleetSettings, file: InputFile, span: Span) -> pa.Table:
    schema = counts_schema(settings)
    about = {**dict.fromkeys(schema.names, ""), "path": file.path, "etag": file.etag, "rows": 0}
    tally = RejectTally()
    try:
        batches = read_batches(store, file, settings.source, key_kinds(settings), span)
        grouped = _folded(_counted(batches, settings, tally), settings)
    except FileError as error:
        line = about | {"remark": error.message, "fault": error.code, "fix": error.fix}
        return pa.Table.from_pylist([line], schema)
    count = grouped.num_rows
    counts = {
        "path": pa.repeat(file.path, count),
        "etag": pa.repeat(file.etag, count),
        **{name: grouped[name] for name in grouped.column_names},
        **{name: pa.repeat("", count) for name in ("remark", "fault", "fix")},
    }
    sentences = tally.of(grouped).sentences(file.path)
    lines = [{**about, "remark": remark} for remark in sentences] or [about]
    return pa.concat_tables(
        [pa.table(counts).select(schema.names).cast(schema), pa.Table.from_pylist(lines, schema)]
    )


def _counted(batches: Iterable[Rows], settings: FleetSettings, tally: RejectTally) -> Iterator[pa.Table]:
    """The rows of each piece of a file, counted by partition and model keys; rejects are counted in `tally`."""
    for rows in batches:
        tally.add(rows)
        keys = (model_keys(rows.table, pattern) for pattern in settings.key_patterns)
        columns = [partition_keys(rows.table, settings), *keys]
        table = pa.table(columns, _key_names(settings))
        yield _summed(table.append_column("rows", pa.repeat(1, table.num_rows)), settings)


def _folded(counts: Iterable[pa.Table], settings: FleetSettings) -> pa.Table:
    """The sum of the counts of all pieces; what is held stays within a few times the distinct keys."""
    names = _key_names(settings)
    schema = pa.schema([*((name, pa.string()) for name in names), ("rows", pa.int64())])
    held, pending, pending_rows = schema.empty_table(), list[pa.Table](), 0
    for table in counts:
        pending.append(table)
        pending_rows += table.num_rows
        if pending_rows > max(_FOLD_ROWS, held.num_rows):
            held, pending, pending_rows = _summed(pa.concat_tables([held, *pending]), settings), [], 0
    return _summed(pa.concat_tables([held, *pending]), settings)


def _summed(table: pa.Table, settings: FleetSettings) -> pa.Table:
    names = _key_names(settings)
    summed = table.group_by(names, use_threads=False).aggregate([("rows", "sum")])
    return summed.rename_columns({"rows_sum": "rows"}).select([*names, "rows"])


def _key_names(settings: FleetSettings) -> list[str]:
    return ["partition", *(_CHOICE.format(at) for at in range(len(settings.key_patterns)))]


def _kept_schema(settings: FleetSettings) -> pa.Schema:
    """The columns of kept counts, with a digest of all that decides how a file is counted."""
    how = (settings.source, settings.partition, settings.key_patterns)
    digest = hashlib.sha256(repr(how).encode()).hexdigest()
    return counts_schema(settings).with_metadata({_HOW: digest})


def _read_known(store: Store, path: str, schema: pa.Schema) -> pa.Table:
    """The kept counts, read once by this process for each version of them; none where they were counted in
    another way.
    """
    try:
        entry = store.stat(path)
        if entry is None:
            return schema.empty_table()
        table = read_version(store, path, entry.etag, _decode)
    except (StoreError, pa.ArrowException, OSError):  # a hint: counted again
        return schema.empty_table()
    return table if table.schema.equals(schema, check_metadata=True) else schema.empty_table()


def _decode(data: bytes) -> pa.Table:
    table = pq.read_table(pa.BufferReader(data))
    kept = {key: value for key, value in (table.schema.metadata or {}).items() if key == _HOW.encode()}
    return table.replace_schema_metadata(kept)


def _of_versions(known: pa.Table, wanted: set[tuple[str, str]]) -> pa.Table:
    pairs = zip(known["path"].to_pylist(), known["etag"].to_pylist(), strict=True)
    return known.filter(pa.array([pair in wanted for pair in pairs], pa.bool_()))


def _keep(store: Store, path: str, table: pa.Table, schema: pa.Schema) -> None:
    with keeping_hint(path), store.sink(path) as file:
        pq.write_table(table.replace_schema_metadata(schema.metadata), file, compression="zstd")
