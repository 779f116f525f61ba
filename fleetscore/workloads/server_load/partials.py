"""The partials of server_load in the store: a record per parsed range, sums under the name of their bytes,
hours per month.

    partials/server_load/v6/records/<name>.json            what became of one range of one version of a file
    partials/server_load/v6/sums/<name>.parquet            the sums of a range's lines
    partials/server_load/v6/hours/<month>-<name>.parquet   hourly peaks of a month, by their sums

Sums are named by their bytes, so that a file that grew, was copied or was renamed is not parsed again where
it is the same.
Everything here is written whole and never changed. The folder may be deleted as a whole: the next run
makes it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import FileError, StoreError
from fleetscore.records import InputFile
from fleetscore.sources.places import store_of
from fleetscore.sources.request import budget_of
from fleetscore.store.base import Store
from fleetscore.store.state_files import read_hint
from fleetscore.store.tables import has_table
from fleetscore.typed_json import decode_json
from fleetscore.workload import MapItem
from fleetscore.workloads.server_load.layouts import LAYOUTS
from fleetscore.workloads.server_load.named_rows import dialect_of, has_names, sum_file
from fleetscore.workloads.server_load.packed_logs import is_packed, sum_packed_log
from fleetscore.workloads.server_load.parse import Counts, digest_of, parse_piece, read_layout, read_piece
from fleetscore.workloads.server_load.settings import ServerLoadSettings

ROOT = "partials/server_load/v6"  # a new grammar, kernel or format of partials takes a new number
RECORDS = f"{ROOT}/records/"
_MEGABYTE = 1 << 20
_BYTES_PER_LINE = 120
_READERS = 16
_NEVER = 1 << 30
_FORMAT: dict[str, Any] = {"compression": "none", "use_dictionary": ["server"], "write_statistics": False}


@dataclass(frozen=True, slots=True)
class RangeRecord:
    """What became of one range of one version of a file; `problem` (a code) when the file cannot be read at
    all.
    """

    input: InputFile
    first_byte: int
    stop_byte: int
    layout: str = ""
    sums: str = ""  # path of the sums; "" when there are none
    size_bytes: int = 0  # of the sums
    first_slot: int = 0
    last_slot: int = -1
    counts: Counts = field(default_factory=Counts)
    problem: str = ""
    detail: str = ""
    limits: tuple[float, ...] = ()  # read_limit_s and read_limit_mb that were exceeded
    schema: int = 1


def read_limits(settings: ServerLoadSettings) -> tuple[float, float]:
    """The seconds and the megabytes that reading one range may take."""
    return settings.source.read_limit_s, settings.source.read_limit_mb


def parse_items(files: Iterable[InputFile], settings: ServerLoadSettings) -> list[MapItem]:
    """One item per range of each file; its output is the range's record."""
    return [
        _parse_item(file, first, min(first + step, file.size_bytes), settings)
        for file in files
        for step in (max(file.size_bytes, 1) if _is_whole(file, settings) else settings.range_mb * _MEGABYTE,)
        for first in range(0, max(file.size_bytes, 1), step)
    ]


def _is_whole(file: InputFile, settings: ServerLoadSettings) -> bool:
    """Whether the file is read as one range."""
    return has_names(file, settings) or is_packed(file)


