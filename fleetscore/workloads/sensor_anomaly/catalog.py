"""The catalogue of input files: the entry of each, and readers for the pieces that overlap a span of time.

The entry of a file is computed once per content (path, etag, column settings) and kept under
`partials/sensor_anomaly/catalog/`, so planning a window reads the entries, and scoring it only the pieces
that overlap it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa

from fleetscore.records import InputFile
from fleetscore.sources.request import budget_of
from fleetscore.store.base import Store
from fleetscore.store.state_files import read_hint, read_hint_with, write_hint
from fleetscore.typed_json import decode_json
from fleetscore.workloads.sensor_anomaly.columns import Columns
from fleetscore.workloads.sensor_anomaly.csv_input import Header, read_lines
from fleetscore.workloads.sensor_anomaly.entries import (
    COUNTS,
    CatalogFile,
    FileEntry,
    Piece,
    overlaps,
    pieces_within,
)
from fleetscore.workloads.sensor_anomaly.examining import examine_file, read_limits
from fleetscore.workloads.sensor_anomaly.parquet_input import (
    column_places,
    open_parquet,
    read_row_group,
    unpacked_bytes,
)
from fleetscore.workloads.sensor_anomaly.readings import Readings
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.source_input import is_read_by_pieces, read_rows, span_of
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

_CACHE_PREFIX = "partials/sensor_anomaly/catalog/"
_FORMAT = "1"  # part of every cache path: raise it when entries change their form
_STORED = ["hour", *COUNTS.names[1:]]  # "hour" is what files call the step, however long it is


def catalog_file(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    """The file's catalogue entry: from the store where it was computed before, else computed and kept."""
    path = _cache_path(file, settings)
    known = read_hint_with(store, path, lambda data: _decode(file, data))
    if known is not None and known.entry.limits in ((), read_limits(settings)):
        return known
    made = examine_file(store, file, settings)
    write_hint(store, path, _encode(made))  # a racing reader writes the same
    return made


def piece_readers(
    store: Store, file: CatalogFile, settings: SensorSettings, first_us: int, stop_us: int
) -> Iterator[Callable[[], Readings]]:
    """A reader for each piece that overlaps [first_us, stop_us), in file order; call one at a time.

    Readers give whole pieces, and raise InputError when the piece is unreadable; FileError `too_large` or
    `too_slow` comes in a reader's place once reading exceeds the limits of a file.
    """
    entry = file.entry
    wanted = pieces_within(file, first_us, stop_us)
    if not wanted or entry.columns is None:
        return
    if not is_read_by_pieces(file.input, settings):
        for readings in read_rows(store, file.input, settings, entry.columns, span_of(first_us, stop_us)):
            yield partial(_given, readings)
        return
    budget = budget_of(file.input.path, settings.source)
    if entry.header is None:
        parquet = open_parquet(store, file.input.path, entry.columns)
        places = column_places(parquet.metadata, entry.columns)
        for piece in wanted:
            budget.spend(unpacked_bytes(parquet.metadata, piece.number, places))
            yield partial(_read_group, parquet, piece, entry.columns)
        return
    # closed with the last reader: one may still run when this generator has ended
    source = store.open(file.input.path)
    for piece in wanted:
        budget.spend(piece.stop_byte - piece.first_byte)
        yield partial(_read_lines, source, piece, entry.header, entry.columns)


def _given(readings: Readings) -> Readings:
    return readings


def _read_group(parquet: Any, piece: Piece, columns: Columns) -> Readings:
    return read_row_group(parquet, piece.number, piece.first_row, columns)[0]


def _read_lines(source: pa.NativeFile, piece: Piece, header: Header, columns: Columns) -> Readings:
    source.seek(piece.first_byte)
    data = source.read(piece.stop_byte - piece.first_byte)
    return read_lines(data, piece.first_row, header, columns)[0]


