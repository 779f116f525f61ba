"""The page of incidents: what was anomalous, how far from what is expected, and muting of what is known."""

from __future__ import annotations

from fleetscore.dashboard.components import card, table
from fleetscore.dashboard.formatting import format_many, format_moment
from fleetscore.dashboard.forms import mute_form
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.dashboard.page import Body
from fleetscore.operations.anomalies import CAUSE, Anomaly, AnomalyReport, Incident
from fleetscore.operations.attention.mutes import escape_key

_INCIDENTS = 100
_UNREAD = 3
_WIDTH, _HEIGHT = 120, 14


def show_anomalies(report: AnomalyReport, links: Links) -> Body:
    """All incidents since a time, each with its events."""
    shown = report.incidents[:_INCIDENTS]
    content = join(
        tag("h1", "Anomalies"),
        tag("p", _summary(report), class_="quiet"),
        tag("p", [f"A window is left out. {why} " for why in report.unread[:_UNREAD]])
        if report.unread
        else None,
        tag("div", [_incident(one, links) for one in shown], class_="stack"),
        tag("p", f"{len(report.incidents) - len(shown)} more: fleetscore anomalies")
        if len(shown) < len(report.incidents)
        else None,
    )
    return Body("Anomalies", content, [("anomalies", "")])


def _summary(report: AnomalyReport) -> str:
    since = format_moment(report.since)
    if report.until is None:
        return "No window is published of a workload that finds events."
    until = format_moment(report.until)
    if report.since >= report.until:
        return f"No window is published since {since}: the newest ends {until}."
    hidden = f"; {report.muted} of them muted" if report.muted else ""
    return f"{format_many(len(report.incidents), 'incident')} since {since}, up to {until}{hidden}."


def _incident(incident: Incident, links: Links) -> Markup:
    groups = ", ".join(incident.groups[:4]) + (
        f" and {len(incident.groups) - 4} more" if len(incident.groups) > 4 else ""
    )
    state = "open" if incident.is_open else f"until {format_moment(incident.end)}"
    title = f"{groups}: since {format_moment(incident.start)}, {state}"
    rows = [_event(event, incident.workload, links) for event in incident.events[:20]]
    columns = ("sensor*", "value#", "expected", "", "severity#", "detector?", "readings#", "muted?")
    more = len(incident.events) - len(rows)
    muting: Child = None
    if not incident.is_muted:
        events = {event.partition for event in incident.events}
        partition = (
            escape_key(events.pop())
            if len(events) == 1
            else (f"{escape_key(incident.groups[0])}/*" if len(incident.groups) == 1 else "")
        )
        muting = mute_form(
            incident.workload, CAUSE, partition, f"mute-{incident.incident}", links, incident.incident
        )
    aside = tag("a", incident.workload, href=links.workload(incident.workload))
    return card(
        title, table(columns, rows), tag("p", f"and {more} more") if more > 0 else None, muting, aside=aside
    )


def _event(event: Anomaly, workload: str, links: Links) -> tuple[Child, ...]:
    expected = ""
    if event.expected_low is not None and event.expected_high is not None:
        expected = f"{event.expected_low:.4g} to {event.expected_high:.4g}"
    drawn = links.results(workload, event.window, [event.partition])
    return (
        tag("a", event.partition, href=drawn), f"{event.value:.4g}", expected, _band(event), f"{event.severity:.1f}", event.detector,
        f"{event.readings:,}", event.muted,
    )  # fmt: skip


def _band(event: Anomaly) -> Markup | None:
    """The expected range as a bar with the value as a mark, on one line."""
    low, high = event.expected_low, event.expected_high
    if low is None or high is None or not high > low:
        return None
    left, right = min(low, event.value), max(high, event.value)
    scale = (_WIDTH - 6) / (right - left)
    at = [3 + (value - left) * scale for value in (low, high, event.value)]
    bar = tag("rect", x=f"{at[0]:.1f}", y="5", width=f"{at[1] - at[0]:.1f}", height="4", class_="band")
    dot = tag("circle", cx=f"{at[2]:.1f}", cy="7", r="3", class_="mark")
    label = f"expected {low:.4g} to {high:.4g}, was {event.value:.4g}"
    return tag("svg", tag("title", label), bar, dot, width=str(_WIDTH), height=str(_HEIGHT), role="img")
