"""Rows from files: CSV and Parquet into columns of one form, batch by batch, with every unreadable cell counted and none guessed."""

from __future__ import annotations

import bisect
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, parse_window

_BATCH_ROWS = 1 << 19
_HEADER_BYTES = 1 << 16
_NUMBER = r"^\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?\s*$"
_NO_NUMBER = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Stand for a missing number in a text column; a store or SKU may bear any of these names but the empty one."""
UNREADABLE = -1
"""Stands for a store, SKU or week that cannot be read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read: `prices` holds ("price",) or the price<sku> columns of the file."""

    sales: bool
    prices: tuple[str, ...]
    covariates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of names: codes per row into `values`; UNREADABLE where there is none."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of one file. Numbers are float64, NaN where missing or unreadable."""

    store: Labels
    sku: Labels
    week: NDArray[np.int64]  # window ordinals
    sales: NDArray[np.float64]  # empty where not requested
    deal: NDArray[np.float64]
    feat: NDArray[np.float64]
    prices: NDArray[np.float64]  # price columns x rows
    covariates: NDArray[np.float64]  # covariates x rows
    unreadable: NDArray[np.uint8]  # unreadable number cells per row


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """Store and week of some rows of one file."""

    store: Labels
    week: NDArray[np.int64]


def check_columns(store: Store, path: str, covariates: Sequence[str], *, with_sales: bool) -> Columns:
    """The columns that a reader of the file needs; InputError names those that the file lacks."""
    names = column_names(store, path)
    prices = ("price",) if "price" in names else tuple(n for n in names if n.startswith("price"))
    wanted = ["store", "sku", "week", "deal", "feat", *covariates, *(["sales"] if with_sales else [])]
    missing = [name for name in wanted if name not in names] + ([] if prices else ["price"])
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}.",
            fix="Name the columns as in docs/workloads/store_sales.md, or change `covariates` in the settings.",
            field=path,
            code="missing_column",
        )
    return Columns(with_sales, prices, tuple(covariates))


def column_names(store: Store, path: str) -> list[str]:
    """The column names of a CSV or Parquet file; InputError when the file is neither."""
    try:
        if path.endswith(".parquet"):
            return list(pq.read_schema(store.open(path)).names)
        header = store.open(path).read(_HEADER_BYTES).decode("utf-8-sig", errors="strict").splitlines()
    except (pa.ArrowException, OSError, ValueError) as error:  # UnicodeDecodeError among them
        raise _unreadable(path, error) from error
    names = next(csv.reader(header[:1]), [])
    if not names:
        raise InputError(
            f"{path} is empty.", fix="Write its header line.", field=path, code="unreadable_file"
        )
    return names


def read_rows(
    store: Store, path: str, columns: Columns, cadence: Cadence, wanted: Sequence[str]
) -> Iterator[RowBatch]:
    """The file's rows; Parquet row groups that by their statistics hold none of the `wanted` stores (sorted) are not read."""
    names = ["store", "sku", "week", "deal", "feat", *columns.prices, *columns.covariates]
    for table in _tables(store, path, [*names, "sales"] if columns.sales else names, wanted):
        yield _row_batch(path, table, columns, cadence)


@dataclass(slots=True)
class TornLines:
    """How many lines of a CSV have another number of fields than its header; they are left out."""

    count: int = 0


def read_keys(store: Store, path: str, cadence: Cadence, torn: TornLines | None = None) -> Iterator[KeyBatch]:
    """Store and week of the file's rows; lines that are torn are counted in `torn`."""
    for table in _tables(store, path, ["store", "week"], (), torn):
        yield KeyBatch(_labels(table["store"]), _weeks(table["week"], cadence))


def _row_batch(path: str, table: pa.Table, columns: Columns, cadence: Cadence) -> RowBatch:
    unreadable = np.zeros(table.num_rows, np.uint8)

    def numbers(name: str) -> NDArray[np.float64]:
        return _numbers(path, name, table[name], unreadable)

    def stacked(names: tuple[str, ...]) -> NDArray[np.float64]:
        out = np.empty((len(names), table.num_rows))
        for row, name in enumerate(names):
            out[row] = numbers(name)
        return out

    return RowBatch(
        store=_labels(table["store"]),
        sku=_labels(table["sku"]),
        week=_weeks(table["week"], cadence),
        sales=numbers("sales") if columns.sales else np.empty(0),
        deal=numbers("deal"),
        feat=numbers("feat"),
        prices=stacked(columns.prices),
        covariates=stacked(columns.covariates),
        unreadable=unreadable,
    )


