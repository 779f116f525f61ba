"""The command `import-models`: models made elsewhere, checked and stored as a model set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.models import print_set
from fleetscore.cli.options import (
    WORKLOAD,
    announcing_new,
    json_option,
    store_option,
)
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet.store_fleet import Fleet

_REFUSALS_SHOWN = 20
_WHY = click.option("--why", default="", metavar="TEXT", help="The reason, kept in the history of pins.")


@click.command(name="import-models", short_help="Import models made elsewhere, without executing them.")
@WORKLOAD
@click.option(
    "--from",
    "source",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder or file of models.",
)
@click.option(
    "--pin/--no-pin", default=True, show_default=True, help="Make the new model set the current one."
)
@click.option(
    "--add", is_flag=True, help="Keep the current version's models that the source does not replace."
)
@click.option(
    "--trust-pickles",
    "trusted",
    is_flag=True,
    help="Let pickles run, each in a limited process on this machine. Only for files of people you trust.",
)
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV file with the columns key and file.",
)
@click.option("--yes", is_flag=True, help="Do not ask before partitions lose their models.")
@store_option
@json_option
def import_models(
    workload: str, source: Path, pin: bool, add: bool, trusted: bool, manifest: Path | None, yes: bool, store_url: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Import models made elsewhere as a new model set.

    Models of a kind that takes a fleet come by key: file or folder names give the key. What cannot be
    imported is named with the reason, and the others are imported. Pickles are executed only with
    --trust-pickles, on this machine. Exit code: 0, or 10 if a file was refused.
    """
    from fleetscore.capabilities import ImportsFleets, require
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.registry import get_workload

    fleet = Fleet(store_url)
    kind = get_workload(fleet.opened, workload)
    if isinstance(kind, ImportsFleets):
        import_by_key(fleet, workload, source, pin, add, trusted, manifest, yes, as_json)
        return
    if add or trusted or manifest:
        require(kind, ImportsFleets)
    imported = fleet.import_set(workload, source)
    if imported.lost and pin and not yes:
        _confirm_lost(imported.lost, "partitions")
    with announcing_new(fleet):
        stored = fleet.store_import(workload, imported, source, pin=pin)
    if as_json:
        print_json(stored)
        return
    print_set(stored, is_current=pin)
    _print_absent(imported.absent, workload)


def import_by_key(
    fleet: Fleet, workload: str, source: Path, pin: bool, add: bool, trusted: bool, manifest: Path | None, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Import a folder of models by key with progress, ask where partitions would lose their models, and
    store the set.
    """
    from fleetscore.cli.progress import ImportProgress, progress_of
    from fleetscore.cli.render import print_json
    from fleetscore.models.importers.naming import describe_unnamed

    with progress_of(f"import {workload}") as progress:
        files = ImportProgress(progress)
        imported = fleet.import_fleet(
            workload, source, add=add, trusted=trusted, manifest=manifest, report=files.report
        )
    refusals = files.refusals
    for line in refusals[:_REFUSALS_SHOWN]:
        say(line, err=True)
    if len(refusals) > _REFUSALS_SHOWN:
        more = len(refusals) - _REFUSALS_SHOWN
        click.echo(
            f"and {more} more; `fleetscore models show {workload} --json` lists them in the card", err=True
        )
    if imported.unnamed:
        say(describe_unnamed(imported.unnamed), err=True)
    if imported.lost and pin and not yes:
        _confirm_lost(imported.lost, "keys", ". --add keeps them")
    stored = fleet.store_import(workload, imported, source, pin=pin)
    counts = imported.counts
    if as_json:
        print_json({"set": stored, "counts": counts})
    else:
        click.echo(
            f"{counts['replaced']} replaced, {counts['new']} new, {counts['kept']} kept, {counts['refused']} refused"
        )
        print_set(stored, is_current=pin)
        _print_absent(imported.absent, workload)
    if counts["refused"]:
        click.get_current_context().exit(10)


def _print_absent(absent: Sequence[str], workload: str) -> None:
    from fleetscore.pipeline.absent import describe_absent

    if absent:
        say(describe_absent(absent, workload), err=True)


def _confirm_lost(lost: Sequence[str], noun: str, instead: str = "") -> None:
    shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    question = f"{len(lost)} {noun} that have a model now would have none: {shown}{instead}. Go on?"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes{' or --add' if instead else ''}.")
    click.confirm(question, abort=True)
