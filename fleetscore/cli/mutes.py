"""Commands about mutes: what needs no attention until a set time, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, asking_options, not_empty
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.attention.lines import AttentionGroup


@click.command(short_help="Acknowledge what needs attention: no line about it until a set time.")
@WORKLOAD
@click.option(
    "--partition",
    default="",
    metavar="KEY",
    callback=not_empty,
    help="Only this partition, or a pattern with *; [*] is a plain asterisk.",
)
@click.option(
    "--cause",
    default="",
    metavar="CODE",
    callback=not_empty,
    help="Only this cause, as no_readings; overdue: windows that never ran.",
)
@click.option(
    "--normal",
    default="",
    metavar="INCIDENT",
    callback=not_empty,
    help="Only this incident or event, which is normal: trainings learn it from now on.",
)
@click.option("--why", required=True, metavar="TEXT", help="The reason, kept with the mute.")
@click.option(
    "--until", required=True, metavar="TIME", help="The end: a day (2026-12-24), a time, or days ahead (7d)."
)
@asking_options
def mute(
    workload: str,
    partition: str,
    cause: str,
    normal: str,
    why: str,
    until: str,
    fleet: FleetBase,
    as_json: bool,
) -> None:
    """Acknowledge a standing fault: attention and notices leave it out until a set time.

    A mute is about a cause, a partition, a cause of a partition, or everything of the workload. Other
    partitions and other causes of the same windows are reported as before. Outcomes and the calendar stay as
    they are. With --normal it is about one incident, and as long as it is in force every training of
    its sensors takes what happened there as normal.
    """
    from fleetscore.cli.render import print_json
    from fleetscore.operations.attention.mutes import format_mute

    before = [] if as_json else _lines_left(fleet, workload)
    act = fleet.mute(workload, why=why, until=until, partition=partition, cause=cause, normal=normal)
    if as_json:
        print_json(act)
        return
    hides = _lines_left(fleet, workload) != before
    say(f"Muted: {format_mute(act)}")
    if normal:
        say("Trainings take it as normal from now on, as long as its readings are there: fleetscore train.")
    elif not hides:
        say(
            "It hides nothing that needs attention at present: fleetscore attention names causes and partitions."
        )
    say(f"End it before: fleetscore unmute {workload} {act.id}")


def _lines_left(fleet: FleetBase, workload: str) -> list[AttentionGroup]:
    return [line for each in fleet.attention(workload) for line in each.looks]


@click.command(short_help="End a mute before its time.")
@WORKLOAD
@click.argument("mute_id", metavar="MUTE")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept with the mute.")
@asking_options
def unmute(workload: str, mute_id: str, why: str, fleet: FleetBase, as_json: bool) -> None:
    """End a mute before its time; `fleetscore mutes WORKLOAD` lists those in force."""
    from fleetscore.cli.render import print_json
    from fleetscore.operations.attention.mutes import format_mute

    act = fleet.unmute(workload, mute_id, why)
    if as_json:
        print_json(act)
    else:
        say(f"No longer muted: {format_mute(act)}")


@click.command(short_help="List the mutes in force.")
@WORKLOAD
@asking_options
def mutes(workload: str, fleet: FleetBase, as_json: bool) -> None:
    """List what needs no attention at present, until when and why."""
    from fleetscore.cli.render import print_json
    from fleetscore.operations.attention.mutes import format_mute

    acts = fleet.mutes(workload)
    if as_json:
        print_json(acts)
        return
    if not acts:
        say(f"Nothing is muted in {workload}.")
    for act in acts:
        say(f"{act.id}  {format_mute(act)}")