def _tables(
    store: Store, path: str, names: list[str], wanted: Sequence[str], torn: TornLines | None = None
) -> Iterator[pa.Table]:
    is_parquet = path.endswith(".parquet")
    try:
        batches = (
            _parquet(store, path, names, wanted)
            if is_parquet
            else _csv(store, path, names, torn or TornLines())
        )
        for batch in batches:
            yield pa.Table.from_batches([batch])
    except (
        pa.ArrowException,
        OSError,
        ValueError,
    ) as error:  # Arrow raises OSError for torn compressed pages
        raise _unreadable(path, error) from error


def _parquet(store: Store, path: str, names: list[str], wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    source = store.open(path)
    schema = pq.read_schema(source)
    texts = [n for n in ("store", "sku", "week") if pa.types.is_string(schema.field(n).type)]
    file = pq.ParquetFile(source, read_dictionary=texts)
    column = schema.get_field_index("store")
    groups = [g for g in range(file.num_row_groups) if _may_hold(file.metadata.row_group(g), column, wanted)]
    yield from file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names)


def _may_hold(group: Any, column: int, wanted: Sequence[str]) -> bool:
    statistics = group.column(column).statistics if column < group.num_columns else None
    if not wanted or statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    if isinstance(low, int):
        return any(low <= int(name) <= high for name in wanted if name.lstrip("-").isdecimal())
    if not isinstance(low, str) or low != low.strip():
        return True
    at = bisect.bisect_left(wanted, low)
    return at < len(wanted) and wanted[at] <= high


def _csv(store: Store, path: str, names: list[str], torn: TornLines) -> Iterator[pa.RecordBatch]:
    def skip(_: Any) -> str:
        torn.count += 1
        return "skip"

    reader = pacsv.open_csv(
        store.open(path),
        pacsv.ReadOptions(block_size=1 << 24),
        pacsv.ParseOptions(invalid_row_handler=skip),
        pacsv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            include_columns=names,
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    yield from reader


def _labels(column: pa.ChunkedArray) -> Labels:
    chunk = _one_chunk(column)
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    codes = chunk.indices.fill_null(UNREADABLE).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return Labels(codes, tuple(_label(value) for value in chunk.dictionary.to_pylist()))


def _label(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an integer column with gaps comes as floats
    return "" if value is None else str(value).strip()


def _weeks(column: pa.ChunkedArray, cadence: Cadence) -> NDArray[np.int64]:
    chunk = _one_chunk(column)
    if pa.types.is_integer(chunk.type):
        if cadence is not Cadence.INDEX:
            return np.full(len(chunk), UNREADABLE, np.int64)
        weeks: NDArray[np.int64] = chunk.fill_null(UNREADABLE).to_numpy(zero_copy_only=False).astype(np.int64)
        return weeks
    if pa.types.is_temporal(chunk.type):
        chunk = chunk.cast(pa.date32(), safe=False)
    labels = _labels(pa.chunked_array([chunk]))
    ordinals = np.array([_ordinal(text, cadence) for text in labels.values] + [UNREADABLE], np.int64)
    return ordinals[labels.codes]


def _ordinal(text: str, cadence: Cadence) -> int:
    try:
        return parse_window(text, cadence).ordinal
    except InputError:
        return UNREADABLE  # counted where the rows are read


def _numbers(
    path: str, name: str, column: pa.ChunkedArray, unreadable: NDArray[np.uint8]
) -> NDArray[np.float64]:
    chunk = _one_chunk(column)
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    if pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type):
        missing = pc.is_in(chunk, pa.array(_NO_NUMBER, chunk.type))
        chunk = pc.if_else(missing, pa.scalar(None, chunk.type), chunk)
        good = pc.match_substring_regex(chunk, _NUMBER)
        unreadable += pc.invert(good).fill_null(False).to_numpy(zero_copy_only=False)
        chunk = pc.utf8_trim_whitespace(pc.if_else(good, chunk, pa.scalar(None, chunk.type)))
    try:
        values: NDArray[np.float64] = chunk.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"Column {name} of {path} holds {chunk.type}, expected numbers.",
            field=name,
            code="unreadable_file",
        ) from error
    infinite = np.isinf(values)
    if infinite.any():
        unreadable += infinite
        values = np.where(infinite, np.nan, values)
    return values


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read: {error}.",
        fix="Replace the file by a whole CSV (UTF-8) or Parquet file.",
        field=path,
        code="unreadable_file",
    )
