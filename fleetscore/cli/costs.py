"""The costs command: what the workloads cost, month by month."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command(short_help="Show what the workloads cost, month by month.")
@click.option("--workload", default="", help="Only this workload.")
@click.option("--since", default="", metavar="MONTH", help="From this month on, as 2026-11; by default all.")
@click.option("--month", default="", metavar="MONTH", help="Of this month only.")
@click.option(
    "--by",
    default="workload",
    show_default=True,
    metavar="TAG",
    help="Sum by workload, or by the values of this tag.",
)
@asking_options
def costs(workload: str, since: str, month: str, by: str, fleet: FleetBase, as_json: bool) -> None:
    """Show what the runs of each workload cost, month by month, newest first; runs without a figure are
    counted apart.
    """
    from fleetscore.cli.render import print_json, print_table

    months = fleet.costs(workload, since, month, by)
    if as_json:
        print_json(months)
        return
    rows = [
        (
            m.month, m.workload or m.tag or "(none)", f"{m.runs:,}", f"{m.partitions:,}", f"{m.rows:,}",
            f"{m.seconds:,.0f}", f"{m.cost_usd:.4f}", f"{m.unpriced:,}",
        )
        for m in months
    ]  # fmt: skip
    columns = ("month", by, "runs", "partitions", "rows", "seconds", "USD", "runs without cost")
    print_table(columns, rows, numbers=columns[2:])
