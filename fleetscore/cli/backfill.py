"""The backfill command: many windows, a few at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, from_option, starting_options, to_option

if TYPE_CHECKING:
    from fleetscore.cli.client import BackfillStatus
    from fleetscore.operations.backfills import BackfillPreview


@click.command()
@WORKLOAD
@from_option
@to_option
@click.option(
    "--only", type=click.Choice(["missing", "failed", "all"]), default="missing", show_default=True,
    help="missing: windows never published; failed: also those with failures, for what failed; all: everything again.",
)  # fmt: skip
@click.option(
    "--max-parallel", type=click.IntRange(1, 100), default=4, show_default=True, help="Windows at once."
)
@click.option("--newest-first", is_flag=True, help="Begin with the newest window.")
@click.option("--dry-run", is_flag=True, help="Only say which windows would run, and why.")
@starting_options
@click.pass_context
def backfill(
    context: click.Context, workload: str, first: str, stop: str, only: str, max_parallel: int, newest_first: bool,
    dry_run: bool, store_url: str, host_url: str, key: str, as_json: bool,
) -> None:  # fmt: skip
    """Score the windows [from, to); finished work is never repeated.

    The exit code is that of the worst window: 0 all good, 10 some published with failures, 20 some not published.
    """
    from fleetscore.cli.connection import connect
    from fleetscore.cli.follow import follow_backfill
    from fleetscore.cli.render import print_json

    if dry_run:
        preview = _preview(workload, first, stop, only, newest_first, store_url, host_url, key)
        print_json(preview) if as_json else print_preview(preview)
        return
    again = " --only failed" if only == "failed" else ""  # what `all` has scored is not scored once more
    resume = f"fleetscore backfill {workload} --from {first} --to {stop}{again}"
    with connect(store_url, host_url, key) as connection:
        started = connection.ask(
            lambda host: host.start_backfill(
                workload, first, stop, only=only, max_parallel=max_parallel, newest_first=newest_first
            )
        )
        status = follow_backfill(connection, started.id, f"{workload} {first} .. {stop}", resume)
    if as_json:
        print_json(status)
    else:
        print_backfill(status)
    context.exit(exit_code(status))


def _preview(
    workload: str, first: str, stop: str, only: str, newest_first: bool, store_url: str, host_url: str, key: str
) -> BackfillPreview:  # fmt: skip
    """What the backfill would do: asked of the app at --host, else read from the store."""
    if host_url:
        from fleetscore.cli.client import HostClient

        return HostClient(host_url, key).preview_backfill(
            workload, first, stop, only=only, newest_first=newest_first
        )
    from fleetscore.operations.backfills import list_windows, preview_backfill
    from fleetscore.records import Only
    from fleetscore.store import open_store

    keys = list_windows(workload, first, stop, newest_first=newest_first)
    return preview_backfill(open_store(store_url), workload, keys, Only(only))


def print_preview(preview: BackfillPreview, most: int = 200) -> None:
    """Print which windows would run, and why; no more lines than somebody reads."""
    from fleetscore.cli.render import plural, print_table

    click.echo(f"{plural(preview.total, 'window')}, {preview.would_run:,} would run (nothing was started)")
    rows = [(w.window, "would run" if w.runs else "left alone", w.why) for w in preview.windows[:most]]
    if rows:
        print_table(("window", "", "why"), rows)
    if preview.total > most:
        click.echo(f"and {preview.total - most:,} more; --json lists all")


def exit_code(status: BackfillStatus) -> int:
    """The exit code of the worst window."""
    from fleetscore.runs.status_answer import EXIT_CODES

    return max((EXIT_CODES[window.verdict or "unpublished"] for window in status.windows), default=0)


def print_backfill(status: BackfillStatus, most: int = 10) -> None:
    """Print how many windows are good, and the first of those that need a look."""
    from fleetscore.cli.render import plural, print_table

    told = {"good": "published", "with_failures": "published with failures", "unpublished": "not published"}
    verdicts = Counter(window.verdict or "unpublished" for window in status.windows)
    counts = ", ".join(
        f"{verdicts[verdict]:,} {words}" for verdict, words in told.items() if verdicts[verdict]
    )
    click.echo(f"{plural(status.total, 'window')}: {counts}")
    bad = [window for window in status.windows if window.verdict != "good"]
    if bad:
        print_table(("window", "run", "state"), [(w.window, w.run, w.state) for w in bad[:most]])
        more = f"and {len(bad) - most} more; " if len(bad) > most else ""
        click.echo(f"{more}next: fleetscore show {bad[0].run}")
