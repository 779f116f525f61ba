"""Published results as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fleetscore.dashboard.charts.published import Drawing
from fleetscore.dashboard.components import card, facts, search, table
from fleetscore.dashboard.formatting import format_many, format_moment
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.dashboard.page import Body
from fleetscore.dashboard.results_view import ResultsView


def show_results(view: ResultsView, links: Links) -> Body:
    """The window's picture, other partitions and windows to see, and where the numbers lie."""
    drawing = view.drawing
    title = drawing.title if drawing else "Published results"
    picture = (
        join(
            drawing.legend, drawing.picture, [tag("p", note, class_="quiet small") for note in drawing.notes]
        )
        if drawing
        else tag(
            "p",
            "There is no picture without the workload's kind and settings; the files are below.",
            class_="quiet",
        )
    )
    content = join(
        tag("div", tag("p", f"{view.workload} · {view.window}", class_="quiet"), tag("h1", title)),
        card(view.window, picture, aside=_windows(view, links)),
        card("Others", _others(view, links)) if drawing else None,
        card("Extreme partitions", _extremes(view, drawing, links)) if drawing and drawing.extremes else None,
        card("Rows", _rows(drawing)) if drawing and drawing.rows else None,
        card("Where it lies", _manifest(view, links)),
    )
    trail = [
        (view.workload, links.workload(view.workload)),
        (view.window, links.run(view.manifest.run)),
        ("results", ""),
    ]
    return Body(f"{title}, {view.window}", content, trail)


def _windows(view: ResultsView, links: Links) -> Markup:
    """The windows before and after, with the same partitions."""
    shown = view.drawing.partitions if view.drawing and len(view.drawing.partitions) <= 4 else ()
    ways: list[Child] = []
    if view.window_before:
        ways.append(
            tag("a", f"← {view.window_before}", href=links.results(view.workload, view.window_before, shown))
        )
    if view.window_after:
        ways.append(
            tag("a", f"{view.window_after} →", href=links.results(view.workload, view.window_after, shown))
        )
    return tag("span", ways, class_="pills")


def _others(view: ResultsView, links: Links) -> Markup:
    hidden = {"view": "results", "workload": view.workload, "window": view.window}
    return join(
        _pills(view, view.drawing.others if view.drawing else (), links),
        search(links, hidden, words="partition, by its exact key"),
    )


def _pills(view: ResultsView, partitions: Sequence[str], links: Links) -> Markup | None:
    if not partitions:
        return None
    return tag(
        "p",
        [tag("a", key, href=links.results(view.workload, view.window, [key])) for key in partitions],
        class_="pills",
    )


def _extremes(view: ResultsView, drawing: Drawing, links: Links) -> Markup:
    """The partitions with the largest and the smallest mean output, each with a link to its picture."""
    lines = [
        (
            tag("a", one.partition, href=links.results(view.workload, view.window, [one.partition])),
            f"{one.mean:.6g}",
            f"{one.rows:,}",
        )
        for one in drawing.extremes
    ]
    return table(["partition*", "mean output#", "rows#"], lines)


def _rows(drawing: Drawing) -> Markup:
    """A few published rows as they are."""
    names = list(drawing.rows[0])
    lines = [[_value(row[name]) for name in names] for row in drawing.rows]
    numbers = {name for name in names if isinstance(drawing.rows[0][name], (int, float))}
    return table([f"{name}#" if name in numbers else name for name in names], lines)


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _manifest(view: ResultsView, links: Links) -> Markup:
    manifest = view.manifest
    earlier = [join(tag("a", line.run, href=links.run(line.run)), " ") for line in manifest.history]
    return facts(
        [
            ("published", format_moment(manifest.published)),
            ("by", tag("a", manifest.run, href=links.run(manifest.run))),
            ("earlier", earlier or None),
            (
                "rows",
                f"{manifest.rows:,} of {format_many(manifest.partitions, 'partition')} in {format_many(len(manifest.files), 'file')}",
            ),
            ("models", ", ".join(f"{version} ({count:,})" for version, count in manifest.models.items())),
            ("manifest", tag("code", f"results/{view.workload}/{view.window}/manifest.json")),
        ]
    )
