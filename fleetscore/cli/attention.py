"""The attention command: what needs attention, of all workloads, in one table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscore.fleet import FleetBase
    from fleetscore.operations.attention import AttentionGroup, WorkloadAttention

NEEDS_ATTENTION = 10

_WORKLOAD = click.option("--workload", default="", help="Only this workload.")


@click.command(short_help="List the windows that need attention, and why.")
@_WORKLOAD
@asking_options
@click.pass_context
def attention(context: click.Context, workload: str, fleet: FleetBase, as_json: bool) -> None:
    """List what needs attention: windows that lack results, were published with failures, drifted, or are overdue.

    Of each workload's last month of hours, eight weeks of days or year of weeks, by cause, with the first partition as an
    example: the same as "Needs attention" on the dashboard. Exit code: 10 if something needs attention, else 0.
    """
    found = _print_found(fleet, workload, as_json)
    context.exit(NEEDS_ATTENTION if found else 0)


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
    """One line for windows that stand alike, and how to go on from the first line."""
    from fleetscore.cli.render import print_table

    looks = [(each.workload, look) for each in found for look in each.looks]
    if not looks:
        click.echo("Nothing needs attention.")
        return
    columns = (
        "workload", "windows", "stand", "oldest", "newest", "not good", "cause", "first", "what happened to it",
    )  # fmt: skip
    print_table(columns, [_row(*each) for each in looks], numbers=("windows", "not good"))
    cell = looks[0][1].newest
    if cell.first_partition:
        click.echo(f"Why: fleetscore explain {cell.run} {shlex.quote(cell.first_partition)}")
    elif cell.run:
        click.echo(f"Why: fleetscore show {cell.run}")


def _row(workload: str, look: AttentionGroup) -> tuple[str, ...]:
    from fleetscore.operations.window_states import WORDS

    newest, oldest = look.newest, look.oldest
    first = f"{oldest.first_partition}, {newest.first_partition}"
    example = newest.first_partition if oldest.first_partition == newest.first_partition else first
    return (
        workload, f"{look.windows:,}", WORDS[newest.mark], oldest.window, newest.window,
        f"{newest.bad:,}", newest.first_cause, example, newest.first_detail,
    )  # fmt: skip
