"""Examining an input file: reading it once, on all cores and without its values, to learn what its
catalogue entry needs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.exhaustion import raise_lack
from fleetscore.records import InputFile
from fleetscore.sources import RejectTally
from fleetscore.sources.request import Budget, budget_of
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.columns import Columns, recognise_columns
from fleetscore.workloads.sensor_anomaly.csv_input import Header, cut_pieces, read_header, read_lines
from fleetscore.workloads.sensor_anomaly.entries import COUNTS, CatalogFile, FileEntry, Piece
from fleetscore.workloads.sensor_anomaly.overlap import overlapped
from fleetscore.workloads.sensor_anomaly.parquet_input import (
    column_places,
    open_parquet,
    read_layout,
    read_row_group,
    unpacked_bytes,
)
from fleetscore.workloads.sensor_anomaly.readings import Int64s, Readings, Reject
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.source_input import (
    UNITS,
    find_columns,
    is_read_by_pieces,
    read_rows,
    row_cause,
)

_REJECTS_KEPT = 3
_THREADS = 2  # pieces read at once: nothing else runs while a window is planned


def examine_file(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    """The file's entry and counts; where nothing of it can be read, the entry says why."""
    try:
        if file.size_bytes == 0:
            raise InputError(f"{file.path} is empty.", fix="Write it again, or delete it.", code="empty_file")
        return _examiner(file, settings)(store, file, settings)
    except InputError as error:
        raise_lack(error)  # else the catalogue would keep the file as damaged
        detail = str(error) if file.path in str(error) else f"{file.path}: {error}"
        limits = read_limits(settings) if error.code in ("too_slow", "too_large") else ()
        entry = FileEntry(cause=error.code, detail=detail, limits=limits)
        return CatalogFile(file, entry, COUNTS.empty_table())


def read_limits(settings: SensorSettings) -> tuple[float, float]:
    """The seconds and the megabytes that reading one file may take."""
    return settings.source.read_limit_s, settings.source.read_limit_mb


def _examiner(file: InputFile, settings: SensorSettings) -> Callable[..., CatalogFile]:
    if not is_read_by_pieces(file, settings):
        return _examine_rows
    return _examine_csv if file.path.lower().endswith(".csv") else _examine_parquet


