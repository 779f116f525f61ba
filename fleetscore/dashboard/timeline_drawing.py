"""A run's timeline as SVG: a lane per placement, a bar per shard; with very many shards, how many were at
work when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import numpy as np

from fleetscore.dashboard.formatting import format_count, format_seconds
from fleetscore.dashboard.markup import Markup, join, tag
from fleetscore.dashboard.svg import Scale, band, figure, line_path, round_steps, text, value_axis
from fleetscore.runs.timeline import ShardBar, Timeline

MOST_BARS = 200
_WIDTH, _LEFT, _TOP = 960.0, 64.0, 8.0
_ROW, _LEAST_ROW, _LANE_HEIGHT = 16.0, 5.0, 420.0
_SLOW = 2.0  # times the median
_AREA_HEIGHT = 150.0
_LOST_WIDTH = 15.0  # a lost shard has no end, and must be seen


@dataclass(frozen=True, slots=True)
class Kind:
    """What a bar is drawn as, in order of urgency; `sign` is written into it where it fits."""

    name: str
    words: str
    sign: str = ""


LOST = Kind("bar-lost", "lost: never committed", "✕")
BAD = Kind("bar-bad", "at least half not good", "!")
RETRIED = Kind("bar-retried", "tried more than once", "↻")
SLOW = Kind("bar-slow", "slower than twice the median", "")
RUNNING = Kind("bar-running", "under way", "▸")
PLAIN = Kind("bar", "committed")
SHARE = Kind("bar-share", "share not good, in shards:")
KINDS = (LOST, BAD, RETRIED, SLOW, RUNNING, PLAIN)


def kind_of(bar: ShardBar, median_s: float) -> Kind | None:
    """How the shard stands out; None for one that has not begun."""
    if bar.state == "lost":
        return LOST
    if bar.state == "planned":
        return None
    if bar.state == "running":
        return RUNNING
    if 2 * bar.bad >= bar.partitions > 0:
        return BAD
    if bar.attempts > 1:
        return RETRIED
    return SLOW if bar.seconds and median_s > 0 and bar.seconds > _SLOW * median_s else PLAIN


def draw_timeline(timeline: Timeline, now: datetime) -> Markup:
    """The picture, what its colours mean, and how many shards there are of each kind."""
    begun = [bar for bar in timeline.bars if bar.began is not None]
    if not begun:
        waiting = len(timeline.bars)
        return tag(
            "p",
            f"None of {waiting:,} shards has begun." if waiting else "There is no plan yet.",
            class_="quiet",
        )
    draw = _draw_bars if len(timeline.bars) <= MOST_BARS else _draw_areas
    return join(draw(begun, now), _legend(timeline))


def extremes(timeline: Timeline, most: int = 10) -> tuple[ShardBar, ...]:
    """The shards worth a line in a table: lost, with bad partitions, retried, then the slowest; at most
    `most`.
    """
    order = {kind: n for n, kind in enumerate(KINDS)}
    middle = _median(timeline.bars)
    ranked = [
        (order[kind], -(bar.seconds or 0.0), bar.shard, bar)
        for bar in timeline.bars
        if (kind := kind_of(bar, middle)) not in (None, PLAIN, RUNNING) and kind is not None
    ]
    chosen = [bar for *_, bar in sorted(ranked, key=lambda entry: entry[:3])][:most]
    slowest = sorted((b for b in timeline.bars if b.seconds), key=lambda b: -(b.seconds or 0.0))
    return tuple(chosen + [bar for bar in slowest if bar not in chosen][: max(0, min(3, most - len(chosen)))])


def pack_rows(spans: Sequence[tuple[float, float]]) -> list[int]:
    """A row for each span, in order of their beginning, so that no two of a row overlap; few rows.

    >>> pack_rows([(0, 2), (1, 3), (2, 4)])
    [0, 1, 0]
    """
    ends: list[float] = []
    rows = []
    for start, stop in spans:
        row = next((n for n, end in enumerate(ends) if end <= start), len(ends))
        ends[row : row + 1] = [stop]
        rows.append(row)
    return rows


def _draw_bars(bars: Sequence[ShardBar], now: datetime) -> Markup:
    first, last = _span(bars, now)
    middle = _median(bars)
    lanes, top = [], _TOP
    x = Scale(0.0, last, _LEFT, _WIDTH - 8)
    for name in _lanes(bars):
        mine = sorted((b for b in bars if b.placement == name), key=lambda b: (b.began, b.shard))
        spans = [_seconds(bar, first, now) for bar in mine]
        rows = pack_rows(spans)
        height = max(_LEAST_ROW, min(_ROW, _LANE_HEIGHT / (max(rows) + 1)))
        lane = height * (max(rows) + 1) + 6
        lanes.append(
            tag("rect", x=_LEFT, y=top, width=_WIDTH - 8 - _LEFT, height=round(lane, 1), class_="lane", rx=4)
        )
        lanes.append(text(_LEFT - 8, top + lane / 2 + 4, name, "tick", "end"))
        placed = sorted(zip(mine, spans, rows, strict=True), key=lambda entry: entry[0].state == "lost")
        lanes += [  # lost ones on top of what they run into
            _bar(bar, x, span, top + 3 + row * height, height, middle) for bar, span, row in placed
        ]
        top += lane + 8
    label = f"Timeline of {len(bars)} shards over {format_seconds(last)}"
    return figure(_WIDTH, top + 20, label, lanes, _second_axis(x, top)).markup


def _bar(
    bar: ShardBar, x: Scale, span: tuple[float, float], top: float, height: float, middle: float
) -> Markup:
    kind = kind_of(bar, middle) or RUNNING
    left, right = x.at(span[0]), x.at(span[1])
    width = max(right - left - 0.8, _LOST_WIDTH if kind is LOST else 1.5)
    signed = kind.sign and width >= _LOST_WIDTH and height >= 13
    sign = text(left + 3, top + 11, kind.sign, "sign-lost" if kind is LOST else "sign") if signed else None
    rect = tag(
        "rect", tag("title", format_bar(bar)), x=round(left, 1), y=round(top, 1), width=round(width, 1),
        height=round(height - 2, 1), rx=2, class_=kind.name,
    )  # fmt: skip
    return join(rect, _stripe(bar, left, top, width, height) if kind not in (LOST, BAD) else None, sign)


def _stripe(bar: ShardBar, left: float, top: float, width: float, height: float) -> Markup | None:
    """The share of partitions that are not good, as a stripe along the bar's foot; a single one is seen as
    well.
    """
    if not bar.bad:
        return None
    long = max(width * bar.bad / max(bar.partitions, 1), min(4.0, width))
    foot = max(height * 0.3, 2.0)
    return tag(
        "rect", x=round(left, 1), y=round(top + height - 2 - foot, 1), width=round(long, 1),
        height=round(foot, 1), class_="bar-share",
    )  # fmt: skip


def format_bar(bar: ShardBar) -> str:
    """The shard in a line."""
    took = f" in {format_seconds(bar.seconds)}" if bar.seconds is not None else ""
    bad = f", {bar.bad:,} not good" if bar.bad else ""
    tries = f", {bar.attempts} attempts" if bar.attempts > 1 else ""
    return f"shard {bar.shard}, {bar.placement}: {bar.partitions:,} partitions, {bar.state}{took}{bad}{tries}"


def _draw_areas(bars: Sequence[ShardBar], now: datetime) -> Markup:
    """Per lane, how many shards were at work at the same time."""
    first, last = _span(bars, now)
    x = Scale(0.0, last, _LEFT, _WIDTH - 8)
    lanes, top = [], _TOP + 14
    for name in _lanes(bars):
        spans = np.array([_seconds(bar, first, now) for bar in bars if bar.placement == name])
        moments = np.linspace(0.0, last, 240)
        working = np.searchsorted(np.sort(spans[:, 0]), moments, side="right") - np.searchsorted(
            np.sort(spans[:, 1]), moments, side="right"
        )
        y = Scale(0.0, float(max(working.max(), 1)), top + _AREA_HEIGHT, top)
        ys = y(working.astype(np.float64))
        lanes += [
            text(_LEFT, top - 6, f"{name}: {len(spans):,} shards, at work at the same time", "panel"),
            value_axis(y, _LEFT, _WIDTH - 8, 3),
            band(x(moments), np.full(len(moments), y.at(0.0)), ys, "area"),
            tag("path", d=line_path(x(moments), ys), class_="series"),
        ]
        top += _AREA_HEIGHT + 34
    label = f"{len(bars):,} shards over {format_seconds(last)}"
    return figure(_WIDTH, top, label, lanes, _second_axis(x, top - 30)).markup


def _second_axis(x: Scale, bottom: float) -> Markup:
    """Seconds after the first shard began, at round steps."""
    steps = [step for step in span_steps(x.last) if step < 0.97 * x.last]
    return join(
        text(x.at(s), bottom + 14, f"+{format_seconds(s)}" if s else "0", "tick", "middle" if s else "start")
        for s in steps
    )


def span_steps(last: float, most: int = 8) -> list[float]:
    """Round moments within [0, last]: decimal below two minutes, else whole minutes, hours or days.

    >>> span_steps(8.2), span_steps(600)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [0.0, 120.0, 240.0, 360.0, 480.0, 600.0])
    """
    unit = next(size for size in (86_400.0, 3_600.0, 60.0, 1.0) if last >= 2 * size or size == 1.0)
    return [unit * step for step in round_steps(0.0, last / unit, most)]


def _legend(timeline: Timeline) -> Markup:
    middle = _median(timeline.bars)
    kinds = [kind_of(bar, middle) for bar in timeline.bars]
    parts = [
        tag("span", _key(kind), f" {kind.sign} {kind.words} ", tag("b", format_count(kinds.count(kind))))
        for kind in KINDS
        if kind in kinds
    ]
    marred = sum(bar.bad > 0 for bar in timeline.bars)
    if marred:
        parts.append(tag("span", _key(SHARE), f" {SHARE.words} ", tag("b", format_count(marred))))
    if None in kinds:
        parts.append(tag("span", "not begun ", tag("b", format_count(kinds.count(None)))))
    return tag("p", parts, class_="legend")


def _key(kind: Kind) -> Markup:
    return tag(
        "svg",
        tag("rect", x=1, y=1, width=12, height=12, rx=2, class_=kind.name),
        viewBox="0 0 14 14",
        class_="key",
    )


def _lanes(bars: Sequence[ShardBar]) -> list[str]:
    return sorted({bar.placement for bar in bars}, reverse=True)  # inline first: it begins first


def _span(bars: Sequence[ShardBar], now: datetime) -> tuple[datetime, float]:
    first = min(bar.began for bar in bars if bar.began is not None)
    return first, max(max(_seconds(bar, first, now)[1] for bar in bars), 1e-3)


def _seconds(bar: ShardBar, first: datetime, now: datetime) -> tuple[float, float]:
    """Start and stop in seconds after `first`; a shard without an end is still at work, or was lost where
    it began.
    """
    began = bar.began or first
    stop = now if bar.state == "running" else began + timedelta(seconds=bar.seconds or 0.0)
    start = (began - first).total_seconds()
    return start, max(start, (stop - first).total_seconds())


def _median(bars: Sequence[ShardBar]) -> float:
    known = [bar.seconds for bar in bars if bar.seconds is not None]
    return median(known) if known else 0.0
