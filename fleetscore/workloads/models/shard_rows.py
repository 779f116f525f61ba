"""The rows of a shard's partitions from the window's files, also of files that lack a feature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError, FleetscoreError, InputError
from fleetscore.partition_keys import split_key
from fleetscore.sources import (
    ColumnKind,
    InputFile,
    Reading,
    RowChoice,
    TimeRange,
    aggregate_rows,
    our_names,
    read_files,
)
from fleetscore.workload import RunContext
from fleetscore.workloads.models.blocks import Block
from fleetscore.workloads.models.discovery import find_files
from fleetscore.workloads.models.key_counts import count_keys
from fleetscore.workloads.models.rows import partition_keys, row_kinds
from fleetscore.workloads.models.settings import DROP, FleetSettings
from fleetscore.workloads.models.verdicts import MISSING_COLUMN, Taken

_LACKS = "fleetscore:lacks"
"""A column beside those of the files: which of `Lacking` a row's file is of; -1 for a whole file."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """Files that lack the same features, which other files have."""

    path: str  # of the first
    features: tuple[str, ...]
    fault: FileError


@dataclass(frozen=True, slots=True)
class ShardRows:
    """The rows of a shard; where a file lacks a feature, its rows have none.

    `unread` has the error of each partition that has rows, by the plan's counts, in a file that could not be
    read.
    """

    reading: Reading
    lacking: tuple[Lacking, ...] = ()
    unread: Mapping[str, FleetscoreError] = field(default_factory=dict)


def read_rows(
    run: RunContext, settings: FleetSettings, keys: Sequence[str], features: Sequence[str]
) -> ShardRows:
    """The rows of the partitions with the features, from every file that has keys and times."""
    files, counts = _files_of(run, settings, keys)
    kinds = row_kinds(settings, features)
    rows = _read(run, settings, files, kinds, _choose_rows(settings, keys))
    table = rows.reading.table
    if settings.source.aggregate:
        table = aggregate_rows(table, settings.source, kinds)
    unread = _find_unread(counts, rows.reading, settings)
    return ShardRows(replace(rows.reading, table=table), rows.lacking, unread)


def _choose_rows(settings: FleetSettings, keys: Sequence[str]) -> RowChoice:
    """The rows of the partitions: a shard holds no others, however many its files have."""
    wanted = pa.array(keys, pa.string())
    fields = zip(*(split_key(key) for key in keys), strict=True)
    values = {name: sorted(set(texts)) for name, texts in zip(settings.partition, fields, strict=True)}
    return RowChoice(values, lambda table: pc.is_in(partition_keys(table, settings), value_set=wanted))


def _find_unread(counts: pa.Table, reading: Reading, settings: FleetSettings) -> dict[str, FleetscoreError]:
    """The partitions of which a file holds rows that could not be read, with the error of the first; a file
    that only lacks a feature is none under the policy `drop`.
    """
    grave = {
        path: error
        for path, error in reading.faults.items()
        if path not in reading.rows and (error.code != MISSING_COLUMN or settings.expect.missing != DROP)
    }
    held = counts.filter(pc.is_in(counts["path"], value_set=pa.array(list(grave), pa.string())))
    found: dict[str, FleetscoreError] = {}
    for line in held.select(["path", "partition"]).to_pylist():
        error = grave[line["path"]]
        detail = f"Not all of its rows could be read. {line['path']}: {error.message}"
        found.setdefault(
            line["partition"], FileError(detail, fix=error.fix, code=error.code, field=error.field)
        )
    return found


def find_unread(rows: ShardRows, block: Block) -> dict[int, FleetscoreError]:
    """The error of each block of a partition that has rows in a file that could not be read: what the other
    files hold of it is not its window.
    """
    return {at: rows.unread[key] for at, key in enumerate(block.partitions) if key in rows.unread}


