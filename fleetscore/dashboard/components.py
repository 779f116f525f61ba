"""Parts that several pages share: chips, figures, tables, the bar of outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fleetscore.dashboard.formatting import format_count, format_seconds, format_share
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.operations.attention.states import OUTCOME_SIGNS, SIGNS, WORDS, Mark, mark_of
from fleetscore.records import Outcome, count_bad
from fleetscore.runs.index import RunLine


def chip(mark: Mark) -> Markup:
    """How something stands, as a sign, a word and a colour."""
    return tag("span", f"{SIGNS[mark]} {WORDS[mark]}", class_=f"chip {mark}")


def card(title: str, *children: Child, aside: Child = None, id_: str | None = None) -> Markup:
    """A section with a title; `aside` stands at the title's right."""
    head = tag("div", tag("h2", title), tag("div", aside) if aside else None, class_="head")
    return tag("section", head, *children, class_="card", id_=id_)


def figures(pairs: Iterable[tuple[str, Child, str]]) -> Markup:
    """Large figures: name, value, and a remark below."""
    return tag(
        "dl",
        [
            tag("div", tag("dt", name), tag("dd", value, tag("small", remark) if remark else None))
            for name, value, remark in pairs
        ],
        class_="figures",
    )


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """Names and values, a line each; pairs without a value are left out."""
    return tag(
        "dl", [join(tag("dt", name), tag("dd", value)) for name, value in pairs if value], class_="facts"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    """A table; names of columns end with "#" for numbers, "*" for wide text, "?" for what a phone can do
    without.

    A phone shows each row as a few lines, and the name of its column before each number.
    """
    names, kinds = [name.rstrip("#*?") for name in columns], [_column_class(name) for name in columns]
    head = tag("tr", [tag("th", n, scope="col", class_=k) for n, k in zip(names, kinds, strict=True)])
    numeric = [name if "#" in column else None for name, column in zip(names, columns, strict=True)]
    body = [
        tag("tr", [tag("td", c, class_=k, data_of=n) for c, k, n in zip(row, kinds, numeric, strict=True)])
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body), class_="list"), class_="scroll")


def outcome_chip(outcome: str) -> Markup:
    """A partition's outcome; "" is one that is not settled yet."""
    marks = {
        Outcome.SCORED: Mark.GOOD, Outcome.SKIPPED: Mark.MISSING, Outcome.LATE: Mark.LATE,
        Outcome.FAILED: Mark.FAILED, Outcome.QUARANTINED: Mark.FAILED,
    }  # fmt: skip
    if outcome not in set(Outcome):
        return tag("span", outcome or "not settled yet", class_="chip")
    known = Outcome(outcome)
    return tag("span", f"{OUTCOME_SIGNS[known]} {known}", class_=f"chip {marks[known]}")


def outcome_bar(counts: Mapping[str, int], total: int) -> Markup:
    """The outcomes of a run as one bar with a legend of numbers; what is not settled yet stands at its
    end.
    """
    present = {outcome: counts.get(outcome, 0) for outcome in Outcome if counts.get(outcome, 0)}
    left = total - sum(present.values())
    pieces: list[Markup] = []
    at = 0.0
    for name, count in [*((str(o), n) for o, n in present.items()), ("open", left)]:
        if count <= 0:
            continue
        width = max(100 * count / max(total, 1), 0.6)  # a single one among thousands is seen as well
        pieces.append(
            tag(
                "rect", tag("title", f"{name}: {count:,}"), x=at, width=width, height=10, class_=f"out-{name}"
            )
        )
        at += width
    bar = tag(
        "svg", pieces, viewBox=f"0 0 {max(at, 100):g} 10", preserveAspectRatio="none", aria_hidden="true"
    )
    legend = [
        tag("span", _key(f"out-{o}"), f" {OUTCOME_SIGNS[o]} {o} ", tag("b", format_count(n)), f" ({format_share(n, total)})")
        for o, n in present.items()
    ]  # fmt: skip
    if left > 0:
        legend.append(tag("span", _key("out-open"), " to do ", tag("b", format_count(left))))
    return join(tag("div", bar, class_="parts"), tag("p", legend, class_="legend"))


def run_table(lines: Sequence[RunLine], links: Links) -> Markup:
    """Runs, one a line, as the index has them."""
    columns = ("run*", "stands", "partitions#", "not good#", "took#?", "first cause*?", "requested?")
    rows = [
        (
            tag("a", line.run, href=links.run(line.run)),
            chip(mark_of(line)),
            format_count(line.partitions),
            format_count(count_bad(line.counts)) if line.ended else "",
            format_seconds(line.seconds) if line.ended else "",
            line.first_cause,
            f"{line.requested:%Y-%m-%d %H:%M}",
        )
        for line in lines
    ]
    return table(columns, rows)


def search(links: Links, hidden: Mapping[str, str], value: str = "", words: str = "partition") -> Markup:
    """A search field that leads to the page with the hidden fields and `find`."""
    given = dict(hidden) | ({"code": links.code} if links.code else {})
    return tag(
        "form",
        [tag("input", type="hidden", name=name, value=text) for name, text in given.items()],
        tag("input", type="search", name="find", value=value, placeholder=f"Find a {words}", aria_label=f"Find a {words}"),
        tag("button", "Find"),
        method="get",
    )  # fmt: skip


def _key(class_: str) -> Markup:
    return tag(
        "svg", tag("rect", width=14, height=14, rx=3, class_=class_), viewBox="0 0 14 14", class_="key"
    )


def _column_class(name: str) -> str | None:
    classes = [word for sign, word in (("#", "number"), ("*", "wide"), ("?", "optional")) if sign in name]
    return " ".join(classes) or None
