"""The housekeep command: remove what is old and unreferenced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command(short_help="Remove what is old and nothing refers to.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@asking_options
def housekeep(dry_run: bool, fleet: FleetBase, as_json: bool) -> None:
    """Remove what is older than the [keep] settings and nothing refers to: lost attempts, logs, what
    unpublished runs wrote.

    The app does the same every night. Published results, ledgers, records of runs and model sets always stay.
    """
    from fleetscore.cli.render import plural, print_json, print_table

    swept = fleet.housekeeping(dry_run=dry_run)
    if as_json:
        print_json(swept)
        return
    would = "would be removed" if dry_run else "removed"
    say(f"{plural(sum(swept.files.values()), 'file')}, {sum(swept.bytes.values()):,} bytes {would}")
    rows = [(kind, f"{count:,}", f"{swept.bytes[kind]:,}") for kind, count in swept.files.items()]
    if rows:
        print_table(("kind", "files", "bytes"), rows, numbers=("files", "bytes"))
        say("for example " + ", ".join(swept.examples))
    for remark in swept.remarks:
        say(remark)
