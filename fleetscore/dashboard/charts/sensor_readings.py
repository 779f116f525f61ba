"""Readings over the hours up to a window, with the anomalies marked: a panel per sensor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.dashboard.charts.published import (
    Drawing,
    Kept,
    check_drawn,
    files_of,
    find_manifest,
    largest,
    plain,
    read_rows,
    read_sketches,
)
from fleetscore.dashboard.formatting import format_count
from fleetscore.dashboard.markup import Markup, tag
from fleetscore.dashboard.svg import (
    LINE_SIGN,
    Figure,
    Numbers,
    Scale,
    Sign,
    figure,
    line,
    padded,
    text,
    thin_out,
    time_axis,
    value_axis,
)
from fleetscore.partition_keys import join_columns, split_key
from fleetscore.records import Manifest
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.windows import Window
from fleetscore.workload import Workload
from fleetscore.workloads.sensor_anomaly.results import RESULTS

_HOURS = 12
_PANELS = 3
_OTHERS = 8
_MOST_MARKS = 300
_WIDTH, _HEIGHT, _LEFT, _TOP = 960.0, 170.0, 52.0, 26.0
_COLUMNS = ["ts", "device", "sensor", "value", "score", "anomaly"]
"""The score is not drawn, but lies between the others: one request instead of two."""

_SIGNS = (
    Sign(LINE_SIGN, "series", "reading"),
    Sign("M7 2l5 5l-5 5l-5 -5Z", "anomaly", "anomaly"),
)
_KEPT = Kept(100)  # rows of a few sensors each


def draw_readings(
    store: Store, workload: Workload, manifest: Manifest, window: Window, partitions: Sequence[str]
) -> Drawing:
    """The published readings of the last twelve hours up to the window's end, or of all of a longer one;
    without `partitions`, of the sensors with most anomalies now.

    InputError when one of the partitions has no readings in any of the hours.
    """
    ranked = _KEPT.get(store, manifest, "ranked", lambda: _most_anomalous(store, manifest))
    chosen = list(partitions) or ranked[:_PANELS]
    table = _read_hours(store, workload.name, window, chosen)
    keys = join_columns([table["device"], table["sensor"]])
    hours = max(_HOURS, (window.end - window.start) // timedelta(hours=1))
    check_drawn(pc.unique(keys).to_pylist(), chosen, f"the {hours} hours up to {window.key}")
    times, span = _seconds(table), _span(table, window)
    values = table["value"].to_numpy()
    marked = table["anomaly"].to_numpy() == 1
    panels = []
    for key in chosen:
        rows = np.flatnonzero(np.asarray(pc.equal(keys, key)))
        rows = rows[np.argsort(times[rows], kind="stable")]
        panels.append(_panel(key, times[rows], values[rows], marked[rows], span))
    return Drawing(
        title="Readings and anomalies",
        partitions=tuple(chosen),
        figures=tuple(panels),
        signs=_SIGNS,
        others=tuple(key for key in ranked if key not in chosen),
        notes=(f"Published readings of up to {hours} hours, ending with {window.key} (UTC).",),
    )


def _most_anomalous(store: Store, manifest: Manifest) -> list[str]:
    sketches = read_sketches(store, manifest, ["anomaly_share"])
    if sketches is None:
        return []
    return largest(sketches, "anomaly_share", _PANELS + _OTHERS)


def _read_hours(store: Store, workload: str, window: Window, keys: Sequence[str]) -> pa.Table:
    devices = sorted({split_key(key)[0] for key in keys})
    shown = max(1, round(timedelta(hours=_HOURS) / (window.end - window.start)))
    windows = [window.next(-back).key for back in range(shown)]

    def read(key: str) -> pa.Table | None:
        manifest = find_manifest(store, workload, key)
        if manifest is None:
            return None

        def rows() -> pa.Table:
            return read_rows(store, files_of(store, manifest, keys), _COLUMNS, "device", devices)

        return _KEPT.get(store, manifest, tuple(keys), rows)

    parts = [part for part in side_by_side(read, windows) if part is not None and part.num_rows]
    if not parts:
        return plain(RESULTS.empty_table().select(_COLUMNS))
    table = pa.concat_tables(parts)
    return table.filter(
        pc.is_in(join_columns([table["device"], table["sensor"]]), pa.array(keys, pa.string()))
    )


def _seconds(table: pa.Table) -> Numbers:
    stamps = table["ts"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return np.asarray(stamps, np.float64) / 1e6


def _span(table: pa.Table, window: Window) -> tuple[float, float]:
    """From the first reading to the end of the window."""
    first = float(_seconds(table).min()) if table.num_rows else window.start.timestamp()
    return first, window.end.timestamp()


def _panel(key: str, times: Numbers, values: Numbers, marked: Any, span: tuple[float, float]) -> Figure:
    bottom = _HEIGHT - 24
    x = Scale(*span, _LEFT, _WIDTH - 8)
    y = Scale(*padded(values), bottom, _TOP)
    shown = np.flatnonzero(marked)[-_MOST_MARKS:]
    count = int(marked.sum())
    label = f"{' / '.join(split_key(key))}: {count} of {format_count(len(values))} readings are anomalies"
    return figure(
        _WIDTH, _HEIGHT, label,
        text(_LEFT, 14, label, "panel"),
        value_axis(y, _LEFT, _WIDTH - 8, 4),
        time_axis(x, bottom),
        line(*_broken(x, y, times, values), "series"),
        [_diamond(x.at(times[n]), y.at(values[n]), float(values[n])) for n in shown.tolist()],
    )  # fmt: skip


def _broken(x: Scale, y: Scale, times: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The thinned line in pixels, broken where a reading comes more than ten usual steps after the one
    before.
    """
    times, values = thin_out(times, values)
    if len(times) < 3:
        return x(times), y(values)
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > 10 * max(float(np.median(steps)), 1e-9)) + 1
    return np.insert(x(times), gaps, x(times[gaps])), np.insert(y(values), gaps, np.nan)


def _diamond(x: float, y: float, value: float) -> Markup:
    return tag(
        "path",
        tag("title", f"anomaly: {value:g}"),
        d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5Z",
        class_="anomaly",
    )
