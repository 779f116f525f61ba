"""Drawing published readings over time, with the anomalies marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.partition_keys import split_key
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.sensor_anomaly.readings import partition_keys

_PANELS = 4
_LINE, _MARK, _TEXT, _GRID = "#3b6ea5", "#d1495b", "#333333", "#e6e6e6"
_COLUMNS = ["ts", "device", "sensor", "value", "anomaly"]


def draw_windows(
    store: Store, workload: str, windows: Sequence[Window], folder: Path, partitions: Sequence[str]
) -> list[Path]:
    """One PNG with a panel per partition; without `partitions`, the few with the most notable anomalies.
    InputError when none is published.
    """
    chosen = list(partitions) or _choose(store, workload, windows)
    table = _read(store, workload, windows, chosen)
    if not table.num_rows:
        raise InputError(
            "There are no published readings to draw.", fix="Run a window first.", field="window"
        )
    keys = partition_keys(table)
    panels = [(key, table.filter(pc.equal(keys, key)).sort_by("ts")) for key in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{workload}.png"
    _figure([(key, panel) for key, panel in panels if panel.num_rows], windows).savefig(path, dpi=130)
    return [path]


def _choose(store: Store, workload: str, windows: Sequence[Window]) -> list[str]:
    """The partitions with many anomalies, as long as these are few among their readings, else any."""
    anomalies: dict[str, int] = {}
    readings: dict[str, int] = {}
    for manifest in _manifests(store, workload, windows):
        table = read_results(store, manifest, ["device", "sensor", "anomaly"])
        table = table.append_column("key", partition_keys(table))
        for entry in table.group_by("key").aggregate([("anomaly", "sum"), ("anomaly", "count")]).to_pylist():
            anomalies[entry["key"]] = anomalies.get(entry["key"], 0) + entry["anomaly_sum"]
            readings[entry["key"]] = readings.get(entry["key"], 0) + entry["anomaly_count"]
    notable = [k for k, n in anomalies.items() if 0 < n <= 0.1 * readings[k]]
    ranked = sorted(notable or anomalies, key=lambda k: (-anomalies[k], k))
    return _one_per_count(ranked, anomalies)


def _one_per_count(ranked: list[str], anomalies: dict[str, int]) -> list[str]:
    """Partitions with very different numbers of anomalies show different kinds of them; alike ones only
    fill up.
    """
    chosen: list[str] = []
    for key in ranked:
        if not chosen or anomalies[key] <= 0.75 * anomalies[chosen[-1]]:
            chosen.append(key)
    return (chosen + [key for key in ranked if key not in chosen])[:_PANELS]


def _manifests(store: Store, workload: str, windows: Sequence[Window]) -> list[Any]:
    found = []
    for window in windows:
        try:
            found.append(read_manifest(store, workload, window.key))
        except MissingBlobError:
            continue
    return found


def _read(store: Store, workload: str, windows: Sequence[Window], keys: Sequence[str]) -> pa.Table:
    wanted = pa.array(keys, pa.string())
    devices = sorted({split_key(key)[0] for key in keys})
    parts = []
    for manifest in _manifests(store, workload, windows):
        table = read_results(store, manifest, _COLUMNS, [("device", "in", devices)])
        parts.append(table.filter(pc.is_in(partition_keys(table), wanted)))
    return pa.concat_tables(parts) if parts else pa.table({name: [] for name in _COLUMNS})


def _figure(panels: list[tuple[str, pa.Table]], windows: Sequence[Window]) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    figure = Figure(figsize=(10, 1.1 + 1.75 * len(panels)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (key, table) in zip(axes, panels, strict=True):
        _panel(axis, key, table)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib types its dates in part
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.offsetText.set_fontsize(8)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    keys = sorted(window.key for window in windows)
    span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
    figure.suptitle(f"Readings and anomalies, {span} (UTC)", x=0.01, ha="left", fontsize=13, color=_TEXT)
    return figure


def _panel(axis: Any, key: str, table: pa.Table) -> None:
    times = table["ts"].cast(pa.timestamp("us")).to_numpy()
    values = table["value"].to_numpy()
    marked = table["anomaly"].to_numpy() == 1
    gaps = _gaps(times)
    axis.plot(
        np.insert(times, gaps, times[gaps]), np.insert(values, gaps, np.nan), color=_LINE, linewidth=0.7
    )
    axis.scatter(times[marked], values[marked], s=16, color=_MARK, zorder=3, linewidths=0)
    label = f"{' / '.join(split_key(key))}   {int(marked.sum())} of {len(values):,} readings are anomalies"
    axis.set_title(label, loc="left", fontsize=9, color=_TEXT)
    axis.grid(axis="y", color=_GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(colors=_TEXT, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)


def _gaps(times: Any) -> Any:
    """Where a reading comes more than ten usual steps after the one before: the line breaks there."""
    if len(times) < 3:
        return np.empty(0, np.int64)
    steps = np.diff(times)
    return np.flatnonzero(steps > 10 * np.median(steps)) + 1
