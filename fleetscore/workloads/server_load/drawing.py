"""Pictures: the load classes of the hours ahead, a row per server, a column per hour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workloads.server_load.judging import read_published
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.months import HOUR_S

_COLORS = ("#3b7dd8", "#f2c14e", "#c8362e")
_MOST_SERVERS = 40


def draw_windows(
    store: Store, workload: str, windows: Sequence[Window], folder: Path, partitions: Sequence[str]
) -> list[Path]:
    """One heat map per published window; with more than forty servers and none named, those with the most high hours."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for window in windows:
        results = read_published(store, workload, window)
        if results.num_rows:
            path = folder / f"{workload}-{window.key}.png"
            _draw(results, window, path, partitions)
            paths.append(path)
    return paths


def class_grid(results: pa.Table, partitions: Sequence[str]) -> tuple[list[str], Any, Any]:
    """Servers (chosen, busiest first), hours since 1970, and class numbers (servers, hours); NaN where there is no answer."""
    hour = results["hour"].cast(pa.int64()).to_numpy() // (HOUR_S * 1_000_000)
    number = {name: float(n) for n, name in enumerate(CLASSES)}
    classes = np.array([number[name] for name in results["load_class"].to_pylist()])
    names, row = np.unique(np.array(results["server"].to_pylist(), object), return_inverse=True)
    hours = np.arange(hour.min(), hour.max() + 1)
    grid = np.full((len(names), len(hours)), np.nan)
    grid[row, hour - hours[0]] = classes
    wanted = set(partitions)
    chosen = [n for n, name in enumerate(names) if not wanted or name in wanted]
    chosen.sort(key=lambda n: (-np.nansum(grid[n] == 2), -np.nansum(grid[n]), names[n]))
    chosen = chosen if wanted else chosen[:_MOST_SERVERS]
    return [str(names[n]) for n in chosen], hours, grid[chosen]


def _draw(results: pa.Table, window: Window, path: Path, partitions: Sequence[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    servers, hours, grid = class_grid(results, partitions)
    figure = Figure(figsize=(12, 1.8 + 0.26 * len(servers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(grid, aspect="auto", cmap=ListedColormap(_COLORS), vmin=-0.5, vmax=2.5, interpolation="none")
    axes.set_yticks(range(len(servers)), servers, fontsize=8)
    ticks = np.flatnonzero(hours % 6 == 0)
    labels = [str(np.datetime64(int(hours[n]), "h")).replace("T", " ") + ":00" for n in ticks]
    axes.set_xticks(ticks, labels, rotation=30, ha="right", fontsize=8)
    axes.set_title(f"Load class of the hours after {window.key} (UTC)")
    handles = [Patch(color=color, label=name) for color, name in zip(_COLORS, CLASSES, strict=True)]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=110)
