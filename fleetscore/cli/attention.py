"""The attention command: what needs attention, of all workloads, in one table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscore.fleet import FleetBase
    from fleetscore.operations.attention.lines import AttentionGroup, WorkloadAttention

NEEDS_ATTENTION = 10

_WORKLOAD = click.option("--workload", default="", help="Only this workload.")


@click.command(short_help="List the windows that need attention, and why.")
@_WORKLOAD
@asking_options
@click.pass_context
def attention(context: click.Context, workload: str, fleet: FleetBase, as_json: bool) -> None:
    """List what needs attention: windows that lack results, were published with failures, late partitions
    or remarks, or are overdue.

    Of each workload's last month of hours, eight weeks of days or year of weeks, a few lines for each
    cause, with the first partition as an example: the same as "Needs attention" on the dashboard. What
    `fleetscore mute` is about is left out, and the mutes are named at the end. Exit code: 10 if something
    needs attention, else 0.
    """
    found = _print_found(fleet, workload, as_json)
    context.exit(NEEDS_ATTENTION if any(each.needs_attention for each in found) else 0)


@click.command(hidden=True)
@_WORKLOAD
@asking_options
def look(workload: str, fleet: FleetBase, as_json: bool) -> None:
    """The former name of `fleetscore attention`, which always exits with 0."""
    _print_found(fleet, workload, as_json)


def _print_found(fleet: FleetBase, workload: str, as_json: bool) -> Sequence[WorkloadAttention]:
    from fleetscore.cli.render import print_json

    found = fleet.attention(workload)
    if as_json:
        print_json(found)
    else:
        _print(found)
    return found


def _print(found: Sequence[WorkloadAttention]) -> None:
    """A few lines for windows in the same state for the same cause, with the command that shows more."""
    from fleetscore.cli.render import print_pairs
    from fleetscore.operations.attention.mutes import format_mute

    if not any(workload.needs_attention for workload in found):
        say("Nothing needs attention.")
    for workload in found:
        if workload.broken:
            say(f"{workload.workload} cannot run: {workload.broken}")
        for group in workload.looks:
            title, pairs = _lines(workload.workload, group)
            print_pairs(title, pairs)
        for act in workload.mutes:
            say(f"{workload.workload}: muted {format_mute(act)}")


def _lines(workload: str, group: AttentionGroup) -> tuple[str, list[tuple[str, str]]]:
    """What needs attention, as a title and lines of name and value."""
    from fleetscore.cli.render import plural
    from fleetscore.operations.attention.states import WORDS

    newest, oldest = group.newest, group.oldest
    span = newest.window if group.windows == 1 else f"{oldest.window} to {newest.window}"
    first = dict.fromkeys(name for name in (oldest.first_partition, newest.first_partition) if name)
    return f"{workload}: {plural(group.windows, 'window')} {WORDS[newest.mark]}, {span}", [
        ("cause", newest.first_cause + (f", {newest.bad:,} in the newest" if newest.bad else "")),
        (
            "first" if first else "what",
            ": ".join(text for text in (", ".join(first), newest.first_detail) if text),
        ),
        ("error", newest.error if newest.error != newest.first_cause else ""),
        ("why", _command(group)),
    ]


def _command(group: AttentionGroup) -> str:
    """The command that shows more; "" for windows without a run."""
    cell = group.newest
    if cell.first_partition:
        return f"fleetscore explain {cell.run} {shlex.quote(cell.first_partition)}"
    return f"fleetscore show {cell.run}" if cell.run else ""
