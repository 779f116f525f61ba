"""Copied rows: a published file of which some partitions are scored again is written anew with the rows of
the others, unscored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError, StoreError
from fleetscore.exhaustion import raise_lack
from fleetscore.partition_keys import join_columns
from fleetscore.pipeline.hashing_file import HashingFile
from fleetscore.records import PlanHead, ResultFile, RunRequest
from fleetscore.store.base import Store
from fleetscore.store.paths import copied_path
from fleetscore.store.tables import UNREADABLE_TABLE
from fleetscore.workload import Workload


def copy_rewritten(
    store: Store, head: PlanHead, kind: Workload, plan: pa.Table, previous: pa.Table
) -> dict[str, ResultFile]:
    """Write each file that the plan rewrites anew, without the partitions that are scored again; gives the
    new file by the old path.

    `plan` is the plan's table, `previous` the ledger of the round before. A second call writes the same bytes
    to the same paths.
    """
    kept = previous.filter(pc.is_in(previous["partition"], plan.filter(plan["kept"])["partition"]))
    copied = {}
    for file in head.rewritten_files:
        lines = kept.filter(pc.equal(kept["file"], file.path))
        copied[file.path] = _copy(store, kind, file, lines, head.request)
    return copied


def relocate(ledger: pa.Table, copied: dict[str, ResultFile]) -> pa.Table:
    """The ledger with the new paths where rows were copied."""
    if not copied:
        return ledger
    moved = {old: new.path for old, new in copied.items()}
    paths = pa.array([moved.get(path, path) for path in ledger["file"].to_pylist()], pa.string())
    return ledger.set_column(ledger.schema.get_field_index("file"), "file", paths)


def _copy_path(request: RunRequest, old_path: str) -> str:
    digest = hashlib.sha256(old_path.encode()).hexdigest()[:16]
    return copied_path(request.workload, request.window, request.run, digest)


def _copy(store: Store, kind: Workload, file: ResultFile, lines: pa.Table, request: RunRequest) -> ResultFile:
    """Copy the rows of the ledger lines' partitions; StoreError where the file has other rows of them than
    the ledger says.
    """
    rows, expected = 0, pc.sum(lines["rows"]).as_py() or 0
    target = _copy_path(request, file.path)
    fix = f"Score the whole window: fleetscore retry {request.run} --only all"
    try:
        source = store.open(file.path)
    except MissingBlobError as error:
        raise MissingBlobError(
            f"{file.path} is missing, which holds results of {lines.num_rows} partitions that stay.",
            fix=fix,
        ) from error
    with source, store.sink(target) as sink:
        parquet = _opened(source, file.path, fix)
        hashing = HashingFile(sink)
        with pq.ParquetWriter(
            pa.PythonFile(hashing, "w"), parquet.schema_arrow, **kind.parquet_options
        ) as writer:
            for piece in _kept_rows(parquet, kind.partition_columns, lines["partition"]):
                writer.write_table(piece)
                rows += piece.num_rows
        if rows != expected:
            raise StoreError(
                f"{file.path} holds {rows} rows of the partitions that stay, its ledger says {expected}.",
                fix=fix,
                retry=False,
            )
    return ResultFile(target, rows, hashing.hexdigest(), lines.num_rows)


def _opened(source: pa.NativeFile, path: str, fix: str) -> pq.ParquetFile:
    """The file of results; DamagedStateError with that advice where it was cut short."""
    try:
        return pq.ParquetFile(source)
    except UNREADABLE_TABLE as error:
        raise_lack(error)
        raise DamagedStateError(f"{path} is damaged: {error}", fix=fix, field=path) from error


def _kept_rows(
    parquet: pq.ParquetFile, columns: tuple[str, ...], partitions: pa.ChunkedArray
) -> Iterator[pa.Table]:
    """The rows of the partitions, row group by row group."""
    wanted = partitions.combine_chunks()
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group)
        keys = join_columns([pc.cast(table[name], pa.string()) for name in columns])
        piece = table.filter(pc.is_in(keys, wanted))
        if piece.num_rows:
            yield piece
