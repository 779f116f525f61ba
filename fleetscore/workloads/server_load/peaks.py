"""Hourly peaks: of each server's hour, the five-minute slot with the largest load, and that slot's eight
sums.

Of equal slots the earliest counts. All sums are whole numbers (1/10,000), so the peaks are the same however
the logs were split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.store.base import Store
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR
from fleetscore.workloads.server_load.layouts import SUMS
from fleetscore.workloads.server_load.months import Month
from fleetscore.workloads.server_load.parse import SLOTS
from fleetscore.workloads.server_load.partials import ROOT, read_bucket, write_bucketed
from fleetscore.workloads.server_load.repeats import dump_repeats, find_repeats

HOURS = pa.schema(
    [("server", pa.dictionary(pa.int32(), pa.string())), ("hour", pa.int32()), ("sessions", pa.int64())]
    + [(name, pa.int64()) for name in SUMS]
)
"""Peak sums per server and hour (since 1970, UTC) in 1/10,000, and all sessions of the hour; hours without
sessions have no row.
"""

_READERS = 8


def hours_path(month: Month, sums: Sequence[str], buckets: int) -> str:
    """Where the hours of the month made from these sums lie; the same sums in another order give the same
    path.
    """
    digest = hashlib.sha256("\n".join([str(buckets), *sorted(sums)]).encode()).hexdigest()[:40]
    return f"{ROOT}/hours/{month.key}-{digest}.parquet"


def write_hours(store: Store, path: str, month: Month, sums: Sequence[str], buckets: int) -> int:
    """Reduce the sums to the month's hours, bucket by bucket, and write them; returns the number of hours."""
    paths = sorted(set(sums))
    shared = [path for path in paths if sums.count(path) > 1]
    parts, repeats = [], Counter[tuple[str, str]]()
    with ThreadPoolExecutor(_READERS) as pool:
        for bucket in range(buckets):
            tables = list(pool.map(lambda path, b=bucket: read_bucket(store, path, b), paths))
            parts.append(find_peaks([tables[paths.index(path)] for path in sums], month))
            repeats += find_repeats(dict(zip(paths, tables, strict=True)), shared, month)
    hours = pa.concat_tables(parts).unify_dictionaries()
    write_bucketed(store, path, hours, buckets, dump_repeats(repeats))
    return int(hours.num_rows)


def find_peaks(parts: Sequence[pa.Table], month: Month | None = None) -> pa.Table:
    """The hours (HOURS, by server and hour) of partial sums (SLOTS), in any order and number; of one month,
    or of all.
    """
    from fleetscore.workloads.server_load.peak_kernel import hours_of_sorted

    slots = pa.concat_tables([SLOTS.empty_table(), *parts]).unify_dictionaries().combine_chunks()
    names, rank = _ranked(slots["server"])
    slot = slots["slot"].to_numpy().astype(np.int64)
    values = np.column_stack([slots[name].to_numpy() for name in ("sessions", *SUMS)])
    key = rank << 32 | slot
    if month is not None:
        inside = (slot >= month.first_hour * SLOTS_PER_HOUR) & (slot < month.stop_hour * SLOTS_PER_HOUR)
        key, values = key[inside], values[inside]
    order = np.argsort(key)  # equal keys in any order: their values are added
    server, hour, peaks = hours_of_sorted(key[order], order, values)
    columns = [pa.DictionaryArray.from_arrays(pa.array(server), names), pa.array(hour)]
    columns += [pa.array(np.ascontiguousarray(column)) for column in peaks.T]
    return pa.Table.from_arrays(columns, schema=HOURS)


def _ranked(servers: pa.ChunkedArray) -> tuple[pa.Array, Any]:
    """The sorted names of a dictionary column, and each row's place among them."""
    if not len(servers):
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    chunk = servers.chunk(0)
    order = pc.array_sort_indices(chunk.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return chunk.dictionary.take(pa.array(order)), rank[chunk.indices.to_numpy()]
