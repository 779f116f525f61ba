"""The retire command: a partition is expected no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command(short_help="Expect a partition no more.")
@WORKLOAD
@click.argument("partition")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept with it.")
@click.option("--undo", is_flag=True, help="Expect it again.")
@asking_options
def retire(workload: str, partition: str, why: str, undo: bool, fleet: FleetBase, as_json: bool) -> None:
    """Expect a partition no more: it is not late any longer when it is silent, and nobody misses its model.

    If rows of it come all the same, they are scored.
    """
    from fleetscore.cli.render import print_json

    act = fleet.retire(workload, partition, why=why, undo=undo)
    if as_json:
        print_json(act)
    else:
        say(f"{workload} {act.partition} is {'retired' if act.retired else 'expected again'}.")
