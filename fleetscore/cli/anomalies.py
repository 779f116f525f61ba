"""The anomalies command: incidents of published windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.anomalies import Anomaly, AnomalyReport, Incident

_EVENTS_SHOWN = 5
_UNREAD_SHOWN = 3


@click.command(short_help="List the incidents that published windows found.")
@click.option("--workload", default="", help="Only this workload.")
@click.option(
    "--since", default="", metavar="TIME",
    help="From this time on: a day, a time, or days back (7d). Without it the seven days up to the newest published window.",
)  # fmt: skip
@click.option("--device", default="", help="Only incidents of this device.")
@click.option("--muted", "with_muted", is_flag=True, help="Show muted incidents, too.")
@asking_options
def anomalies(
    workload: str, since: str, device: str, with_muted: bool, fleet: FleetBase, as_json: bool
) -> None:
    """List anomalous readings as events, grouped into incidents: of one device, or of many at the same time.

    Open incidents stand first, then the most severe. Mute one that is known: fleetscore mute WORKLOAD
    --cause anomaly --partition KEY --why TEXT --until TIME.
    """
    from fleetscore.cli.render import print_json

    report = fleet.anomalies(workload, since=since, device=device)
    if as_json:
        print_json(report)
    else:
        print_anomalies(report, with_muted)


def print_anomalies(report: AnomalyReport, with_muted: bool) -> None:
    """Print each incident with its worst events, or that no window is published since."""
    from fleetscore.cli.render import plural

    shown = [one for one in report.incidents if with_muted or not one.is_muted]
    span = f"since {report.since:%Y-%m-%d %H:%M} UTC"
    if report.until is None:
        say("No window is published of a workload that finds events.")
        return
    if report.since >= report.until:
        say(
            f"No window is published {span}: the newest ends {report.until:%Y-%m-%d %H:%M} UTC. "
            "Without --since the seven days up to it are shown."
        )
        return
    hidden = f", {report.muted} muted" if report.muted else ""
    say(
        f"{plural(len(report.incidents), 'incident')}{hidden} {span}, up to {report.until:%Y-%m-%d %H:%M} UTC"
    )
    for incident in shown:
        _print_incident(incident)
    for why in report.unread[:_UNREAD_SHOWN]:
        say(f"A window is left out. {why}", err=True)
    if len(report.unread) > _UNREAD_SHOWN:
        say(f"{len(report.unread) - _UNREAD_SHOWN} more windows are left out.", err=True)


def _print_incident(incident: Incident) -> None:
    from fleetscore.cli.render import plural

    state = "open" if incident.is_open else f"until {incident.end:%Y-%m-%d %H:%M}"
    groups = ", ".join(incident.groups[:3]) + (
        f" and {len(incident.groups) - 3} more" if len(incident.groups) > 3 else ""
    )
    counts = f"{plural(len(incident.events), 'event')}, {plural(incident.readings, 'reading')}"
    say(
        f"{incident.workload}  {groups}  since {incident.start:%Y-%m-%d %H:%M}, {state}  severity {incident.severity:.1f}  {counts}  "
        f"[{incident.incident}]"
    )
    worst = sorted(incident.events, key=lambda one: -one.severity)
    for event in worst[:_EVENTS_SHOWN]:
        say(f"  {_describe(event)}")
    if len(worst) > _EVENTS_SHOWN:
        say(f"  and {len(worst) - _EVENTS_SHOWN} more")


def _describe(event: Anomaly) -> str:
    from fleetscore.cli.render import plural

    expected = ""
    if event.expected_low is not None and event.expected_high is not None:
        expected = f", expected {event.expected_low:.4g} to {event.expected_high:.4g}"
    muted = f"; muted: {event.muted}" if event.muted else ""
    return (
        f"{event.partition}: {event.value:.4g} at {event.peak:%Y-%m-%d %H:%M}{expected}; severity {event.severity:.1f} by "
        f"{event.detector}, {plural(event.readings, 'reading')}, {event.start:%H:%M} to {event.end:%H:%M}{muted}"
    )
