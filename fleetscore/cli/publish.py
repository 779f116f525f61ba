"""The publish command: publish what a check held back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command(short_help="Publish what a check held back, with a reason.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--anyway", is_flag=True, help="Although a check stopped it: runs that pass publish themselves."
)
@click.option("--why", default="", metavar="TEXT", help="The reason, kept with the run and its manifest.")
@asking_options
def publish(run_id: str, anyway: bool, why: str, fleet: FleetBase, as_json: bool) -> None:
    """Publish the results of a run that a check held back: they lie below the run, and `fleetscore results
    --held` reads them.

    The reason is kept in the run's record, in the manifest and in the history of attention.
    """
    from fleetscore.cli.render import print_json, print_status

    if not anyway:
        raise click.UsageError("Runs publish themselves; what a check held back takes --anyway --why TEXT.")
    if not why.strip():
        raise click.UsageError("--anyway takes --why TEXT: the reason is kept.")
    status = fleet.publish_anyway(run_id, why)
    if as_json:
        print_json(status)
        return
    say(f"{status.id} is published: {why.strip()}")
    print_status(status)
