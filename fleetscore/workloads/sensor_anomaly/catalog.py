"""The catalogue of input files: what time each piece of a file spans, and how many readings each sensor has in each hour.

The entry of a file is computed once per content (path, etag, column settings) and kept under `partials/sensor_anomaly/catalog/`,
so planning a window reads the entries, and scoring it only the pieces that overlap it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.stores.base import Store
from fleetscore.workloads.base import InputFile
from fleetscore.workloads.sensor_anomaly.columns import Columns, recognise_columns
from fleetscore.workloads.sensor_anomaly.csv_input import Header, cut_pieces, read_header, read_lines
from fleetscore.workloads.sensor_anomaly.parquet_input import find_columns, open_parquet, read_row_group
from fleetscore.workloads.sensor_anomaly.readings import Int64s, Readings, Reject
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

DATA_PREFIX = "data/sensor_anomaly/"
HOUR_US = 3_600_000_000

_CACHE_PREFIX = "partials/sensor_anomaly/catalog/"
_FORMAT = "1"  # part of every cache path: raise it when entries change their form
_REJECTS_KEPT = 3
_COUNTS = pa.schema(
    [("hour", pa.int32()), ("device", pa.string()), ("sensor", pa.string()), ("rows", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Piece:
    """What is read at once: Parquet row group `number`, or the bytes [first_byte, stop_byte) of a CSV file.

    `first_row` numbers its first row (Parquet, from 0) or line (CSV, the header is line 1); its readings span
    [first_us, last_us], microseconds since 1970 UTC.
    """

    number: int
    first_byte: int
    stop_byte: int
    first_row: int
    rows: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """The catalogue's entry of one file. `cause` is set when nothing of the file can be read; `rejected` rows have no window or sensor."""

    kind: str = ""
    columns: Columns | None = None
    header: Header | None = None
    pieces: tuple[Piece, ...] = ()
    cause: str = ""
    detail: str = ""
    rejected: int = 0
    rejects: tuple[Reject, ...] = ()
    schema: int = 1

    @property
    def span_us(self) -> tuple[int, int] | None:
        """Earliest and latest time in the file, None where it has no reading."""
        filled = [p for p in self.pieces if p.rows]
        return (min(p.first_us for p in filled), max(p.last_us for p in filled)) if filled else None


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """An input file with its entry, and `counts`: readings per `hour` (since 1970), `device` and `sensor`."""

    input: InputFile
    entry: FileEntry
    counts: pa.Table


@dataclass(frozen=True, slots=True)
class Listing:
    """The input files of a store, and the paths under the data prefix that are no CSV and no Parquet files."""

    files: tuple[InputFile, ...]
    ignored: tuple[str, ...]


def list_inputs(store: Store) -> Listing:
    """All files under data/sensor_anomaly/, by path; names that begin with "_" or "." are nobody's business."""
    files, ignored = [], []
    for entry in store.list(DATA_PREFIX):
        name = entry.path.rpartition("/")[2]
        if name.startswith(("_", ".")):
            continue
        if name.lower().endswith((".csv", ".parquet")):
            files.append(InputFile(entry.path, entry.etag, entry.size_bytes))
        else:
            ignored.append(entry.path)
    return Listing(tuple(files), tuple(ignored))


