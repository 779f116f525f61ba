"""Commands that list and show runs: runs, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command()
@click.option("--workload", default="", help="Only the runs of this workload.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@asking_options
def runs(workload: str, limit: int, fleet: FleetBase, as_json: bool) -> None:
    """List the newest runs."""
    from fleetscore.cli.render import print_json, print_runs

    lines = fleet.runs(workload, limit)
    if as_json:
        print_json(lines)
    elif lines:
        print_runs(lines)
    else:
        say(f"No runs yet in {fleet.url}. Start one: fleetscore run WORKLOAD --window WINDOW")


@click.command(short_help="Show how a run stands or ended.")
@click.argument("run_id", metavar="RUN")
@asking_options
def show(run_id: str, fleet: FleetBase, as_json: bool) -> None:
    """Show how a run stands or ended: counts, causes of failure, models, where the results are."""
    from fleetscore.cli.render import print_json, print_status

    status = fleet.show(run_id)
    if as_json:
        print_json(status)
    else:
        print_status(status)
