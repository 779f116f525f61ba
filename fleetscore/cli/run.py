"""Commands that start runs and follow them: run, retry, train; and cancel."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import (
    WORKLOAD,
    asking_options,
    check_only,
    force_option,
    from_option,
    partitions_option,
    starting_options,
    to_option,
    versions_option,
    window_option,
)
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.fleet.answers import Started
    from fleetscore.runs.status_answer import RunStatus


@click.command()
@WORKLOAD
@window_option
@partitions_option
@versions_option
@force_option
@starting_options
@click.pass_context
def run(
    context: click.Context, workload: str, window: str, partitions: tuple[str, ...], models: str, force: bool,
    fleet: FleetBase, as_json: bool,
) -> None:  # fmt: skip
    """Score one window and publish the results.

    A window that is under way is followed, one that is published is shown; with --partition or --models
    just that is scored again, and the rest stays. Exit code: 0 if every expected partition has a good
    outcome, 10 if the window was published with failed (within the threshold) or late partitions, 20 if
    nothing was published.
    """
    started = fleet.start_run(workload, window, partitions=partitions, models=models, force=force)
    resume = f"fleetscore run {workload} --window {window}"
    _finish(context, fleet, started, resume, as_json, _known(started))


@click.command(short_help="Score what failed in a run again.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--only", type=click.Choice(["failed", "missing", "all"]), default=None,
    help="failed (the default): without a good outcome; missing: late, or with more input now; all: everything.",
)  # fmt: skip
@partitions_option
@versions_option
@starting_options
@click.pass_context
def retry(
    context: click.Context, run_id: str, only: str | None, partitions: tuple[str, ...], models: str,
    fleet: FleetBase, as_json: bool,
) -> None:  # fmt: skip
    """Score what failed in a run again, as a new round of its window; what was good stays as it is.

    With --partition exactly these are scored. What was scored keeps the model version of its round; what
    failed for its model, or had none, takes the pinned one; --models says otherwise. Where nothing failed
    no round is made. Exit codes are those of `fleetscore run`.
    """
    check_only(only, partitions)
    started = fleet.start_retry(run_id, only=only or "", partitions=partitions, models=models)
    known = f"Nothing to retry: no partition of {started.id} failed or is late; --only all scores all again."
    if started.state != "published":
        known = _known(started)
    _finish(context, fleet, started, f"fleetscore retry {run_id}", as_json, known)


@click.command(short_help="Train models on the windows [from, to).")
@WORKLOAD
@from_option
@to_option
@click.option(
    "--pin/--no-pin", default=None,
    help="Make the new model set the current one, or leave it. [default: as the settings say; else pinned, unless the span has a set]",
)  # fmt: skip
@starting_options
@click.pass_context
def train(
    context: click.Context, workload: str, first: str, end: str, pin: bool | None,
    fleet: FleetBase, as_json: bool,
) -> None:  # fmt: skip
    """Train models on the data of the windows [from, to), as a new model set.

    Training is a run like any other: planned, sharded, with a ledger. Exit codes are those of `fleetscore
    run`.
    """
    started = fleet.start_training(workload, first, end, pin=pin)
    resume = f"fleetscore train {workload} --from {first} --to {end}"
    _finish(context, fleet, started, resume, as_json, f"{started.id} was {started.state} already.")


@click.command(short_help="Ask a run to stop.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--force", is_flag=True, help="Close the run's record alone, at once: for a run that stands still."
)
@asking_options
def cancel(run_id: str, force: bool, fleet: FleetBase, as_json: bool) -> None:
    """Ask a run to stop: shards that have not begun are not scored, and nothing is published.

    Without --host, the local host of the store cancels if it runs; else the request lies in the store until
    the run goes on. With --force the record is closed whatever the orchestration does; when that wakes, it
    is refused, and the window can be retried.
    """
    from fleetscore.cli.render import print_json, print_status

    status = fleet.cancel(run_id, force=force)
    if as_json:
        print_json(status)
        return
    if status.verdict and status.state != "cancelled":
        say(f"{status.id} had ended already: there was nothing to stop.")
    print_status(status)


def _known(started: Started) -> str:
    """What is said of a run that there was already."""
    return f"{started.id} was {started.state} already; `fleetscore retry {started.id} --only all` scores it again."


def _finish(
    context: click.Context, fleet: FleetBase, started: Started, resume: str, as_json: bool, known: str
) -> None:
    """Follow the run to its end, print it, and leave with its exit code; `known` is said of a run that was
    not made now.
    """
    from fleetscore.cli.follow import follow_run

    status = follow_run(fleet, started.id, resume)
    from fleetscore.cli.render import print_json, print_status
    from fleetscore.runs.status_answer import EXIT_CODES

    if as_json:
        print_json(status)
    else:
        if not started.created:
            say(known)
        print_status(status)
        _say_next(status)
    context.exit(EXIT_CODES[status.verdict])


def _say_next(status: RunStatus) -> None:
    """Where to look and what to do, if any partition has no good outcome."""
    from fleetscore.cli.render import lacking
    from fleetscore.records import GOOD

    example = next((cause.example for cause in status.record.causes if cause.outcome not in GOOD), "")
    if example:
        say(f"Why: fleetscore explain {status.id} {shlex.quote(example)}")
    if status.verdict == "unpublished" and status.record.counts.get("scored"):
        request = status.record.request
        say(f"What it scored: fleetscore results {request.workload} --window {request.window} --held")
        say(f"Publish that as it is: fleetscore publish {status.id} --anyway --why TEXT")
    if status.verdict != "good":
        only_late = status.verdict == "with_failures" and lacking(status.record.counts) == {"late"}
        when, only = (
            ("When their data has come", " --only missing") if only_late else ("Once that is fixed", "")
        )
        say(f"{when}: {_again(status)}{only}")


def _again(status: RunStatus) -> str:
    """The command that does the run's work once more; a training has no rounds."""
    request = status.record.request
    if request.purpose == "train":
        return f"fleetscore train {request.workload} --from {request.window} --to {request.stop}"
    return f"fleetscore retry {status.id}"
