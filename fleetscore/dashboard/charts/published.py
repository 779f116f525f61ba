"""Reading published rows of a few partitions: only the files and row groups that the ledger and the
statistics name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.dashboard.markup import Markup, join, tag
from fleetscore.dashboard.svg import Figure, Sign
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.records import Manifest
from fleetscore.runs.manifests import read_manifest
from fleetscore.store.base import Store
from fleetscore.store.paths import sketches_beside
from fleetscore.store.tables import open_truth

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Extreme:
    """A partition whose results are far from the others'."""

    partition: str
    mean: float
    rows: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of published results: what was drawn, figure by figure, and what could be drawn instead."""

    title: str
    partitions: tuple[str, ...]  # that were drawn
    figures: tuple[Figure, ...]
    signs: tuple[Sign, ...] = ()  # the legend
    others: tuple[str, ...] = ()  # a few more that are worth a look
    notes: tuple[str, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()  # a few published rows of what was drawn

    @property
    def picture(self) -> Markup:
        """The figures, one below the other."""
        return join(figure.markup for figure in self.figures)

    @property
    def legend(self) -> Markup:
        """What the figures' shapes stand for."""
        parts = [tag("span", sign.markup, f" {sign.words}") for sign in self.signs]
        return tag("p", parts, class_="legend") if parts else Markup("")


class Kept:
    """The last `most` answers about what manifests publish, which never changes: a page that is looked at
    again reads it once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[tuple[object, ...], Any] = {}

    def get(self, store: Store, manifest: Manifest, requested: object, read: Callable[[], Answer]) -> Answer:
        """What `read` gives, or gave for the same manifest before."""
        key = (store.url, manifest.run, manifest.published, requested)
        found: Answer | None = self._answers.get(key)
        if found is None:
            found = self._answers[key] = read()
            for oldest in list(self._answers)[: -self._most]:
                self._answers.pop(oldest, None)
        return found


def find_manifest(store: Store, workload: str, window: str) -> Manifest | None:
    """The manifest of the window, or None when nothing is published."""
    with suppress(MissingBlobError):
        return read_manifest(store, workload, window)
    return None


def files_of(store: Store, manifest: Manifest, partitions: Sequence[str]) -> list[str]:
    """The files that may hold rows of the partitions: the ledger says which, where there are several."""
    if len(manifest.files) < 2:
        return [file.path for file in manifest.files]
    with open_truth(store, manifest.ledger) as source:
        wanted = [("partition", "in", list(partitions))]
        table = pq.read_table(source, columns=["file"], filters=wanted, use_threads=False)
    return sorted(set(table["file"].to_pylist()) - {""})


def read_rows(
    store: Store, files: Sequence[str], columns: list[str], key: str, values: Sequence[str]
) -> pa.Table:
    """The rows of the files whose text column `key` is one of the values; skips row groups that cannot hold
    any. May be empty.
    """
    wanted = pa.array(sorted(values), pa.string())
    parts = []
    for path in files:
        with open_truth(store, path) as source:
            # A dictionary, to compare texts once each and not row by row; buffered, to fetch columns that lie side by side in one request.
            parquet = pq.ParquetFile(source, read_dictionary=[key], pre_buffer=True)
            rows = parquet.read_row_groups(_groups(parquet, key, sorted(values)), columns, use_threads=False)
            parts.append(rows.filter(pc.is_in(rows[key].cast(pa.string()), wanted)))
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    return plain(pa.concat_tables(parts, promote_options="permissive"))


def plain(table: pa.Table) -> pa.Table:
    """The table with dictionary columns as what they stand for."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def _groups(parquet: pq.ParquetFile, key: str, values: Sequence[str]) -> list[int]:
    """The row groups whose least and greatest key leave room for one of the sorted values."""
    column = parquet.schema_arrow.names.index(key)
    found = []
    for group in range(parquet.metadata.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(column).statistics
        unknown = statistics is None or not statistics.has_min_max
        if unknown or any(statistics.min <= value <= statistics.max for value in values):
            found.append(group)
    return found


def read_sketches(store: Store, manifest: Manifest, columns: list[str]) -> pa.Table | None:
    """The partitions of the window with columns of their sketches; None where no shard left any with these
    columns.
    """
    parts = []
    for file in manifest.files:
        with suppress(MissingBlobError), open_truth(store, sketches_beside(file.path)) as source:
            parquet = pq.ParquetFile(source)
            if set(columns) <= set(parquet.schema_arrow.names):
                parts.append(parquet.read(["partition", *columns]))
    return pa.concat_tables(parts) if parts else None


def largest(sketches: pa.Table, column: str, most: int) -> list[str]:
    """The partitions with the largest values of the column, largest first, then by key."""
    order = [(column, "descending"), ("partition", "ascending")]
    kept: list[str] = sketches.sort_by(order)["partition"][:most].to_pylist()
    return kept


def check_drawn(found: Sequence[str], partitions: Sequence[str], window: str) -> None:
    """InputError that names the first of the requested partitions that has no rows in the window."""
    missing = [key for key in partitions if key not in set(found)]
    if missing:
        raise InputError(
            f"{missing[0]!r} has no published rows in {window}.",
            fix="Its story says why; the run's page has a search.",
            field="partition",
        )


def column_of(table: pa.Table, name: str) -> Any:
    """The column as a float64 array; nulls are NaN."""
    return pc.cast(table[name], pa.float64()).to_numpy(zero_copy_only=False)