def catalog_file(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    """The file's catalogue entry: from the store where it was computed before, else computed and kept."""
    path = _cache_path(file, settings)
    try:
        return _decode(file, store.read(path))
    except MissingBlobError:
        made = _examine(store, file, settings)
    store.create(path, _encode(made))  # a racing reader wrote the same
    return made


def overlaps(file: CatalogFile, first_us: int, stop_us: int) -> bool:
    """Whether the file concerns [first_us, stop_us): a reading lies there, or nobody knows when its readings are."""
    span = file.entry.span_us
    return span is None or (span[0] < stop_us and span[1] >= first_us)


def piece_readers(
    store: Store, file: CatalogFile, first_us: int, stop_us: int
) -> Iterator[Callable[[], Readings]]:
    """A reader for each piece that overlaps [first_us, stop_us), in file order; call one at a time.

    Readers give whole pieces, and raise InputError when the piece is unreadable.
    """
    entry = file.entry
    wanted = _pieces_within(file, first_us, stop_us)
    if not wanted or entry.columns is None:
        return
    if entry.header is None:
        parquet = open_parquet(store, file.input.path, entry.columns)
        for piece in wanted:
            yield partial(_read_group, parquet, piece, entry.columns)
        return
    source = store.open(
        file.input.path
    )  # closed with the last reader: one may still run when this generator has ended
    for piece in wanted:
        yield partial(_read_lines, source, piece, entry.header, entry.columns)


def rows_within(file: CatalogFile, first_us: int, stop_us: int) -> int:
    """Readings in the pieces that overlap [first_us, stop_us): at least as many as lie within."""
    return sum(piece.rows for piece in _pieces_within(file, first_us, stop_us))


def _pieces_within(file: CatalogFile, first_us: int, stop_us: int) -> list[Piece]:
    return [p for p in file.entry.pieces if p.rows and p.first_us < stop_us and p.last_us >= first_us]


def _read_group(parquet: Any, piece: Piece, columns: Columns) -> Readings:
    return read_row_group(parquet, piece.number, piece.first_row, columns)[0]


def _read_lines(source: pa.NativeFile, piece: Piece, header: Header, columns: Columns) -> Readings:
    source.seek(piece.first_byte)
    data = source.read(piece.stop_byte - piece.first_byte)
    return read_lines(data, piece.first_row, header, columns)[0]


def row_word(kind: str) -> str:
    """How a row of such a file is spoken of."""
    return "line" if kind == "csv" else "row"


def _examine(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    try:
        if file.size_bytes == 0:
            raise InputError(f"{file.path} is empty.", fix="Write it again, or delete it.", code="empty_file")
        examine = _examine_csv if file.path.lower().endswith(".csv") else _examine_parquet
        return examine(store, file, settings)
    except InputError as error:
        detail = str(error) if file.path in str(error) else f"{file.path}: {error}"
        return CatalogFile(file, FileEntry(cause=error.code, detail=detail), _COUNTS.empty_table())


def _examine_parquet(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    columns = find_columns(store, file.path, settings)
    parquet = open_parquet(store, file.path, columns)
    tally = _Tally()
    first_row = 0
    for group in range(parquet.num_row_groups):
        readings, rejects = read_row_group(parquet, group, first_row, columns, with_values=False)
        tally.add(group, 0, 0, first_row, readings, rejects)
        first_row += parquet.metadata.row_group(group).num_rows
    return tally.entry(file, "parquet", columns, None)


def _examine_csv(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    header = read_header(store, file.path)
    columns = recognise_columns(header.names, settings)
    tally = _Tally()
    line = 2
    for number, (first_byte, data) in enumerate(cut_pieces(store, file.path, header)):
        readings, rejects = read_lines(data, line, header, columns, with_values=False)
        tally.add(number, first_byte, first_byte + len(data), line, readings, rejects)
        line += data.count(b"\n")
    return tally.entry(file, "csv", columns, header)


class _Tally:
    """Gathers pieces, counts and rejects of one file."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._counts: list[pa.Table] = []
        self._rejected = 0
        self._rejects: list[Reject] = []

    def add(
        self,
        number: int,
        first_byte: int,
        stop_byte: int,
        first_row: int,
        readings: Readings,
        rejects: list[Reject],
    ) -> None:
        self._rejected += len(rejects)
        self._rejects += rejects[: max(0, _REJECTS_KEPT - len(self._rejects))]
        times = readings.time_us
        first, last = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        self._pieces.append(Piece(number, first_byte, stop_byte, first_row, len(times), first, last))
        if len(times):
            self._counts.append(_count(readings, first // HOUR_US, last // HOUR_US))

    def entry(self, file: InputFile, kind: str, columns: Columns, header: Header | None) -> CatalogFile:
        counts = pa.concat_tables([_COUNTS.empty_table(), *self._counts])
        if len(self._counts) > 1:
            grouped = counts.group_by(["hour", "device", "sensor"]).aggregate([("rows", "sum")])
            counts = grouped.rename_columns(["hour", "device", "sensor", "rows"]).cast(_COUNTS)
        entry = FileEntry(
            kind, columns, header, tuple(self._pieces), rejected=self._rejected, rejects=tuple(self._rejects)
        )
        return CatalogFile(file, entry, counts.combine_chunks())


def _count(readings: Readings, first_hour: int, last_hour: int) -> pa.Table:
    """Readings per hour and sensor of one piece."""
    sensors = readings.sensors.num_rows
    cell: Any = readings.sensor
    if first_hour != last_hour:
        cell = (readings.time_us // HOUR_US - first_hour) * sensors + cell
    cells, rows = _count_cells(cell, (last_hour - first_hour + 1) * sensors)
    names = readings.sensors.take(pa.array(cells % sensors))
    hours = pa.array((cells // sensors + first_hour).astype(np.int32))
    return pa.table([hours, names["device"], names["sensor"], pa.array(rows)], schema=_COUNTS)


def _count_cells(cell: Any, possible: int) -> tuple[Int64s, Int64s]:
    if possible > 4 * len(cell) + (1 << 22):  # a stray date far away must not cost memory
        cells, rows = np.unique(cell, return_counts=True)
        return cells, rows
    counts = np.bincount(cell)
    there = np.flatnonzero(counts)
    return there, counts[there]


def _encode(file: CatalogFile) -> bytes:
    table = file.counts.replace_schema_metadata({b"entry": msgspec.json.encode(file.entry)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _decode(file: InputFile, data: bytes) -> CatalogFile:
    table = pa.ipc.open_stream(data).read_all()
    entry = msgspec.json.decode(table.schema.metadata[b"entry"], type=FileEntry)
    return CatalogFile(file, entry, table.replace_schema_metadata(None))


def catalog_files(
    store: Store, files: Sequence[InputFile], settings: SensorSettings, first_us: int, stop_us: int
) -> list[CatalogFile]:
    """The entries of those files that concern [first_us, stop_us), in the given order.

    One small file remembers the span of every file seen before, so that thousands of old files cost one read.
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
        store.write(
            _spans_path(settings), msgspec.json.encode(spans)
        )  # a hint: whoever writes last is right enough
    return found


@dataclass(frozen=True, slots=True)
class _Span:
    """What the hint remembers of a file."""

    etag: str
    first_us: int
    last_us: int


_ALWAYS = _Span("", -(1 << 62), 1 << 62)


def _read_spans(store: Store, settings: SensorSettings) -> dict[str, _Span]:
    try:
        return msgspec.json.decode(store.read(_spans_path(settings)), type=dict[str, _Span])
    except MissingBlobError:
        return {}


def _spans_path(settings: SensorSettings) -> str:
    return f"{_CACHE_PREFIX}spans-{_digest(*_column_settings(settings))}.json"


def _cache_path(file: InputFile, settings: SensorSettings) -> str:
    return f"{_CACHE_PREFIX}{_digest(file.path, file.etag, *_column_settings(settings))}.arrow"


def _column_settings(settings: SensorSettings) -> tuple[str, ...]:
    return settings.time_column, settings.device_column, settings.sensor_column, settings.value_column


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((_FORMAT, *parts)).encode()).hexdigest()[:40]
