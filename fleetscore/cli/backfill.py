"""The backfill command: many windows, a few at a time."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import (
    WORKLOAD,
    check_only,
    force_option,
    from_option,
    is_given,
    partitions_option,
    starting_options,
    to_option,
    versions_option,
)
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.fleet.answers import BackfilledWindow, BackfillStatus
    from fleetscore.operations.due.backfills import BackfillPreview


@click.command(short_help="Score the windows [from, to) that are not published.")
@WORKLOAD
@from_option
@to_option
@click.option(
    "--only", type=click.Choice(["missing", "failed", "all"]), default=None,
    help="missing (the default): windows never published; failed: also those with failures, for what failed; all: everything again.",
)  # fmt: skip
@partitions_option
@versions_option
@click.option(
    "--max-parallel", type=click.IntRange(1, 100), default=4, show_default=True, help="Windows at once."
)
@click.option("--newest-first", is_flag=True, help="Begin with the newest window.")
@click.option("--dry-run", is_flag=True, help="Only say which windows would run, and why.")
@force_option
@starting_options
@click.pass_context
def backfill(
    context: click.Context, workload: str, first: str, end: str, only: str | None, partitions: tuple[str, ...],
    models: str, max_parallel: int, newest_first: bool, dry_run: bool, force: bool, fleet: FleetBase, as_json: bool,
) -> None:  # fmt: skip
    """Score the windows [from, to); finished work is never repeated.

    With --partition exactly these partitions are scored, in every window, and the rest of each window
    stays. The exit code is that of the worst window: 0 all good, 10 some published with failed or late
    partitions, 20 some not published.
    """
    from fleetscore.cli.follow import follow_backfill
    from fleetscore.cli.render import print_json

    check_only(only, partitions)
    asked: dict[str, Any] = {
        "only": only or "",
        "partitions": partitions,
        "models": models,
        "newest_first": newest_first,
    }
    if dry_run:
        if is_given(context, "max_parallel"):
            raise click.UsageError("--max-parallel cannot act in a --dry-run.")
        preview = fleet.plan_backfill(workload, first, end, **asked)
        print_json(preview) if as_json else print_preview(preview)
        return
    again = " --only failed" if only == "failed" else ""  # what `all` has scored is not scored once more
    resume = f"fleetscore backfill {workload} --from {first} --to {end}{again}{_format_options(context)}"
    started = fleet.start_backfill(workload, first, end, **asked, max_parallel=max_parallel, force=force)
    status = follow_backfill(fleet, started.id, f"{workload} {first} .. {end}", resume)
    if as_json:
        print_json(status)
    else:
        print_backfill(status)
    context.exit(exit_code(status))


def _format_options(context: click.Context) -> str:
    """--partition and --models as they were given, but for a file's partitions, to follow a command."""
    partitions, models = context.params["partitions"], context.params["models"]
    words = (
        [f" --partition {shlex.quote(key)}" for key in partitions]
        if len(partitions) <= 5
        else [" --partition @FILE"]
    )
    return "".join(words) + (f" --models {models}" if models else "")


def print_preview(preview: BackfillPreview, most: int = 200) -> None:
    """Print which windows would run, and why; no more lines than can be read."""
    from fleetscore.cli.render import plural, print_table

    say(f"{plural(preview.total, 'window')}, {preview.would_run:,} would run (nothing was started)")
    rows = [(w.window, "would run" if w.runs else "left alone", w.why) for w in preview.windows[:most]]
    if rows:
        print_table(("window", "", "why"), rows)
    if preview.total > most:
        say(f"and {preview.total - most:,} more; --json lists all")


def exit_code(status: BackfillStatus) -> int:
    """The exit code of the worst window."""
    from fleetscore.runs.status_answer import EXIT_CODES

    return max((EXIT_CODES[window.verdict or "unpublished"] for window in status.windows), default=0)


def print_backfill(status: BackfillStatus, most: int = 10) -> None:
    """Print how many windows are good, and the first of those that need a look; why some were not run stands
    below.
    """
    from fleetscore.cli.render import plural, print_table

    endings = Counter(_ended(window) for window in status.windows)
    counts = ", ".join(f"{count:,} {words}" for words, count in endings.items())
    say(f"{plural(status.total, 'window')}: {counts}")
    bad = [window for window in status.windows if window.verdict != "good"]
    if not bad:
        return
    print_table(("window", "run", "ended"), [(w.window, w.run, _ended(w)) for w in bad[:most]])
    for reason in dict.fromkeys(window.reason for window in bad if window.reason):
        say(f"not run: {reason}")
    more = f"and {len(bad) - most} more; " if len(bad) > most else ""
    first = next((window.run for window in bad if window.run and not window.reason), "")
    if more or first:
        say(f"{more}next: fleetscore show {first}" if first else f"{more}--json lists all")


def _ended(window: BackfilledWindow) -> str:
    from fleetscore.cli.render import format_ending

    return "not run" if window.reason else format_ending(window.verdict, window.counts)
