"""The drift command: the partitions of a run to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.drift_report import DriftReport


@click.command(short_help="List the partitions of a run that drifted.")
@click.argument("run_id", metavar="RUN")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@asking_options
def drift(run_id: str, limit: int, fleet: FleetBase, as_json: bool) -> None:
    """List the partitions whose input or predictions are far from what their models were trained on, the
    worst first.

    A score above 1 is beyond a limit of the [quality] settings; those partitions carry the warning `drifted`.
    """
    from fleetscore.cli.render import print_json

    report = fleet.drift(run_id, limit)
    if as_json:
        print_json(report)
    else:
        print_drift(report)


def print_drift(report: DriftReport) -> None:
    """Print how many drifted, and the worst."""
    from fleetscore.cli.render import plural, print_table

    compared = (
        f"{report.compared:,} of {plural(report.partitions, 'partition')} compared with training or first run"
    )
    say(f"{report.run}: {report.drifted:,} drifted; {compared}")
    rows = [
        (
            line.partition, _format_value(line.score), line.worst, _format_value(line.mean),
            _format_value(line.mean_before), _format_value(line.std), _format_value(line.std_before),
        )
        for line in report.worst
    ]  # fmt: skip
    if rows:
        columns = ("partition", "score", "by", "mean", "before", "deviation", "before")
        print_table(columns, rows, numbers=("score", "mean", "before", "deviation"))


def _format_value(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