def _examine_rows(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    columns, tally = find_columns(store, file, settings), RejectTally()
    batches = read_rows(store, file, settings, columns, None, tally, with_values=False)
    found = [_examined(0, (0, 0), 0, readings, [], settings.step_us) for readings in batches]
    filled = [one.piece for one in found if one.piece.rows]
    first, last = min((p.first_us for p in filled), default=0), max((p.last_us for p in filled), default=0)
    piece = Piece(0, 0, 0, 0, sum(p.rows for p in filled), first, last)
    rejects = tuple(Reject(row_cause(r), r.place, r.text) for r in tally.rejects[:_REJECTS_KEPT])
    entry = FileEntry(
        file.format, columns, None, (piece,), rejected=sum(tally.rejected.values()), rejects=rejects,
        unit=UNITS.get(file.format, "row"), remarks=tuple(tally.remarks), step_us=settings.step_us,
    )  # fmt: skip
    return CatalogFile(
        file, entry, _summed([COUNTS.empty_table(), *(e.counts for e in found if e.counts is not None)])
    )


@dataclass(frozen=True, slots=True)
class _Examined:
    """What one piece holds."""

    piece: Piece
    counts: pa.Table | None
    rejects: list[Reject]


def _examine_parquet(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    columns, footer = read_layout(store, file.path, settings)
    own, budget = _OwnParquet(store, file.path, columns), budget_of(file.path, settings.source)
    makers = _row_group_makers(own, footer, columns, budget, settings.step_us)
    return _entry(file, FileEntry("parquet", columns, step_us=settings.step_us), overlapped(makers, _THREADS))


class _OwnParquet(threading.local):
    """The file, opened once per thread that reads: a Parquet reader serves one at a time."""

    def __init__(self, store: Store, path: str, columns: Columns) -> None:
        self._request = store, path, columns

    @functools.cached_property
    def reader(self) -> Any:
        """This thread's reader; code that only passes the file on opens nothing."""
        return open_parquet(*self._request)


def _row_group_makers(
    own: _OwnParquet, footer: Any, columns: Columns, budget: Budget, step_us: int
) -> Iterator[Callable[[], _Examined]]:
    first_row, places = 0, column_places(footer, columns)
    for group in range(footer.num_row_groups):
        budget.spend(unpacked_bytes(footer, group, places))
        yield partial(_examine_row_group, own, group, first_row, columns, step_us)
        first_row += footer.row_group(group).num_rows


def _examine_row_group(
    own: _OwnParquet, group: int, first_row: int, columns: Columns, step_us: int
) -> _Examined:
    readings, rejects = read_row_group(own.reader, group, first_row, columns, with_values=False)
    return _examined(group, (0, 0), first_row, readings, rejects, step_us)


def _examine_csv(store: Store, file: InputFile, settings: SensorSettings) -> CatalogFile:
    header = read_header(store, file.path)
    columns = recognise_columns(header.names, settings)
    pieces = cut_pieces(store, file.path, header, budget_of(file.path, settings.source))
    makers = _lines_makers(pieces, header, columns, settings.step_us)
    known = FileEntry("csv", columns, header, step_us=settings.step_us)
    return _entry(file, known, overlapped(makers, _THREADS))


def _lines_makers(
    pieces: Iterator[tuple[int, bytes]], header: Header, columns: Columns, step_us: int
) -> Iterator[Callable[[], _Examined]]:
    line = 2
    for number, (first_byte, data) in enumerate(pieces):
        yield partial(_examine_lines, number, first_byte, data, line, header, columns, step_us)
        line += data.count(b"\n")


def _examine_lines(
    number: int, first_byte: int, data: bytes, line: int, header: Header, columns: Columns, step_us: int
) -> _Examined:
    readings, rejects = read_lines(data, line, header, columns, with_values=False)
    return _examined(number, (first_byte, first_byte + len(data)), line, readings, rejects, step_us)


def _examined(
    number: int, span_bytes: tuple[int, int], first_row: int, readings: Readings, rejects: list[Reject],
    step_us: int,
) -> _Examined:  # fmt: skip
    times = readings.time_us
    if not len(times):
        return _Examined(Piece(number, *span_bytes, first_row, 0, 0, 0), None, rejects)
    first, last = int(times.min()), int(times.max())
    piece = Piece(number, *span_bytes, first_row, len(times), first, last)
    return _Examined(piece, _count(readings, first // step_us, last // step_us, step_us), rejects)


def _entry(file: InputFile, known: FileEntry, examined: Iterator[_Examined]) -> CatalogFile:
    """The entry of a file whose kind, columns and header are known, from its pieces."""
    pieces: list[Piece] = []
    parts: list[pa.Table] = [COUNTS.empty_table()]
    rejected = 0
    rejects: list[Reject] = []
    for each in examined:
        pieces.append(each.piece)
        parts += [each.counts] if each.counts is not None else []
        rejected += len(each.rejects)
        rejects += each.rejects[: _REJECTS_KEPT - len(rejects)]
    entry = replace(known, pieces=tuple(pieces), rejected=rejected, rejects=tuple(rejects))
    return CatalogFile(file, entry, _summed(parts))


def _summed(parts: list[pa.Table]) -> pa.Table:
    counts = pa.concat_tables(parts)
    if len(parts) > 2:
        grouped = counts.group_by(["step", "device", "sensor"]).aggregate([("rows", "sum")])
        counts = grouped.rename_columns(COUNTS.names).cast(COUNTS)
    return counts.combine_chunks()


def _count(readings: Readings, first_step: int, last_step: int, step_us: int) -> pa.Table:
    """Readings per step and sensor of one piece, which spans these steps."""
    sensors = readings.sensors.num_rows
    cell: Any = readings.sensor
    if first_step != last_step:
        cell = (readings.time_us // step_us - first_step) * sensors + cell
    cells, rows = _count_cells(cell, (last_step - first_step + 1) * sensors)
    names = readings.sensors.take(pa.array(cells % sensors))
    steps = pa.array((cells // sensors + first_step).astype(np.int32))
    return pa.table([steps, names["device"], names["sensor"], pa.array(rows)], schema=COUNTS)


def _count_cells(cell: Any, possible: int) -> tuple[Int64s, Int64s]:
    if possible > 4 * len(cell) + (1 << 22):  # a stray date far away must not cost memory
        cells, rows = np.unique(cell, return_counts=True)
        return cells, rows
    counts = np.bincount(cell)
    there = np.flatnonzero(counts)
    return there, counts[there]
