"""The doctor command: what is wrong, and how to fix it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say, visible

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.doctor.findings import Diagnosis


@click.command(short_help="Check the deployment, and say how to fix it.")
@click.option(
    "--azure", is_flag=True, help="Ask what only Azure can answer instead, with a task on the Batch pool."
)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(1, 3600), default=900.0, show_default=True, metavar="SECONDS",
    help="How long to wait for that task.",
)  # fmt: skip
@asking_options
@click.pass_context
def doctor(context: click.Context, azure: bool, wait_s: float, fleet: FleetBase, as_json: bool) -> None:
    """Check settings, store, clock, queue, Batch pool and quota, schedules, models and runs, and say how to
    fix it.

    With --host the app examines itself, with its own settings and identity. --azure asks platform, package,
    compiled code, the pool's formula, a container task and storage requests instead. Exit code: 1 if
    anything is wrong.
    """
    from fleetscore.cli.render import print_json

    diagnosis = fleet.doctor_azure(wait_s) if azure else fleet.doctor()
    if as_json:
        print_json(diagnosis)
    else:
        print_diagnosis(diagnosis)
    context.exit(0 if diagnosis.healthy else 1)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the findings, with the fix below what is not ok."""
    colours = {"ok": "green", "warning": "yellow", "wrong": "red"}
    for finding in diagnosis.findings:
        state = click.style(f"{finding.state:<11}", fg=colours.get(finding.state))
        click.echo(f"{state} {finding.check:<9} {visible(finding.detail)}")
        if finding.fix and finding.state != "ok":
            say(f"{'':<21} {finding.fix}")
    say(sum_up(diagnosis))


def sum_up(diagnosis: Diagnosis) -> str:
    """How many findings are wrong, and how many only warn."""
    wrong, warnings = (sum(f.state == state for f in diagnosis.findings) for state in ("wrong", "warning"))
    warned = f" {warnings} to look at." if warnings else ""
    return ("Nothing is wrong." if diagnosis.healthy else f"{wrong} wrong.") + warned