def find_lacking(
    rows: ShardRows, block: Block, policy: str | float, taken: Taken | None
) -> dict[int, FleetscoreError]:
    """The error of each block whose model takes a feature that the file of one of its rows lacks.

    Nowhere under the policy `drop`, which leaves such rows out.
    """
    if not rows.lacking or taken is None or policy == DROP or _LACKS not in block.table.column_names:
        return {}
    there = set(block.table.column_names)  # a column that no file has is told where models are scored
    names = sorted({name for group in rows.lacking for name in group.features if name in there})
    needed = taken(names)
    groups = np.asarray(block.table[_LACKS])
    errors: dict[int, FleetscoreError] = {}
    for at in np.flatnonzero(np.maximum.reduceat(groups, block.offsets[:-1]) >= 0).tolist():
        for number in np.unique(groups[block.offsets[at] : block.offsets[at + 1]]).tolist():
            group = rows.lacking[number] if number >= 0 else None
            if group is None:
                continue
            wanted = [name for name in names if name in group.features and needed[at, names.index(name)]]
            if wanted:
                detail = f"{group.path} lacks {', '.join(wanted)}, which its model takes."
                errors[at] = InputError(detail, fix=group.fault.fix, code=MISSING_COLUMN, field=group.path)
    return errors


def _read(
    run: RunContext,
    settings: FleetSettings,
    files: Sequence[InputFile],
    kinds: Mapping[str, ColumnKind],
    choice: RowChoice,
) -> ShardRows:
    """All files; those that lack features only are read again without them."""
    data, span = settings.source, TimeRange(run.window.start, run.window.end)
    reading = read_files(run.store, files, data, kinds, span, choice)
    groups = _absent_features(run, settings, files, kinds, reading)
    if not groups:
        return ShardRows(reading)
    absent = [set(names) for names in groups]
    everywhere = set.intersection(*absent) if len(reading.faults) == len(files) else set()
    if settings.source.aggregate and (len(reading.faults) < len(files) or len(groups) > 1):
        return ShardRows(reading)  # rows of several files become one there, so none can be marked
    kept = {name: kind for name, kind in kinds.items() if name not in everywhere}
    parts, rows, lacking = [_marked(reading.table, kept, -1)], dict(reading.rows), []
    faults = dict(reading.faults)
    for number, (names, members) in enumerate(groups.items()):
        present = {name: kind for name, kind in kinds.items() if name not in names}
        again = read_files(run.store, members, data, present, span, choice)
        parts.append(_marked(again.table, kept, number))
        rows |= again.rows
        lacking.append(Lacking(members[0].path, names, reading.faults[members[0].path]))
        faults = {path: error for path, error in faults.items() if path not in again.rows or everywhere}
    table = pa.concat_tables([part for part in parts if part.num_rows] or parts[-1:])
    return ShardRows(replace(reading, table=table, rows=rows, faults=faults), tuple(lacking))


def _marked(table: pa.Table, kinds: Mapping[str, ColumnKind], number: int) -> pa.Table:
    """The columns of the kinds, nulls where the table has none of the name, and the number of its group."""
    columns = {
        name: table[name] if name in table.column_names else pa.nulls(table.num_rows, pa.float64())
        for name in kinds
    }
    return pa.table({**columns, _LACKS: pa.repeat(pa.scalar(number, pa.int32()), table.num_rows)})


def _absent_features(
    run: RunContext,
    settings: FleetSettings,
    files: Sequence[InputFile],
    kinds: Mapping[str, ColumnKind],
    reading: Reading,
) -> dict[tuple[str, ...], list[InputFile]]:
    """The files that lack nothing but features, by those that they lack; a function of the user's gets all
    features, so that it has no such files.
    """
    groups: dict[tuple[str, ...], list[InputFile]] = defaultdict(list)
    if settings.models.score or settings.source.melt:
        return groups
    for file in files:
        fault = reading.faults.get(file.path)
        if fault is None or fault.code != MISSING_COLUMN:
            continue
        there = set(our_names(run.store, file, settings.source))
        names = tuple(name for name in kinds if name not in there)
        if all(kinds[name] is ColumnKind.NUMBER for name in names):
            groups[names].append(file)
    return groups


def _files_of(
    run: RunContext, settings: FleetSettings, keys: Sequence[str]
) -> tuple[list[InputFile], pa.Table]:
    """The files that hold rows of the partitions, by the counts that planning keeps, and these counts."""
    files = find_files(run).files
    span = TimeRange(run.window.start, run.window.end)
    counts = count_keys(run.store, run.workload, run.window.key, settings, files, span)
    mine = counts.keyed.filter(pc.is_in(counts.keyed["partition"], value_set=pa.array(keys, pa.string())))
    paths = set(mine["path"].to_pylist()) | counts.faults.keys()
    return [file for file in files if file.path in paths], mine
