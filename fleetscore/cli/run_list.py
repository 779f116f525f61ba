"""Commands that list and show runs: runs, show."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fleetscore.cli.options import asking_options


@click.command()
@click.option("--workload", default="", help="Only the runs of this workload.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@asking_options
def runs(workload: str, limit: int, store_url: str, host_url: str, key: str, as_json: bool) -> None:
    """List the newest runs."""
    from fleetscore.cli.render import print_json, print_runs

    if host_url:
        from fleetscore.cli.client import HostClient

        lines = HostClient(host_url, key).list_runs(workload, limit)
    else:
        from fleetscore.registry import get_workload
        from fleetscore.runs.index import list_runs
        from fleetscore.store import open_store

        if workload:
            get_workload(workload)
        lines = list_runs(open_store(store_url), workload, limit)
    if as_json:
        print_json(lines)
    elif lines:
        print_runs(lines)
    else:
        click.echo(
            f"No runs yet in {host_url or store_url}. Start one: fleetscore run WORKLOAD --window WINDOW"
        )


@click.command(short_help="Show how a run stands or ended.")
@click.argument("run_id", metavar="RUN")
@asking_options
def show(run_id: str, store_url: str, host_url: str, key: str, as_json: bool) -> None:
    """Show how a run stands or ended: counts, causes of failure, models, where the results are."""
    from fleetscore.cli.render import print_json, print_status

    if host_url:
        from fleetscore.cli.client import HostClient

        status = HostClient(host_url, key).describe_run(run_id)
    else:
        from fleetscore.runs.status import describe_run
        from fleetscore.store import open_store

        status = describe_run(open_store(store_url), run_id, datetime.now(UTC))
    if as_json:
        print_json(status)
    else:
        print_status(status)
