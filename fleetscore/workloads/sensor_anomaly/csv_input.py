"""Readings from CSV files, in pieces of whole lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from fleetscore.errors import InputError
from fleetscore.sources.byte_stream import check_line
from fleetscore.sources.formats import find_misnamed
from fleetscore.sources.request import Budget
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.columns import Columns
from fleetscore.workloads.sensor_anomaly.readings import Readings, Reject, encode_sensors
from fleetscore.workloads.sensor_anomaly.text import numbers_of_texts, times_of_texts

PIECE_BYTES = 4 << 20
_HEADER_BYTES_MAX = 1 << 16
_TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a CSV file, and where its data begin."""

    names: tuple[str, ...]
    size_bytes: int


def read_header(store: Store, path: str) -> Header:
    """The first line; InputError `empty_file` when there is not one byte, `unreadable_file` when it is no
    UTF-8 text line.
    """
    with store.open(path) as file:
        start = file.read(_HEADER_BYTES_MAX)
    if not start.strip():
        raise InputError(
            f"{path} is empty.", fix="Write it again, or delete it.", code="empty_file", field=path
        )
    misnamed = find_misnamed(path, start)
    if misnamed is not None:
        raise InputError(f"{path} is {misnamed.what}.", fix=misnamed.fix, code="unreadable_file", field=path)
    line, newline, _ = start.partition(b"\n")
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "its first line is not UTF-8") from error
    if "\0" in text or (not newline and len(start) == _HEADER_BYTES_MAX):
        raise _unreadable(path, "it does not begin with a line of column names")
    return Header(tuple(next(csv.reader([text]))), len(line) + len(newline))


def cut_pieces(store: Store, path: str, header: Header, budget: Budget) -> Iterator[tuple[int, bytes]]:
    """The pieces of the file after its header, as (first byte, whole lines), in order.

    Raises FileError `too_large` for a line without an end, and what the budget raises.
    """
    with store.open(path) as file:
        position = header.size_bytes
        file.seek(position)
        rest: list[bytes] = []
        waiting_bytes = 0
        while block := file.read(PIECE_BYTES):
            budget.spend(len(block))
            whole, newline, unfinished = block.rpartition(b"\n")
            if not newline:
                rest.append(block)
                waiting_bytes += len(block)
                check_line(path, waiting_bytes)
                continue
            piece = b"".join([*rest, whole, newline])
            yield position, piece
            position += len(piece)
            rest, waiting_bytes = [unfinished], len(unfinished)
        if last := b"".join(rest):
            yield position, last


def read_lines(
    data: bytes, first_line: int, header: Header, columns: Columns, *, with_values: bool = True
) -> tuple[Readings, list[Reject]]:
    """The readings of a piece, and its lines that are none; `first_line` is the number of its first line in
    the file (header = 1).
    """
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        table = _parse(data, header, columns, with_values)
        if table.num_rows == lines:
            return _placed(table, np.arange(first_line, first_line + lines), columns)
    except pa.ArrowInvalid:
        pass  # some line is not as it should be: the careful way finds which, and says so
    table, numbers, rejects = _parse_carefully(data, first_line, header, columns, with_values)
    readings, more = _placed(table, numbers, columns)
    return readings, rejects + more


def _parse(data: bytes, header: Header, columns: Columns, with_values: bool) -> pa.Table:
    wanted = [columns.time, columns.device, columns.sensor] + ([columns.value] if with_values else [])
    types = {
        columns.time: pa.string(),
        columns.device: _TEXT,
        columns.sensor: _TEXT,
        columns.value: pa.string(),
    }
    return pa_csv.read_csv(
        pa.BufferReader(data),
        pa_csv.ReadOptions(
            column_names=list(header.names), block_size=max(len(data), 1 << 16), use_threads=False
        ),
        pa_csv.ParseOptions(ignore_empty_lines=False),
        pa_csv.ConvertOptions(include_columns=wanted, column_types=types, strings_can_be_null=False),
    ).combine_chunks()


def _parse_carefully(
    data: bytes, first_line: int, header: Header, columns: Columns, with_values: bool
) -> tuple[pa.Table, np.ndarray, list[Reject]]:
    """Line by line, so that one line at fault (unclosed quote, too few cells, not UTF-8) costs no other
    line.
    """
    wanted = [columns.time, columns.device, columns.sensor] + ([columns.value] if with_values else [])
    places = [header.names.index(name) for name in wanted]
    rows: list[list[str]] = []
    numbers: list[int] = []
    rejects: list[Reject] = []
    for number, raw in enumerate(data.split(b"\n"), first_line):
        line = raw.rstrip(b"\r")
        if not line:
            continue
        cells = _cells(line)
        if cells is None or len(cells) != len(header.names):
            rejects.append(Reject("bad_row", f"line {number}", line[:80].decode(errors="replace")))
            continue
        rows.append([cells[place] for place in places])
        numbers.append(number)
    texts = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)] or [
        pa.array([], pa.string()) for _ in wanted
    ]
    return pa.table(texts, names=wanted), np.array(numbers, np.int64), rejects


def _cells(line: bytes) -> Sequence[str] | None:
    try:
        text = line.decode()
        return text.split(",") if '"' not in text else next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None


def _placed(table: pa.Table, numbers: np.ndarray, columns: Columns) -> tuple[Readings, list[Reject]]:
    time_texts = _one(table, columns.time)
    times = times_of_texts(time_texts)
    code, sensors = encode_sensors(_one(table, columns.device), _one(table, columns.sensor))
    value = np.full(len(times), np.nan)
    bad: dict[int, str] = {}
    if columns.value in table.column_names:
        value, bad = numbers_of_texts(_one(table, columns.value))
    texts = {int(numbers[index]): text for index, text in bad.items()}
    time_us = times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    if not times.null_count and (code >= 0).all():
        return Readings(time_us, code, sensors, value, numbers, texts), []
    untimed = times.is_null().to_numpy(zero_copy_only=False)
    lost = (code < 0) | untimed
    rejects = [
        Reject("bad_time", f"line {numbers[i]}", time_texts[i].as_py() or "")
        if untimed[i]
        else Reject("no_sensor", f"line {numbers[i]}", "")
        for i in np.flatnonzero(lost).tolist()
    ]
    kept = np.flatnonzero(~lost)
    return Readings(time_us[kept], code[kept], sensors, value[kept], numbers[kept], texts), rejects


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _unreadable(path: str, why: str) -> InputError:
    return InputError(
        f"{path} is not a CSV file: {why}.",
        fix="Write it again as UTF-8.",
        code="unreadable_file",
        field=path,
    )
