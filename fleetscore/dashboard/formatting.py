"""Numbers, spans and moments as people read them; all moments are UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def format_count(value: float) -> str:
    """A whole number with thousands set apart.

    >>> format_count(1234567)
    '1,234,567'
    """
    return f"{value:,.0f}"


def format_many(count: int, noun: str) -> str:
    """The count with its noun.

    >>> format_many(1, "file"), format_many(2000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def format_short(value: float) -> str:
    """A number in at most four figures.

    >>> format_short(950), format_short(43210), format_short(1.5e6), format_short(0.25)
    ('950', '43.2k', '1.5M', '0.25')
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if sign == "k" else size
            return f"{value / unit:.3g}{sign}"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2g}"


def format_seconds(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> format_seconds(0.25), format_seconds(75), format_seconds(7260), format_seconds(200000)
    ('0.25 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    for size, unit, part, small in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def format_bytes(size_bytes: float) -> str:
    """A size in decimal units.

    >>> format_bytes(512), format_bytes(2_500_000)
    ('512 B', '2.5 MB')
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def format_moment(moment: datetime) -> str:
    """Date and time to the second.

    >>> format_moment(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    '2026-03-04 05:06:07 UTC'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_age(moment: datetime, now: datetime) -> str:
    """How long ago.

    >>> format_age(datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 4, 2, tzinfo=UTC))
    '2 h ago'
    """
    seconds = max(0.0, (now - moment).total_seconds())
    return "just now" if seconds < 5 else f"{format_seconds(seconds)} ago"


def format_cost(cost_usd: float) -> str:
    """Dollars, to the cent from one dollar on, finer below.

    >>> format_cost(12.345), format_cost(0.0123), format_cost(0.00123), format_cost(1e-7), format_cost(0)
    ('$12.35', '$0.012', '$0.0012', '<$0.0001', '$0')
    """
    if cost_usd >= 1:
        return f"${cost_usd:,.2f}"
    return f"${cost_usd:.2g}" if cost_usd >= 1e-4 or cost_usd <= 0 else "<$0.0001"


def format_fact(name: str, value: object) -> str:
    """A figure of a run's record, by the unit in its name.

    >>> format_fact("inline_usd", 0.0123), format_fact("inline_s", 75.0)
    ('$0.012', '1 min 15 s')
    """
    if not isinstance(value, float):
        return str(value)
    if name.endswith("_usd"):
        return format_cost(value)
    return format_seconds(value) if name.endswith("_s") else f"{value:.3g}"


def format_share(part: float, whole: float) -> str:
    """A share in per cent that says neither 0 % nor 100 % of something that is not quite that.

    >>> format_share(1, 2), format_share(1, 100000), format_share(99999, 100000)
    ('50 %', '<0.1 %', '>99.9 %')
    """
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.3g} %"
