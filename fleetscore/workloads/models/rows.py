"""Rows of a window: which columns are read, and which partition and model keys each row has."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import join_columns
from fleetscore.sources import ColumnKind
from fleetscore.workloads.models.settings import FleetSettings

_FIELD = re.compile(r"\{([^{}/]+)\}")


def key_kinds(settings: FleetSettings) -> dict[str, ColumnKind]:
    """The columns that planning reads, with their kinds: partition, model keys and time."""
    kinds = dict.fromkeys((*settings.partition, *settings.key_columns), ColumnKind.KEY)
    return kinds | ({settings.data.time: ColumnKind.TIME} if settings.data.time else {})


def row_kinds(settings: FleetSettings, features: Sequence[str]) -> dict[str, ColumnKind]:
    """The columns that scoring reads, with their kinds: keys, features as numbers, and what is kept, as
    text.
    """
    kinds = key_kinds(settings)
    numbers = {name: ColumnKind.NUMBER for name in features if name not in kinds}
    kept = {name: ColumnKind.TEXT for name in settings.data.keep if name not in {*kinds, *numbers}}
    return kinds | numbers | kept


def partition_keys(table: pa.Table, settings: FleetSettings) -> pa.ChunkedArray:
    """The partition of each row."""
    return pa.chunked_array(join_columns([table[name] for name in settings.partition]))


def model_keys(table: pa.Table, pattern: str) -> pa.ChunkedArray:
    """The model key of each row that the pattern gives, with the columns' own text.

    >>> model_keys(pa.table({"van": ["7", "8"]}), "van-{van}").to_pylist()
    ['van-7', 'van-8']
    """
    parts = re.split(r"(\{[^{}/]+\})", pattern)
    columns = [table[part[1:-1]] if part.startswith("{") else pa.scalar(part) for part in parts if part]
    if not any(part.startswith("{") for part in parts):
        return pa.chunked_array([pa.repeat(pattern, table.num_rows)])
    return pa.chunked_array(pc.binary_join_element_wise(*columns, ""))


def numbers_of(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The column as float64, NaN where there is no number."""
    return np.asarray(
        pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")).to_numpy(), np.float64
    )
