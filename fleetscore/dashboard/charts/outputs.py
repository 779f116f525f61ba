"""The picture of any workload: outputs over time for a few partitions, the distribution of all outputs, and
the extreme partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.dashboard.charts.output_figures import Series, draw_classes, draw_series, draw_spread
from fleetscore.dashboard.charts.published import (
    Drawing,
    Extreme,
    Kept,
    check_drawn,
    column_of,
    files_of,
    find_manifest,
    plain,
    read_rows,
    read_sketches,
)
from fleetscore.dashboard.formatting import format_many
from fleetscore.dashboard.svg import LINE_SIGN, Figure, Numbers, Sign
from fleetscore.partition_keys import join_columns, split_key
from fleetscore.records import Manifest
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.tables import open_truth
from fleetscore.windows import Cadence, Window
from fleetscore.workload import Workload

_WINDOWS = 12
_PANELS = 3
_LINES = ("series", "history", "median")
_EXTREMES = 5
_ROWS = 20
_MOST_ROWS = 2_000_000
_KEPT = Kept(40)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of the results by what they are for; outputs are numbers or, one alone, text."""

    partition: tuple[str, ...]
    outputs: tuple[str, ...]
    time: str = ""
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class _Spread:
    """A window's outputs: the values of each, the first one's mean by partition, and how many rows that
    is.
    """

    values: tuple[Any, ...]
    extremes: tuple[Extreme, ...]
    rows: int


def draw_outputs(
    store: Store, workload: Workload, manifest: Manifest, window: Window, partitions: Sequence[str]
) -> Drawing:
    """The outputs of up to twelve windows; without `partitions`, of those with the largest, the smallest
    and a middle mean.

    InputError when one of the partitions has no rows in any of the windows.
    """
    schema = _schema(store, manifest)
    columns = _find_columns(workload, schema)
    spread = _KEPT.get(store, manifest, columns, lambda: _read_spread(store, manifest, columns))
    means = spread.extremes
    chosen = list(partitions) or _most_notable(means)
    table, stamps = _read_windows(store, workload.name, window, columns, schema, chosen)
    keys = _keys(table, columns)
    check_drawn(pc.unique(keys).to_pylist(), chosen, f"the windows up to {window.key}")
    panels = (
        []
        if columns.is_text
        else _panels(table, stamps, keys.to_numpy(zero_copy_only=False), columns, chosen, window)
    )
    return Drawing(
        title="Outputs" if columns.outputs else "Published rows",
        partitions=tuple(chosen),
        figures=(*panels, *_spread_figures(columns, spread)),
        signs=_signs(columns),
        others=tuple(dict.fromkeys(e.partition for e in means if e.partition not in chosen)),
        notes=_notes(columns, spread, manifest, window),
        extremes=means,
        rows=tuple(_newest(table, stamps).to_pylist()),
    )


def _schema(store: Store, manifest: Manifest) -> pa.Schema:
    """The columns of the window's files, which an earlier version of the settings may have named."""
    with store.open(manifest.files[0].path) as source:
        return plain(pq.read_schema(source).empty_table()).schema


def _find_columns(workload: Workload, schema: pa.Schema) -> _Columns:
    partition = tuple(name for name in workload.partition_columns if name in schema.names)
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    free = [field for field in schema if field.name not in {*partition, "model", "model_key"}]
    wanted = [field for field in free if not workload.outputs or field.name in workload.outputs]
    numbers = [field.name for field in wanted if _is_number(field.type)]
    texts = [field.name for field in wanted if pa.types.is_string(field.type)]
    outputs = numbers or texts[:1]
    return _Columns(partition, tuple(outputs[: len(_LINES)]), next(iter(times), ""), not numbers)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _read_spread(store: Store, manifest: Manifest, columns: _Columns) -> _Spread:
    table = _read_sample(store, manifest, [*columns.partition, *columns.outputs])
    if columns.is_text:
        return _Spread(tuple(table[name] for name in columns.outputs), (), table.num_rows)
    values = tuple(column_of(table, name) for name in columns.outputs)
    return _Spread(values, _find_extremes(store, manifest, table, columns), table.num_rows)