def _encode(file: CatalogFile) -> bytes:
    table = file.counts.rename_columns(_STORED).replace_schema_metadata(
        {b"entry": msgspec.json.encode(file.entry)}
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _decode(file: InputFile, data: bytes) -> CatalogFile:
    table = pa.ipc.open_stream(data).read_all()
    entry = decode_json(table.schema.metadata[b"entry"], FileEntry)
    return CatalogFile(file, entry, table.rename_columns(COUNTS.names).replace_schema_metadata(None))


def catalog_files(
    store: Store, files: Sequence[InputFile], settings: SensorSettings, first_us: int, stop_us: int
) -> list[CatalogFile]:
    """The entries of those files that concern [first_us, stop_us), in the given order.

    One small file holds the span of every file seen before, so that thousands of old files cost one read.
    """
    known = _read_spans(store, settings)
    spans: dict[str, _Span] = {}
    found = []
    for file in files:
        span = known.get(file.path)
        if span is None or span.etag != file.etag or (span.first_us < stop_us and span.last_us >= first_us):
            entry = catalog_file(store, file, settings)
            first, last = entry.entry.span_us or (_ALWAYS.first_us, _ALWAYS.last_us)
            span = _Span(file.etag, first, last)
            if overlaps(entry, first_us, stop_us):
                found.append(entry)
        spans[file.path] = span
    if spans != known:
        write_hint(store, _spans_path(settings), msgspec.json.encode(spans))  # the last write wins
    return found


def date_files(
    store: Store, files: Sequence[InputFile], settings: SensorSettings
) -> list[tuple[InputFile, tuple[int, int]]]:
    """The files that have readings, each with the earliest and latest time of them in microseconds since
    1970.

    One small file has it for every file seen before; of others their entries do.
    """
    known = _read_spans(store, settings)
    found = []
    for file in files:
        hint = known.get(file.path)
        if hint is None or hint.etag != file.etag or hint.last_us == _ALWAYS.last_us:
            span = catalog_file(store, file, settings).entry.span_us
        else:
            span = (hint.first_us, hint.last_us)
        if span is not None:
            found.append((file, span))
    return found


def digest_of_settings(settings: SensorSettings) -> str:
    """A digest of the settings that decide what a file's readings are, and the intervals of which they
    become one.
    """
    intervals = sorted(settings.data.aggregate.items())
    return _digest(*_column_settings(settings), *([repr(intervals)] if intervals else []))


def files_ahead(store: Store, settings: SensorSettings, limit_us: int) -> dict[str, int]:
    """Path -> latest time of the catalogued files that have readings from `limit_us` on, microseconds since
    1970.
    """
    spans = _read_spans(store, settings).items()
    return {path: span.last_us for path, span in spans if limit_us <= span.last_us < _ALWAYS.last_us}


@dataclass(frozen=True, slots=True)
class _Span:
    """What the hint holds of a file."""

    etag: str
    first_us: int
    last_us: int


_ALWAYS = _Span("", -(1 << 62), 1 << 62)


def _read_spans(store: Store, settings: SensorSettings) -> dict[str, _Span]:
    return read_hint(store, _spans_path(settings), dict[str, _Span]) or {}


def _spans_path(settings: SensorSettings) -> str:
    paths = settings.source.paths
    # each path's files have a hint of their own
    own = () if paths == SensorSettings().source.paths else paths
    return f"{_CACHE_PREFIX}spans-{_digest(*_column_settings(settings), *own)}.json"


def _cache_path(file: InputFile, settings: SensorSettings) -> str:
    step = () if settings.step_us == HOUR_US else (f"step {settings.step_us}",)
    return f"{_CACHE_PREFIX}{_digest(file.path, file.etag, *_column_settings(settings), *step)}.arrow"


def _column_settings(settings: SensorSettings) -> tuple[str, ...]:
    data = settings.source
    dialect = () if settings.source.is_plain else (repr(replace(data, path=(), late_s=0.0, ready=None)),)
    return (
        settings.time_column,
        settings.device_column,
        settings.sensor_column,
        settings.value_column,
        *dialect,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((_FORMAT, *parts)).encode()).hexdigest()[:40]
