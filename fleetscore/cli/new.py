"""The new command: a workload from data and models, with its settings guessed and every guess shown."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import announcing_new, json_option, store_option
from fleetscore.cli.text import say, visible

if TYPE_CHECKING:
    from fleetscore.capabilities import NewFleet, Proposal
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.models.model_sets import ModelSet

_REFUSALS_SHOWN = 20


@click.command(short_help="Make a workload of data and models, without code.")
@click.argument("name")
@click.option(
    "--data", required=True, metavar="PATH",
    help="Folder or file of data: on this machine with --copy, else in the store, as a pattern, or the URL of a container.",
)  # fmt: skip
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    help="Folder or file of models; without it they are trained or imported later.",
)
@click.option("--copy", is_flag=True, help="Copy the data into the store, below data/NAME/.")
@click.option(
    "--trust-pickles", "trusted", is_flag=True,
    help="Let pickles run, each in a limited process on this machine. Only for files of people you trust.",
)  # fmt: skip
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV file with the columns key and file.",
)
@click.option(
    "--partition",
    "partition",
    multiple=True,
    metavar="COLUMN",
    help="A column of the partition; may be given many times.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="PATTERN",
    help='The pattern of model keys, such as "{van_id}"; "" for one model of all. May be given many times, the first '
    "choice first.",
)
@click.option("--time", default="", metavar="COLUMN", help="The column of a row's time.")
@click.option(
    "--window",
    default="",
    type=click.Choice(["", "15min", "hour", "day", "week", "month"]),
    help="What one run covers.",
)
@click.option(
    "--timezone", default="", metavar="ZONE", help="Of windows and of times without a zone, as Europe/Berlin."
)
@click.option("--output", default="", metavar="NAME", help="What the models' answer is called.")
@click.option(
    "--schedule", default="", metavar="NCRONTAB", help='When due windows are started, as "0 30 3 * * *".'
)
@store_option
@json_option
@click.pass_context
def new(
    context: click.Context, /, name: str, store_url: str, as_json: bool, copy: bool, **options: Any
) -> None:
    """Make a workload: look at data and models, copy the data, import the models, write settings/NAME.toml,
    and say how sure it is.

    Nothing that is there already is overwritten. Exit code: 0, or 10 if a model file was refused.
    """
    from fleetscore.cli.progress import ImportProgress, progress_of
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet

    fleet = Fleet(store_url)
    asked = _asked(fleet, name, copy, options)
    with announcing_new(fleet), progress_of(f"new {name}") as progress:
        files = ImportProgress(progress)
        proposal, stored = fleet.new_workload(asked, files.report)
    if as_json:
        print_json(_answer(asked, proposal, stored, files.refusals))
    else:
        _print(asked, proposal, stored, files.refusals)
    context.exit(10 if files.refusals else 0)


def _asked(fleet: Fleet, name: str, copy: bool, options: dict[str, Any]) -> NewFleet:
    """The request, its data as a folder to copy or as a place in the store."""
    from fleetscore.capabilities import NewFleet

    data = options.pop("data")
    if copy:
        folder, pattern = _local(data)
        return NewFleet(name=name, data=pattern, folder=folder, **options)
    return NewFleet(name=name, data=_inside(fleet, data), **options)


def _local(data: str) -> tuple[Path, str]:
    """The folder to copy and the file in it that was named, "" for all."""
    from fleetscore.errors import InputError

    path = Path(data)
    if path.is_dir():
        return path, ""
    if path.is_file():
        return path.parent, path.name
    raise InputError(f"{data} does not exist.", fix="Name the folder of the data.", field="data")


def _inside(fleet: Fleet, data: str) -> str:
    """The data's place in the store; InputError for a folder of this machine that the app could not read."""
    from fleetscore.errors import InputError
    from fleetscore.fleet.store_access import folder_of

    root, path = folder_of(fleet.url), Path(data)
    if "://" in data or not path.exists():
        return data
    if root is None or not path.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{data} lies outside the store, where the app does not read.",
            fix="Give --copy to copy it into the store.",
            field="data",
        )
    return path.resolve().relative_to(root.resolve()).as_posix()


def _answer(
    asked: NewFleet, proposal: Proposal, stored: ModelSet | None, refusals: list[str]
) -> dict[str, Any]:
    return {
        "workload": asked.name, "settings": f"settings/{asked.name}.toml", "guesses": [asdict(guess) for guess in proposal.guesses],
        "copied": len(proposal.copied), "models": stored, "counts": proposal.models.counts if proposal.models else {},
        "refused": refusals, "remarks": proposal.remarks,
    }  # fmt: skip


def _print(asked: NewFleet, proposal: Proposal, stored: ModelSet | None, refusals: list[str]) -> None:
    from fleetscore.cli.render import plural, print_pairs, print_table

    for line in (*refusals[:_REFUSALS_SHOWN], *proposal.remarks[:_REFUSALS_SHOWN]):
        say(line, err=True)
    if len(refusals) > _REFUSALS_SHOWN:
        say(f"and {len(refusals) - _REFUSALS_SHOWN} more; --json lists all", err=True)
    models = (
        f"{proposal.models.counts['imported']:,} imported, {len(refusals):,} refused"
        if proposal.models
        else "none yet"
    )
    pairs = [
        ("settings", f"settings/{asked.name}.toml"),
        ("data", f"{plural(len(proposal.copied), 'file')} copied to data/{asked.name}/" if asked.folder else "stays where it lies"),
        ("models", models),
        ("model set", stored.version if stored else ""),
    ]  # fmt: skip
    print_pairs(f"Made {asked.name}", pairs)
    print_table(
        ("line", "value", "certainty", "why"),
        [(g.line, visible(g.value), g.certainty, g.why) for g in proposal.guesses],
    )
    say(f"Correct what is wrong in the settings file, then: fleetscore check {asked.name}")
