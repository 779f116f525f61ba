"""Drawing forecasts: the history black, the median dashed, the 50 % and the 90 % band, a panel per SKU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.partition_keys import join_key, path_of_key, split_key
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Workload
from fleetscore.workloads.store_sales.contract import LOOKBACK_WEEKS, StoreSalesSettings
from fleetscore.workloads.store_sales.input_files import list_inputs, usable_files
from fleetscore.workloads.store_sales.loading import Span, load_panel
from fleetscore.workloads.store_sales.panel import Panel, natural_key

_PANELS = 6
_SHOWN_WEEKS = 52
_BAND_90, _BAND_50, _MEDIAN, _TEXT, _GRID = "#c9ddf0", "#8fb8de", "#1f4e79", "#333333", "#e6e6e6"


def draw_windows(
    store: Store, kind: Workload, windows: Sequence[Window], folder: Path, partitions: Sequence[str]
) -> list[Path]:
    """One PNG per store and window, a panel per SKU; `partitions` are stores, or store/SKU for chosen ones.

    Without them, the store with the most sales forecast is drawn. InputError when nothing of it is published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for window in windows:
        for key, skus in _requested_skus(store, kind.name, window, partitions).items():
            paths.append(_draw_store(store, kind, window, folder, key, skus))
    return paths


def _requested_skus(
    store: Store, workload: str, window: Window, partitions: Sequence[str]
) -> dict[str, list[str]]:
    """Store -> SKUs, none for those that sell most."""
    skus_by_store: dict[str, list[str]] = {}
    for partition in partitions or [_largest(store, workload, window)]:
        name, *sku = split_key(partition)
        skus_by_store.setdefault(name, []).extend(sku)
    return skus_by_store


def _largest(store: Store, workload: str, window: Window) -> str:
    table = _published(store, workload, window, ["store", "q50"], None)
    sums = (
        table.group_by("store")
        .aggregate([("q50", "sum")])
        .sort_by([("q50_sum", "descending"), ("store", "ascending")])
    )
    return join_key([sums["store"][0].as_py()])


def _published(
    store: Store, workload: str, window: Window, columns: list[str] | None, name: str | None
) -> pa.Table:
    try:
        manifest = read_manifest(store, workload, window.key)
    except MissingBlobError as error:
        raise InputError(
            f"There is no published forecast of {window.key}.",
            fix=f"fleetscore run {workload} --window {window.key}",
            field="window",
        ) from error
    table = read_results(store, manifest, columns, [("store", "==", name)] if name else None)
    if not table.num_rows:
        raise InputError(f"Store {name} has no published forecast of {window.key}.", field="partitions")
    return table


def _draw_store(
    store: Store, kind: Workload, window: Window, folder: Path, name: str, skus: list[str]
) -> Path:
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    table = _published(store, kind.name, window, None, name)
    chosen = skus or _best_sellers(table)
    panel = _history(store, kind.settings, window, name)
    rows = -(-len(chosen) // 2)
    figure = Figure(figsize=(11, 0.9 + 2.3 * rows), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False).reshape(-1)
    for axis, sku in zip(axes, chosen, strict=False):
        _panel(axis, panel, table.filter(pc.equal(table["sku"], sku)).sort_by("step"), sku, window)
    for axis in axes[len(chosen) :]:
        axis.set_axis_off()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=4, fontsize=8, frameon=False
    )
    figure.suptitle(f"Weekly sales of store {name}, forecast from {window.key}", color=_TEXT, fontsize=11)
    path = folder / f"{kind.name}-{path_of_key(name)}-{window.key}.png"
    figure.savefig(path, dpi=130)
    return path


def _best_sellers(table: pa.Table) -> list[str]:
    sums = (
        table.group_by("sku")
        .aggregate([("q50", "sum")])
        .sort_by([("q50_sum", "descending"), ("sku", "ascending")])
    )
    return sorted(sums["sku"].to_pylist()[:_PANELS], key=natural_key)


def _history(store: Store, settings: StoreSalesSettings, window: Window, name: str) -> Panel:
    files = usable_files(store, list_inputs(store, settings), settings)
    first = max(0, window.ordinal - LOOKBACK_WEEKS)
    span = Span(window.cadence, first, window.ordinal, window.ordinal + settings.steps)
    return load_panel(store, files, span, [name], settings.covariates).panel


def _panel(axis: Any, panel: Panel, forecast: pa.Table, sku: str, window: Window) -> None:
    if not forecast.num_rows:
        raise InputError(
            f"SKU {sku} has no published forecast of {window.key} in this store.", field="partitions"
        )
    series = np.flatnonzero(panel.skus == sku)
    origin = window.ordinal - panel.first_week
    shown = np.arange(max(0, origin - _SHOWN_WEEKS), origin)
    ahead = origin + np.arange(forecast.num_rows)
    values = {column: forecast[column].to_numpy() for column in ("q5", "q25", "q50", "q75", "q95")}
    axis.fill_between(ahead, values["q5"], values["q95"], color=_BAND_90, lw=0, label="90 %")
    axis.fill_between(ahead, values["q25"], values["q75"], color=_BAND_50, lw=0, label="50 %")
    if len(series):
        axis.plot(shown, panel.sales[series[0], shown], color="black", lw=1.0, label="sales")
    axis.plot(ahead, values["q50"], color=_MEDIAN, lw=1.2, ls="--", label="median")
    ticks = np.arange(origin + 12, shown[0] if len(shown) else origin, -13)[::-1]
    axis.set_xticks(ticks, [Window(window.cadence, int(panel.first_week + t)).key for t in ticks], fontsize=7)
    axis.tick_params(axis="y", labelsize=7, colors=_TEXT)
    axis.set_title(f"SKU {sku}", fontsize=8, color=_TEXT, loc="left")
    axis.grid(color=_GRID, lw=0.6)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
