"""Rows sorted into blocks of one partition and one model key each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.models.packs.bundle import Bundle
from fleetscore.workloads.models.rows import model_keys, partition_keys
from fleetscore.workloads.models.settings import FleetSettings

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows sorted by partition and model key: blocks [offsets[i], offsets[i + 1]) of one partition and one
    key each.
    """

    table: pa.Table
    partitions: list[str]  # of each block
    keys: list[str]  # of each block; "" with has_key False where no model has one of the row's keys
    has_key: Bools
    offsets: npt.NDArray[np.int64]


def sort_rows(table: pa.Table, settings: FleetSettings, keys: Sequence[str], bundle: Bundle) -> Block:
    """The rows by partition, model key and time; rows that come in that order are not moved."""
    place = pc.index_in(
        partition_keys(table, settings), value_set=pa.array(keys, pa.string())
    ).combine_chunks()
    chosen, found = choose_keys(table, settings, bundle)
    codes = pc.dictionary_encode(chosen)
    code = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    where = place.to_numpy(zero_copy_only=False).astype(np.int64)
    stamps = _stamps(table, settings)
    columns = (where, code) if stamps is None else (where, code, stamps)
    if not are_sorted(columns):
        order = np.lexsort(columns[::-1])
        table, where, code, found = table.take(pa.array(order)), where[order], code[order], found[order]
    changes = (where[1:] != where[:-1]) | (code[1:] != code[:-1])
    starts: Indices = np.flatnonzero(np.r_[True, changes]) if len(where) else np.empty(0, np.int64)
    offsets = np.r_[starts, len(where)].astype(np.int64)
    names = codes.dictionary.to_pylist()
    return Block(
        table.combine_chunks(),
        [keys[where[at]] for at in starts],
        [names[code[at]] for at in starts],
        np.array([found[at] for at in starts], bool),
        offsets,
    )


def are_sorted(columns: Sequence[Indices]) -> bool:
    """Whether rows are in order already: by the first column, equal ones by the second, and so on.

    >>> are_sorted([np.array([1, 1, 2]), np.array([5, 6, 0])]), are_sorted([np.array([1, 1]), np.array([6, 5])])
    (True, False)
    """
    equal: Bools | np.bool_ = np.True_
    for column in columns:
        if (equal & (column[1:] < column[:-1])).any():
            return False
        equal = equal & (column[1:] == column[:-1])
    return True


def choose_keys(table: pa.Table, settings: FleetSettings, bundle: Bundle) -> tuple[pa.StringArray, Bools]:
    """Each row's first key that has a model, and whether there is one."""
    chosen: pa.Scalar | pa.StringArray = pa.scalar("", pa.string())
    found = np.zeros(table.num_rows, bool)
    for pattern in settings.key_patterns:
        keys = model_keys(table, pattern).combine_chunks()
        keys = keys if isinstance(keys, pa.StringArray) else pa.concat_arrays(keys.chunks)
        hit = (bundle.find(keys)[0] >= 0) & ~found
        chosen = pc.if_else(pa.array(hit), keys, chosen)
        found |= hit
    return chosen, found


def _stamps(table: pa.Table, settings: FleetSettings) -> npt.NDArray[np.int64] | None:
    if not settings.data.time:
        return None
    return np.asarray(pc.cast(table[settings.data.time], pa.int64()).combine_chunks())
