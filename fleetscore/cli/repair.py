"""The repair command: what can be done about damaged state files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say, visible

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.repair.files import Repairs
    from fleetscore.operations.table_sync import TableRepair


@click.command(short_help="Repair damaged state files.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Also do what can only be guessed, without asking.")
@click.option(
    "--tables", is_flag=True, help="Commit published windows that the result tables lack, and nothing else."
)
@asking_options
@click.pass_context
def repair(
    context: click.Context, dry_run: bool, yes: bool, tables: bool, fleet: FleetBase, as_json: bool
) -> None:
    """Read every state file, and do what can be done about those that are damaged.

    A manifest is made from the ledger of the run that published it, a ledger from the run's committed
    shards, pins from the changes that are kept beside them, hints such as the index anew. Pins without kept
    changes are guessed from the newest window, after asking. What was there is kept under damaged/. Exit
    code: 1 if a damaged file is left.

    With --tables windows that were published before there were result tables are copied into them. Exit
    code: 1 if one is left.
    """
    from fleetscore.cli.render import print_json

    if tables and yes:
        raise click.UsageError("--yes does nothing with --tables: nothing is guessed.")
    if tables:
        repaired = fleet.repair_tables(dry_run=dry_run)
        print_json(repaired) if as_json else print_tables(repaired)
        context.exit(0 if all(one.state == "committed" for one in repaired) else 1)
    if dry_run and yes:
        raise click.UsageError("--yes does nothing in a dry run.")
    if not dry_run and not yes and not as_json and sys.stdin.isatty():
        yes = _ask(fleet.repair(dry_run=True))
    repairs = fleet.repair(dry_run=dry_run, guesses=yes)
    if as_json:
        print_json(repairs)
    else:
        print_repairs(repairs)
    context.exit(0 if repairs.whole else 1)


def print_tables(repaired: Sequence[TableRepair]) -> None:
    """Print each window that a result table lacked, and what became of it."""
    from fleetscore.cli.render import plural, print_table

    if repaired:
        rows = [(one.workload, one.window, one.state, one.detail) for one in repaired]
        print_table(("workload", "window", "state", "detail"), rows)
    say(f"{plural(len(repaired), 'published window')} lacked in the result tables.")


def print_repairs(repairs: Repairs) -> None:
    """Print each damaged file with what was done, or can be done, about it."""
    colours = {"repaired": "green", "repairable": "yellow", "guess": "yellow", "not repairable": "red"}
    for one in repairs.repairs:
        click.echo(f"{click.style(one.state, fg=colours[one.state])}  {visible(one.path)}")
        say(f"  {one.why}")
        say(f"  {one.action}" + (" (--yes does it)" if one.state == "guess" else ""))
    left = sum(one.state != "repaired" for one in repairs.repairs)
    damaged = f"{len(repairs.repairs)} damaged, {left} left" if repairs.repairs else "all of them are good"
    say(f"{repairs.files:,} state files were read: {damaged}.")


def _ask(found: Repairs) -> bool:
    """Whether the user confirms repairs that can only be guessed; no prompt where there are none."""
    guesses = [one for one in found.repairs if one.state == "guess"]
    for one in guesses:
        say(f"{one.path}: {one.why}")
        say(f"  {one.action}")
    return bool(guesses) and click.confirm("Do this?", default=False)
