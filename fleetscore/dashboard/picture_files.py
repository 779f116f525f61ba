"""Pictures as files: the figures of a drawing in one SVG file, with their style inside and nothing loaded
from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fleetscore.dashboard.charts.published import Drawing
from fleetscore.dashboard.markup import Markup, join, tag
from fleetscore.dashboard.page import picture_style
from fleetscore.dashboard.results_view import draw_window
from fleetscore.dashboard.svg import Sign, text
from fleetscore.runs.manifests import read_manifest
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Workload

_MARGIN, _HEAD, _GAP = 18.0, 58.0, 10.0
_SIGN_PX, _LETTER_PX = 20.0, 7.0
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_pictures(
    store: Store, workload: Workload, windows: Sequence[Window], folder: Path, partitions: Sequence[str] = ()
) -> list[Path]:
    """Draw each published window as the dashboard does, into `folder`/<workload>-<window>.svg; gives the
    files.

    InputError names a partition that has no rows to draw, MissingBlobError a window that is not published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for window in windows:
        manifest = read_manifest(store, workload.name, window.key)
        drawing = draw_window(store, workload, manifest, window, partitions)
        paths.append(folder / f"{workload.name}-{window.key}.svg")
        paths[-1].write_text(render_svg(drawing, f"{workload.name}, {window.key}"), encoding="utf-8")
    return paths


def write_backtest(chart: str, found: Mapping[str, Any], workload: str, folder: Path) -> Path:
    """Draw what a backtest found by the function that `chart` names, into
    `folder`/<workload>-backtest.svg.
    """
    module, _, function = chart.partition(":")
    drawing: Drawing = getattr(import_module(module), function)(found)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{workload}-backtest.svg"
    path.write_text(render_svg(drawing, workload), encoding="utf-8")
    return path


def render_svg(drawing: Drawing, about: str) -> str:
    """The figures one below the other, under the title, what it is about, and the legend; notes stand at
    the foot.
    """
    width = max([figure.width for figure in drawing.figures], default=960.0) + 2 * _MARGIN
    parts: list[Markup] = [
        text(_MARGIN, 26, f"{drawing.title}: {about}", "title"),
        *_legend(drawing.signs),
    ]
    top = _HEAD
    for figure in drawing.figures:
        box = f"0 0 {figure.width:g} {figure.height:g}"
        parts.append(
            tag(
                "svg", figure.content, x=_MARGIN, y=top, width=figure.width, height=figure.height, viewBox=box
            )
        )
        top += figure.height + _GAP
    for note in drawing.notes:
        parts.append(text(_MARGIN, top + 14, note, "tick"))
        top += 20
    height = top + _GAP
    whole = tag(
        "svg",
        tag("title", f"{drawing.title}: {about}"),
        tag("style", Markup(picture_style())),
        tag("rect", width=width, height=height, class_="paper"),
        join(*parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
    )
    return _NOT_XML.sub("\ufffd", whole)


def _legend(signs: Sequence[Sign]) -> list[Markup]:
    parts, x = [], _MARGIN
    for sign in signs:
        parts.append(
            tag("g", tag("path", d=sign.shape, class_=sign.class_), transform=f"translate({x:g} 36)")
        )
        parts.append(text(x + _SIGN_PX, 48, sign.words, "tick"))
        x += _SIGN_PX + _LETTER_PX * len(sign.words) + 18
    return parts
