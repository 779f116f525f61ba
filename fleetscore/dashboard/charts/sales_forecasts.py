"""Sales history and forecast: the median dashed, the 50 % and the 90 % band, a panel per SKU of one store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.dashboard.charts.published import (
    Drawing,
    check_drawn,
    column_of,
    files_of,
    largest,
    read_rows,
    read_sketches,
)
from fleetscore.dashboard.markup import Markup, join
from fleetscore.dashboard.svg import (
    AREA_SIGN,
    LINE_SIGN,
    Figure,
    Numbers,
    Scale,
    Sign,
    band,
    figure,
    line,
    text,
    value_axis,
)
from fleetscore.errors import InputError
from fleetscore.partition_keys import join_key, split_key
from fleetscore.records import Manifest
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Workload
from fleetscore.workloads.store_sales.contract import (
    QUANTILE_NAMES,
    StoreSalesSettings,
)

_SIGNS = (
    Sign(LINE_SIGN, "history", "sales"),
    Sign(LINE_SIGN, "median", "median"),
    Sign(AREA_SIGN, "band50", "50 % band"),
    Sign(AREA_SIGN, "band90", "90 % band"),
)
_PANELS = 4
_SHOWN_WEEKS = 52
_OTHERS = 10
_WIDTH, _HEIGHT, _LEFT, _TOP = 960.0, 230.0, 52.0, 26.0


def draw_forecasts(
    store: Store, workload: Workload, manifest: Manifest, window: Window, partitions: Sequence[str]
) -> Drawing:
    """The forecasts of one store from the window on, after its last year; `partitions` are a store, or
    store/SKU for chosen SKUs.

    Without them the store that sells most is drawn, with its best sellers. InputError when it has no
    published rows.
    """
    sketches = read_sketches(store, manifest, ["median_mean"])
    selling = largest(sketches, "median_mean", _OTHERS) if sketches is not None else []
    key, asked = _requested_skus(partitions or selling[:1])
    name = split_key(key)[0]
    table = _read_forecast(store, manifest, key, name)
    check_drawn([key] if table.num_rows else [], [key], window.key)
    best = _best_sellers(table)
    check_drawn(best, asked, window.key)
    chosen = asked or best[:_PANELS]
    history = _read_history(store, workload, window, name)
    panels = [
        _panel(sku, history.get(sku), table.filter(pc.equal(table["sku"], sku)).sort_by("step"), window)
        for sku in chosen
    ]
    others = [join_key([name, sku]) for sku in best if sku not in chosen] + [s for s in selling if s != key]
    return Drawing(
        title=f"Weekly sales of store {name}",
        partitions=tuple(join_key([name, sku]) for sku in chosen),
        figures=tuple(panels),
        signs=_SIGNS,
        others=tuple(others[: 2 * _OTHERS]),
        notes=(f"{len(best)} SKUs are forecast from {window.key} on; {len(chosen)} are drawn.",),
    )


def _requested_skus(partitions: Sequence[str]) -> tuple[str, list[str]]:
    """The store's key, and the requested SKUs; InputError where several stores are named."""
    fields = [split_key(partition) for partition in partitions] or [[""]]
    elsewhere = [f[0] for f in fields if f[0] != fields[0][0]]
    if elsewhere:
        raise InputError(
            f"A picture shows one store; {fields[0][0]} and {elsewhere[0]} were asked for.",
            fix="Draw each store by itself.",
            field="partition",
        )
    name = fields[0][0]
    return join_key([name]), [f[1] for f in fields if f[0] == name and len(f) > 1]


def _read_forecast(store: Store, manifest: Manifest, key: str, name: str) -> pa.Table:
    columns = ["store", "sku", "step", *QUANTILE_NAMES]
    return read_rows(store, files_of(store, manifest, [key]), columns, "store", [name])


def _best_sellers(table: pa.Table) -> list[str]:
    sums = table.group_by("sku").aggregate([("q50", "sum")])
    skus: list[str] = sums.sort_by([("q50_sum", "descending"), ("sku", "ascending")])["sku"].to_pylist()
    return skus


def _read_history(store: Store, workload: Workload, window: Window, name: str) -> dict[str, Numbers]:
    """SKU -> its sales of the last year up to the window, NaN where they are not known."""
    from fleetscore.workloads.store_sales.input_files import find_files
    from fleetscore.workloads.store_sales.loading import Span, load_panel

    settings: StoreSalesSettings = workload.settings
    files = find_files(store, settings, workload.name, window)
    first = max(0, window.ordinal - _SHOWN_WEEKS)
    span = Span(window.cadence, first, window.ordinal, window.ordinal + settings.steps)
    panel = load_panel(files, span, [name], settings.covariates).panel
    weeks = window.ordinal - panel.first_week
    return {str(sku): np.asarray(panel.sales[n, :weeks], np.float64) for n, sku in enumerate(panel.skus)}


def _panel(sku: str, sales: Numbers | None, forecast: pa.Table, window: Window) -> Figure:
    sales = np.empty(0) if sales is None else sales
    q = {name: column_of(forecast, name) for name in QUANTILE_NAMES}
    past = np.arange(-len(sales), 0, dtype=np.float64)
    ahead = np.arange(forecast.num_rows, dtype=np.float64)
    bottom = _HEIGHT - 26
    x = Scale(-float(_SHOWN_WEEKS), float(max(len(ahead) - 1, 1)), _LEFT, _WIDTH - 8)
    top = float(np.nanmax(np.concatenate([sales, q["q95"], [1.0]])))
    y = Scale(0.0, 1.06 * top, bottom, _TOP)
    sums = {name: f"{values.sum():,.0f}" for name, values in q.items()}
    label = f"SKU {sku}: median {sums['q50']} over {len(ahead)} weeks, weekly bands add up to {sums['q5']} … {sums['q95']} (90 %)"
    return figure(
        _WIDTH, _HEIGHT, label,
        text(_LEFT, 14, label, "panel"),
        value_axis(y, _LEFT, _WIDTH - 8, 4),
        band(x(ahead), y(q["q5"]), y(q["q95"]), "band90"),
        band(x(ahead), y(q["q25"]), y(q["q75"]), "band50"),
        line(x(past), y(sales), "history"),
        line(x(ahead), y(q["q50"]), "median"),
        _week_axis(x, window, bottom),
    )  # fmt: skip


def _week_axis(x: Scale, window: Window, bottom: float) -> Markup:
    ticks = [n for n in range(-_SHOWN_WEEKS, int(x.last) + 1, 13) if window.ordinal + n >= 0]
    return join(
        text(x.at(n), bottom + 17, window.next(n).key, "tick", "start" if n == -_SHOWN_WEEKS else "middle")
        for n in ticks
    )
