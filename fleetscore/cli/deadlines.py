"""The deadlines command: by when windows have to be published, and whether they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from datetime import datetime

    from fleetscore.fleet import FleetBase
    from fleetscore.operations.due.deadlines import DeadlineReport

_SHOWN = 20


@click.command(short_help="Show by when windows have to be published, and whether they were.")
@click.option("--workload", default="", help="Only this workload.")
@click.option(
    "--days", type=click.IntRange(1, 90), default=90, show_default=True, help="Of so many last days."
)
@asking_options
def deadlines(workload: str, days: int, fleet: FleetBase, as_json: bool) -> None:
    """Show which windows met their deadline, which missed it, and which are at risk now.

    A deadline is the line `deadline` of [run] in a workload's settings. Times are UTC. Exit code: 10 if a
    window is at risk.
    """
    from fleetscore.cli.render import print_json

    reports = fleet.deadlines(workload, days)
    if as_json:
        print_json(reports)
    elif not reports:
        say('No workload has a deadline. Set one: deadline = "06:00" below [run] in its settings.')
    else:
        for report in reports:
            _print_report(report)
    if any(each.state == "at risk" for report in reports for each in report.windows):
        click.get_current_context().exit(10)


def _print_report(report: DeadlineReport) -> None:
    """The share of a workload, then what is open, at risk or missed, newest first."""
    from fleetscore.cli.render import print_table

    share = "none yet" if report.share is None else f"{report.share:.1%}"
    counts = f"{report.met:,} met, {report.missed:,} missed in {report.days} days"
    say(f"{report.workload}: by {report.deadline} {report.timezone}; {share} ({counts})")
    worth = [each for each in report.windows if each.state != "met"]
    rows = [
        (
            each.window,
            each.state,
            _moment(each.deadline),
            _moment(each.published),
            _moment(each.expected),
            each.run,
        )
        for each in worth[:_SHOWN]
    ]
    if rows:
        print_table(("window", "deadline is", "by", "published", "expected", "run"), rows)
    if len(worth) > _SHOWN:
        say(f"and {len(worth) - _SHOWN:,} more; --json lists all")


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
