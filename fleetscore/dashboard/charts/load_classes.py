"""Load classes of the hours ahead as a heat map: a row per server, a column per hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.dashboard.charts.published import (
    Drawing,
    check_drawn,
    files_of,
    largest,
    read_rows,
    read_sketches,
)
from fleetscore.dashboard.markup import Markup, tag
from fleetscore.dashboard.svg import Figure, Sign, figure, text
from fleetscore.records import Manifest
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Workload

CLASSES = ("low", "medium", "high")
_SIGNS = tuple(Sign("M0 1H14V13H0Z", f"load-{name}", name) for name in CLASSES)
_MOST_SERVERS = 40
_OTHERS = 12
_WIDTH, _LEFT, _TOP, _ROW = 960.0, 128.0, 30.0, 17.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def draw_classes(
    store: Store, workload: Workload, manifest: Manifest, window: Window, partitions: Sequence[str]
) -> Drawing:
    """The classes of the hours after the window; without `partitions`, of the forty servers that are most
    likely to be high.

    InputError when one of the partitions has no published rows.
    """
    del workload  # everything is in the manifest
    sketches = read_sketches(store, manifest, ["p_high"])
    busiest = largest(sketches, "p_high", _MOST_SERVERS + _OTHERS) if sketches is not None else []
    chosen = list(partitions) or busiest[:_MOST_SERVERS]
    files = files_of(store, manifest, chosen)
    table = read_rows(store, files, ["server", "hour", "load_class"], "server", chosen)
    check_drawn(pc.unique(table["server"]).to_pylist(), chosen, window.key)
    return Drawing(
        title="Load classes of the hours ahead",
        partitions=tuple(chosen),
        figures=(_picture(_grid(table), window),) if chosen else (),
        signs=_SIGNS,
        others=tuple(key for key in busiest if key not in chosen)[:_OTHERS],
        notes=(
            f"Hours are UTC. {len(chosen)} of {manifest.partitions:,} servers, most likely to be high first.",
        ),
    )


def _grid(table: pa.Table) -> dict[str, dict[int, str]]:
    """Server -> hour since 1970 -> class; servers with most high hours first."""
    hours = (
        table["hour"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() // 3_600_000_000
    ).tolist()
    grid: dict[str, dict[int, str]] = {}
    for server, hour, name in zip(
        table["server"].to_pylist(), hours, table["load_class"].to_pylist(), strict=True
    ):
        grid.setdefault(server, {})[hour] = name
    weight = {
        server: [list(row.values()).count(c) for c in ("high", "medium")] for server, row in grid.items()
    }
    return dict(sorted(grid.items(), key=lambda item: ([-n for n in weight[item[0]]], item[0])))


def _picture(grid: dict[str, dict[int, str]], window: Window) -> Figure:
    hours = sorted({hour for row in grid.values() for hour in row})
    first, count = hours[0], hours[-1] - hours[0] + 1
    step = (_WIDTH - _LEFT - 4) / count
    rows = [_row(server, row, first, step, _TOP + n * _ROW) for n, (server, row) in enumerate(grid.items())]
    high = sum(name == "high" for row in grid.values() for name in row.values())
    label = f"Load classes of {len(grid)} servers for the {count} hours after {window.key}; {high} server-hours are high"
    return figure(
        _WIDTH,
        _TOP + _ROW * len(grid) + 6,
        label,
        [_hour_label(hour, _LEFT + (hour - first) * step) for hour in hours if hour % 6 == 0],
        rows,
    )


def _row(server: str, row: dict[int, str], first: int, step: float, top: float) -> list[Markup]:
    """The server's name, and one bar per stretch of hours of the same class."""
    parts = [text(_LEFT - 8, top + 12, server, "tick", "end")]
    cells = sorted(row.items())
    for name, stretch in groupby(enumerate(cells), key=lambda cell: (cell[1][1], cell[1][0] - cell[0])):
        hours = [hour for _, (hour, _) in stretch]
        parts.append(
            tag(
                "rect",
                tag("title", f"{server} {_format_hour(hours[0])}, {len(hours)} h: {name[0]}"),
                x=round(_LEFT + (hours[0] - first) * step, 1),
                y=round(top, 1),
                width=round(len(hours) * step - 0.6, 1),
                height=_ROW - 2,
                class_=f"load-{name[0]}" if name[0] in CLASSES else "load-unknown",
            )
        )
    return parts


def _hour_label(hour: int, x: float) -> Markup:
    moment = _EPOCH + timedelta(hours=hour)
    return text(x, _TOP - 8, f"{moment:%d %b}" if hour % 24 == 0 else f"{moment:%H:%M}", "tick")


def _format_hour(hour: int) -> str:
    return f"{_EPOCH + timedelta(hours=hour):%Y-%m-%d %H:%M}"