def _parse_item(file: InputFile, first: int, stop: int, settings: ServerLoadSettings) -> MapItem:
    identity = f"{file.path}|{file.etag}|{first}|{stop}|{settings.layout}|{settings.buckets}"
    if has_names(file, settings):
        identity += f"|{dialect_of(settings)}|{sorted(file.columns.items())}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:40]
    item = f"parse/{file.path}@{first // _MEGABYTE}"
    return MapItem(item, file, first, stop, f"{RECORDS}{name}.json", (stop - first) // _BYTES_PER_LINE)


def parse_range(store: Store, item: MapItem, settings: ServerLoadSettings) -> RangeRecord:
    """Parse the range, unless its bytes were parsed before, and write its record; StoreError when the file
    changed meanwhile.
    """
    record = _parsed(store, item, settings)
    source, path = store_of(store, item.input.path)
    entry = source.stat(path)
    is_pinned = item.input.format == "delta"
    if not is_pinned and (entry is None or entry.etag != item.input.etag):
        raise StoreError(
            f"{item.input.path} was changed while it was read.",
            fix="Run again: only what is new will be parsed.",
        )
    store.write(item.output, msgspec.json.encode(record))
    return record


def _parsed(store: Store, item: MapItem, settings: ServerLoadSettings) -> RangeRecord:
    place = (item.input, item.first_byte, item.stop_byte)
    if has_names(item.input, settings):
        return _parsed_names(store, item, settings)
    if is_packed(item.input):
        return _parsed_packed(store, item, settings)
    source, source_path = store_of(store, item.input.path)
    recognised = read_layout(source, source_path, settings.layout)
    if recognised.layout is None:
        return RangeRecord(*place, problem=recognised.problem, detail=recognised.detail)
    layout = recognised.layout
    budget = budget_of(item.input.path, settings.source)
    try:
        piece = read_piece(source, source_path, item.first_byte, item.stop_byte, budget)
    except FileError as error:
        limits = read_limits(settings)
        return RangeRecord(*place, layout.name, problem=error.code, detail=str(error), limits=limits)
    if piece is None:
        detail = f"A line near byte {item.first_byte} or {item.stop_byte} is longer than 1 MiB."
        return RangeRecord(*place, layout.name, problem="endless_line", detail=detail)
    if piece.size_bytes == 0:
        return RangeRecord(*place, layout.name)
    path = f"{ROOT}/sums/{digest_of(piece)}-{layout.name}-{settings.buckets}.parquet"
    known = _read_about(store, path)
    if known is None:
        _write_sums(store, path, *parse_piece(piece, LAYOUTS[layout.name]), settings.buckets)
        known = _read_about(store, path)
    if known is None:
        raise StoreError(f"{path} cannot be read although it was just written.", fix="Run again.")
    about, size_bytes = known
    counts = _moved(about.counts, piece.offset)
    return RangeRecord(*place, layout.name, path, size_bytes, about.first_slot, about.last_slot, counts)


def _read_about(store: Store, path: str) -> tuple[_About, int] | None:
    """What the sums' file says of itself, and its size; None where it is not there or was cut short."""
    if not has_table(store, path):
        return None
    with store.open(path) as file:
        return _about(pq.read_metadata(file).metadata), file.size()


def _parsed_names(store: Store, item: MapItem, settings: ServerLoadSettings) -> RangeRecord:
    place, name = (item.input, item.first_byte, item.stop_byte), item.output.rpartition("/")[2][:-5]
    try:
        sums, counts = sum_file(store, item.input, settings)
    except FileError as error:
        return RangeRecord(*place, "columns", problem=error.code, detail=str(error))
    path = f"{ROOT}/sums/{name}-columns-{settings.buckets}.parquet"
    return _recorded(store, item, "columns", path, sums, counts, settings)


def _parsed_packed(store: Store, item: MapItem, settings: ServerLoadSettings) -> RangeRecord:
    place, name = (item.input, item.first_byte, item.stop_byte), item.output.rpartition("/")[2][:-5]
    try:
        recognised, sums, counts = sum_packed_log(store, item.input, settings)
    except FileError as error:
        limits = read_limits(settings) if error.code in ("too_slow", "too_large") else ()
        return RangeRecord(*place, problem=error.code, detail=str(error), limits=limits)
    if recognised.layout is None:
        return RangeRecord(*place, problem=recognised.problem, detail=recognised.detail)
    layout = recognised.layout.name
    path = f"{ROOT}/sums/{name}-{layout}-{settings.buckets}.parquet"
    return _recorded(store, item, layout, path, sums, counts, settings)


def _recorded(
    store: Store,
    item: MapItem,
    layout: str,
    path: str,
    sums: pa.Table,
    counts: Counts,
    settings: ServerLoadSettings,
) -> RangeRecord:
    """Write the sums of a file that was read whole; returns its record."""
    _write_sums(store, path, sums, counts, settings.buckets)
    place = (item.input, item.first_byte, item.stop_byte)
    with store.open(path) as file:
        about = _about(pq.read_metadata(file).metadata)
        return RangeRecord(*place, layout, path, file.size(), about.first_slot, about.last_slot, counts)


@dataclass(frozen=True, slots=True)
class _About:
    """What the sums' file says of itself; examples count their bytes from the piece's start."""

    first_slot: int
    last_slot: int
    counts: Counts


def _about(metadata: dict[bytes, bytes]) -> _About:
    return decode_json(metadata[b"fleetscore"], _About)


def _moved(counts: Counts, by: int) -> Counts:
    examples = tuple(replace(example, offset=example.offset + by) for example in counts.examples)
    return replace(counts, examples=examples)


def _write_sums(store: Store, path: str, sums: pa.Table, counts: Counts, buckets: int) -> None:
    """Write the sums with one row group per bucket of servers."""
    slots = sums["slot"].to_numpy()
    about = _About(int(slots.min(initial=_NEVER)), int(slots.max(initial=-1)), counts)
    write_bucketed(store, path, sums, buckets, {"fleetscore": msgspec.json.encode(about)})


def write_bucketed(
    store: Store, path: str, table: pa.Table, buckets: int, metadata: Mapping[str, bytes]
) -> None:
    """Write a table with a dictionary column `server`: one row group per bucket, rows in their order within
    each.
    """
    table = table.combine_chunks()
    servers = (
        table["server"].chunk(0) if table.num_rows else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    )
    of_server = np.array([bucket_of(text, buckets) for text in servers.dictionary.to_pylist()], np.uint8)
    of_row = of_server[servers.indices.to_numpy()]
    order = np.argsort(of_row, kind="stable")
    edges = np.searchsorted(of_row[order], np.arange(buckets + 1))
    table = table.take(pa.array(order)).replace_schema_metadata(metadata)
    packed = {name: "DELTA_BINARY_PACKED" for name in table.column_names if name != "server"}
    # measured on sums: two thirds of the size of lz4 in half of its time
    with (
        store.sink(path) as file,
        pq.ParquetWriter(file, table.schema, column_encoding=packed, **_FORMAT) as writer,
    ):
        for first, stop in pairwise(edges.tolist()):
            writer.write_table(table.slice(first, stop - first), row_group_size=max(stop - first, 1))


def read_bucket(store: Store, path: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one bucket of a file that `write_bucketed` wrote."""
    with store.open(path) as file:
        return pq.ParquetFile(file).read_row_group(bucket, columns=columns)


def bucket_of(server: str, buckets: int) -> int:
    """Which group of servers a server belongs to.

    >>> bucket_of("10.0.0.1", 16)
    3
    """
    return crc32(server.encode()) % buckets


def read_records(
    store: Store, items: Sequence[MapItem], limits: tuple[float, float]
) -> list[RangeRecord | None]:
    """The records of the items in their order, None where an item was not run yet or exceeded other limits
    than these.
    """
    present = {entry.path for entry in store.list(RECORDS)}
    sizes_bytes = {entry.path: entry.size_bytes for entry in store.list(f"{ROOT}/sums/")}
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(
            lambda item: _read_record(store, item.output) if item.output in present else None, items
        )
        whole = [record if _has_sums(record, sizes_bytes) else None for record in found]
    return [record if record and record.limits in ((), limits) else None for record in whole]


def _has_sums(record: RangeRecord | None, sizes_bytes: Mapping[str, int]) -> bool:
    """Whether the sums that the record names, if any, are there as long as they were written."""
    return record is not None and (not record.sums or sizes_bytes.get(record.sums) == record.size_bytes)


_REMEMBERED = 50_000  # a terabyte has 8,000 ranges
_remembered: dict[tuple[str, str], RangeRecord] = {}


def _read_record(store: Store, path: str) -> RangeRecord | None:
    """Read a record once per process: every month's reduction reads all of them, and none ever changes but
    those of ranges that exceeded the limits of reading.
    """
    key = (store.url, path)
    record = _remembered.get(key)  # once: another thread may clear what was there a moment ago
    if record is None:
        record = read_hint(store, path, RangeRecord)
        if record is None or record.limits:
            return record
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()
        _remembered[key] = record
    return record
