"""Rows that stand in two logs: of one server and five-minute slot, the same lines in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.store.base import Store
from fleetscore.typed_json import decode_json
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR
from fleetscore.workloads.server_load.months import Month
from fleetscore.workloads.server_load.partials import RangeRecord

_METADATA = "repeats"


@dataclass(frozen=True, slots=True)
class Repeats:
    """How many rows two sums (paths, sorted; the same twice when two files share a range) have in common."""

    one: str
    other: str
    rows: int


def find_repeats(
    parts: Mapping[str, pa.Table], shared: Iterable[str], month: Month
) -> Counter[tuple[str, str]]:
    """The rows in common of each two sums, by path: SLOTS tables of one bucket, and the paths that two
    files share.
    """
    first, stop = month.first_hour * SLOTS_PER_HOUR, month.stop_hour * SLOTS_PER_HOUR
    paths = sorted(parts)
    found: Counter[tuple[str, str]] = Counter()
    tables = [_within(parts[path], first, stop) for path in paths]
    for path in shared:
        found[path, path] += int(np.sum(tables[paths.index(path)]["sessions"].to_numpy()))
    lines = np.concatenate([table["lines"].to_numpy() for table in tables])
    sessions = np.concatenate([table["sessions"].to_numpy() for table in tables])
    owner = np.repeat(np.arange(len(paths)), [table.num_rows for table in tables])
    order = np.argsort(lines, kind="stable")
    lines, sessions, owner = lines[order], sessions[order], owner[order]
    for step in range(1, len(paths)):
        same = np.flatnonzero((lines[step:] == lines[:-step]) & (owner[step:] != owner[:-step]))
        if not len(same):
            break
        pair, place = np.unique(owner[same] * len(paths) + owner[same + step], return_inverse=True)
        rows = np.bincount(place, sessions[same])
        for code, count in zip(pair.tolist(), rows.tolist(), strict=True):
            found[paths[code // len(paths)], paths[code % len(paths)]] += int(count)
    return found


def _within(table: pa.Table, first_slot: int, stop_slot: int) -> pa.Table:
    slot = table["slot"].to_numpy()
    return table.select(["sessions", "lines"]).filter(pa.array((slot >= first_slot) & (slot < stop_slot)))


def dump_repeats(found: Counter[tuple[str, str]]) -> dict[str, bytes]:
    """The metadata of a file of hours that `read_repeats` reads."""
    repeats = [Repeats(one, other, rows) for (one, other), rows in sorted(found.items()) if rows]
    return {_METADATA: msgspec.json.encode(repeats)}


def read_repeats(store: Store, path: str) -> list[Repeats]:
    """What a file of hours says of rows that stand in two of the sums it was made from."""
    with store.open(path) as file:
        metadata = pq.read_metadata(file).metadata
    return decode_json(metadata[_METADATA.encode()], list[Repeats])


def repeats_by_file(repeats: Iterable[Repeats], records: Sequence[RangeRecord]) -> dict[tuple[str, str], int]:
    """The rows that each two files have in common; rows that stand twice in one file are no repeats."""
    files: dict[str, list[str]] = {}
    for record in records:
        files.setdefault(record.sums, []).append(record.input.path)
    found: Counter[tuple[str, str]] = Counter()
    for repeat in repeats:
        if repeat.one == repeat.other:
            pairs = set(combinations(sorted(set(files.get(repeat.one, []))), 2))
        else:
            pairs = {
                (min(a, b), max(a, b))
                for a in files.get(repeat.one, [])
                for b in files.get(repeat.other, [])
                if a != b
            }
        for pair in pairs:
            found[pair] += repeat.rows
    return dict(sorted(found.items()))
