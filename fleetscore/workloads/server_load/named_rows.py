"""Rows whose columns are named, by a header or by [data], added up to five-minute sums: of every format
that `sources` reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError
from fleetscore.records import InputFile
from fleetscore.sources import ColumnKind, RejectTally, our_names, read_batches
from fleetscore.store.base import Store
from fleetscore.workloads.server_load.grammar import NUMBER_LIMIT, SLOT_S, UNITS, Cause
from fleetscore.workloads.server_load.layouts import NAMED, SUMS
from fleetscore.workloads.server_load.parse import SLOTS, Counts, Example
from fleetscore.workloads.server_load.settings import ServerLoadSettings

_NEEDED = ("time", "server", "load")
_ROW_CAUSES = {"bad_time": Cause.BAD_TIME, "missing_key": Cause.BAD_SERVER}
_SLOT_US = SLOT_S * 1_000_000


def has_names(file: InputFile, settings: ServerLoadSettings) -> bool:
    """Whether the file's columns are named; those of a log are known by their place."""
    return settings.names_columns or file.format in NAMED


def dialect_of(settings: ServerLoadSettings) -> str:
    """What the sums of a file depend on beside the file: the lines of [data] that say how it is read."""
    return repr(replace(settings.source, path=(), late_s=0.0))


def sum_file(store: Store, file: InputFile, settings: ServerLoadSettings) -> tuple[pa.Table, Counts]:
    """The sums (SLOTS) of the file's rows, one row a session, and what was wrong with its rows.

    The columns are `time`, `server` and `load`, and those of SUMS that the file has. Raises FileError.
    """
    data = settings.source
    names = our_names(store, file, data)
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise FileError(
            f"{file.path} has no column {', '.join(missing)}; it has {', '.join(names)}.",
            fix="Say which column it is in [data] columns.",
            code="missing_column",
            field=file.path,
        )
    numbers = [name for name in SUMS if name in names]
    kinds = {"time": ColumnKind.TIME, "server": ColumnKind.CODED} | dict.fromkeys(numbers, ColumnKind.NUMBER)
    tally, causes, rows, negative = RejectTally(), Counter[str](), 0, 0
    parts = [SLOTS.empty_table()]
    for batch in read_batches(store, file, data, kinds):
        tally.add(batch)
        rows += batch.table.num_rows
        negative += pc.sum(pc.less(batch.table["load"], 0.0)).as_py() or 0
        parts.append(_sums(batch.table, numbers, causes))
    return pa.concat_tables(parts).unify_dictionaries(), _counts(rows, negative, tally, causes)


def _sums(table: pa.Table, numbers: list[str], causes: Counter[str]) -> pa.Table:
    """The sums of some rows, by server and slot."""
    server = table["server"].combine_chunks()
    time_us = table["time"].cast(pa.int64()).to_numpy()
    code = server.indices.to_numpy().astype(np.int64)
    slot = time_us // _SLOT_US
    units = {name: _units(table[name], name, causes) for name in numbers}
    order = np.lexsort((slot, code))
    first = np.flatnonzero(np.diff(code[order], prepend=-1) | np.diff(slot[order], prepend=-1))
    digests = _digests(server, time_us, units)

    def added(values: npt.NDArray[Any]) -> pa.Array:
        return pa.array(np.add.reduceat(values[order], first) if len(first) else values[:0])

    nothing = np.zeros(len(code), np.int64)
    columns = [
        pa.DictionaryArray.from_arrays(pa.array(code[order][first].astype(np.int32)), server.dictionary),
        pa.array(slot[order][first].astype(np.int32)),
        added(np.ones(len(code), np.int64)),
        *(added(units.get(name, nothing)) for name in SUMS),
        added(digests).view(pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=SLOTS)


def _units(column: pa.ChunkedArray, name: str, causes: Counter[str]) -> npt.NDArray[np.int64]:
    """The numbers in 1/10,000, rounded half away from zero; 0 where there is none or one too large, which
    is counted.
    """
    values = pc.fill_null(column, float("nan")).to_numpy()
    unread, big = np.isnan(values), np.abs(values) >= NUMBER_LIMIT
    if name == "load":
        causes[Cause.BAD_TOTAL.code] += int((unread | big).sum())
    causes[Cause.BIG_NUMBER.code] += int(big.sum())
    known = np.where(unread | big, 0.0, values)
    units: npt.NDArray[np.int64] = (np.sign(known) * np.floor(np.abs(known) * UNITS + 0.5)).astype(np.int64)
    return units


def _digests(
    server: pa.DictionaryArray, time_us: npt.NDArray[np.int64], units: Mapping[str, npt.NDArray[np.int64]]
) -> npt.NDArray[np.uint64]:
    """A digest of each row, whose sum is the same for the same rows in any order."""
    names = pd.util.hash_array(np.asarray(server.dictionary.to_pylist(), object), categorize=False)
    row = np.column_stack([names[server.indices.to_numpy()].view(np.int64), time_us, *units.values()])
    found: npt.NDArray[np.uint64] = pd.util.hash_pandas_object(pd.DataFrame(row), index=False).to_numpy()
    return found


def _counts(rows: int, negative: int, tally: RejectTally, causes: Counter[str]) -> Counts:
    numbers = tally.rejected.pop("bad_number", 0)
    found = Counter({code: count for code, count in causes.items() if count})
    found.update({Cause.BAD_NUMBER.code: numbers} if numbers else {})
    lines = rows + sum(tally.rejected.values())
    for cause, count in tally.rejected.items():
        found[_ROW_CAUSES.get(cause, Cause.SHORT_ROW).code] += count
    examples = [
        Example(_ROW_CAUSES.get(r.cause, Cause.BAD_NUMBER if r.cause == "bad_number" else Cause.SHORT_ROW).code, 0,
                f"{r.place}: {r.text}")
        for r in tally.rejects
    ]  # fmt: skip
    return Counts(lines, rows, dict(found), tuple(examples), negative, remarks=tuple(tally.remarks))
