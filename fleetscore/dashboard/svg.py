"""Parts of pictures in SVG: lines, bands, axes. Coordinates are pixels of the viewBox, y downwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fleetscore.dashboard.formatting import format_short
from fleetscore.dashboard.markup import Child, Markup, join, tag

Numbers = npt.NDArray[np.float64]
_TIME_STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from values to pixels."""

    first: float
    last: float
    start_px: float
    stop_px: float

    def __call__(self, values: Numbers | float) -> Numbers:
        """The pixels of the values."""
        span = (self.last - self.first) or 1.0
        share = (np.asarray(values, np.float64) - self.first) / span
        return np.asarray(self.start_px + share * (self.stop_px - self.start_px), np.float64)

    def at(self, value: float) -> float:
        """The pixel of one value."""
        return float(self(value))


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of `width` x `height` pixels, for a page and for a file; `label` is read out instead of
    it.
    """

    width: float
    height: float
    label: str
    content: Markup

    @property
    def markup(self) -> Markup:
        """The picture in a page; it scrolls sideways where the screen is narrower than its text can bear."""
        picture = tag(
            "svg",
            tag("title", self.label),
            self.content,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            aria_label=self.label,
            class_="chart",
        )
        return tag("div", picture, class_="scroll", tabindex="0")


@dataclass(frozen=True, slots=True)
class Sign:
    """An entry of a legend: a shape within 14 x 14 pixels, as path data and the class of its look, and what
    it stands for.
    """

    shape: str
    class_: str
    words: str

    @property
    def markup(self) -> Markup:
        """The shape alone, as large as the text beside it."""
        return tag("svg", tag("path", d=self.shape, class_=self.class_), viewBox="0 0 14 14", class_="key")


LINE_SIGN = "M0 7L14 7"
AREA_SIGN = "M0 2H14V12H0Z"


def figure(width: float, height: float, label: str, *children: Child) -> Figure:
    """The picture of the children."""
    return Figure(width, height, label, join(*children))


def line(xs: Numbers, ys: Numbers, class_: str) -> Markup:
    """A line through the points, broken where y is NaN."""
    return tag("path", d=line_path(xs, ys), class_=class_) if len(xs) else Markup("")


def line_path(xs: Numbers, ys: Numbers) -> str:
    """The path data of the line, one decimal a number.

    >>> line_path(np.array([0.0, 1, 2, 3]), np.array([5.0, np.nan, 6, 7]))
    'M0 5M2 6L3 7'
    """
    parts, pen = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isnan(y):
            pen = "M"
            continue
        parts.append(f"{pen}{_short(x)} {_short(y)}")
        pen = "L"
    return "".join(parts)


def band(xs: Numbers, lows: Numbers, highs: Numbers, class_: str) -> Markup:
    """The area between two lines."""
    if not len(xs):
        return Markup("")
    there, back = line_path(xs, lows), line_path(xs[::-1], highs[::-1]).replace("M", "L", 1)
    return tag("path", d=f"{there}{back}Z", class_=class_)


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """A text whose baseline begins (start), is centred (middle) or ends (end) at the point."""
    return tag("text", words, x=_short(x), y=_short(y), class_=class_ or None, text_anchor=anchor)


def value_axis(scale: Scale, left: float, right: float, most: int = 5) -> Markup:
    """Grid lines with their values at the left, at round numbers."""
    return join(
        (
            tag("line", x1=left, x2=right, y1=_short(y), y2=_short(y), class_="grid"),
            text(left - 6, y + 4, format_short(value), "tick", "end"),
        )
        for value, y in ((value, scale.at(value)) for value in round_steps(scale.first, scale.last, most))
    )


def time_axis(scale: Scale, bottom: float, most: int = 7) -> Markup:
    """Moments below the picture; the scale's values are seconds since 1970."""
    span = max(scale.last - scale.first, 1.0)
    step = next((s for s in _TIME_STEPS if span / s <= most), 604_800 * math.ceil(span / 604_800 / most))
    ticks = np.arange(math.ceil(scale.first / step) * step, scale.last + 1e-6, step).tolist()
    return join(
        text(scale.at(tick), bottom + 16, _moment(tick, step), "tick", _anchor(scale, tick)) for tick in ticks
    )


def round_steps(first: float, last: float, most: int) -> list[float]:
    """At most about `most` round values within [first, last].

    >>> round_steps(0, 97, 5)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    span = last - first
    if not span > 0:
        return [first]
    raw = span / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    begin = math.ceil(first / step - 1e-9)
    return [round(n * step, 12) for n in range(begin, math.floor(last / step + 1e-9) + 1)]


def padded(values: Sequence[float] | Numbers, share: float = 0.06) -> tuple[float, float]:
    """The least and the largest finite value, with some air around; (0, 1) when there is none."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    if not len(found):
        return 0.0, 1.0
    least, most = float(found.min()), float(found.max())
    air = (most - least) * share or abs(most) * share or 1.0
    return least - air, most + air


def thin_out(xs: Numbers, ys: Numbers, most: int = 900) -> tuple[Numbers, Numbers]:
    """The least and the largest value of each of `most` // 2 stretches in their order, so that no peak gets
    lost.
    """
    if len(xs) <= most:
        return xs, ys
    edges = np.linspace(0, len(xs), most // 2 + 1).astype(int)
    kept: list[int] = []
    for start, stop in pairwise(edges.tolist()):
        part = ys[start:stop]
        kept += sorted({start + int(part.argmin()), start + int(part.argmax())})
    return xs[kept], ys[kept]


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _anchor(scale: Scale, value: float) -> str:
    share = (scale.at(value) - scale.start_px) / ((scale.stop_px - scale.start_px) or 1.0)
    return "start" if share < 0.03 else "end" if share > 0.97 else "middle"


def _moment(seconds: float, step: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    if step >= 86_400 or (moment.hour == 0 and moment.minute == 0 and step >= 3600):
        return f"{moment:%d %b}"
    return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"
