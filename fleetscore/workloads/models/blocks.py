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
    place = pc.index_in(
        partition_keys(table, settings), value_set=pa.array(keys, pa.string())
    ).combine_chunks()
    chosen, found = choose_keys(table, settings, bundle)
    codes = pc.dictionary_encode(chosen)
    code = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    where = place.to_numpy(zero_copy_only=False).astype(np.int64)
    stamps = _stamps(table, settings)
    order = np.lexsort((stamps, code, where)) if stamps is not None else np.lexsort((code, where))
    where, code, found = where[order], code[order], found[order]
    changes = (where[1:] != where[:-1]) | (code[1:] != code[:-1])
    starts: Indices = np.flatnonzero(np.r_[True, changes]) if len(order) else np.empty(0, np.int64)
    offsets = np.r_[starts, len(order)].astype(np.int64)
    names = codes.dictionary.to_pylist()
    return Block(
        table.take(pa.array(order)),
        [keys[where[at]] for at in starts],
        [names[code[at]] for at in starts],
        np.array([found[at] for at in starts], bool),
        offsets,
    )


def choose_keys(table: pa.Table, settings: FleetSettings, bundle: Bundle) -> tuple[pa.StringArray, Bools]:
    """Each row's first key that has a model, and whether there is one."""
    count = table.num_rows
    chosen = np.full(count, "", object)
    found = np.zeros(count, bool)
    for pattern in settings.key_patterns:
        keys = model_keys(table, pattern).combine_chunks()
        keys = keys if isinstance(keys, pa.StringArray) else pa.concat_arrays(keys.chunks)
        hit = (bundle.find(keys)[0] >= 0) & ~found
        chosen[hit] = keys.to_numpy(zero_copy_only=False)[hit]
        found |= hit
    return pa.array(chosen, pa.string()), found


def _stamps(table: pa.Table, settings: FleetSettings) -> npt.NDArray[np.int64] | None:
    if not settings.data.time:
        return None
    return np.asarray(pc.cast(table[settings.data.time], pa.int64()).combine_chunks())