def _read_sample(store: Store, manifest: Manifest, names: Sequence[str]) -> pa.Table:
    """The columns of the window: all rows, or of a very large one row groups that lie evenly over it."""
    step = max(1, -(-manifest.rows // _MOST_ROWS))
    parts, number = [], 0
    for file in manifest.files:
        with open_truth(store, file.path) as source:
            parquet = pq.ParquetFile(source)
            groups = range(parquet.metadata.num_row_groups)
            mine = [group for group in groups if (number + group) % step == 0]
            number += len(groups)
            parts.append(plain(parquet.read_row_groups(mine, list(names), use_threads=False)))
    return pa.concat_tables(parts, promote_options="permissive")


def _find_extremes(
    store: Store, manifest: Manifest, table: pa.Table, columns: _Columns
) -> tuple[Extreme, ...]:
    """The partitions with the largest and the smallest mean of the first output, largest first; a few of
    them.
    """
    sketches = read_sketches(store, manifest, ["n", "output_mean"])
    means = _means(table, columns) if sketches is None else sketches
    means = means.filter(pc.is_finite(means["output_mean"]))
    ranked = means.sort_by([("output_mean", "descending"), ("partition", "ascending")])
    count = ranked.num_rows
    places = [at for at in range(count) if at < _EXTREMES or at >= count - _EXTREMES or at == count // 2]
    return tuple(
        Extreme(row["partition"], row["output_mean"], int(row["n"]))
        for row in ranked.take(places).to_pylist()
    )


def _means(table: pa.Table, columns: _Columns) -> pa.Table:
    if not columns.partition or not columns.outputs:
        return pa.table(
            {"partition": pa.array([], pa.string()), "output_mean": pa.array([], pa.float64()), "n": []}
        )
    keys = _keys(table, columns)
    values = pc.cast(table[columns.outputs[0]], pa.float64())
    values = pc.if_else(pc.is_finite(values), values, None)
    grouped = pa.table({"partition": keys, "y": values}).group_by("partition", use_threads=False)
    return grouped.aggregate([("y", "mean"), ("y", "count")]).rename_columns(
        ["partition", "output_mean", "n"]
    )


def _most_notable(means: Sequence[Extreme]) -> list[str]:
    """The largest, the smallest and the one between them."""
    if not means:
        return []
    places = [0, len(means) - 1, len(means) // 2]
    return list(dict.fromkeys(means[at].partition for at in places))[:_PANELS]


def _read_windows(
    store: Store, workload: str, window: Window, columns: _Columns, schema: pa.Schema, keys: Sequence[str]
) -> tuple[pa.Table, Numbers]:
    """The rows of the partitions in the windows up to this one, in order of time, and when each is, in
    seconds since 1970.

    A row without a time stands in its window by its place in it; the stamps of windows without dates are
    their numbers.
    """
    windows = [window.next(-back) for back in range(_WINDOWS) if window.ordinal >= back][::-1]
    described = side_by_side(lambda one: _read_window(store, workload, one, columns, schema, keys), windows)
    parts = [part for part in described if part is not None]
    if not parts:
        return schema.empty_table(), np.empty(0)
    table = pa.concat_tables([table for table, _ in parts], promote_options="permissive")
    stamps = np.concatenate([stamps for _, stamps in parts])
    order = np.argsort(stamps, kind="stable")
    return table.take(order), stamps[order]


def _read_window(
    store: Store, workload: str, window: Window, columns: _Columns, schema: pa.Schema, keys: Sequence[str]
) -> tuple[pa.Table, Numbers] | None:
    manifest = find_manifest(store, workload, window.key)
    if manifest is None or not columns.partition or not keys:
        return None
    table = _KEPT.get(
        store, manifest, (columns, *keys), lambda: _read_partitions(store, manifest, columns, schema, keys)
    )
    return (table, _stamps(table, columns, window)) if table.num_rows else None


def _read_partitions(
    store: Store, manifest: Manifest, columns: _Columns, schema: pa.Schema, keys: Sequence[str]
) -> pa.Table:
    """The partitions' rows of one window; empty where its files have other columns."""
    own = _schema(store, manifest)
    if not set(columns.partition) | set(columns.outputs) <= set(own.names):
        return schema.empty_table()
    names = [name for name in schema.names if name in own.names]
    first = columns.partition[0]
    if pa.types.is_string(own.field(first).type):
        files = files_of(store, manifest, keys)
        table = read_rows(store, files, names, first, sorted({split_key(key)[0] for key in keys}))
    else:
        table = _read_sample(store, manifest, names)
    joined = _keys(table, columns)
    return table.filter(pc.is_in(joined, pa.array(keys, pa.string())))


def _stamps(table: pa.Table, columns: _Columns, window: Window) -> Numbers:
    if window.cadence is Cadence.INDEX:
        return np.full(table.num_rows, float(window.ordinal))
    start, end = window.start.timestamp(), window.end.timestamp()
    if columns.time and columns.time in table.column_names:
        moments = pc.cast(table[columns.time], pa.timestamp("us", table.schema.field(columns.time).type.tz))
        seconds = pc.divide(pc.cast(pc.cast(moments, pa.int64()), pa.float64()), 1e6)
        return np.asarray(pc.fill_null(seconds, start), np.float64)
    keys = _keys(table, columns).to_numpy(zero_copy_only=False)
    stamps = np.empty(len(keys))
    for key in np.unique(keys):
        mine = np.flatnonzero(keys == key)
        stamps[mine] = start + (end - start) * (np.arange(len(mine)) + 0.5) / len(mine)
    return stamps


def _keys(table: pa.Table, columns: _Columns) -> pa.Array:
    """The partition of each row."""
    texts = [pc.cast(table[name], pa.string()).combine_chunks() for name in columns.partition]
    return join_columns(texts) if texts else pa.array([], pa.string())


def _panels(
    table: pa.Table, stamps: Numbers, keys: Any, columns: _Columns, chosen: Sequence[str], window: Window
) -> list[Figure]:
    values = {name: column_of(table, name) for name in columns.outputs}
    is_dated = window.cadence is not Cadence.INDEX
    panels = []
    for key in chosen if columns.outputs else ():
        mine = np.flatnonzero(keys == key)
        lines = [
            Series(name, values[name][mine], class_)
            for name, class_ in zip(columns.outputs, _LINES, strict=False)
        ]
        panels.append(draw_series(" / ".join(split_key(key)), stamps[mine], lines, is_dated=is_dated))
    return panels


def _spread_figures(columns: _Columns, spread: _Spread) -> list[Figure]:
    if columns.is_text:
        return [
            draw_classes(name, values) for name, values in zip(columns.outputs, spread.values, strict=True)
        ]
    return [draw_spread(name, values) for name, values in zip(columns.outputs, spread.values, strict=True)]


def _signs(columns: _Columns) -> tuple[Sign, ...]:
    if columns.is_text:
        return ()
    return tuple(Sign(LINE_SIGN, class_, name) for name, class_ in zip(columns.outputs, _LINES, strict=False))


def _notes(columns: _Columns, spread: _Spread, manifest: Manifest, window: Window) -> tuple[str, ...]:
    notes = []
    if not columns.outputs:
        notes.append("The results have no numbers to draw.")
    elif not columns.is_text:
        notes.append(
            f"Lines: published rows of up to {_WINDOWS} windows, ending with {window.key} (times are UTC)."
        )
    if columns.outputs and spread.rows < manifest.rows:
        notes.append(f"The spread is that of {spread.rows:,} of {format_many(manifest.rows, 'row')}.")
    return tuple(notes)


def _newest(table: pa.Table, stamps: Numbers) -> pa.Table:
    """The last rows, the newest first."""
    return table.take(np.arange(len(stamps) - 1, max(-1, len(stamps) - 1 - _ROWS), -1))
