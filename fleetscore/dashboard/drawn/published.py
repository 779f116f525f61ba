"""Reading published rows of a few partitions: only the files and row groups that the ledger and the statistics name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.dashboard.markup import Markup
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.manifest import read_manifest
from fleetscore.records import Manifest
from fleetscore.stores.base import Store


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of published results: what was drawn, the HTML of it, and what could be drawn instead."""

    title: str
    partitions: tuple[str, ...]  # that were drawn
    picture: Markup
    legend: Markup
    others: tuple[str, ...] = ()  # a few more that are worth a look
    notes: tuple[str, ...] = ()


def find_manifest(store: Store, workload: str, window: str) -> Manifest | None:
    """The manifest of the window, or None when nothing is published."""
    with suppress(MissingBlobError):
        return read_manifest(store, workload, window)
    return None


def files_of(store: Store, manifest: Manifest, partitions: Sequence[str]) -> list[str]:
    """The files that hold rows of the partitions, as the ledger says."""
    with store.open(manifest.ledger) as source:
        wanted = [("partition", "in", list(partitions))]
        table = pq.read_table(source, columns=["file"], filters=wanted, use_threads=False)
    return sorted(set(table["file"].to_pylist()) - {""})


def read_rows(store: Store, files: Sequence[str], columns: list[str], filters: Any) -> pa.Table | None:
    """The rows of the files that pass the filters; None without files."""
    parts = []
    for path in files:
        with store.open(path) as source:
            parts.append(pq.read_table(source, columns=columns, filters=filters, use_threads=False))
    return pa.concat_tables(parts) if parts else None


def read_sketches(store: Store, manifest: Manifest, columns: list[str]) -> pa.Table | None:
    """The partitions of the window with columns of their sketches; None where no shard left any with these columns."""
    parts = []
    for file in manifest.files:
        path = file.path.removesuffix("results.parquet") + "sketches.parquet"
        with suppress(MissingBlobError), store.open(path) as source:
            parquet = pq.ParquetFile(source)
            if set(columns) <= set(parquet.schema_arrow.names):
                parts.append(parquet.read(["partition", *columns]))
    return pa.concat_tables(parts) if parts else None


def largest(sketches: pa.Table, column: str, most: int) -> list[str]:
    """The partitions with the largest values of the column, largest first, then by key."""
    order = [(column, "descending"), ("partition", "ascending")]
    kept: list[str] = sketches.sort_by(order)["partition"][:most].to_pylist()
    return kept


def check_drawn(found: Sequence[str], asked: Sequence[str], window: str) -> None:
    """InputError that names the first of the partitions asked for that has no rows in the window."""
    missing = [key for key in asked if key not in set(found)]
    if missing:
        raise InputError(
            f"{missing[0]!r} has no published rows in {window}.",
            fix="Its story says why; the run's page has a search.",
            field="partition",
        )


def column_of(table: pa.Table, name: str) -> Any:
    """The column as a float64 array; nulls are NaN."""
    return pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
