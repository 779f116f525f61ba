"""Rows of the input files as arrays, batch by batch, with every unreadable cell counted and none guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.sources import ColumnKind, DataSettings, RejectTally, Rows, our_names, read_batches
from fleetscore.store.base import Store
from fleetscore.windows import Cadence
from fleetscore.workloads.store_sales.weeks import UNREADABLE, read_times, read_weeks

_KEYS = dict.fromkeys(("store", "sku", "week"), ColumnKind.LABEL)
NEUTRAL = {"price": 1.0, "deal": 0.0, "feat": 0.0}
"""What stands for a column that no file has: equal prices, no deal, no feature."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read: `prices` holds ("price",) or the price<sku> columns of the file.

    `constants` are those that the file does not have, with the value of all its rows.
    """

    sales: bool
    prices: tuple[str, ...]
    covariates: tuple[str, ...]
    constants: Mapping[str, float] = field(default_factory=dict)

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers that the file has."""
        names = ["deal", "feat", *self.prices, *self.covariates, *(["sales"] if self.sales else [])]
        return [name for name in names if name not in self.constants]


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
    sales: NDArray[np.float64]  # empty where not asked for
    deal: NDArray[np.float64]
    feat: NDArray[np.float64]
    prices: NDArray[np.float64]  # price columns x rows
    covariates: NDArray[np.float64]  # covariates x rows
    unreadable: NDArray[np.uint8]  # whether a number cell of the row is unreadable
    since_s: NDArray[np.int32]  # 1 + seconds since its week or day began; 0 where no date or stamp says it


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """Store and week of some rows of one file; `week_texts` are the weeks as they are written, each once."""

    store: Labels
    week: NDArray[np.int64]
    week_texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """How the rows of all files are read: by the [data] table, dates in the workload's zone."""

    store: Store
    data: DataSettings
    zone: str

    def rows(
        self, file: InputFile, columns: Columns, cadence: Cadence, wanted: Sequence[str]
    ) -> Iterator[RowBatch]:
        """The file's rows; parts of it that hold none of the `wanted` stores (sorted) may be left out."""
        kinds = {**_KEYS, **dict.fromkeys(columns.numbers, ColumnKind.NUMBER)}
        for rows in read_batches(self.store, file, self.data, kinds, only={"store": wanted}):
            yield self._row_batch(rows, columns, cadence)

    def keys(self, file: InputFile, cadence: Cadence, tally: RejectTally | None = None) -> Iterator[KeyBatch]:
        """Store and week of the file's rows; lines that are no rows are counted in `tally`."""
        kinds = dict.fromkeys(("store", "week"), ColumnKind.LABEL)
        for rows in read_batches(self.store, file, self.data, kinds):
            if tally is not None:
                tally.add(rows)
            week = _labels(rows.table["week"])
            yield KeyBatch(_labels(rows.table["store"]), self._weeks(week, cadence), week.values)

    def pairs(
        self, file: InputFile, columns: tuple[str, str], wanted: Sequence[str]
    ) -> Iterator[dict[tuple[str, str], int]]:
        """How often each pair of two columns of names occurs, batch by batch; "" where a cell has no name."""
        kinds = dict.fromkeys(columns, ColumnKind.LABEL)
        for rows in read_batches(self.store, file, self.data, kinds, only={"store": wanted}):
            one, other = (_labels(rows.table[name]) for name in columns)
            found, numbers = np.unique(np.stack([one.codes, other.codes]), axis=1, return_counts=True)
            firsts, seconds = (*one.values, ""), (*other.values, "")  # UNREADABLE, -1, is the last
            yield {
                (firsts[first], seconds[second]): number
                for first, second, number in zip(*found.tolist(), numbers.tolist(), strict=True)
            }

    def columns(self, file: InputFile, covariates: Sequence[str], *, with_sales: bool) -> Columns:
        """The columns that the file has of those that are read; InputError names those that it must have
        and lacks.

        Columns that may be missing are constants, NaN.
        """
        names = our_names(self.store, file, self.data)
        prices = ("price",) if "price" in names else tuple(n for n in names if n.startswith("price"))
        wanted = ["store", "sku", "week", *covariates, *(["sales"] if with_sales else [])]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise InputError(
                f"{file.path} has no column {', '.join(missing)}; it has {', '.join(names)}.",
                fix="Say which column it is in [data] columns, or change `covariates` in the settings.",
                field=file.path,
                code="missing_column",
            )
        absent = [n for n in NEUTRAL if n not in names and not (n == "price" and prices)]
        return Columns(
            with_sales, prices or ("price",), tuple(covariates), dict.fromkeys(absent, float("nan"))
        )

    def _row_batch(self, rows: Rows, columns: Columns, cadence: Cadence) -> RowBatch:
        table = rows.table

        def numbers(name: str) -> NDArray[np.float64]:
            if name in columns.constants:
                return np.full(table.num_rows, columns.constants[name])
            values: NDArray[np.float64] = _one_chunk(table[name]).to_numpy(zero_copy_only=False)
            return values

        def stacked(names: tuple[str, ...]) -> NDArray[np.float64]:
            out = np.empty((len(names), table.num_rows))
            for row, name in enumerate(names):
                out[row] = numbers(name)
            return out

        week = _labels(table["week"])
        ordinals, since_s = read_times(week.values, cadence, self.data, self.zone)
        unreadable = np.zeros(table.num_rows, np.uint8)
        unreadable[list(rows.texts)] = 1
        return RowBatch(
            store=_labels(table["store"]),
            sku=_labels(table["sku"]),
            week=np.append(ordinals, UNREADABLE)[week.codes],
            sales=numbers("sales") if columns.sales else np.empty(0),
            deal=numbers("deal"),
            feat=numbers("feat"),
            prices=stacked(columns.prices),
            covariates=stacked(columns.covariates),
            unreadable=unreadable,
            since_s=np.append(since_s, np.int32(0))[week.codes],
        )

    def _weeks(self, labels: Labels, cadence: Cadence) -> NDArray[np.int64]:
        ordinals = read_weeks(labels.values, cadence, self.data, self.zone)
        return np.append(ordinals, UNREADABLE)[labels.codes]


def _labels(column: pa.ChunkedArray) -> Labels:
    chunk = _one_chunk(column)
    codes = (chunk.indices.fill_null(UNREADABLE) if chunk.null_count else chunk.indices).to_numpy(
        zero_copy_only=False
    )
    return Labels(codes, tuple((value or "").strip() for value in chunk.dictionary.to_pylist()))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
