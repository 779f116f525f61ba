"""The check command: whether a workload's settings, data and models fit together, before any run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, json_option, store_option
from fleetscore.cli.text import say, visible

if TYPE_CHECKING:
    from fleetscore.models.fit_record import FitCheck

NOTHING_SCORED = 20
MISFITS = 10


@click.command(short_help="Check that settings, data and models fit together, before any run.")
@WORKLOAD
@click.option("--window", default="", help="Data of this window. [default: the newest files]")
@click.option("--models", default="", metavar="VERSION", help="This model set instead of the pinned one.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="Models of this folder, instead of those imported."
)  # fmt: skip
@click.option(
    "--trust-pickles", "trusted", is_flag=True,
    help="Let pickles of --from run, each in a limited process on this machine. Only for files of people you trust.",
)  # fmt: skip
@store_option
@json_option
@click.pass_context
def check(
    context: click.Context, workload: str, window: str, models: str, source: Path | None, trusted: bool, store_url: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Read settings, data and models of a workload, score 100 rows of each model, and say what does not
    fit, by name.

    Nothing is written. Exit code: 0 if all fits, 10 if something does not, 20 if no model could score a
    row; 2 for settings that cannot be read.
    """
    from fleetscore.cli.progress import progress_of
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet

    if trusted and source is None:
        raise click.UsageError("--trust-pickles is for the files of --from.")
    if models and source is not None:
        raise click.UsageError("Give --models or --from.")
    with progress_of(f"check {workload}") as progress:
        found = Fleet(store_url).check(
            workload, window, source, models=models, trusted=trusted,
            report=lambda _name, number, total, _refusal: progress.show("importing", number, total),
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        print_check(found)
    context.exit(exit_code(found))


def exit_code(found: FitCheck) -> int:
    """The exit code that says how well it fits."""
    if not found.scored:
        return NOTHING_SCORED
    return 0 if found.fits else MISFITS


def print_check(found: FitCheck) -> None:
    """Print what was read and tried, then each misfit with its fix below."""
    from fleetscore.cli.render import plural, print_pairs

    ranges = [f"{name} from {low:.6g} to {high:.6g}" for name, (low, high) in found.results.items()]
    pairs = [
        ("data", f"{found.files_read:,} of {plural(found.files, 'file')} read: {plural(found.rows, 'row')} of "
                 f"{plural(found.partitions, 'partition')}"),
        ("models", f"{plural(found.models, 'model')} of {found.models_from}" if found.models else "none"),
        ("tried", f"{plural(found.scored, 'model')} answered {found.rows_per_model} rows each at most"),
        ("results", "\n".join(ranges)),
    ]  # fmt: skip
    print_pairs(f"Check of {found.workload}", pairs)
    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    for one in found.misfits:
        severity = click.style(f"{one.severity:<7}", fg=colours[one.severity])
        click.echo(f"{severity}  {one.cause}: {visible(one.detail)}")
        if one.fix:
            say(f"{'':<7}  {one.fix}")
    if found.fits and found.scored:
        say("Everything fits.")
