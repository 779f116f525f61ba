"""Figures of outputs: a line over time for one partition, the spread of all values, and how often each
class is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from fleetscore.dashboard.formatting import format_count, format_short
from fleetscore.dashboard.markup import Markup, join, tag
from fleetscore.dashboard.svg import (
    Figure,
    Numbers,
    Scale,
    figure,
    line,
    padded,
    round_steps,
    text,
    thin_out,
    time_axis,
    value_axis,
)

_WIDTH, _HEIGHT, _LEFT, _TOP = 960.0, 170.0, 60.0, 26.0
_BINS = 48
_CLASSES = 12
_FEW = 60
"""So few points are drawn as dots as well: a line through one of them is not to be seen."""
_TITLE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Series:
    """An output of one partition over time; NaN breaks the line."""

    name: str
    values: Numbers
    class_: str


def draw_series(title: str, stamps: Numbers, series: Sequence[Series], *, is_dated: bool = True) -> Figure:
    """The outputs over time; stamps are seconds since 1970 in rising order, or numbers of windows without
    dates.
    """
    bottom = _HEIGHT - 24
    x = Scale(*_span(stamps), _LEFT, _WIDTH - 10)
    y = Scale(*padded(np.concatenate([one.values for one in series])), bottom, _TOP)
    counted = f"{format_count(len(stamps))} row" + ("s" if len(stamps) != 1 else "")
    facts = f"{counted}, {', '.join(_told(one) for one in series)}"
    return figure(
        _WIDTH, _HEIGHT, f"{title}: {facts}",
        text(_LEFT, 14, f"{_shortened(title)}: {facts}", "panel"),
        value_axis(y, _LEFT, _WIDTH - 10, 4),
        time_axis(x, bottom) if is_dated else _number_axis(x, bottom),
        [_line(x, y, stamps, one) for one in series],
    )  # fmt: skip


def _shortened(title: str) -> str:
    """The title with its middle left out where it would push the facts behind it out of the picture."""
    if len(title) <= _TITLE_LENGTH:
        return title
    return f"{title[: _TITLE_LENGTH - 20]}…{title[-19:]}"


def _span(stamps: Numbers) -> tuple[float, float]:
    first, last = float(stamps.min()), float(stamps.max())
    return (first, last) if last > first else (first - 0.5, last + 0.5)


def _told(series: Series) -> str:
    finite = series.values[np.isfinite(series.values)]
    if not len(finite):
        return f"{series.name} without a value"
    return f"{series.name} {finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}"


def _line(x: Scale, y: Scale, stamps: Numbers, series: Series) -> Markup:
    known = np.isfinite(series.values)
    if known.all():
        times, values = thin_out(stamps, series.values)
    else:
        times, values = stamps, np.where(known, series.values, np.nan)
    drawn = line(x(times), y(values), series.class_)
    if len(stamps) > _FEW:
        return drawn
    dots = [
        _dot(x.at(at), y.at(value), value)
        for at, value in zip(stamps.tolist(), values.tolist(), strict=True)
        if value == value
    ]
    return join(drawn, dots)


def _dot(x: float, y: float, value: float) -> Markup:
    return tag("circle", tag("title", f"{value:g}"), cx=round(x, 1), cy=round(y, 1), r=2.5, class_="dot")


def _number_axis(x: Scale, bottom: float) -> Markup:
    steps = [step for step in round_steps(x.first, x.last, 7) if step == int(step)]
    return join(text(x.at(step), bottom + 16, f"{step:.0f}", "tick", "middle") for step in steps)


def draw_spread(name: str, values: Numbers) -> Figure:
    """How many values lie where: a histogram over all finite ones."""
    finite = values[np.isfinite(values)]
    first, last = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if not last > first:
        first, last = first - 0.5, last + 0.5
    counts, edges = np.histogram(finite, _BINS, (first, last))
    bottom = _HEIGHT - 24
    x = Scale(first, last, _LEFT, _WIDTH - 10)
    y = Scale(0.0, max(1.0, 1.05 * float(counts.max())), bottom, _TOP)
    missing = len(values) - len(finite)
    label = f"{name}: how {format_count(len(finite))} values are spread" + (
        f"; {format_count(missing)} rows have none" if missing else ""
    )
    ticks = round_steps(first, last, 8)
    return figure(
        _WIDTH, _HEIGHT, label,
        text(_LEFT, 14, label, "panel"),
        value_axis(y, _LEFT, _WIDTH - 10, 4),
        [text(x.at(tick), bottom + 16, format_short(tick), "tick", "middle") for tick in ticks],
        [_bin(x, y, edges[at], edges[at + 1], int(count)) for at, count in enumerate(counts) if count],
    )  # fmt: skip


def _bin(x: Scale, y: Scale, first: float, last: float, count: int) -> Markup:
    """A bar; one of a single value among millions is seen as well."""
    left, right, height = x.at(first), x.at(last), max(y.at(0) - y.at(count), 1.0)
    described = tag("title", f"{first:.4g} to {last:.4g}: {count:,}")
    return tag(
        "rect", described, x=round(left + 0.5, 1), y=round(y.at(0) - height, 1), width=round(max(right - left - 1, 0.5), 1),
        height=round(height, 1), class_="bar",
    )  # fmt: skip


def draw_classes(name: str, values: Any) -> Figure:
    """How often each of the most frequent texts is given."""
    counted = sorted(
        pc.value_counts(values).to_pylist(), key=lambda one: (-one["counts"], str(one["values"]))
    )
    shown, total = counted[:_CLASSES], max(1, len(values))
    bars = [
        (
            "none" if one["values"] is None else str(one["values"]),
            float(one["counts"]),
            f"{one['counts']:,} ({100 * one['counts'] / total:.1f} %)",
        )
        for one in shown
    ]
    label = f"{name}: {format_count(len(counted))} different texts in {format_count(len(values))} rows"
    return draw_bars(label, bars)


def draw_bars(label: str, bars: Sequence[tuple[str, float, str]]) -> Figure:
    """A bar per name, value and what is written at its end; values are 0 or more."""
    row, left = 20.0, 180.0
    x = Scale(0.0, max([value for _, value, _ in bars], default=1.0) or 1.0, left, _WIDTH - 130)
    drawn = []
    for at, (name, value, told) in enumerate(bars):
        y = _TOP + at * row
        width = max(x.at(value) - left, 1.0)
        drawn += [
            text(left - 8, y + 13, name[:26], "tick", "end"),
            tag("rect", x=left, y=y, width=round(width, 1), height=row - 4, class_="bar"),
            text(left + width + 6, y + 13, told, "tick"),
        ]
    return figure(_WIDTH, _TOP + row * len(bars) + 8, label, text(_LEFT, 14, label, "panel"), drawn)


def draw_lines(label: str, names: Sequence[str], lines: Mapping[str, Numbers]) -> Figure:
    """Lines by their class over names at equal distances; the scale begins at 0."""
    bottom = _HEIGHT - 24
    x = Scale(0.0, float(max(1, len(names) - 1)), _LEFT, _WIDTH - 40)
    values = np.concatenate(list(lines.values()))
    y = Scale(0.0, max(1.05, padded(values)[1]), bottom, _TOP)
    places = np.arange(len(names), dtype=np.float64)
    every = max(1, len(names) // 12)
    return figure(
        _WIDTH, _HEIGHT, label,
        text(_LEFT, 14, label, "panel"),
        value_axis(y, _LEFT, _WIDTH - 10, 4),
        [text(x.at(at), bottom + 16, names[at], "tick", "middle") for at in range(0, len(names), every)],
        [_line(x, y, places, Series("", series, class_)) for class_, series in lines.items()],
    )  # fmt: skip


def draw_grid(label: str, names: Sequence[str], counts: Any) -> Figure:
    """A square of counts, the darker the more."""
    size, left, most = 64.0, 180.0, max(1, int(counts.max()))
    cells = [
        join(
            tag("rect", x=left + size * column, y=_TOP + 20 + size * row, width=size - 2, height=size - 2,
                class_="bar", opacity=round(0.08 + 0.9 * int(count) / most, 3)),
            text(left + size * (column + 0.5), _TOP + 24 + size * (row + 0.5), f"{int(count):,}", "panel", "middle"),
        )
        for (row, column), count in np.ndenumerate(counts)
    ]  # fmt: skip
    rows = [
        text(left - 8, _TOP + 24 + size * (at + 0.5), name, "tick", "end") for at, name in enumerate(names)
    ]
    columns = [
        text(left + size * (at + 0.5), _TOP + 14, name, "tick", "middle") for at, name in enumerate(names)
    ]
    height = _TOP + 30 + size * len(names)
    return figure(_WIDTH, height, label, text(_LEFT, 14, label, "panel"), cells, rows, columns)
