"""The overview and a workload's page as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from fleetscore.dashboard.components import card, chip, figures, run_table
from fleetscore.dashboard.formatting import format_cost, format_count, format_seconds, format_short
from fleetscore.dashboard.forms import mute_form, unmute_form
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.dashboard.page import Body
from fleetscore.operations.attention.calendar import Calendar, Cell
from fleetscore.operations.attention.lines import AttentionGroup
from fleetscore.operations.attention.mutes import escape_key, format_mute
from fleetscore.operations.attention.overview import Overview, WorkloadPage, WorkloadView
from fleetscore.operations.attention.states import SIGNS, WORDS, Mark, mark_of
from fleetscore.operations.due.deadlines import DeadlineReport
from fleetscore.records import RunState, count_bad

_KINDS = {24: "hours", 7: "days", 13: "weeks"}
_BAD_WORDS = {Mark.DRIFTED: "drifted", Mark.LATE: "late", Mark.REMARKS: "with a remark"}
_LOOKS = 20
_MOST_CHARACTERS = 60  # of a cause in a cell's label: there are hundreds of cells


def show_overview(view: Overview, links: Links) -> Body:
    """All workloads, each with its calendar and what to look at, then the newest runs."""
    cards = [_workload_card(workload, links) for workload in view.workloads]
    recent = (
        run_table(view.recent, links)
        if view.recent
        else tag("p", "Nothing ran yet. Start with: ", tag("code", "fleetscore run WORKLOAD --window WINDOW"))
    )
    content = join(
        _summary(view.workloads), tag("div", cards, class_="stack"), card("Newest runs", recent), _legend()
    )
    return Body("Overview", content, is_live=view.is_live)


def show_workload(page: WorkloadPage, links: Links) -> Body:
    """One workload with its history, a page at a time."""
    view = page.workload
    onward = (
        tag("p", tag("a", "Older runs →", href=links.workload(view.name, page.history.next)))
        if page.history.next
        else None
    )
    history = run_table(page.history.runs, links) if page.history.runs else tag("p", "No runs.")
    title = f"Runs before {page.before}" if page.before else "Runs, newest first"
    content = join(
        tag("h1", view.name), _workload_card(view, links, alone=True), card(title, history, onward), _legend()
    )
    return Body(view.name, content, [(view.name, "")], page.is_live)


def _summary(workloads: Sequence[WorkloadView]) -> Markup:
    """One sentence for all windows shown."""
    sums = {mark: sum(w.marks.get(mark, 0) for w in workloads) for mark in Mark}
    parts = [
        tag("span", f"{SIGNS[mark]} {count:,} {WORDS[mark]}", class_=f"chip {mark}")
        for mark, count in sums.items()
        if count
    ]
    return tag(
        "div",
        tag("h1", "Overview"),
        tag(
            "p",
            tag("span", "Windows shown: ", class_="quiet") if parts else "No windows yet.",
            parts,
            class_="pills",
        ),
    )


def _workload_card(view: WorkloadView, links: Links, *, alone: bool = False) -> Markup:
    ways: list[Child] = [] if alone else [tag("a", "all runs", href=links.workload(view.name))]
    if view.published:
        ways += [" · " if ways else None, tag("a", "results", href=links.results(view.name, view.published))]
    if view.finds_events:
        ways += [" · " if ways else None, tag("a", "anomalies", href=links.anomalies(view.name))]
    return card(
        "Windows" if alone else view.name,
        tag(
            "div",
            tag("div", _newest(view, links), _looks(view, links), _muted(view, links)),
            tag("div", _calendar(view.calendar, links)),
            class_="split",
        ),
        [tag("p", remark, class_="advice") for remark in view.remarks],
        aside=ways,
        id_=view.name,
    )  # fmt: skip


def _newest(view: WorkloadView, links: Links) -> Markup | None:
    line = view.newest
    if line is None:
        return None
    bad = count_bad(line.counts)
    pairs: list[tuple[str, Child, str]] = [
        ("partitions", format_count(line.partitions), f"{bad:,} not good" if bad and line.ended else ""),
        ("rows published" if line.state is RunState.PUBLISHED else "rows", format_short(line.rows), ""),
        ("took", format_seconds(line.seconds) if line.ended else "under way", ""),
    ]
    for month in view.costs[:2]:
        known = f"{month.unpriced:,} of {month.runs:,} runs without a figure" if month.unpriced else ""
        pairs.append((f"cost {month.month}", format_cost(month.cost_usd), known))
    if view.deadlines is not None:
        pairs.append(_deadlines(view.deadlines))
    models = tag("p", "models ", tag("code", view.models), class_="quiet small") if view.models else None
    newest = tag(
        "p", tag("a", line.window, href=links.run(line.run)), " ", chip(mark_of(line)), class_="newest"
    )
    return join(newest, figures(pairs), models)


def _deadlines(report: DeadlineReport) -> tuple[str, Child, str]:
    """The share of windows that were published in time, and how many were not or may not be."""
    at_risk = sum(each.state == "at risk" for each in report.windows)
    counts = [f"{report.missed:,} missed" if report.missed else "", f"{at_risk:,} at risk" if at_risk else ""]
    share = "none yet" if report.share is None else f"{report.share:.1%}"
    return f"by {report.deadline}", share, ", ".join(filter(None, [*counts, f"of {report.days} days"]))


def _calendar(calendar: Calendar, links: Links) -> Markup:
    if not calendar.rows:
        return tag("p", "No window ran yet.", class_="quiet")
    kind = _KINDS[len(calendar.columns)]
    head = tag("tr", tag("td", class_="corner"), [tag("th", name, scope="col") for name in calendar.columns])
    rows = [
        tag("tr", tag("th", row.label, scope="row"), [_cell(cell, links) for cell in row.cells])
        for row in calendar.rows
    ]
    named = tag("thead", head) if any(calendar.columns) else None
    return tag("table", named, tag("tbody", rows), class_=f"calendar {kind}", aria_label="Last windows")


def _cell(cell: Cell | None, links: Links) -> Markup:
    if cell is None:
        return tag("td")
    why = f", {_format_bad(cell)}" if cell.bad else ""
    cause = f": {cell.first_cause[:_MOST_CHARACTERS]}" if cell.first_cause else ""
    label = f"{cell.window} {WORDS[cell.mark]}{why}{cause}"
    sign = SIGNS[cell.mark]
    inner = (
        tag("a", sign, href=links.run(cell.run), title=label, aria_label=label)
        if cell.run
        else tag("span", sign, title=label, aria_label=label, role="img")
    )
    return tag("td", inner, class_=str(cell.mark))


def _looks(view: WorkloadView, links: Links) -> Markup | None:
    if not view.look_at:
        return None
    items = [_look(view.name, number, look, links) for number, look in enumerate(view.look_at[:_LOOKS])]
    more = len(view.look_at) - len(items)
    rest = tag("p", f"and {more} more: fleetscore attention --workload {view.name}") if more else None
    return join(tag("h3", "Look at"), tag("ul", items, class_="plain"), rest)


def _muted(view: WorkloadView, links: Links) -> Markup | None:
    if not view.mutes:
        return None
    items = [tag("li", tag("span", format_mute(act)), unmute_form(act, links)) for act in view.mutes]
    return join(tag("h3", "Muted"), tag("ul", items, class_="plain quiet"))


def _look(workload: str, number: int, look: AttentionGroup, links: Links) -> Markup:
    cell = look.newest
    words: tuple[Child, ...] = (f"{WORDS[cell.mark]} ", _window(cell, links))
    if look.windows > 1:
        since = _window(look.oldest, links)
        words = (
            f"{look.windows} windows {WORDS[cell.mark]}, newest ",
            _window(cell, links),
            ", first ",
            since,
        )
    return tag(
        "li",
        tag("span", SIGNS[cell.mark], class_=f"chip {cell.mark}", aria_hidden="true"),
        tag("span", words),
        tag("span", _why(cell, links), class_="quiet"),
        mute_form(
            workload, cell.first_cause, escape_key(cell.first_partition), f"mute-{workload}-{number}", links
        ),
    )


def _window(cell: Cell, links: Links) -> Child:
    return tag("a", cell.window, href=links.run(cell.run), class_="window") if cell.run else cell.window


def _why(cell: Cell, links: Links) -> Markup:
    """The first cause with its first partition and what happened to it; links to those with the cause and
    to the one.
    """
    error = f" {cell.error}" if cell.error != cell.first_cause else ""
    if not cell.first_partition:
        said = f"{cell.first_cause}: {cell.first_detail}" if cell.first_detail else cell.first_cause
        return join(said + error)
    of = tag("a", cell.first_cause, href=links.matches(cell.run, cause=cell.first_cause))
    example = tag("a", cell.first_partition, href=links.story(cell.run, cell.first_partition))
    detail = f": {cell.first_detail}" if cell.first_detail else ""
    return join(f"{_format_bad(cell)}, first: ", of, ", as ", example, detail, error)


def _format_bad(cell: Cell) -> str:
    return f"{cell.bad:,} {_BAD_WORDS.get(cell.mark, 'not good')}"


def _legend() -> Markup:
    parts = [tag("span", tag("span", SIGNS[mark], class_=f"chip {mark}"), f" {WORDS[mark]}") for mark in Mark]
    return tag("p", parts, class_="legend")
